"""Tables in Markdown."""

import math
from collections.abc import Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table; None is an empty cell, numbers have three digits behind the point.

    In a column of p values, what these digits would call nought is below 0.001.
    """
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [_cell(name, value) for name, value in zip(columns, row, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(column: str, value: Any) -> str:
    small = column in ("p", "p (Holm)") and isinstance(value, float) and value < 0.0005
    return "< 0.001" if small else shown(value)


def shown(value: Any) -> str:
    """A cell: a number, an interval [value, low, high], or words."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        middle, low, high = value
        if middle is None or math.isnan(middle):
            return ""
        return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
    return str(value)
