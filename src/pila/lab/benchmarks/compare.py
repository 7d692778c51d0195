"""Methods beside each other: scores with intervals, paired differences, the paper's numbers.

Results of different protocols are refused: another judge, other frames, prompts or sampling.
Forced, they are compared over what they share, and every form of the table says so.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.benchmarks.paper import PAPER
from pila.lab.benchmarks.reading import listed, repeated
from pila.lab.benchmarks.records import digest_of, versions, write_json
from pila.lab.benchmarks.results import Result, interval
from pila.lab.experiments.table import Estimate


def compare(
    results: Sequence[Result], *, baseline: str | None = None, force: bool = False
) -> dict[str, Any]:
    """Scores of each method and its differences from a baseline, over the same prompts.

    Args:
        results: of one benchmark, each method once.
        baseline: the method that others are compared with; the first by default.
        force: compare what was made with different protocols, and mark it.

    Returns:
        A table as JSON takes it: `rows` by method, `differences`, `forced` with its reasons.

    Raises:
        InputError: different benchmarks, a method twice, an unknown baseline, or different
            protocols without `force`.
    """
    if not results:
        raise InputError("compare has 0 results; give at least 1 file of the aggregate step")
    benchmarks = sorted({r.benchmark for r in results})
    if len(benchmarks) > 1:
        raise InputError(f"the results are of {listed(benchmarks)}; compare one benchmark")
    twice = repeated(r.method for r in results)
    if twice:
        raise InputError(f"{listed(twice)} twice; aggregate with another --method")
    first = results[0] if baseline is None else _named(results, baseline)
    reasons = [f"{r.method}: {why}" for r in results if r is not first for why in unlike(first, r)]
    if reasons and not force:
        raise InputError(
            f"the protocols differ from that of {first.method}: {listed(reasons)}; judge all clips "
            "alike, or compare all the same with --force, which marks the table"
        )
    names = [n for n in first.names if all(n in r.names for r in results)]
    if not names:
        raise InputError("the results share 0 scores; aggregate the same measures")
    rows = [
        {
            "method": r.method,
            "scores": {name: asdict(r.estimate(name)) for name in names},
            "prompts": {name: len(r.keys(name)) for name in names},
            "protocol_hash": digest_of(r.protocol),
            "sampling": r.sampling,
            "sources": r.sources,
            "notes": list(r.notes),
        }
        for r in results
    ]
    differences = [
        {
            "method": r.method,
            "scores": {n: e for n in names if (e := difference(first, r, n)) is not None},
        }
        for r in results
        if r is not first
    ]
    paper = PAPER.get(first.benchmark)
    return {
        "benchmark": first.benchmark,
        "baseline": first.method,
        "measures": names,
        "rows": rows,
        "differences": differences,
        "forced": reasons,
        "paper": None if paper is None else asdict(paper),
        "versions": versions(),
    }


def unlike(one: Result, other: Result) -> list[str]:
    """In what the protocols of two results differ."""
    found = [f"protocol {where}" for where in _paths(one.protocol, other.protocol)]
    if (one.sampling is None) != (other.sampling is None):
        found.append("how the clips were sampled is known for one alone")
    elif one.sampling is not None and other.sampling is not None:
        for part in ("shared", "prompts"):
            found += [
                f"sampling {w}" for w in _paths(one.sampling[part], other.sampling[part], part)
            ]
    if one.names != other.names:
        found.append(f"measures {listed(sorted(set(one.names) ^ set(other.names)))}")
    for name in one.measures:
        lone = set(one.measures[name]) ^ set(other.measures.get(name, one.measures[name]))
        if lone:
            found.append(f"prompts of {name}, {len(lone)} of one alone: {listed(sorted(lone)[:3])}")
    return found


def difference(one: Result, other: Result, name: str) -> dict[str, float] | None:
    """other - one over the prompts of both, paired; None where they share none.

    Both are resampled with the same prompts, so that what is hard for both cancels.
    """
    first, second = _common(one, other, name)
    if first is None or second is None:
        return None
    value = second.value(name) - first.value(name)
    draws = second.draws(name) - first.draws(name)
    return asdict(interval(value, draws))


def _common(one: Result, other: Result, name: str) -> tuple[Result | None, Result | None]:
    parts = one.means.get(name, (name,))
    if any(part not in other.measures for part in parts):
        return None, None
    shared = {p: [k for k in one.measures[p] if k in other.measures[p]] for p in parts}
    both: list[Result | None] = []
    for result in (one, other):
        rows = {p: {k: result.measures[p][k] for k in keys} for p, keys in shared.items()}
        if not all(sum(below for _, below in r.values()) for r in rows.values()):
            return None, None
        means = {name: tuple(parts)} if name in one.means else {}
        both.append(
            Result(benchmark=result.benchmark, method=result.method, measures=rows, means=means)
        )
    return both[0], both[1]


def markdown(table: Mapping[str, Any]) -> str:
    """The table that people read."""
    lines = [f"# {table['benchmark']}", ""]
    if table["forced"]:
        lines += ["**Forced: these results were made with different protocols.**", ""]
        lines += [*(f"- {reason}" for reason in table["forced"]), ""]
    lines += ["Brackets are 95 % bootstrap intervals over prompts.", ""]
    lines += _grid(table["measures"], {r["method"]: r["scores"] for r in table["rows"]})
    if table["differences"]:
        lines += ["", f"## Difference from {table['baseline']}, paired over prompts", ""]
        lines += _grid(table["measures"], {d["method"]: d["scores"] for d in table["differences"]})
    notes = [f"- {r['method']}: {note}" for r in table["rows"] for note in r["notes"]]
    if notes:
        lines += ["", "## Notes", "", *notes]
    if paper := table["paper"]:
        lines += ["", f"## The paper's {paper['table']}, not comparable line by line", ""]
        lines += [f"Route: {paper['route']}.", ""]
        lines += [
            "| method | " + " | ".join(paper["columns"]) + " |",
            "|---" * (1 + len(paper["columns"])) + "|",
        ]
        for method, values in paper["rows"].items():
            lines.append(f"| {method} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def as_csv(table: Mapping[str, Any]) -> str:
    """A line for each method and score, with the difference from the baseline."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = ("value", "low", "high")
    header = ["method", "measure", *figures, "prompts", "baseline"]
    header += [*(f"difference_{f}" for f in figures), "forced", "source"]
    writer.writerow(header)
    apart = {d["method"]: d["scores"] for d in table["differences"]}
    forced = bool(table["forced"])
    for row in table["rows"]:
        for name, score in row["scores"].items():
            other = apart.get(row["method"], {}).get(name)
            gap = ["" if other is None else other[f] for f in figures]
            mine = [row["method"], name, *(score[f] for f in figures), row["prompts"][name]]
            writer.writerow([*mine, table["baseline"], *gap, forced, "measured"])
    paper = table["paper"]
    for method, values in (paper["rows"] if paper else {}).items():
        for column, value in zip(paper["columns"], values, strict=True):
            source = f"paper, {paper['table']}: {paper['route']}"
            writer.writerow([method, column, value, *[""] * (len(header) - 4), source])
    return text.getvalue()


