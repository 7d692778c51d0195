"""The laboratory: the simulated world, the embedded model's training, tables and benchmarks.

Nothing outside this folder imports it, but commands do when they run; recipes, clip sources, law
measures and training tasks are found through entry points (`pila.plugins`).
"""
