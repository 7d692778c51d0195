"""The training loop: steps, schedule, averaged weights, checkpoints, metrics; nothing else.

Processes, precision and accumulation are accelerate's; what a step draws comes from `Draws`, so
that a resumed run repeats a straight one bit for bit and a checkpoint holds no generator states.
"""

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    broadcast_object_list,
)
from torch import Tensor, nn

from pila.errors import InputError
from pila.progress import progress_bar
from pila.provenance import commit
from pila.train import checkpoint, zero
from pila.train.config import OptimConfig, TrainConfig, with_whole_model
from pila.train.draws import Draws, rows_of
from pila.train.optimizer import make_optimizers

log = logging.getLogger(__name__)

TAIL = 0.25
"""Share of the steps over which the learning rate falls where it does not fall from the start."""

LOG_EVERY = 20
"""Steps between the lines of metrics.jsonl."""


Figures = Mapping[str, float | Tensor]
"""What a step has to say, by name. Tensors [] are read only where a line is written: reading one
waits for the accelerator. One that is NaN says nothing."""


class Task(Protocol):
    """What is trained: its module, its loss, and what it leaves behind."""

    @property
    def module(self) -> nn.Module:
        """What is trained; all its parameters are clipped, averaged and kept in checkpoints."""
        ...

    def groups(self) -> list[dict]:
        """Parameter groups, as `make_optimizers` takes them."""
        ...

    def loss(self, draws: Draws) -> tuple[Tensor, Figures]:
        """The mean loss [] of the drawn rows, and figures for the log."""
        ...

    def validate(self) -> float | None:
        """A loss on clips that are never trained on: the best checkpoint is kept by it; or None."""
        ...

    def export(self, folder: Path) -> Path:
        """Write the finished module, whole or not at all; returns where."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A task that can say more of a step whose loss is not finite."""

    def explain(self, draws: Draws) -> str:
        """Which clips the rows are, and where a value stops being finite."""
        ...


class Step(nn.Module):
    """A task's loss as a forward pass, which is what DDP and DeepSpeed wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module = task.module
        self._loss = task.loss

    def forward(self, draws: Draws) -> tuple[Tensor, Figures]:
        """As `Task.loss`."""
        return self._loss(draws)


def make_accelerator(optim: OptimConfig) -> Accelerator:
    """Devices, processes and precision of a run, from the launcher's environment and the config.

    Raises:
        InputError: a batch that the processes and micro-batches cannot share evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro = optim.held(processes)
    if optim.batch % (processes * micro):
        raise InputError(
            f"optim.batch is {optim.batch}; it must be a multiple of {processes} processes x "
            f"{micro} samples in a forward (optim.micro_batch): pass --set optim.batch=N"
        )
    if optim.precision == "fp16" and optim.optimizer == "muon":
        raise InputError(
            "optim.precision is fp16 and optim.optimizer muon; two optimizers would both take the "
            "loss's scale off the gradients: use bf16, or adamw"
        )
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise InputError(
            "the launcher asks for FSDP, whose pieces of weights no checkpoint here knows; leave "
            "--use_fsdp out, or use DeepSpeed's ZeRO-2 (docs/training.md)"
        )
    # accelerate keeps one precision a process; runs in a row may have different ones.
    AcceleratorState._reset_state()
    # A micro-batch need not reach every expert.
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    on_cpu = not torch.cuda.is_available()
    if zero.is_used() and on_cpu:
        handlers.append(InitProcessGroupKwargs(backend="gloo"))
    accelerator = Accelerator(
        # Told of a CPU, accelerate would leave DeepSpeed out.
        cpu=on_cpu and not zero.is_used(),
        mixed_precision=optim.precision,
        gradient_accumulation_steps=optim.batch // (processes * micro),
        kwargs_handlers=handlers,
    )
    if zero.is_used():
        zero.set_up(accelerator, optim, micro)
    return accelerator


