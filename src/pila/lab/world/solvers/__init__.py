"""Solvers that scenes share; each is held against a closed form in `tests/lab/world/solvers`."""
