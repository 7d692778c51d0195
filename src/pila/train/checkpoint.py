"""Checkpoints: one safetensors file and one JSON file in a folder that appears whole or not."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pila.errors import InputError

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
    try:
        final = _write(folder, step, tensors, record)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"the checkpoint of step {step} could not be written into {folder} ({error}): free "
            "space, then run the same command again; the checkpoints before it are whole"
        ) from error
    _keep_best(folder, final, record.get("validation"))
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old)
    return final


def _write(folder: Path, step: int, tensors: dict[str, Tensor], record: dict[str, Any]) -> Path:
    final = folder / f"step-{step:08d}"
    beside = folder / f".{final.name}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    # Copied, since tied weights share memory, which safetensors refuses to store twice; off the
    # accelerator, which has no room for a second of each.
    save_file(
        {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()},
        beside / "state.safetensors",
    )
    (beside / "record.json").write_text(json.dumps(record | {"step": step}, indent=1))
    for file in beside.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    if final.exists():
        shutil.rmtree(final)
    return beside.rename(final)


def _keep_best(folder: Path, made: Path, validation: float | None) -> None:
    """Let a checkpoint take the place of the best one if it is better."""
    best, beside = folder / BEST, folder / f".{BEST}.partial"
    if validation is None:
        return
    if best.is_dir():
        held = json.loads((best / "record.json").read_text())["validation"]
        if held <= validation:
            return
    shutil.rmtree(beside, ignore_errors=True)
    # The same files under another name: a checkpoint is never written into again.
    shutil.copytree(made, beside, copy_function=_linked)
    shutil.rmtree(best, ignore_errors=True)
    beside.rename(best)


def _linked(source: str, place: str) -> None:
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
        record = json.loads((found[-1] / "record.json").read_text())
        return load_file(found[-1] / "state.safetensors"), record
    except Exception as error:
        raise InputError(
            f"checkpoint {found[-1]} cannot be read ({error}); delete it to go on from "
            "the one before"
        ) from error


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
