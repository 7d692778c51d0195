"""The field's benchmarks, one per file: their prompts, questions and aggregates.

The official repositories were read for facts (file formats, cut points, names); no code or prompt
of theirs is here. docs/evaluation.md says which.
"""
