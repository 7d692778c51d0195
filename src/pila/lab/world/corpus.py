"""Clips of the simulated world as training reads them: by index, the same on every machine."""

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from pila.data.corpus import CorpusConfig
from pila.errors import InputError
from pila.lab.world.registry import SCENES, scene_named, simulate
from pila.lab.world.scene import Canvas, Clip
from pila.physics.layout import Category
from pila.progress import progress_bar
from pila.workers import workers

PROCESSES = 2
_APART = ("catalogue", "dataset", "corpus", "sheet", "clip_source", "replica", "activity_maps")
"""Files of this folder that no clip and no measure depends on."""


@dataclass(frozen=True, slots=True)
class Item:
    """Which clip an index stands for."""

    scene: str
    seed: int
    violation: str | None


def check_corpus(config: CorpusConfig) -> None:
    """Refuse a corpus that the world cannot make.

    Raises:
        InputError: a scene that there is none of, fewer clips than scenes, or a size that cannot be
            drawn.
    """
    for name in config.scenes:
        scene_named(name)
    if config.clips < len(scenes_of(config)):
        raise InputError(
            f"corpus.clips is {config.clips}; take at least {len(scenes_of(config))}, one a scene"
        )
    canvas_of(config)


def scenes_of(config: CorpusConfig) -> tuple[str, ...]:
    """A corpus's scenes by name, in the order in which they are taken."""
    return config.scenes or tuple(SCENES)


def canvas_of(config: CorpusConfig) -> Canvas:
    """What a corpus's clips are drawn on."""
    return Canvas(size=config.size)


def item_of(config: CorpusConfig, index: int) -> Item:
    """Which clip of a corpus stands at `index`."""
    return item_at(
        index,
        violated=config.violated,
        first_seed=config.first_seed,
        scenes=scenes_of(config),
    )


def item_at(
    index: int, *, violated: float, first_seed: int, scenes: Sequence[str] = tuple(SCENES)
) -> Item:
    """The clip at `index`: scenes in turn, violations drawn by the index's own generator."""
    scene = scenes[index % len(scenes)]
    rng = np.random.default_rng([7, first_seed, index])
    kinds = SCENES[scene].violations
    violation = kinds[rng.integers(len(kinds))] if rng.random() < violated else None
    return Item(scene, first_seed + index, violation)


def make(item: Item, canvas: Canvas | None = None) -> Clip:
    """Simulate an item's clip with a training caption."""
    return simulate(item.scene, item.seed, item.violation, canvas=canvas)


def category_flags(item: Item) -> np.ndarray:
    """Which categories are at work, bool [8] in `Category` order."""
    return np.array([c in SCENES[item.scene].categories for c in Category])


def _frames(item: Item, canvas: Canvas) -> np.ndarray:
    return make(item, canvas).frames


def frames_of(world: CorpusConfig, count: int) -> Iterator[np.ndarray]:
    """Frames of the first `count` clips, in order, simulated in `PROCESSES` processes."""
    items = [item_of(world, i) for i in range(min(count, world.clips))]
    with workers(PROCESSES) as pool:
        made = pool.map(partial(_frames, canvas=canvas_of(world)), items, chunksize=16)
        yield from progress_bar(made, total=len(items), unit="clip", desc="simulating")


@cache
def source_of(scene: str) -> str:
    """Hash of the code that a scene's clips and measures are made by, for keys of what is kept."""
    file = Path(inspect.getfile(type(SCENES[scene])))
    world = file.parents[1]
    siblings = re.findall(r"^from pila\.lab\.world\.scenes\.(\w+) import", file.read_text(), re.M)
    files = [file, *(file.with_name(f"{name}.py") for name in sorted(siblings))]
    source = hashlib.sha256()
    for part in [*files, *sorted(world.glob("*.py")), *sorted(world.glob("solvers/*.py"))]:
        if part.stem not in _APART:
            source.update(part.read_bytes())
    return source.hexdigest()


def sources_of(scenes: Sequence[str]) -> str:
    """The same of several scenes, 8 digits."""
    return hashlib.sha256(" ".join(map(source_of, scenes)).encode()).hexdigest()[:8]
