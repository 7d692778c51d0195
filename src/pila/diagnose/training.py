"""Curves of all stages of a run from its metrics.jsonl, with stage ends, resumes and bad numbers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pila.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.diagnose.metrics import Metrics, read_metrics, smoothed
from pila.diagnose.run_folder import Run, Stage
from pila.diagnose.style import (
    CATEGORY_COLOURS,
    FIRST,
    GRID,
    INK,
    LINES,
    QUIET,
    SECOND,
    THIRD,
    grid,
    words,
)
from pila.errors import InputError
from pila.physics.layout import Category, Slot

LAST = 5
"""Logged values that the table's last one is the mean of; a step's batch is small."""
COLOURS = (FIRST, SECOND, THIRD, "#cc79a7", "#e69f00", "#56b4e9", INK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """All stages on one axis, one after another."""

    stages: tuple[Stage, ...]
    metrics: tuple[Metrics, ...]

    @property
    def starts(self) -> list[int]:
        """The step on the common axis at which each stage begins."""
        return [0, *np.cumsum([m.steps for m in self.metrics])[:-1].tolist()]

    @property
    def end(self) -> int:
        """The last step on the common axis."""
        return sum(m.steps for m in self.metrics)

    def of(self, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """A figure's steps on the common axis and values, for each stage that has it."""
        found = []
        for start, metrics in zip(self.starts, self.metrics, strict=True):
            steps, values = metrics.series(name)
            if len(steps):
                found.append((steps + start, values))
        return found

    def names(self, belongs: Callable[[str], bool]) -> list[str]:
        """Figures of any stage of that kind."""
        return [n for n in dict.fromkeys(n for m in self.metrics for n in m.names) if belongs(n)]

    def marks(self, kind: str) -> list[int]:
        """Steps on the common axis with a `resumes` or `non_finite` mark."""
        pairs = zip(self.starts, self.metrics, strict=True)
        return [start + step for start, m in pairs for step in getattr(m, kind)]


def diagnose(run: Run) -> Diagnosis:
    """Read the metrics of every stage of a run.

    Raises:
        InputError: a bare adapter, or no stage has logged a step.
    """
    if not run.stages:
        raise InputError(
            f"{run.folder} is an adapter alone and has no metrics; pass the run that made it "
            "(with config.json and metrics.jsonl, as `pila train` writes them)"
        )
    begun = tuple(s for s in run.stages if s.metrics.is_file())
    # With no stage begun, the first one's own message says what is missing.
    curves = Curves(
        stages=begun or run.stages[:1],
        metrics=tuple(read_metrics(s.metrics) for s in begun or run.stages[:1]),
    )
    return Diagnosis(
        name="training",
        title="Training",
        about=_about(curves),
        numbers=_numbers(curves),
        pictures=_pictures(curves),
        tables=(_summary(curves), _marks(curves), _every_value(curves)),
    )


def _about(curves: Curves) -> str:
    parts = [
        f"{stage.name}: {m.steps} of {_planned(stage)} steps of {_batch(stage)} clips"
        for stage, m in zip(curves.stages, curves.metrics, strict=True)
    ]
    return (
        f"{'; '.join(parts)}. Thin: each logged step, one batch; bold: running mean over "
        "5 logged steps."
    )


def _planned(stage: Stage) -> Any:
    return stage.config.get("optim", {}).get("steps", "?")


def _batch(stage: Stage) -> Any:
    return stage.config.get("optim", {}).get("batch", "?")


def _numbers(curves: Curves) -> dict[str, Any]:
    return {
        "stages": [
            {
                "name": stage.name,
                "task": stage.config["task"],
                "commit": stage.commit,
                "steps": m.steps,
                "planned": _planned(stage),
                "best": _best(stage),
                "resumes": list(m.resumes),
                "unreadable_lines": list(m.unreadable),
                "non_finite": {step: list(names) for step, names in m.non_finite.items()},
                "last": {name: _last(m, name) for name in m.names},
            }
            for stage, m in zip(curves.stages, curves.metrics, strict=True)
        ]
    }


def _best(stage: Stage) -> dict[str, Any] | None:
    """Step and validation loss of the best checkpoint, where one was validated."""
    path = stage.folder / "checkpoints" / "best" / "record.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    return {"step": record["step"], "validation": record["validation"]}


def _last(metrics: Metrics, name: str) -> float:
    values = metrics.series(name)[1][-LAST:]
    return float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan


