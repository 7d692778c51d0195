"""Frozen video generators and the place where an adapter's correction enters their sampling.

`seam` patches a scheduler's step, `wan` holds the Wan pipelines, `embedded` loads them by name.
"""
