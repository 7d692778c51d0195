"""What a run's folder says and keeps of it, and how a run goes on from there."""

import json
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pila.errors import InputError
from pila.files import atomic_write, clear_left_over
from pila.provenance import commit
from pila.train import checkpoint, zero
from pila.train.config import TrainConfig, with_whole_model

log = logging.getLogger(__name__)


def begin(output: Path, config: TrainConfig) -> None:
    """Say in the folder what is trained, and by which code.

    Raises:
        InputError: the folder cannot be written.
    """
    clear_left_over(output)
    for name, text in (
        ("config.json", json.dumps(config.as_saved(), indent=1)),
        ("commit", commit() + "\n"),
    ):
        with atomic_write(output / name) as part:
            part.write_text(text)


def machine(accelerator: Accelerator) -> str:
    """Where a run computes, as a rate that was measured there is told."""
    if accelerator.device.type == "cuda":
        return torch.cuda.get_device_name(accelerator.device)
    return f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}"


def state_of(
    module: nn.Module,
    optimizers: list[Any],
    ordered: list[nn.Parameter],
    average: dict[str, Tensor],
    resting: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """What a checkpoint holds; under ZeRO all processes bring their pieces together."""
    weights = dict(module.state_dict())
    if zero.is_used():
        weights |= zero.full_weights(module, resting)
        packed = zero.gather(optimizers[0], ordered)
    else:
        packed = checkpoint.pack_optimizers(optimizers)
    tensors = {f"model.{k}": v for k, v in weights.items()}
    return tensors | {f"average.{k}": v for k, v in average.items()} | packed


def resume(
    output: Path,
    config: TrainConfig,
    module: nn.Module,
    optimizers: list[Any],
    accelerator: Accelerator,
) -> tuple[int, dict[str, Tensor]]:
    """The step to go on from and the checkpoint's tensors; 0 and none without a checkpoint."""
    if accelerator.is_main_process:
        checkpoint.repair(output / "checkpoints")
    accelerator.wait_for_everyone()
    found = checkpoint.latest(output / "checkpoints")
    if found is None:
        return 0, {}
    tensors, record = found
    mine = config.as_saved()
    was = with_whole_model(record.get("config", {}))
    if was != mine:
        changed = [k for k in mine if was.get(k) != mine[k]]
        raise InputError(
            f"{output} holds a checkpoint of another config ({', '.join(changed)} differ); "
            "choose another --output, or delete that folder"
        )
    module.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    if not zero.is_used():
        checkpoint.unpack_optimizers(optimizers, tensors)
    log.info("resuming %s at step %d", output, record["step"])
    if record["processes"] != accelerator.num_processes:
        log.warning(
            "%s was trained by %d processes and goes on with %d: samples and noise stay the same, "
            "sums round differently, so that weights are not bit for bit those of a straight run",
            output,
            record["processes"],
            accelerator.num_processes,
        )
    return record["step"], tensors
