"""Evaluation: each file is one benchmark; `table` makes numbers and intervals of results."""
