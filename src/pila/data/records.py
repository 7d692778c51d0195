"""What a data set of videos is to training: records of clips, wherever they lie."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pila.errors import InputError
from pila.physics.layout import Category

if TYPE_CHECKING:
    import numpy as np

    from pila.data.flow_targets import TrueTargets

SIDE_UNIT = 16
"""Sides in pixels are multiples of it: 8 of the VAE times 2 of the transformer's patches."""
LEAST_SIDE, LEAST_FRAMES = 32, 9
"""Three latent cells or frames, which second-order differences need, rounded up to the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The form in which every clip of a data set is seen.

    Args:
        height: in pixels, a multiple of 16, at least 32.
        width: likewise.
        num_frames: 4 n + 1, at least 9: the VAE packs four frames into one latent frame.
        fps: frames per second.

    Raises:
        InputError: a value that the VAE or the transformer cannot take.
    """

    height: int
    width: int
    num_frames: int
    fps: float

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if side < LEAST_SIDE or side % SIDE_UNIT:
                near = max(LEAST_SIDE, round(side / SIDE_UNIT) * SIDE_UNIT)
                raise InputError(
                    f"{name} is {side}; it must be a multiple of {SIDE_UNIT}, at least "
                    f"{LEAST_SIDE}: try {near}"
                )
        if self.num_frames < LEAST_FRAMES or self.num_frames % 4 != 1:
            near = max(LEAST_FRAMES, (self.num_frames - 1) // 4 * 4 + 1)
            raise InputError(
                f"num_frames is {self.num_frames}; it must be 4 n + 1, at least {LEAST_FRAMES}: "
                f"try {near}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps is {self.fps}; use a number above 0, such as 16")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One clip: what it is called, what it shows, where its file lies.

    Attributes:
        name: unique in its source.
        caption: what the text encoder reads.
        categories: the physical categories at work, in `Category` order.
        path: the video file, or the zip archive that holds it.
        member: the video's name in that archive; None for a file of its own.
    """

    name: str
    caption: str
    categories: tuple[Category, ...]
    path: Path
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A clip as it is seen, before anything is computed from it.

    Attributes:
        frames: [t, h, w, 3] uint8, of the size and length that the `View` asks for.
        caption: what the text encoder reads.
        violation: the law that a simulated clip breaks; None for true physics and for videos.
        true: the true fields of a simulated clip.
    """

    frames: "np.ndarray"
    caption: str
    violation: str | None = None
    true: "TrueTargets | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeClipRecord:
    """One clip that is made when it is wanted, not read from a file: a simulated one.

    Attributes:
        name: unique in its source.
        categories: the physical categories at work, in `Category` order.
        make: the clip in a view. It is called in another process, so it must pickle: a function
            of a module, or a `functools.partial` of one. It raises ClipError or InputError.
    """

    name: str
    categories: tuple[Category, ...]
    make: Callable[[View], Sample]


Record = VideoRecord | MadeClipRecord


class ClipError(Exception):
    """A clip that cannot be used; the text says why, for the list of what was left out.

    What was found comes first and particulars after a colon ("too short: 12 of 33 frames"), so
    that reasons can be counted.
    """


class Source(Protocol):
    """A data set as caching reads it."""

    @property
    def identity(self) -> str:
        """A short text that changes where the records do."""
        ...

    @property
    def excluded(self) -> Mapping[str, str]:
        """What the source itself left out: name to reason."""
        ...

    def records(self) -> Sequence[Record]:
        """All usable clips, by name; names are unique."""
        ...
