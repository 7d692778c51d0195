"""What a step draws: the same numbers for any number of processes and micro-batches.

A step's samples are numbered 0 .. batch - 1. Every process draws what concerns the whole batch and
takes its rows; noise comes from one generator a sample. So a run on eight GPUs trains on what a run
on one CPU trains on, a resumed run repeats a straight one, and checkpoints hold no generators.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRng:
    """Random numbers of some samples of one step.

    Args:
        seed: the run's.
        step: counted from 0.
        batch: samples of the step, over all processes.
        rows: which of them these are.
    """

    seed: int
    step: int
    batch: int
    rows: range

    def shared(self) -> torch.Generator:
        """A generator for what is drawn for the whole batch, the same in every process."""
        return self._generator(0)

    def own(self) -> torch.Generator:
        """A generator of these rows alone, for tasks that draw their samples one after another."""
        return self._generator(1, self.rows.start, len(self.rows))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Unit normal noise [rows, *shape], each row from its own generator."""
        return torch.stack([torch.randn(shape, generator=self._generator(2, r)) for r in self.rows])

    def take(self, whole: Tensor) -> Tensor:
        """These rows of something drawn for the whole batch, [batch, ...] to [rows, ...]."""
        return whole[self.rows.start : self.rows.stop]

    def _generator(self, *purpose: int) -> torch.Generator:
        state = np.random.SeedSequence((self.seed, self.step, *purpose))
        return torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))


def rows_of(
    seed: int, step: int, batch: int, *, process: int, processes: int, micro: int
) -> list[StepRng]:
    """The micro-batches of one process in one step: its share of the batch, `micro` rows each."""
    share = batch // processes
    first = process * share
    return [
        StepRng(
            seed=seed, step=step, batch=batch, rows=range(start, min(start + micro, first + share))
        )
        for start in range(first, first + share, micro)
    ]


class Prefetcher(Generic[Made]):
    """What steps draw, made by one thread while earlier ones compute on an accelerator.

    Args:
        make: what some draws stand for.
        device: where steps compute. On a CPU nothing is made ahead: its cores have enough to do.
        steps: how many are made ahead.
    """

    def __init__(
        self, make: Callable[[StepRng], Made], device: torch.device, *, steps: int = 4
    ) -> None:
        self._make, self._steps = make, steps
        # One thread alone: what clips are read from need not bear several.
        self._pool = None if device.type == "cpu" else ThreadPoolExecutor(1)
        self._begun: dict[StepRng, Future[Made]] = {}

    def __call__(self, draws: StepRng) -> Made:
        """As `make`, with the steps that follow begun."""
        if self._pool is None:
            return self._make(draws)
        for step in range(draws.step, draws.step + self._steps + 1):
            later = replace(draws, step=step)
            if later not in self._begun:
                self._begun[later] = self._pool.submit(self._make, later)
        return self._begun.pop(draws).result()

    def once(self, make: Callable[[StepRng], Made], draws: StepRng) -> Made:
        """Another `make` for draws that no others follow, as in validation."""
        return make(draws) if self._pool is None else self._pool.submit(make, draws).result()


def on_device(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Tensors there, without a wait where they are `pinned`."""
    return {name: x.to(device, non_blocking=True) for name, x in tensors.items()}


def pinned(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Tensors in memory that an accelerator reads while it computes; as they are for a CPU."""
    return {n: x if device.type == "cpu" else x.pin_memory() for n, x in tensors.items()}