def _summary(curves: Curves) -> Table:
    rows = []
    for stage, m in zip(curves.stages, curves.metrics, strict=True):
        for name in m.names:
            values = m.series(name)[1]
            known = values[np.isfinite(values)]
            least, most = (known.min(), known.max()) if len(known) else (np.nan, np.nan)
            figures = (float(values[0]), _last(m, name), float(least), float(most))
            rows.append((stage.name, name, *figures))
    title = f"First value, mean of the last {LAST}, least and largest"
    return Table(
        name="training-summary",
        title=title,
        columns=("stage", "figure", "first", "last", "least", "largest"),
        rows=rows,
    )


def _marks(curves: Curves) -> Table:
    rows: list[tuple[Any, ...]] = []
    for stage, m in zip(curves.stages, curves.metrics, strict=True):
        best = _best(stage)
        if best:
            what = f"best checkpoint, validation loss {best['validation']:.4g}"
            rows.append((stage.name, best["step"], what))
        rows += [(stage.name, step, "went on after a stop") for step in m.resumes]
        rows += [(stage.name, s, f"not finite: {', '.join(n)}") for s, n in m.non_finite.items()]
        rows += [(stage.name, None, f"line {n} is not whole") for n in m.unreadable]
    return Table(
        name="training-marks",
        title="Marks",
        columns=("stage", "step", "what happened"),
        rows=rows or [("", None, "nothing")],
    )


def _every_value(curves: Curves) -> Table:
    names = curves.names(lambda name: True)
    rows = [
        (stage.name, int(row["step"]), start + int(row["step"]), *(row.get(n) for n in names))
        for start, stage, m in zip(curves.starts, curves.stages, curves.metrics, strict=True)
        for row in m.rows
    ]
    columns = ("stage", "step", "step_of_all", *names)
    return Table(name="training", title="Every value", columns=columns, rows=rows, shown=False)


def _pictures(curves: Curves) -> list[Picture]:
    """The figures that these metrics allow."""
    found = [
        Picture(
            name="training-loss",
            title="Losses and gradient",
            look="Within a stage each part of the loss falls or levels off and the gradient norm "
            "stays bounded; the whole loss may rise in recover, where every slot that wakes adds "
            "terms to it.",
            alt=_alt(curves, ("loss", "grad_norm")),
            draw=partial(_draw_loss, curves),
        )
    ]
    if curves.names(lambda n: n.startswith("std_")):
        found.append(
            Picture(
                name="training-bank",
                title="Slots of the bank",
                look="No slot's spread falls to zero (collapse) or grows without end; a variance "
                "kept of 1 is that before the stage's first step.",
                alt=_alt(curves, [f"std_{s}" for s in Slot]),
                draw=partial(_draw_bank, curves),
            )
        )
    if curves.names(lambda n: "." in n):
        found.append(
            Picture(
                name="training-relations",
                title="Residuals of every relation",
                look="Scores fall below 1, where nothing balances a relation, without a slot's "
                "collapse in the figure before.",
                alt=_alt(curves, curves.names(lambda n: "." in n)),
                draw=partial(_draw_relations, curves),
            )
        )
    if curves.names(lambda n: n.startswith("use_")):
        found.append(
            Picture(
                name="training-routing",
                title="Use of the experts",
                look="All eight experts keep a share; one that takes all, or the weight on the "
                "clips' own categories falling, is a router that has collapsed.",
                alt=_alt(curves, ["routed_label_weight", *(f"use_{c}" for c in Category)]),
                draw=partial(_draw_routing, curves),
            )
        )
    if curves.names(lambda n: n == "correction"):
        found.append(
            Picture(
                name="training-correction",
                title="The correction, by noise level",
                look="The correction grows from zero and stays small beside v, and the flow error "
                "with it falls below the frozen generator's (a ratio under 1).",
                alt=_alt(curves, ("correction", "correction_high", "correction_low")),
                draw=partial(_draw_correction, curves),
            )
        )
    return found


def _alt(curves: Curves, names: Sequence[str]) -> str:
    """From where to where each curve goes, in words."""
    parts = []
    for stage, m in zip(curves.stages, curves.metrics, strict=True):
        own = [n for n in names if n in m.names]
        moved = [f"{words(n)} {m.series(n)[1][0]:.3g} to {_last(m, n):.3g}" for n in own]
        if moved:
            parts.append(f"{stage.name}, {m.steps} steps: {', '.join(moved)}")
    return "Curves over training steps. " + "; ".join(parts) + "."


