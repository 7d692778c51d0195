"""The curves of all stages on one axis, with stage ends, resumes and values that are no number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pila.lab.diagnose.metrics import Metrics, smoothed
from pila.lab.diagnose.run_folder import Stage
from pila.lab.diagnose.style import (
    CATEGORY_COLOURS,
    FIRST,
    INK,
    LINES,
    QUIET,
    SECOND,
    THIRD,
    grid,
    words,
)
from pila.physics.layout import Category, Slot

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

    def since(self, belongs: Callable[[str], bool]) -> int:
        """Where the first stage with such a figure begins."""
        pairs = zip(self.starts, self.metrics, strict=True)
        return min((start for start, m in pairs if any(map(belongs, m.names))), default=0)

    def marks(self, kind: str) -> list[int]:
        """Steps on the common axis with a `resumes` or `non_finite` mark."""
        pairs = zip(self.starts, self.metrics, strict=True)
        return [start + step for start, m in pairs for step in getattr(m, kind)]


def _curve(axes: Any, curves: Curves, name: str, colour: str, style: str = "-") -> bool:
    """Every logged value thin, the running mean bold; whether there was anything to draw."""
    parts = curves.of(name)
    for steps, values in parts:
        axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.35)
        axes.plot(steps, smoothed(values), color=colour, linestyle=style)
    return bool(parts)


def _line(name: str, colour: str, style: Any = "-") -> Any:
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


def _frame(axes: Any, curves: Curves, *, names: bool, x: bool, since: int = 0) -> None:
    """Stage ends, resumes and steps with bad numbers; the run from `since` on the x axis."""
    axes.set_xlim(since, curves.end)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for start, stage in zip(curves.starts, curves.stages, strict=True):
        if start:
            axes.axvline(start, color=QUIET, linewidth=0.8)
        # What lies outside the axes would be given room beside them.
        if names and start >= since:
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


def draw_loss(curves: Curves) -> Any:
    """Loss, gradient norm, and the parts of the loss, one above another."""
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


def draw_bank(curves: Curves) -> Any:
    """Spread of each slot, and the variance kept while coupling."""
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


def draw_relations(curves: Curves) -> Any:
    """Scores of the relations, a panel for each category."""
    figure, axes = grid(2, 4, height=4.6, sharex=True, sharey=True)
    since = curves.since(lambda n: "." in n)
    for panel, category in zip(axes.flat, Category, strict=True):
        own = curves.names(lambda n, c=category: n.startswith(f"{c}."))
        _several(panel, curves, {n: n.partition(".")[2] for n in own})
        panel.set_title(words(category))
        panel.axhline(1, color=INK, linewidth=0.5)
        panel.set_yscale("log")
        _frame(panel, curves, names=False, x=False, since=since)
        if panel.get_legend():
            handles = panel.get_legend().legend_handles
            panel.legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=5.5
            )
    figure.supxlabel(_x_label(curves), fontsize=7.5)
    figure.supylabel("relative residual (0 obeyed, 1 nothing to balance it)", fontsize=7.5)
    return figure


def draw_routing(curves: Curves) -> Any:
    """Shares of the experts, and the weight on the clips' own categories."""
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
        handles=[
            Patch(color=CATEGORY_COLOURS[c], label=words(c)) for c in reversed(list(Category))
        ],
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
    since = curves.since(lambda n: n in names)
    _frame(above, curves, names=True, x=False, since=since)
    _frame(below, curves, names=False, x=True, since=since)
    return figure


def draw_correction(curves: Curves) -> Any:
    """Size of the correction, and the flow error over the frozen generator's."""
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
    since = curves.since(lambda n: n == "correction")
    _frame(panel, curves, names=True, x=not both, since=since)
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
        _frame(ratio, curves, names=False, x=True, since=since)
    return figure
