"""The shift of a flow scheduler's noise levels, for one sampling."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pila.pipelines.repository import read_json

NAMES = ("flow_shift", "shift")
"""What schedulers call it: UniPC and DPM-Solver, and FlowMatchEuler."""


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The configuration of a repository's scheduler.

    Raises:
        InputError: it cannot be read.
    """
    return read_json(folder / "scheduler" / "scheduler_config.json")


def shift_name(config: Mapping[str, Any]) -> str | None:
    """What a scheduler's configuration calls the shift; None where it has none."""
    return next((name for name in NAMES if config.get(name) is not None), None)


@contextmanager
def shifted_noise(pipeline: Any, shift: float | None) -> Iterator[None]:
    """Inside, the pipeline's scheduler shifts noise levels by so much; None leaves it alone.

    Args:
        pipeline: a diffusers pipeline whose scheduler has a shift.
        shift: 1 spreads noise levels evenly, more moves them towards noise.
    """
    if shift is None:
        yield
        return
    own = pipeline.scheduler
    name = shift_name(own.config)
    assert name is not None, "checked by pila.generate.plan"
    pipeline.scheduler = type(own).from_config(own.config, **{name: shift})
    try:
        yield
    finally:
        pipeline.scheduler = own
