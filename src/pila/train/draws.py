"""What a step draws: the same numbers for any number of processes and micro-batches.

A step's samples are numbered 0 .. batch - 1. Every process draws what concerns the whole batch and
takes its rows; noise comes from one generator a sample. So a run on eight GPUs trains on what a run
on one CPU trains on, a resumed run repeats a straight one, and checkpoints hold no generators.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
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
) -> list[Draws]:
    """The micro-batches of one process in one step: its share of the batch, `micro` rows each."""
    share = batch // processes
    first = process * share
    return [
        Draws(
            seed=seed, step=step, batch=batch, rows=range(start, min(start + micro, first + share))
        )
        for start in range(first, first + share, micro)
    ]
