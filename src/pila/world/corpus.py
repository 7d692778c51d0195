"""Clips of the simulated world as training reads them: by index, the same on every machine."""

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from pila.errors import InputError
from pila.physics.layout import Category
from pila.progress import progress_bar
from pila.workers import workers
from pila.world.registry import SCENES, scene_named, simulate
from pila.world.scene import SIZE, Canvas, Clip

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Item:
    """Which clip an index stands for."""

    scene: str
    seed: int
    violation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """Which clips of the simulated world a run sees.

    Training seeds start at 1,000,000; seeds below are for evaluation and never trained on.
    """

    clips: int = 6144
    violated: float = 0.5
    """Share of clips with a broken law, as web video has them."""
    first_seed: int = 1_000_000
    scenes: tuple[str, ...] = ()
    """Names in `SCENES`, taken in turn; none named stands for all."""
    size: int = SIZE
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        for name in self.scenes:
            scene_named(name)
        if self.clips < len(self.named):
            raise InputError(
                f"corpus.clips is {self.clips}; take at least {len(self.named)}, one a scene"
            )
        Canvas(size=self.size)
        if not 0 <= self.violated <= 1:
            raise InputError(f"corpus.violated is {self.violated}; a share is in [0, 1]")
        if self.first_seed < 1_000_000:
            raise InputError(
                f"corpus.first_seed is {self.first_seed}; seeds below 1000000 are held out"
            )

    @property
    def named(self) -> tuple[str, ...]:
        """The scenes by name, in the order in which they are taken."""
        return self.scenes or tuple(SCENES)

    @property
    def canvas(self) -> Canvas:
        """What the clips are drawn on."""
        return Canvas(size=self.size)

    def item(self, index: int) -> Item:
        """Which clip stands at `index`."""
        return item_at(index, violated=self.violated, first_seed=self.first_seed, scenes=self.named)


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
    items = [world.item(i) for i in range(min(count, world.clips))]
    with workers(PROCESSES) as pool:
        made = pool.map(partial(_frames, canvas=world.canvas), items, chunksize=16)
        yield from progress_bar(made, total=len(items), unit="clip", desc="simulating")


@cache
def source_of(scene: str) -> str:
    """Hash of the code that a scene's clips and measures are made by, for keys of what is kept."""
    file = Path(inspect.getfile(type(SCENES[scene])))
    world = file.parents[1]
    siblings = re.findall(r"^from pila\.world\.scenes\.(\w+) import", file.read_text(), re.M)
    files = [file, *(file.with_name(f"{name}.py") for name in sorted(siblings))]
    source = hashlib.sha256()
    for part in [*files, *sorted(world.glob("*.py")), *sorted(world.glob("solvers/*.py"))]:
        if part.stem not in ("catalogue", "dataset", "corpus", "sheet"):
            source.update(part.read_bytes())
    return source.hexdigest()


def sources_of(scenes: Sequence[str]) -> str:
    """The same of several scenes, 8 digits."""
    return hashlib.sha256(" ".join(map(source_of, scenes)).encode()).hexdigest()[:8]
