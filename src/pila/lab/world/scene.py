"""What a simulated scene is, and what one clip of it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pila.errors import InputError
from pila.physics.layout import Category, Slot

NUM_FRAMES = 33
FRAME_RATE = 16
SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Where a scene is drawn: frames, pixels and the metres that they show.

    Args:
        num_frames: frames in a clip; 4 n + 1, as the Wan VAE packs four frames into one latent.
        size: height and width in pixels, a multiple of 16 (VAE 8x, transformer patch 2x).
        frame_rate: frames per second.

    Raises:
        InputError: a number of frames or a size that the VAE and the transformer cannot take.
    """

    num_frames: int = NUM_FRAMES
    size: int = SIZE
    frame_rate: float = FRAME_RATE

    def __post_init__(self) -> None:
        if not 9 <= self.num_frames <= NUM_FRAMES or self.num_frames % 4 != 1:
            near = min(max(9, self.num_frames // 4 * 4 + 1), NUM_FRAMES)
            raise InputError(
                f"num_frames is {self.num_frames}; a clip has 4 n + 1 frames, 9 to {NUM_FRAMES} "
                f"(a longer flight leaves the view): try {near}"
            )
        if self.size < 32 or self.size % 16:
            raise InputError(
                f"size is {self.size}; a clip's side is a multiple of 16, at least 32: "
                f"try {max(32, round(self.size / 16) * 16)}"
            )

    @property
    def times(self) -> np.ndarray:
        """Time of each frame [s], shape [t]."""
        return np.arange(self.num_frames) / self.frame_rate


Fields = dict[Slot, np.ndarray]
"""True fields, [c, t, h, w] in SI units, canonical channels (scalar 1, vector 2, tensor 3)."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One simulated clip and its truth.

    Attributes:
        frames: [t, h, w, 3] uint8.
        caption: what a person would call it.
        categories: the physical categories at work.
        parameters: the scene's parameters in SI units, and the seed.
        violation: the law that was broken, or None.
        metres: side of the view [m], of which the fields' lengths are measured.
        frame_rate: frames per second.
    """

    frames: np.ndarray
    caption: str
    categories: tuple[Category, ...]
    parameters: Mapping[str, Any]
    violation: str | None
    metres: float
    frame_rate: float
    truth: Callable[[], tuple[Fields, Fields]] = field(repr=False)

    @cached_property
    def _fields_and_masks(self) -> tuple[Fields, Fields]:
        return self.truth()

    @property
    def fields(self) -> Fields:
        """True fields at pixel resolution, computed on first use; zero outside the mask."""
        return self._fields_and_masks[0]

    @property
    def masks(self) -> Fields:
        """Where each field is defined, [1, t, h, w] in [0, 1]: the pixels' own coverage."""
        return self._fields_and_masks[1]

    def latent_fields(self, *, spatial: int = 8, temporal: int = 4) -> tuple[Fields, Fields]:
        """Fields and masks on the VAE's grid: coverage-weighted means over its cells.

        Latent frame 0 holds frame 0 alone; latent frame i > 0 holds frames 4 i - 3 .. 4 i.
        """
        fields, masks = {}, {}
        for slot, mask in self.masks.items():
            cover = _pool(mask, spatial, temporal)
            total = _pool(self.fields[slot] * mask, spatial, temporal)
            fields[slot] = np.where(cover > 1e-6, total / np.maximum(cover, 1e-6), 0.0)
            masks[slot] = cover
        return fields, masks


def _pool(f: np.ndarray, spatial: int, temporal: int) -> np.ndarray:
    c, t, h, w = f.shape
    f = f.reshape(c, t, h // spatial, spatial, w // spatial, spatial).mean((3, 5))
    rest = f[:, 1:].reshape(c, (t - 1) // temporal, temporal, h // spatial, w // spatial).mean(2)
    return np.concatenate([f[:, :1], rest], axis=1)


class Scene(Protocol):
    """A scene: how it is simulated, described, broken and measured."""

    # Properties, so that plain class attributes of narrower types (two names, not any number) fit.
    @property
    def name(self) -> str:
        """The key in `SCENES`."""
        ...

    @property
    def categories(self) -> tuple[Category, ...]:
        """The physical categories at work."""
        ...

    @property
    def violations(self) -> tuple[str, ...]:
        """The ways in which a clip can break a law."""
        ...

    @property
    def laws(self) -> tuple[str, ...]:
        """What `measure` measures, in its order."""
        ...

    @property
    def templates(self) -> tuple[str, ...]:
        """Sentences with gaps; the last `captions.HELD_OUT` are for testing only."""
        ...

    @property
    def words(self) -> Mapping[str, tuple[str, ...]]:
        """What each gap of the templates may say."""
        ...

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One clip; same arguments, same bytes. Arguments are checked by `registry.simulate`."""
        ...

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Error of each law from checked frames [t, h, w, 3] uint8: 0 obeys, 1 is the most."""
        ...


def check_frames(frames: np.ndarray) -> None:
    """Refuse frames that no scene can be measured on, before any work.

    Raises:
        InputError: not [t >= 9, h = w, 3] uint8.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise InputError(
            f"frames are {frames.dtype} {list(frames.shape)}; measuring takes uint8 [t, h, w, 3]"
        )
    t, h, w, _ = frames.shape
    if t < 9:
        raise InputError(f"the video has {t} frames; measuring takes at least 9: use a longer one")
    if h != w or h < 32:
        raise InputError(
            f"the video is {w} x {h} px; measuring takes square frames of at least 32 px, "
            "as the simulated world draws them"
        )