def _curve(axes: Any, curves: Curves, name: str, colour: str, style: str = "-") -> bool:
    """Every logged value thin, the running mean bold; whether there was anything to draw."""
    parts = curves.of(name)
    for steps, values in parts:
        axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.35)
        axes.plot(steps, smoothed(values), color=colour, linestyle=style)
    return bool(parts)


def _line(name: str, colour: str, style: str = "-") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=words(name))


def _several(axes: Any, curves: Curves, names: Mapping[str, str], *, log: bool = True) -> None:
    """Some curves in one panel, with a legend of `names` {figure: label}."""
    lines = []
    for i, (name, label) in enumerate(names.items()):
        look = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        if _curve(axes, curves, name, *look):
            lines.append(_line(label, *look))
    positive = all((np.nan_to_num(v, nan=1) > 0).all() for n in names for _, v in curves.of(n))
    axes.set_yscale("log" if log and positive else "linear")
    if lines:
        axes.legend(handles=lines, ncols=1 if len(lines) < 5 else 2)


def _frame(axes: Any, curves: Curves, *, names: bool, x: bool) -> None:
    """Stage ends, resumes and steps with bad numbers; the whole run on the x axis."""
    axes.set_xlim(0, curves.end)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for start, stage in zip(curves.starts, curves.stages, strict=True):
        if start:
            axes.axvline(start, color=QUIET, linewidth=0.8)
        if names:
            axes.annotate(
                stage.name,
                (start, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize=6.5,
                color=QUIET,
            )
    for step in curves.marks("resumes"):
        axes.axvline(step, color=THIRD, linewidth=0.8, linestyle=":")
    for step in curves.marks("non_finite"):
        axes.axvline(step, color=SECOND, linewidth=0.8, linestyle="--")
    if x:
        axes.set_xlabel(_x_label(curves))


def _x_label(curves: Curves, *, ends: bool = False) -> str:
    label = "training step" + (", all stages in a row" if len(curves.stages) > 1 else "")
    if ends and len(curves.stages) > 1:
        label += ": " + ", ".join(s.name for s in curves.stages)
    resumes, bad = len(curves.marks("resumes")), len(curves.marks("non_finite"))
    notes = [f"dotted green: {resumes} x resumed"] * bool(resumes)
    notes += [f"dashed orange: {bad} x not finite"] * bool(bad)
    return f"{label} ({'; '.join(notes)})" if notes else label


def _draw_loss(curves: Curves) -> Any:
    known = ("loss", "grad_norm", "flow", "flow_frozen", "residual", "routed_label_weight")
    beside = curves.names(
        lambda n: not (n in known or "." in n or n.startswith(("std_", "kept_", "use_", "corr")))
    )
    residual = curves.names(lambda n: n == "residual")
    rows = 2 + bool(beside or residual)
    figure, axes = grid(rows, 1, height=1.3 + 1.35 * rows, sharex=True)
    panels = list(axes[:, 0])
    _several(panels[0], curves, {"loss": "loss"})
    panels[0].set_ylabel("loss")
    _several(panels[1], curves, {"grad_norm": "norm before clipping"})
    panels[1].set_ylabel("gradient norm")
    said = None
    for start, stage, m in zip(curves.starts, curves.stages, curves.metrics, strict=True):
        clip = stage.config.get("optim", {}).get("clip")
        if clip:
            panels[1].hlines(clip, start, start + m.steps, color=QUIET, linewidth=0.8)
        if clip and clip != said:
            said, offset = clip, {"xytext": (2, 2), "textcoords": "offset points"}
            panels[1].annotate(f"clipped at {clip:g}", (start, clip), fontsize=6, **offset)
    if rows > 2:
        shown = [*beside, *residual]
        _several(panels[2], curves, {n: n.replace("anchor_", "anchor of ") for n in shown})
        panels[2].set_ylabel("parts of the loss,\nother figures")
        handles = panels[2].get_legend().legend_handles
        panels[2].get_legend().remove()
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
    for i, panel in enumerate(panels):
        if i < 2 and panel.get_legend():
            panel.get_legend().remove()
        _frame(panel, curves, names=i == 0, x=i == rows - 1)
    return figure


def _draw_bank(curves: Curves) -> Any:
    figure, axes = grid(2, 5, height=3.3, sharex=True, sharey=True)
    for panel, slot in zip(axes.flat, Slot, strict=True):
        _curve(panel, curves, f"std_{slot}", FIRST)
        _curve(panel, curves, f"kept_{slot}", SECOND, "--")
        panel.set_yscale("log")
        panel.set_title(words(slot))
        _frame(panel, curves, names=False, x=False)
        panel.axhline(1, color=INK, linewidth=0.5)
        panel.locator_params(axis="x", nbins=3)
    figure.supxlabel(_x_label(curves, ends=True), fontsize=7.5)
    figure.supylabel("spread", fontsize=7.5)
    figure.legend(
        handles=[
            _line("standard deviation [latent units]", FIRST),
            _line("variance kept, over that at the stage's start", SECOND, "--"),
        ],
        loc="outside upper center",
        ncols=2,
    )
    return figure


def _draw_relations(curves: Curves) -> Any:
    figure, axes = grid(2, 4, height=4.6, sharex=True, sharey=True)
    for panel, category in zip(axes.flat, Category, strict=True):
        own = curves.names(lambda n, c=category: n.startswith(f"{c}."))
        _several(panel, curves, {n: n.partition(".")[2] for n in own})
        panel.set_title(words(category))
        panel.axhline(1, color=INK, linewidth=0.5)
        panel.set_yscale("log")
        _frame(panel, curves, names=False, x=False)
        # Only the stages that have relations.
        parts = [steps for n in own for steps, _ in curves.of(n)]
        starts = [s for s in curves.starts if parts and s <= min(p[0] for p in parts)]
        panel.set_xlim(max(starts, default=0), curves.end)
        if panel.get_legend():
            handles = panel.get_legend().legend_handles
            panel.legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=5.5
            )
    figure.supxlabel(_x_label(curves), fontsize=7.5)
    figure.supylabel("relative residual (0 obeyed, 1 nothing to balance it)", fontsize=7.5)
    return figure