def write_table(folder: Path, table: Mapping[str, Any]) -> list[Path]:
    """Write `compare.json`, `compare.md` and `compare.csv`.

    Raises:
        InputError: the place cannot be written.
    """
    paths = [folder / f"compare.{ending}" for ending in ("json", "md", "csv")]
    write_json(paths[0], dict(table))
    for path, text in zip(paths[1:], (markdown(table), as_csv(table)), strict=True):
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8")
    return paths


def _grid(names: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def shown(score: Mapping[str, float] | None) -> str:
        return "-" if score is None else str(Estimate(**score))

    lines = ["| method | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    return lines + [
        f"| {method} | " + " | ".join(shown(scores.get(name)) for name in names) + " |"
        for method, scores in rows.items()
    ]


def _named(results: Sequence[Result], name: str) -> Result:
    for result in results:
        if result.method == name:
            return result
    raise InputError(
        f"baseline is {name!r}; the results are of {', '.join(r.method for r in results)}"
    )


def _paths(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two JSON values differ: "judged.sa.judge.model 'a' and 'b'"."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys([*one, *other])
        return [
            path
            for name in names
            for path in _paths(one.get(name), other.get(name), f"{where}.{name}".strip("."))
        ]
    if one == other:
        return []
    if isinstance(one, float) and isinstance(other, float) and np.isclose(one, other, rtol=1e-12):
        return []
    return [f"{where} ({str(one)[:60]} and {str(other)[:60]})"]
