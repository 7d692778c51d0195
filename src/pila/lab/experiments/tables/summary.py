"""The README's table and chart, from the results of the experiments.

`python -m pila.lab.experiments.tables.summary` writes docs/results.png and puts the table into
README.md, between its markers.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pila.json_files import read_object
from pila.lab.experiments.tables.report import picture

log = logging.getLogger(__name__)

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: where its figures are, and what it is called."""

    experiment: str
    method: str
    name: str


LINES = (
    Line("main", "true-through-vae", "true clips"),
    Line("main", "frozen", "frozen generator"),
    Line("main", "pila-long", "**shipped adapter (PILA)**"),
    Line("main", "plain-adapter-long", "plain adapter of the same size"),
    Line("main-lora", "lora", "LoRA, short training"),
    Line("main", "pila", "PILA, short training"),
    Line("main", "prophy", "ProPhy, short training"),
    Line("main", "mix-adapter", "PILA, short, half of its clips broken"),
)


def rows(root: Path) -> list[tuple[Line, dict[str, Any]]]:
    """The lines with their rows of results."""
    files = {
        name: read_object(root / "results" / name / "results.json")
        for name in {line.experiment for line in LINES}
    }
    return [
        (line, next(r for r in files[line.experiment]["rows"] if r["method"] == line.method))
        for line in LINES
    ]


def table(root: Path) -> str:
    """The table in Markdown."""
    lines = [
        "| | training seeds | law error | pass all laws | gap closed |",
        "|---|---|---|---|---|",
    ]
    for line, row in rows(root):
        passed = " to ".join(f"{100 * share:.0f}" for share in row["passed"][1:])
        lines.append(
            f"| {line.name} | {len(row['seeds']) or ''} | {row['error'][0]:.3f} "
            f"| {100 * row['passed'][0]:.0f} % ({passed}) "
            f"| {row['gap_closed']:.2f} ({row['gap_closed_low']:.2f} to "
            f"{row['gap_closed_high']:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def draw(axes: Any, found: list[tuple[Line, dict[str, Any]]]) -> None:
    """Gap closed and its interval, a bar a method; the shipped adapter in another colour."""
    shown = [
        (line, row) for line, row in found if line.method not in ("true-through-vae", "frozen")
    ]
    for line, row in shown:
        value, low, high = (row[k] for k in ("gap_closed", "gap_closed_low", "gap_closed_high"))
        name = line.name.strip("*").replace(", half", ",\nhalf")
        axes.barh(
            name,
            value,
            xerr=[[value - low], [high - value]],
            color="#1d4ed8" if "**" in line.name else "#94a3b8",
            ecolor="#111827",
            capsize=3,
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xlim(-0.05, 1.05)
    axes.set_xticks(
        [0, 0.25, 0.5, 0.75, 1], ["frozen\ngenerator", "", "half of\nthe gap", "", "true\nclips"]
    )
    axes.tick_params(labelsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()


def with_table(readme: str, text: str) -> str:
    """A README with the table between its markers brought up to date."""
    before, rest = readme.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{text}{END}{after}"


def write(root: Path) -> None:
    """Write the chart and the table of the project in `root`."""
    picture(root / "docs" / "results.png", lambda axes: draw(axes, rows(root)), width=8, height=4.2)
    readme = root / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8"), table(root)), encoding="utf-8")
    log.info("wrote docs/results.png and the table in README.md")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(Path.cwd())