def fit(
    task: Task,
    config: TrainConfig,
    output: Path,
    *,
    accelerator: Accelerator | None = None,
    max_steps: int | None = None,
    checkpoint_every: int = 500,
    progress: bool = True,
) -> Path | None:
    """Train `task`, resuming from `output` where it holds a checkpoint of the same config.

    Args:
        task: what is trained.
        config: the run; saved as `config.json`.
        output: the run's folder.
        accelerator: from `make_accelerator`, which makes one unless it is given.
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
    accelerator = accelerator or make_accelerator(optim)
    # Muon holds views of kernels, so that they must lie where they stay.
    task.module.to(accelerator.device)
    groups = [{"lr_scale": 1.0, **g, "params": list(g["params"])} for g in task.groups()]
    optimizers = make_optimizers(groups, optim)
    module = task.module
    ordered = [p for group in groups for p in group["params"]]
    start, kept = _resume(output, config, module, optimizers, accelerator)
    resting = zero.resting(module, ordered) if zero.is_used() else {}
    forward, *optimizers = accelerator.prepare(Step(task), *optimizers)
    if zero.is_used():
        zero.spread(optimizers[0], ordered, kept)
    trained = dict(module.named_parameters())
    average: dict[str, Tensor] = {}
    if optim.ema:
        average = {
            name: kept[f"average.{name}"].to(p.device) if kept else p.detach().clone()
            for name, p in trained.items()
        }
    first = accelerator.is_main_process
    if first:
        _begin(output, config)
    last = min(optim.steps, max_steps or optim.steps)
    processes = accelerator.num_processes
    micro = optim.batch // (processes * accelerator.gradient_accumulation_steps)
    metrics_path = output / "metrics.jsonl" if first else Path(os.devnull)
    with metrics_path.open("a") as metrics_file, _bar(start, last, progress and first) as bar:
        for step in range(start, last):
            for group in (group for each in optimizers for group in each.param_groups):
                group["lr"] = optim.lr * group["lr_scale"] * schedule(step, optim)
            parts = rows_of(
                config.seed,
                step,
                optim.batch,
                process=accelerator.process_index,
                processes=processes,
                micro=micro,
            )
            losses: list[Tensor] = []
            figures: list[Figures] = []
            norm: Any = 0.0
            for draws in parts:
                with accelerator.accumulate(forward):
                    loss, metrics = forward(draws)
                    accelerator.backward(loss)
                    losses.append(loss.detach())
                    figures.append(metrics)
                    if accelerator.sync_gradients:
                        norm = accelerator.clip_grad_norm_(forward.parameters(), optim.clip)
                        with accelerator.autocast():
                            _check_finite(losses, norm, task, config, parts, output)
                    for optimizer in optimizers:
                        optimizer.step()
                        optimizer.zero_grad(set_to_none=True)
            if optim.ema:
                # A short memory at first: an average of the random start is of no use.
                decay = min(optim.ema, (1 + step) / (10 + step))
                for name, p in trained.items():
                    average[name].lerp_(p.detach(), 1 - decay)
            if step % LOG_EVERY == 0 or step == last - 1:
                mean: Any = accelerator.reduce(torch.stack(losses).mean(), "mean")
                total = mean.item()
                row = {"step": step, "loss": total, "grad_norm": float(norm), **_mean(figures)}
                metrics_file.write(json.dumps(row) + "\n")
                metrics_file.flush()
                bar.set_postfix(loss=f"{total:.4f}", refresh=False)
            bar.update()
            if (step + 1) % checkpoint_every == 0 or step == last - 1:
                state = _state(module, optimizers, ordered, average, resting)
                if first:
                    with accelerator.autocast():
                        validation = task.validate()
                    record = {
                        "config": config.as_saved(),
                        "processes": processes,
                        "validation": validation,
                    }
                    checkpoint.save(output / "checkpoints", step + 1, state, record)
                accelerator.wait_for_everyone()
    if last < optim.steps:
        return None
    last_ones = average
    if zero.is_used() and not optim.ema:
        last_ones = zero.full_weights(module, resting)
    with torch.no_grad():
        for name, p in trained.items():
            if name in last_ones:
                p.data = last_ones[name].to(p.device)
    left = [task.export(output) if first else None]
    return broadcast_object_list(left)[0]


def _check_finite(
    losses: list[Tensor],
    norm: Any,
    task: Task,
    config: TrainConfig,
    parts: list[Draws],
    output: Path,
) -> None:
    """Stop before a step that would make every weight NaN, where the cause can still be seen.

    The one place of a step that waits for an accelerator.
    """
    watched = list(losses)
    # With float16 the scaler meets such gradients by itself, and leaves their steps out.
    if norm is not None and config.optim.precision != "fp16":
        watched.append(torch.as_tensor(norm, device=losses[0].device, dtype=losses[0].dtype))
    if torch.isfinite(torch.stack(watched)).all():
        return
    where = f"the last checkpoint is kept in {output / 'checkpoints'}"
    for draws, loss in zip(parts, losses, strict=True):
        if not torch.isfinite(loss):
            said = task.explain(draws) if isinstance(task, Explains) else ""
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {draws.step} of {config.task}, samples "
                f"{draws.rows.start} to {draws.rows.stop - 1}{said and f' ({said})'}; {where}"
            )
    raise FloatingPointError(
        f"the loss is finite and its gradient is not (norm {watched[-1].item()}) at step "
        f"{parts[0].step} of {config.task}; {where}. Where optim.precision is bf16, try no"
    )


def _mean(figures: list[Figures]) -> dict[str, float]:
    """Figures averaged over the micro-batches that have them."""
    names = dict.fromkeys(name for one in figures for name in one)
    found = {name: [float(one[name]) for one in figures if name in one] for name in names}
    there = {name: [x for x in values if not math.isnan(x)] for name, values in found.items()}
    return {name: sum(values) / len(values) for name, values in there.items() if values}


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
    (output / "config.json").write_text(json.dumps(config.as_saved(), indent=1))
    (output / "commit").write_text(commit() + "\n")


def _state(
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


def _resume(
    output: Path,
    config: TrainConfig,
    module: nn.Module,
    optimizers: list[Any],
    accelerator: Accelerator,
) -> tuple[int, dict[str, Tensor]]:
    """The step to go on from and the checkpoint's tensors; 0 and none without a checkpoint."""
    found = checkpoint.latest(output / "checkpoints")
    if found is None:
        return 0, {}
    tensors, record = found
    mine = config.as_saved()
    was = with_whole_model(record["config"])
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


def _bar(start: int, last: int, progress: bool):
    return progress_bar(total=last, initial=start, unit="step", shown=progress)
