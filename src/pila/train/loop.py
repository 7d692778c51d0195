"""The training loop: steps, schedule, averaged weights, checkpoints, metrics; nothing else.

A step's random numbers come from (seed, step, process) alone, so that a resumed run repeats a
straight one bit for bit and a checkpoint holds no generator states.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, distributed, nn

from pila.errors import InputError
from pila.provenance import commit
from pila.train import checkpoint
from pila.train.config import OptimConfig, TrainConfig

log = logging.getLogger(__name__)

TAIL = 0.25
"""Share of the steps over which the learning rate falls where it does not fall from the start."""


class Task(Protocol):
    """What is trained: its module, its loss, and what it leaves behind."""

    @property
    def module(self) -> nn.Module:
        """What is trained; all its parameters are clipped, averaged and kept in checkpoints."""
        ...

    def groups(self) -> list[dict]:
        """AdamW parameter groups; one may carry `lr_scale`."""
        ...

    def loss(self, step: int, rng: torch.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """The loss [] of one batch, and figures for the log; randomness comes from `rng` alone."""
        ...

    def export(self, folder: Path) -> Path:
        """Write the finished module, whole or not at all; returns where."""
        ...


def fit(
    task: Task,
    config: TrainConfig,
    output: Path,
    *,
    max_steps: int | None = None,
    checkpoint_every: int = 500,
    progress: bool = True,
) -> Path | None:
    """Train `task`, resuming from `output` where it holds a checkpoint of the same config.

    Args:
        task: what is trained.
        config: the run; saved as `config.json`.
        output: the run's folder.
        max_steps: stop (with a checkpoint) after this step; the schedule stays the recipe's.
        checkpoint_every: steps between checkpoints.
        progress: one progress bar on a terminal.

    Returns:
        Where the finished module lies, or None when `max_steps` stopped it before the end.

    Raises:
        InputError: a checkpoint of another config.
        FloatingPointError: a loss that is not finite, with the step.
    """
    optim = config.optim
    if optim.batch % num_processes():
        raise InputError(
            f"optim.batch is {optim.batch}; it must be a multiple of the {num_processes()} "
            "processes"
        )
    groups = [{"lr_scale": 1.0, **g, "params": list(g["params"])} for g in task.groups()]
    optimizer = torch.optim.AdamW(
        groups, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay
    )
    trained = dict(task.module.named_parameters())
    average = {name: p.detach().clone() for name, p in trained.items()}
    start = _resume(output, config, task.module, optimizer, average)
    first = rank() == 0
    if first:
        _begin(output, config)
    last = min(optim.steps, max_steps or optim.steps)
    metrics_path = output / "metrics.jsonl" if first else Path(os.devnull)
    with metrics_path.open("a") as metrics_file, _bar(start, last, progress and first) as bar:
        for step in range(start, last):
            draw = (config.seed * 1_000_003 + step) * num_processes() + rank()
            rng = torch.Generator().manual_seed(draw)
            for group in optimizer.param_groups:
                group["lr"] = optim.lr * group["lr_scale"] * schedule(step, optim)
            loss, metrics = task.loss(step, rng)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss.item()} at step {step} of {config.task} "
                    f"({dict(metrics)}); the last checkpoint is kept in {output / 'checkpoints'}"
                )
            task.module.zero_grad(set_to_none=True)
            loss.backward()
            average_gradients(task.module)
            norm = nn.utils.clip_grad_norm_(task.module.parameters(), optim.clip)
            optimizer.step()
            if optim.ema:
                # A short memory at first: an average of the random start is of no use.
                decay = min(optim.ema, (1 + step) / (10 + step))
                for name, p in trained.items():
                    average[name].lerp_(p.detach(), 1 - decay)
            if step % 20 == 0 or step == last - 1:
                row = {"step": step, "loss": loss.item(), "grad_norm": norm.item(), **metrics}
                metrics_file.write(json.dumps(row) + "\n")
                metrics_file.flush()
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            bar.update()
            if first and ((step + 1) % checkpoint_every == 0 or step == last - 1):
                _checkpoint(output, config, task.module, optimizer, average, step + 1)
    if last < optim.steps or not first:
        return None
    if optim.ema:
        with torch.no_grad():
            for name, p in trained.items():
                p.copy_(average[name])
    return task.export(output)


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over processes, in one message; alone, do nothing."""
    if num_processes() == 1:
        return
    # A part that no sample of this process reached has its share of the mean all the same.
    for p in module.parameters():
        if p.requires_grad and p.grad is None:
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= num_processes()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def num_processes() -> int:
    """How many processes train together (torchrun's world size)."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is; rank 0 alone writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def schedule(step: int, optim: OptimConfig) -> float:
    """Learning-rate factor: linear warm-up, then `optim.decay` down to `final_lr`."""
    warm = min(1.0, (step + 1) / max(1, optim.warmup))
    done = step / max(1, optim.steps)
    if optim.decay == "cosine":
        left = 0.5 * (1 + math.cos(math.pi * done))
    else:
        left = min(1.0, (1 - done) / TAIL)
    return warm * (optim.final_lr + (1 - optim.final_lr) * left)


def _begin(output: Path, config: TrainConfig) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text(json.dumps(asdict(config), indent=1))
    (output / "commit").write_text(commit() + "\n")


def _checkpoint(
    output: Path,
    config: TrainConfig,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
) -> None:
    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    tensors |= checkpoint.pack_optimizer(optimizer)
    record = {"config": json.loads(json.dumps(asdict(config)))}
    checkpoint.save(output / "checkpoints", step, tensors, record)


def _resume(
    output: Path,
    config: TrainConfig,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> int:
    found = checkpoint.latest(output / "checkpoints")
    if found is None:
        return 0
    tensors, record = found
    mine = json.loads(json.dumps(asdict(config)))
    if record["config"] != mine:
        changed = [k for k in mine if record["config"].get(k) != mine[k]]
        raise InputError(
            f"{output} holds a checkpoint of another config ({', '.join(changed)} differ); "
            "choose another --output, or delete that folder"
        )
    module.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    for name in average:
        average[name] = tensors[f"average.{name}"]
    checkpoint.unpack_optimizer(optimizer, tensors)
    log.info("resuming %s at step %d", output, record["step"])
    return record["step"]


def _bar(start: int, last: int, progress: bool):
    from tqdm import tqdm

    return tqdm(
        total=last, initial=start, unit="step", disable=not (progress and sys.stderr.isatty())
    )
