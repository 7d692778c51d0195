"""Proof that nothing breaks in a traceback and nothing is lost; `docs/reliability.md` explains it.

`process` runs a command as a user does, within limits; `ground` makes what commands read; `kills`
ends them at any moment; `crash_points` ends every write at each of its steps; `inputs` and `page`
give them changed input. Each class of cases is data; `python -m tests.torture` tries them.
"""
