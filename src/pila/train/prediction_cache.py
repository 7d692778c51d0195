"""Predictions of the frozen generator that are kept on disk, for several epochs over few clips.

A clip then has a fixed number of draws (noise, noise level, whether its caption is dropped), each
of which is predicted once. Fewer draws save more time and vary less.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pila.errors import InputError
from pila.files import cache_root

GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class FixedDraws:
    """The draws of some clips: everything that a prediction depends on beside the clip.

    Args:
        seed: the run's.
        indices: clips [b].
        which: number of each one's draw [b], below `of`.
        of: draws of a clip.
    """

    seed: int
    indices: Tensor
    which: Tensor
    of: int

    def uniform(self) -> Tensor:
        """Numbers in [0, 1) [b], spread evenly over a clip's draws and over the clips."""
        shift = (self.indices.double() * GOLDEN) % 1
        return ((self.which + shift) / self.of).float()

    def dropped(self, share: float) -> Tensor:
        """Which captions are dropped, bool [b]."""
        return torch.stack([torch.rand((), generator=g) < share for g in self._generators(0)])

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Unit normal noise [b, *shape]."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators(1)])

    @property
    def rows(self) -> list[int]:
        """Where each draw's prediction is kept."""
        return (self.indices * self.of + self.which).tolist()

    def _generators(self, purpose: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(_state(self.seed, row, purpose)) for row in self.rows]


def _state(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class KeptPredictions:
    """Velocities by row in one file of half precision, each with a flag that is set behind it.

    Args:
        identity: everything that decides the predictions; another one is another file.
        rows: how many there may be.
        shape: [c, t, h, w] of one.

    Raises:
        InputError: there is no space for all rows.
    """

    def __init__(self, identity: object, rows: int, shape: tuple[int, ...]) -> None:
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
        folder = cache_root() / "predictions" / digest
        folder.mkdir(parents=True, exist_ok=True)
        size = rows * int(np.prod(shape)) * 2
        there = folder / "velocity.f16"
        used = there.stat().st_blocks * 512 if there.exists() else 0
        free = shutil.disk_usage(folder).free
        if size - used > free:
            raise InputError(
                f"keeping {rows} predictions takes {size / 1e9:.1f} GB in {folder}, where "
                f"{free / 1e9:.1f} GB are free; lower noise_draws, or set PILA_CACHE elsewhere"
            )
        self._velocity = _opened(there, np.float16, (rows, *shape))
        self._there = _opened(folder / "there.u8", np.uint8, (rows,))

    def missing(self, rows: list[int]) -> Tensor:
        """Which of the rows are not kept yet, bool [b]."""
        return torch.from_numpy(self._there[rows] == 0)

    def read(self, rows: list[int]) -> Tensor:
        """Velocities [b, c, t, h, w] float32."""
        return torch.from_numpy(self._velocity[rows].astype(np.float32))

    def keep(self, rows: list[int], velocity: Tensor) -> None:
        """Keep velocities [b, c, t, h, w]; a row counts from when its flag is set, after it."""
        self._velocity[rows] = velocity.detach().cpu().numpy().astype(np.float16)
        self._velocity.flush()
        self._there[rows] = 1


def _opened(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """A file of zeros, sparse until it is written, shared by all processes."""
    with path.open("ab") as file:
        file.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
