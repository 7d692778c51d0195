"""Clips of the simulated world as training reads them: by index, the same on every machine."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from pila.errors import InputError
from pila.physics.layout import Category
from pila.world.registry import SCENES, simulate
from pila.world.scene import Clip

PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """Which clips of the simulated world a run sees.

    Training seeds start at 1,000,000; seeds below are for evaluation and never trained on.
    """

    clips: int = 6144
    violated: float = 0.5
    """Share of clips with a broken law, as web video has them."""
    first_seed: int = 1_000_000

    def __post_init__(self) -> None:
        if self.clips < 3:
            raise InputError(f"corpus.clips is {self.clips}; take at least 3, one a scene")
        if not 0 <= self.violated <= 1:
            raise InputError(f"corpus.violated is {self.violated}; a share is in [0, 1]")
        if self.first_seed < 1_000_000:
            raise InputError(
                f"corpus.first_seed is {self.first_seed}; seeds below 1000000 are held out"
            )


@dataclass(frozen=True, slots=True)
class Item:
    """Which clip an index stands for."""

    scene: str
    seed: int
    violation: str | None


def item_at(
    index: int, *, violated: float, first_seed: int, scenes: Sequence[str] = tuple(SCENES)
) -> Item:
    """The clip at `index`: scenes in turn, violations drawn by the index's own generator."""
    scene = scenes[index % len(scenes)]
    rng = np.random.default_rng([7, first_seed, index])
    kinds = SCENES[scene].violations
    violation = kinds[rng.integers(len(kinds))] if rng.random() < violated else None
    return Item(scene, first_seed + index, violation)


def make(item: Item) -> Clip:
    """Simulate an item's clip with a training caption."""
    return simulate(item.scene, item.seed, item.violation)


def category_flags(item: Item) -> np.ndarray:
    """Which categories are at work, bool [8] in `Category` order."""
    return np.array([c in SCENES[item.scene].categories for c in Category])


def _frames_and_caption(item: Item) -> tuple[np.ndarray, str]:
    clip = make(item)
    return clip.frames, clip.caption


def clips(items: list[Item]) -> Iterator[tuple[np.ndarray, str]]:
    """Frames and captions of many items, in order, simulated in `PROCESSES` processes."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        yield from pool.map(_frames_and_caption, items, chunksize=16)
