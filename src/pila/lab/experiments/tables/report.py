"""Results on disk: results.json in the fixed form, the table as Markdown and CSV, pictures."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pila.files import atomic_write
from pila.lab.experiments.sampling import HELD_OUT_SEED
from pila.lab.experiments.tables.prepared import Setting
from pila.provenance import commit

NOT_WAN = "Simulated world, not Wan."
LETTERS = 1.6
"""Points of letters for each inch of a picture's width: 9 pixels where it is 390 wide."""


def described(setting: Setting) -> dict[str, Any]:
    """What every results.json says beside its rows."""
    experiment, protocol = setting.experiment, setting.protocol
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "paper": experiment.paper,
        "world": NOT_WAN,
        "commit": commit(),
        "recipe": {
            arm.name: {k: v for k, v in asdict(arm).items() if k not in ("name", "x")}
            for arm in experiment.arms
            if arm.name in setting.arms
        },
        "training_seeds": list(setting.seeds),
        "departures": {run: list(options) for run, options in setting.config_diff.items()},
        "protocol": protocol.facts
        | {
            "split": "held-out" if protocol.first_seed == HELD_OUT_SEED else "development",
            "clips": setting.clips,
        },
    }


def write(folder: Path, results: Mapping[str, Any], text: str, name: str = "results") -> None:
    """`NAME.json`, `NAME.md` and `NAME.csv` of the same results, each whole or not at all."""
    results = without_nan(results)
    for ending, content in (
        ("json", json.dumps(results, indent=1)),
        ("md", text),
        ("csv", as_csv(results["rows"])),
    ):
        with atomic_write(folder / f"{name}.{ending}") as part:
            part.write_text(content)


def without_nan(value: Any) -> Any:
    """The same with None for each number that is none: JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each row; nested mappings become columns `outer.inner`, lists `a;b`."""
    flat = [dict(_flattened(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flattened(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found.append((prefix + name, ";".join("" if v is None else str(v) for v in value)))
        else:
            found.append((prefix + name, value))
    return found


def heading(results: Mapping[str, Any], title: str) -> list[str]:
    """The first lines of a table's page."""
    p = results["protocol"]
    bf16 = ", weights in bfloat16" if p.get("precision") == "bf16" else ""
    paper = f" Answers to: {results['paper']}." if results["paper"] else ""
    return [
        f"# {title}",
        "",
        f"{results['question']}{paper}",
        "",
        f"{p['model']}, {p['steps']} steps, guidance {p['guidance_scale']}{bf16}; training seeds "
        f"{', '.join(map(str, results['training_seeds'])) or 'none'}; commit "
        f"{results['commit'][:10]}. Brackets are 95 % bootstrap intervals. {NOT_WAN}",
        "",
        *_departures(results.get("departures", {})),
    ]


def _departures(found: Mapping[str, Sequence[str]]) -> list[str]:
    """A paragraph on trainings that are not their recipes'; none where all are."""
    if not found:
        return []
    each = "; ".join(f"{run} ({', '.join(options)})" for run, options in found.items())
    return [f"Trained with other options than their recipes name: {each}.", ""]


def picture(
    path: Path, draw: Callable[[Any], None], *, width: float = 7, height: float = 4
) -> None:
    """Write one picture, as `chart` draws it, as a PNG file."""
    figure = chart(draw, width=width, height=height)
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=130)


def chart(draw: Callable[[Any], None], *, width: float = 7, height: float = 4) -> Any:
    """A figure of one chart; matplotlib is imported here and nowhere earlier.

    Args:
        draw: draws on the axes that it is given.
        width: in inches.
        height: likewise.
    """
    # The object interface draws without a display, and leaves pyplot's global state alone.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Letters keep their share of the width, so that they are read on a telephone, too.
    with rc_context({"font.size": LETTERS * width}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
    return figure


def bars(
    axes: Any, values: Mapping[str, Sequence[float]], label: str, *, line: float = 0.0
) -> None:
    """Horizontal bars [value, low, high] by name, first on top."""
    values = {name: v for name, v in values.items() if not math.isnan(v[0])}
    names = list(values)
    middle = [v[0] for v in values.values()]
    below = [max(v[0] - v[1], 0.0) for v in values.values()]
    above = [max(v[2] - v[0], 0.0) for v in values.values()]
    axes.barh(names, middle, xerr=[below, above], color="#64748b", ecolor="#b34700", capsize=3)
    axes.axvline(line, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel(label)
