"""The training loop: steps, schedule, averaged weights, checkpoints, metrics; nothing else.

Processes, precision and accumulation are accelerate's; what a step draws comes from `StepRng`, so
that a resumed run repeats a straight one bit for bit and a checkpoint holds no generator states.
"""

import json
import math
import os
import time
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
from pila.files import atomic_write
from pila.json_files import read_object
from pila.progress import progress_bar
from pila.train import checkpoint, zero
from pila.train.config import OptimConfig, TrainConfig
from pila.train.metrics import MetricsFile
from pila.train.optimizer import make_optimizers
from pila.train.state import begin, machine, resume, state_of
from pila.train.step_rng import StepRng, rows_of
from pila.train.stopping import CheckpointClock, Stopped, StopSignals

TAIL = 0.25
"""Share of the steps over which the learning rate falls where it does not fall from the start."""

RATE = "rate.json"
"""In a finished run: its steps, and how long one took on which machine."""

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

    def loss(self, draws: StepRng) -> tuple[Tensor, Figures]:
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

    def explain(self, draws: StepRng) -> str:
        """Which clips the rows are, and where a value stops being finite."""
        ...


class Step(nn.Module):
    """A task's loss as a forward pass, which is what DDP and DeepSpeed wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module = task.module
        self._loss = task.loss

    def forward(self, draws: StepRng) -> tuple[Tensor, Figures]:
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


def leave_group() -> None:
    """End the group of processes that training has begun; without it one may abort at its exit.

    gloo's threads run on while Python ends ("terminate called without an active exception").
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)


