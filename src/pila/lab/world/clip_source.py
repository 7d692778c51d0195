"""The simulated world as a data set: clips that are made, with their true fields."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

from pila.data.corpus import CorpusConfig
from pila.data.records import MadeClipRecord, Sample, View
from pila.errors import InputError
from pila.lab.world.corpus import (
    Item,
    check_corpus,
    item_of,
    make,
    scenes_of,
    sources_of,
)
from pila.lab.world.registry import SCENES
from pila.lab.world.scene import FRAME_RATE, NUM_FRAMES, Canvas
from pila.lab.world.true_targets import true_targets


class WorldSource:
    """Clips of a simulated corpus; implements `pila.data.records.Source`.

    Args:
        world: which clips. Their size is the view's, not `world.size`.
        spatial: pixels along a latent cell, for the true fields.
        temporal: frames in a latent frame, for the true fields.
    """

    def __init__(self, world: CorpusConfig, *, spatial: int = 8, temporal: int = 4) -> None:
        check_corpus(world)
        self.world, self.spatial, self.temporal = world, spatial, temporal

    @property
    def identity(self) -> str:
        """Changes with the scenes, their code, number, share of broken laws and seeds."""
        world = self.world
        said = f"{scenes_of(world)} {world.clips} {world.violated} {world.first_seed}"
        said = f"{said} {sources_of(scenes_of(world))}"
        return f"world-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    @property
    def excluded(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def records(self) -> Sequence[MadeClipRecord]:
        """All clips, in the corpus's order; `NNNNNN-scene-seed`, and the law that is broken."""
        return [self._record(i) for i in range(self.world.clips)]

    def _record(self, index: int) -> MadeClipRecord:
        item = item_of(self.world, index)
        parts = [f"{index:06d}", item.scene, str(item.seed), *filter(None, [item.violation])]
        return MadeClipRecord(
            name="-".join(parts),
            categories=tuple(c for c in SCENES[item.scene].categories),
            make=partial(_make, item, self.spatial, self.temporal),
        )


def _make(item: Item, spatial: int, temporal: int, view: View) -> Sample:
    check_view(view)
    canvas = Canvas(num_frames=view.num_frames, size=view.height, frame_rate=view.fps)
    clip = make(item, canvas)
    return Sample(
        frames=clip.frames,
        caption=clip.caption,
        violation=clip.violation,
        true=true_targets(clip, spatial=spatial, temporal=temporal),
    )


def check_view(view: View) -> None:
    """Refuse a view in which the world cannot be drawn.

    Raises:
        InputError: it is not square, or longer than the world's clips, in frames or in seconds:
            things would leave the view.
    """
    if view.height != view.width:
        raise InputError(
            f"height is {view.height} and width {view.width}; the simulated world is square: "
            "use the same for both"
        )
    Canvas(num_frames=view.num_frames, size=view.height, frame_rate=view.fps)
    seconds, most = (view.num_frames - 1) / view.fps, (NUM_FRAMES - 1) / FRAME_RATE
    if seconds > most:
        raise InputError(
            f"{view.num_frames} frames at {view.fps:g} per second take {seconds:g} s; clips of the "
            f"simulated world have {most:g}: use more frames per second, or fewer frames"
        )
