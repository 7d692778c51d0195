"""Checkpoints: one safetensors file and one JSON file in a folder that appears whole or not."""

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from pila.errors import InputError
from pila.files import discard, mend_all, whole_folder, writing
from pila.json_files import Strict, read_object, reason_of

KEEP = 2
"""Checkpoints kept besides the best; the oldest go first."""
BEST = "best"
"""Folder of the checkpoint with the lowest validation loss, beside the last ones."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], record: dict[str, Any]) -> Path:
    """Write `folder/step-<step>` beside, flush it to the disk, then rename it into place.

    Where `record["validation"]` is a number below that of `folder/best`, it becomes the best.

    Raises:
        InputError: the disk is full or the folder cannot be written; earlier checkpoints stay.
    """
    final = folder / f"step-{step:08d}"
    with whole_folder(final) as beside:
        # Copied, since tied weights share memory, which safetensors refuses to store twice; off
        # the accelerator, which has no room for a second of each.
        save_file(
            {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()},
            beside / "state.safetensors",
        )
        (beside / "record.json").write_text(json.dumps(record | {"step": step}, indent=1))
    _settle(folder)
    return final


def repair(folder: Path) -> None:
    """Finish or undo what a kill has cut, so that last and best are those of an unbroken run.

    One process alone may call it.

    Raises:
        InputError: the folder cannot be written.
    """
    if folder.is_dir():
        with writing(folder):
            mend_all(folder)
        _settle(folder)


def _settle(folder: Path) -> None:
    """Let the best of the checkpoints that are there be the best, and the oldest ones go."""
    made = sorted(folder.glob("step-*"))
    for each in made:
        _keep_best(folder / BEST, each)
    with writing(folder):
        for old in made[:-KEEP]:
            discard(old)


def _keep_best(best: Path, made: Path) -> None:
    """Let a checkpoint take the place of the best one if it is better."""
    validation, held = _validation(made), _validation(best)
    if validation < held:
        with whole_folder(best) as beside:
            # The same files under another name: a checkpoint is never written into again.
            for file in made.iterdir():
                _link(file, beside / file.name)


def _validation(checkpoint: Path) -> float:
    """A checkpoint's loss on held-out clips; infinite where it has none that can be read."""
    try:
        found = read_record(checkpoint).get("validation")
    except InputError:
        return math.inf
    return math.inf if found is None else found


def _link(source: Path, place: Path) -> None:
    """A second name of a file, or a copy where the file system knows no such names."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint's tensors and record, or None where there is none.

    Raises:
        InputError: a checkpoint that cannot be read.
    """
    found = sorted(folder.glob("step-*")) if folder.is_dir() else []
    if not found:
        return None
    try:
        record = read_record(found[-1])
        return load_file(found[-1] / "state.safetensors"), record
    except Exception as error:
        raise InputError(
            f"checkpoint {found[-1]} cannot be read ({reason_of(error)}); delete it to go on from "
            "the one before"
        ) from error


class _Record(Strict):
    """A checkpoint's `record.json`."""

    step: Annotated[int, Field(ge=0, le=10**12)]
    validation: Annotated[float, Field(ge=-1e300, le=1e300)] | None = None
    config: dict[str, Any] = Field(default={})
    processes: Annotated[int, Field(ge=1, le=10**6)] = 1
    seconds_per_step: Annotated[float, Field(ge=0, le=1e9)] | None = None
    processor_seconds_per_step: Annotated[float, Field(ge=0, le=1e9)] | None = None


def read_record(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint's `record.json` says.

    Raises:
        InputError: it cannot be read, or does not say it.
    """
    return read_object(checkpoint / "record.json", _Record, remedy="delete the checkpoint's folder")


def pack_optimizers(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Optimizers' tensors under flat names; their hyperparameters belong to the config."""
    return {
        f"{prefix}.{index}.{key}": torch.as_tensor(value)
        for prefix, optimizer in _named(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def unpack_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Put tensors packed back into optimizers of the same groups."""
    for prefix, optimizer in _named(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"{prefix}."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _named(
    optimizers: Sequence[torch.optim.Optimizer],
) -> list[tuple[str, torch.optim.Optimizer]]:
    """Prefix of each optimizer's tensors; one alone is `optim`, as under ZeRO."""
    return [(f"optim{number or ''}", optimizer) for number, optimizer in enumerate(optimizers)]