def fit(
    task: Task,
    config: TrainConfig,
    output: Path,
    *,
    accelerator: Accelerator | None = None,
    max_steps: int | None = None,
    checkpoint_every: int = 500,
    checkpoint_minutes: float = 5.0,
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
        checkpoint_minutes: minutes between further checkpoints (`CheckpointClock`); 0 is none.
        progress: one progress bar on a terminal, lines in the log elsewhere.

    Returns:
        Where the finished module lies, or None when `max_steps` stopped it before the end.

    Raises:
        InputError: a checkpoint of another config, or a full disk.
        FloatingPointError: a loss that is not finite, with the step.
        Stopped: SIGINT or SIGTERM has ended it, behind a checkpoint of the step it was in.
    """
    run = _Run(task, config, output, accelerator or make_accelerator(config.optim))
    optim, accelerator, first = config.optim, run.accelerator, run.accelerator.is_main_process
    last = min(optim.steps, max_steps or optim.steps)
    clock = CheckpointClock(checkpoint_minutes)
    with (
        StopSignals() as signals,
        MetricsFile(output / "metrics.jsonl" if first else None) as metrics,
        _bar(config.task, run.start, last, progress and first) as bar,
    ):
        signals.step = run.start
        for step in range(run.start, last):
            losses, figures, norm = run.step(step)
            done = step + 1
            if step % LOG_EVERY == 0 or done == last:
                mean: Any = accelerator.reduce(torch.stack(losses).mean(), "mean")
                total = mean.item()
                row = {"step": step, "loss": total, "grad_norm": float(norm), **_mean(figures)}
                metrics.write(row)
                bar.set_postfix(loss=f"{total:.4f}", refresh=False)
            bar.update()
            regular = done % checkpoint_every == 0 or done == last
            stop, due = _agreed(accelerator, signals.number, first and clock.is_due())
            if regular or stop or due:
                began = time.monotonic()
                # What is best must not depend on the clock, and a signal not wait for it.
                run.save(done, validated=regular)
                clock.saved(began)
                signals.step = done
            if stop:
                raise Stopped(stop, done)
        (stop,) = _agreed(accelerator, signals.number)
        if stop:
            raise Stopped(stop, last)
    return run.finish() if last == optim.steps else None


class _Run:
    """What a training holds: module, optimizers, averaged weights; its steps and checkpoints.

    Attributes:
        start: the step to go on from.
        accelerator: devices and processes.
    """

    def __init__(
        self, task: Task, config: TrainConfig, output: Path, accelerator: Accelerator
    ) -> None:
        self.task, self.config, self.output, self.accelerator = task, config, output, accelerator
        optim, self.module = config.optim, task.module
        # Muon holds views of kernels, so that they must lie where they stay.
        self.module.to(accelerator.device)
        groups = [{"lr_scale": 1.0, **g, "params": list(g["params"])} for g in task.groups()]
        optimizers: list[Any] = make_optimizers(groups, optim)
        self.ordered = [p for group in groups for p in group["params"]]
        self.start, kept = resume(output, config, self.module, optimizers, accelerator)
        self.resting = zero.resting(self.module, self.ordered) if zero.is_used() else {}
        self.forward, *self.optimizers = accelerator.prepare(Step(task), *optimizers)
        if zero.is_used():
            zero.spread(self.optimizers[0], self.ordered, kept)
        self.trained = dict(self.module.named_parameters())
        self.average: dict[str, Tensor] = {}
        if optim.ema:
            self.average = {
                name: kept[f"average.{name}"].to(p.device) if kept else p.detach().clone()
                for name, p in self.trained.items()
            }
        if accelerator.is_main_process:
            begin(output, config)
        processes = accelerator.num_processes
        self.micro = optim.batch // (processes * accelerator.gradient_accumulation_steps)

        self._begun, self._begun_on_processor = time.monotonic(), time.process_time()

    def step(self, step: int) -> tuple[list[Tensor], list[Figures], Any]:
        """One step; losses and figures of its micro-batches, and the gradient's norm."""
        optim, accelerator = self.config.optim, self.accelerator
        for group in (group for each in self.optimizers for group in each.param_groups):
            group["lr"] = optim.lr * group["lr_scale"] * schedule(step, optim)
        parts = rows_of(
            self.config.seed,
            step,
            optim.batch,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            micro=self.micro,
        )
        losses: list[Tensor] = []
        figures: list[Figures] = []
        norm: Any = 0.0
        for draws in parts:
            with accelerator.accumulate(self.forward):
                loss, said = self.forward(draws)
                accelerator.backward(loss)
                losses.append(loss.detach())
                figures.append(said)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.forward.parameters(), optim.clip)
                    with accelerator.autocast():
                        _check_finite(losses, norm, self.task, self.config, parts, self.output)
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        if optim.ema:
            # A short memory at first: an average of the random start is of no use.
            decay = min(optim.ema, (1 + step) / (10 + step))
            for name, p in self.trained.items():
                self.average[name].lerp_(p.detach(), 1 - decay)
        return losses, figures, norm

    def save(self, done: int, *, validated: bool) -> None:
        """Write a checkpoint after so many steps, with a loss on held-out clips or without."""
        accelerator = self.accelerator
        state = state_of(self.module, self.optimizers, self.ordered, self.average, self.resting)
        if accelerator.is_main_process:
            with accelerator.autocast():
                validation = self.task.validate() if validated else None
            record = {
                **self.rate(done),
                "config": self.config.as_saved(),
                "validation": validation,
            }
            checkpoint.save(self.output / "checkpoints", done, state, record)
        accelerator.wait_for_everyone()

    def rate(self, done: int) -> dict[str, Any]:
        """How fast this process is since it began, and where; after so many steps."""
        steps = done - self.start
        on_processor = time.process_time() - self._begun_on_processor
        return {
            "seconds_per_step": round((time.monotonic() - self._begun) / steps, 4),
            "processor_seconds_per_step": round(on_processor / steps, 4),
            "machine": machine(self.accelerator),
            "processes": self.accelerator.num_processes,
        }

    def _write_rate(self) -> None:
        """As the last checkpoint has it: one killed behind it measures nothing itself."""
        newest = max((self.output / "checkpoints").glob("step-*/record.json"))
        said = read_object(newest)
        names = ("seconds_per_step", "processor_seconds_per_step", "machine", "processes")
        kept = {"steps": self.config.optim.steps} | {n: said.get(n) for n in names}
        with atomic_write(self.output / RATE) as part:
            part.write_text(json.dumps(kept, indent=1))

    def finish(self) -> Path:
        """Put the averaged weights in place and have the task write what it leaves."""
        last_ones = self.average
        if zero.is_used() and not self.config.optim.ema:
            last_ones = zero.full_weights(self.module, self.resting)
        with torch.no_grad():
            for name, p in self.trained.items():
                if name in last_ones:
                    p.data = last_ones[name].to(p.device)
        left: list[Any] = [None]
        if self.accelerator.is_main_process:
            self._write_rate()
            left = [self.task.export(self.output)]
        return broadcast_object_list(left)[0]


def _agreed(accelerator: Accelerator, *said: int) -> list[int]:
    """The largest of each number among all processes, so that they all do the same.

    Args:
        accelerator: accelerate's.
        said: this process's numbers, 0 or more.
    """
    if accelerator.num_processes == 1:
        return list(said)
    largest = torch.tensor(said, device=accelerator.device)
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return largest.tolist()


def _check_finite(
    losses: list[Tensor],
    norm: Any,
    task: Task,
    config: TrainConfig,
    parts: list[StepRng],
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


def _bar(name: str, start: int, last: int, progress: bool):
    return progress_bar(desc=name, total=last, initial=start, unit="step", shown=progress)
