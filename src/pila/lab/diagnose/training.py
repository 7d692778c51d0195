"""What a run's metrics.jsonl say of all its stages: curves, marks, first and last values."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.metrics import Metrics, read_metrics
from pila.lab.diagnose.run_folder import Run, Stage
from pila.lab.diagnose.style import words
from pila.lab.diagnose.training_figures import (
    Curves,
    draw_bank,
    draw_correction,
    draw_loss,
    draw_relations,
    draw_routing,
)
from pila.physics.layout import Category, Slot
from pila.train.checkpoint import read_record

LAST = 5
"""Logged values that the table's last one is the mean of; a step's batch is small."""


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
    record = read_record(path.parent)
    return {"step": record["step"], "validation": record.get("validation")}


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
            draw=partial(draw_loss, curves),
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
                draw=partial(draw_bank, curves),
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
                draw=partial(draw_relations, curves),
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
                draw=partial(draw_routing, curves),
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
                draw=partial(draw_correction, curves),
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
