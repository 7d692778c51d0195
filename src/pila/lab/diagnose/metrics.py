"""metrics.jsonl as the trainer leaves it: resumed, interrupted while writing, with bad numbers.

A run that was killed goes on from its last checkpoint, so that steps come twice; the later ones
count, as the weights are theirs. A line that was cut off is left out. A resume shows where steps go
back, where a line was cut off, and where `--max-steps` stopped between two logged steps; one after
a kill shortly behind a checkpoint leaves no trace, and is not shown.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The curves of one stage."""

    rows: tuple[dict[str, float], ...]
    """By growing step."""
    resumes: tuple[int, ...]
    """Steps at which the run went on after a stop, as far as they can be seen."""
    unreadable: tuple[int, ...]
    """Lines that are no whole JSON object, counted from 1."""
    non_finite: dict[int, tuple[str, ...]]
    """Steps with figures that are no number, and those figures' names."""

    @property
    def names(self) -> tuple[str, ...]:
        """All figures, in the order in which they appear."""
        return tuple(dict.fromkeys(n for row in self.rows for n in row if n != "step"))

    @property
    def steps(self) -> int:
        """Steps done, as far as logged."""
        return int(self.rows[-1]["step"]) + 1

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps [n] and values [n] of a figure where it was logged; NaN where it was no number."""
        pairs = [(row["step"], row[name]) for row in self.rows if name in row]
        steps, values = np.array(pairs, float).reshape(-1, 2).T
        return steps, np.where(np.isfinite(values), values, np.nan)


def read_metrics(path: Path) -> Metrics:
    """Read a stage's metrics.jsonl.

    Raises:
        InputError: there is none, or no line of it can be read yet.
    """
    if not path.is_file():
        raise InputError(f"there is no {path}; the run has not logged a step yet")
    kept: list[dict[str, float]] = []
    resumes, unreadable = set(), []
    cut_off = False
    # An interrupted write may leave half a character.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        row, whole = _row(line)
        if not whole:
            unreadable.append(number)
            cut_off = True
        if row is None:
            continue
        step = int(row["step"])
        if kept and (cut_off or step <= kept[-1]["step"]):
            resumes.add(step)
        cut_off = False
        while kept and kept[-1]["step"] >= step:
            kept.pop()
        kept.append(row)
    if not kept:
        raise InputError(
            f"{path} has no metrics yet ({len(lines)} lines, none a whole JSON object with a "
            "step); wait for the run's first steps"
        )
    resumes |= _stops_between(kept)
    found = {int(row["step"]): _not_finite(row) for row in kept}
    return Metrics(
        rows=tuple(kept),
        resumes=tuple(sorted(resumes)),
        unreadable=tuple(unreadable),
        non_finite={step: names for step, names in found.items() if names},
    )


def smoothed(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Centred running mean [n] over `width` logged values, fewer at the ends; NaN does not count.

    It stays NaN where none of them is a number.
    """
    known = np.isfinite(values)
    ones = np.ones(width)
    # Cut by hand: for fewer values than `width`, "same" would give the window's own length.
    lead = width // 2
    sums = np.convolve(np.where(known, values, 0.0), ones)[lead : lead + len(values)]
    counts = np.convolve(known.astype(float), ones)[lead : lead + len(values)]
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _row(line: str) -> tuple[dict[str, float] | None, bool]:
    """A line's row, if it has one, and whether the line is whole.

    What is appended behind a line that was cut off stands on the same line; rows are flat, so that
    it begins at the last brace.
    """
    for text, whole in ((line, True), (line[max(line.rfind("{"), 0) :], False)):
        try:
            row: Any = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict) and _is_number(row.get("step")):
            return {k: float(v) for k, v in row.items() if _is_number(v)}, whole
    return None, not line.strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _stops_between(rows: list[dict[str, float]]) -> set[int]:
    """Steps after one that is off the log's rhythm: a run that was stopped there, and went on."""
    steps = [int(row["step"]) for row in rows]
    gaps = [b - a for a, b in pairwise(steps)]
    rhythm = max(gaps, key=lambda gap: (gaps.count(gap), gap), default=1)
    return {step + 1 for step in steps[:-1] if step % rhythm}


def _not_finite(row: dict[str, float]) -> tuple[str, ...]:
    return tuple(name for name, value in row.items() if not math.isfinite(value))
