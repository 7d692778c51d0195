"""A method's result on a benchmark: counts by prompt, so that every interval can be computed later.

A measure is a ratio of sums over prompts (a judged share, a mean score); a mean of measures is a
mean over such ratios, as VBench-2.0's categories are. Intervals are bootstrap over prompts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.benchmarks.reading import read_entries
from pila.lab.benchmarks.records import digest_of, read_record, sha256, versions, write_json
from pila.lab.experiments.table import Estimate, resampled_means

_FORM = "pila-result/1"
UNSTATED = "unstated"
Rows = dict[str, tuple[float, float]]
"""By prompt: what is summed above and below the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a method scored.

    Attributes:
        benchmark: its name in `pila evaluate`.
        method: how the table calls it.
        measures: rows by measure; a value is the sum above over the sum below.
        means: names of measures that are averaged under a further name.
        protocol: what a comparable result shares: judge, frames, prompts, parser, aggregation.
        sampling: settings and seeds of the clips, None where they were made elsewhere.
        sources: SHA-256 of the files that were read, by name.
        notes: what a reader must know.
    """

    benchmark: str
    method: str
    measures: dict[str, Rows]
    means: dict[str, tuple[str, ...]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] | None = None
    sources: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        empty = [
            name for name, rows in self.measures.items() if not sum(b for _, b in rows.values())
        ]
        if empty:
            raise InputError(
                f"{self.method} has nothing to count for {', '.join(empty)} (0 judged); judge the "
                "clips again, or generate them again if none passes the gate"
            )

    @property
    def names(self) -> list[str]:
        """Measures and means, in the table's order."""
        return [*self.measures, *self.means]

    def value(self, name: str) -> float:
        """The score under a name."""
        if name in self.means:
            return float(np.mean([self.value(part) for part in self.means[name]]))
        rows = np.array(list(self.measures[name].values()))
        return float(rows[:, 0].sum() / rows[:, 1].sum())

    def draws(self, name: str) -> np.ndarray:
        """Bootstrap values of a score; the same prompts for results with the same prompts."""
        if name in self.means:
            # Parts have prompts of their own: each is resampled with a seed of its own.
            parts = [self._drawn(part, seed) for seed, part in enumerate(self.means[name])]
            return np.mean(parts, axis=0)
        return self._drawn(name, 0)

    def _drawn(self, name: str, seed: int) -> np.ndarray:
        rows = self.measures[name]
        sums = resampled_means(np.array([rows[key] for key in sorted(rows)]), seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, 0] / sums[:, 1]

    def estimate(self, name: str) -> Estimate:
        """A score with its 95 % bootstrap interval over prompts."""
        return interval(self.value(name), self.draws(name))

    def keys(self, name: str) -> set[tuple[str, str]]:
        """(measure, prompt) that a score rests on."""
        parts = self.means.get(name, (name,))
        return {(part, key) for part in parts for key in self.measures[part]}


def interval(value: float, draws: np.ndarray) -> Estimate:
    """95 % of the draws; those in which nothing could be counted are left out."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def write_result(path: Path, result: Result) -> None:
    """Write a result with its intervals, protocol and versions.

    Raises:
        InputError: the place cannot be written.
    """
    scores = {name: asdict(result.estimate(name)) for name in result.names}
    write_json(
        path,
        {
            "form": _FORM,
            "scores": scores,
            "protocol_hash": digest_of(result.protocol),
            **asdict(result),
            "versions": versions(),
        },
    )


def read_result(path: Path) -> Result:
    """Read what `write_result` wrote.

    Raises:
        InputError: another file, or one whose scores are not those of its rows.
    """
    content = read_entries(path, dict)
    if content.get("form") != _FORM:
        raise InputError(
            f"{path} is no result of pila ({_FORM}); make one with the aggregate step and --out"
        )
    result = Result(
        benchmark=content["benchmark"],
        method=content["method"],
        measures={
            name: {key: (above, below) for key, (above, below) in rows.items()}
            for name, rows in content["measures"].items()
        },
        means={name: tuple(parts) for name, parts in content["means"].items()},
        protocol=content["protocol"],
        sampling=content["sampling"],
        sources=content["sources"],
        notes=tuple(content["notes"]),
    )
    wrong = [n for n in result.names if abs(result.value(n) - content["scores"][n]["value"]) > 1e-9]
    if wrong or digest_of(result.protocol) != content["protocol_hash"]:
        what = ", ".join(wrong) or "protocol"
        raise InputError(f"{path} was changed by hand ({what}); aggregate again")
    return result


def origin(files: Mapping[str, Path], aggregation: str, judge: str | None) -> dict[str, Any]:
    """Protocol, sampling, sources and notes of a result, from the records beside its files.

    Args:
        files: what is aggregated, by role ("sa", "closed" ...).
        aggregation: name of the way in which.
        judge: who judged, said by the user, for files without a record.

    Raises:
        InputError: a file is not the one that its record was written for, or the files are of
            clips that were made with different settings.
    """
    judged: dict[str, Any] = {}
    sampled: dict[str, Any] = {}
    for role, path in files.items():
        record = read_record(path)
        judged[role] = (judge or UNSTATED) if record is None else record["protocol"]
        if record is not None:
            sampled[role] = record.get("sampling")
    settings = list(sampled.values())
    if any(other != settings[0] for other in settings[1:]):
        raise InputError(
            f"{', '.join(sampled)} are of clips with different settings; judge the same clips"
        )
    unnamed = [role for role, judge in judged.items() if judge == UNSTATED]
    note = f"no judge is stated for {', '.join(unnamed)}; name it with --judge-name"
    return {
        "protocol": {"aggregation": aggregation, "judged": judged},
        "sampling": settings[0] if settings else None,
        "sources": {str(path): sha256(path) for path in files.values()},
        "notes": (note,) if unnamed else (),
    }
