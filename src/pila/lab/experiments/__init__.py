"""Evaluation: each file is one measure; `table` makes numbers and intervals of results.

`experiments` are the tables: rows of methods, measured.
"""