def _draw_routing(curves: Curves) -> Any:
    names = [f"use_{c}" for c in Category]
    figure, axes = grid(2, 1, height=3.9, sharex=True, height_ratios=(2, 1))
    above, below = axes[:, 0]
    for parts in zip(*(curves.of(n) for n in names), strict=True):
        steps = parts[0][0]
        above.stackplot(
            steps,
            [smoothed(values) for _, values in parts],
            colors=[CATEGORY_COLOURS[c] for c in Category],
            edgecolor="white",
            linewidth=0.3,
        )
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(color=CATEGORY_COLOURS[c], label=words(c)) for c in reversed(list(Category))],
        loc="outside right upper",
        title="expert",
    )
    above.set_ylim(0, 1)
    above.set_ylabel("mean routing weight, stacked")
    _several(below, curves, {"routed_label_weight": "on the clips' own categories"}, log=False)
    below.set_ylabel("weight on the clips'\nown categories")
    if below.get_legend():
        below.get_legend().remove()
    below.set_ylim(0, 1)
    _frame(above, curves, names=True, x=False)
    _frame(below, curves, names=False, x=True)
    first = min(parts[0][0] for parts in [curves.of(names[0])[0]])
    above.set_xlim(max(s for s in curves.starts if s <= first), curves.end)
    return figure


def _draw_correction(curves: Curves) -> Any:
    both = bool(curves.names(lambda n: n == "flow_frozen"))
    rows = 1 + both
    figure, axes = grid(rows, 1, height=1.0 + 1.5 * rows, sharex=True)
    panel = axes[0, 0]
    labels = {
        "correction": "all noise levels",
        "correction_high": "σ above 0.8",
        "correction_low": "σ up to 0.8",
    }
    _several(panel, curves, labels, log=False)
    panel.set_ylabel("RMS of the correction\nover that of v")
    panel.set_ylim(bottom=0)
    _frame(panel, curves, names=True, x=not both)
    first = min(steps[0] for steps, _ in curves.of("correction"))
    if both:
        ratio = axes[1, 0]
        for (steps, flow), (_, frozen) in zip(
            curves.of("flow"), curves.of("flow_frozen"), strict=True
        ):
            share = flow / frozen
            ratio.plot(steps, share, color=FIRST, linewidth=0.5, alpha=0.35)
            ratio.plot(steps, smoothed(share), color=FIRST)
        ratio.axhline(1, color=INK, linewidth=0.6)
        ratio.set_ylabel("flow error over the\nfrozen generator's")
        _frame(ratio, curves, names=False, x=True)
    panel.set_xlim(max(s for s in curves.starts if s <= first), curves.end)
    return figure
