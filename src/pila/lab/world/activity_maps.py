"""Where each physical phenomenon is at work in a simulated clip, from its true fields.

It stands in for the attention of a vision-language model (`pila.prophy.attention`) where such a
model's weights are not at hand, in the same form: Q [8, T, H, W] on the latent grid. Results that
rest on it must say so. All definitions are decisions of this project; ProPhy knows no such maps.

An activity is computed at every frame and pixel and averaged over the cells of the latent grid,
times the share of the pixel where its field is defined:

| category | activity |
|---|---|
| rigid body | speed |u| |
| elastic | norm of the strain tensor, √(xx² + yy² + 2 xy²) |
| fluid | speed |u| |
| compressible | rate of density |∂ρ/∂t| |
| phase change | rate of the liquid share |∂φ/∂t| |
| collision | change of acceleration |∂j/∂t| (jerk), j the slot of impulse per mass and time |
| thermal | mean of |∂T/∂t| and |∇T|, each scaled to max 1: warming, and heat on its way |
| optical | magnitude |w| of the wave slot: intensity of light, height of a ripple |

A fall under gravity has a constant j, a pendulum's changes slowly, and an impact's jumps: so the
jerk tells impacts, and it lies on the whole bodies that are struck, for a rigid body's fields are
those of its motion. |j| itself would put a cradle's peak where its ball is let go. Bodies may move
by more than their width in a frame, so j is first continued beyond them (`REACH`), by the mean of
what is near, and the change is that at a fixed place.

Each category's map is scaled to a largest value of 1, and what is below `FLOOR` of it is 0. It is
0 throughout where the category is not at work, where the scene has no such field, and where
nothing happens in it: a boiling pot is at one temperature everywhere, so its thermal map is empty.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from einops import reduce

from pila.data.records import ClipError
from pila.data.shard_files import Header, Row
from pila.errors import InputError
from pila.lab.world.registry import SCENES, simulate
from pila.lab.world.scene import Canvas, Clip
from pila.physics.layout import Category, Slot
from pila.workers import workers

FLOOR = 0.05
"""Activities below this share of a clip's largest are taken as none (decision)."""
NEGLIGIBLE = 1e-6
"""A largest activity below this is rounding: lengths in sides of the view, times in frames."""
REACH = 0.05
"""How far a body's acceleration is continued beyond it, as the standard deviation of a Gaussian in
sides of the view; it counts up to four of these away (decision)."""
_NAME = re.compile(r"\d+-(?P<scene>\w+)-(?P<seed>\d+)(-(?P<violation>\w+))?")
"""How `pila.lab.world.clip_source.WorldSource` names its clips."""


def active_maps(clip: Clip, *, spatial: int = 8, temporal: int = 4) -> np.ndarray:
    """Where each category at work is active, on the VAE's grid.

    Args:
        clip: a simulated clip of n = temporal (T - 1) + 1 frames.
        spatial: pixels along a latent cell.
        temporal: frames in a latent frame; the first holds frame 0 alone.

    Returns:
        [8, T, H, W] float32 in `Category` order, each 0 or with a largest value of 1.

    Raises:
        InputError: the clip does not fall into whole cells and latent frames.
    """
    frames, height, width, _ = clip.frames.shape
    if height % spatial or width % spatial or (frames - 1) % temporal:
        raise InputError(
            f"the clip has {frames} frames of {width} x {height} px; whole cells of {spatial} px "
            f"and latent frames of {temporal} take multiples of {spatial} and {temporal} n + 1"
        )
    grid = (frames - 1) // temporal + 1, height // spatial, width // spatial
    maps = np.zeros((len(Category), *grid), np.float32)
    for index, category in enumerate(Category):
        if category in clip.categories:
            activity = _ACTIVITIES[category](clip)
            maps[index] = _scaled(_pooled(activity, spatial, temporal))
    return maps


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveMaps:
    """Maps of a latent cache of the simulated world; implements `pila.prophy.maps.Maker`.

    Clips are simulated anew from their names, at 0.15 s of one core each, since the cache holds
    fields of latent frames, in which an impact is hard to tell from a swing.

    Args:
        processes: that simulate; with 0 all is done in this one.
    """

    processes: int = 0

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `maps.json` says of them."""
        return {"maker": "true fields of the simulated world", "floor": FLOOR}

    def maps(self, rows: Sequence[Row], header: Header) -> Iterator[np.ndarray | ClipError]:
        """Of each row in turn [8, T, H, W] float32, or why there is none."""
        job = partial(_again, header=header)
        if not self.processes:
            yield from map(job, rows)
            return
        with workers(self.processes) as pool:
            yield from pool.map(job, rows, chunksize=4)


def _again(row: Row, header: Header) -> np.ndarray | ClipError:
    """Simulate a row's clip again and map it."""
    found = _NAME.fullmatch(row.name)
    if not found or found["scene"] not in SCENES or header.height != header.width:
        return ClipError(f"not simulated: {row.name} is no clip of the world")
    try:
        canvas = Canvas(num_frames=header.num_frames, size=header.height, frame_rate=header.fps)
        clip = simulate(found["scene"], int(found["seed"]), found["violation"], canvas=canvas)
    except InputError as error:
        return ClipError(f"not simulated: {error}")
    _, frames, height, _ = header.latent_shape
    return active_maps(
        clip, spatial=header.height // height, temporal=(header.num_frames - 1) // (frames - 1)
    )


def _field(clip: Clip, slot: Slot) -> tuple[np.ndarray, np.ndarray] | None:
    """A field [c, t, h, w] and its mask [1, t, h, w], or None where the scene has none."""
    if slot not in clip.fields:
        return None
    return clip.fields[slot], clip.masks[slot]


def _size(slot: Slot, length: int, time: int) -> Callable[[Clip], np.ndarray]:
    """The activity |f|, [t, h, w], of a slot with powers of length and time in its unit."""

    def activity(clip: Clip) -> np.ndarray:
        found = _field(clip, slot)
        if found is None:
            return np.zeros(clip.frames.shape[:3])
        field, mask = found
        unit = clip.metres**length * clip.frame_rate**-time
        return _norm(field) * mask[0] / unit

    return activity


def _rate(slot: Slot) -> Callable[[Clip], np.ndarray]:
    """The activity |∂f/∂t|, [t, h, w], per frame in units of the largest |f|."""

    def activity(clip: Clip) -> np.ndarray:
        found = _field(clip, slot)
        if found is None:
            return np.zeros(clip.frames.shape[:3])
        field, mask = found
        return _change(field, mask, axis=1) / _largest(field)

    return activity


def _collision(clip: Clip) -> np.ndarray:
    found = _field(clip, Slot.IMPULSE)
    if found is None:
        return np.zeros(clip.frames.shape[:3])
    field, mask = found
    known, near = _continued(field, mask)
    total, sides = np.zeros(mask.shape[1:]), np.zeros(mask.shape[1:])
    for here, there in ((slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1))):
        # A body that comes into view was there before, unseen: its rim's neighbour tells nothing.
        total[here] += _norm(known[:, there] - field[:, here]) * near[there]
        sides[here] += near[there]
    jerk = total / np.maximum(sides, 1) * mask[0]
    return jerk / (clip.metres * clip.frame_rate**2)


def _continued(field: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A field [c, t, h, w] beyond its mask, and where something is near, [t, h, w] bool."""
    width = REACH * field.shape[-1]
    planes = np.concatenate([field * mask, mask]).reshape(-1, *field.shape[2:])
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), width) for plane in planes])
    *sums, weight = blurred.reshape(len(field) + 1, *field.shape[1:])
    near = weight > 1e-9
    means = np.stack(sums) / np.maximum(weight, 1e-9)
    return np.where(mask > 0, field, means), near


def _thermal(clip: Clip) -> np.ndarray:
    found = _field(clip, Slot.TEMPERATURE)
    if found is None:
        return np.zeros(clip.frames.shape[:3])
    field, mask = found
    unit = _largest(field)
    warming = _change(field, mask, axis=1) / unit
    gradient = np.hypot(_change(field, mask, axis=2), _change(field, mask, axis=3)) / unit
    return (_scaled(warming, floor=0.0) + _scaled(gradient, floor=0.0)) / 2


def _optical(clip: Clip) -> np.ndarray:
    found = _field(clip, Slot.WAVE)
    if found is None:
        return np.zeros(clip.frames.shape[:3])
    field, mask = found
    return _norm(field) * mask[0] / _largest(field)


_ACTIVITIES: dict[Category, Callable[[Clip], np.ndarray]] = {
    Category.RIGID_BODY: _size(Slot.VELOCITY, 1, -1),
    Category.ELASTIC: _size(Slot.STRAIN, 0, 0),
    Category.FLUID: _size(Slot.VELOCITY, 1, -1),
    Category.COMPRESSIBLE: _rate(Slot.DENSITY),
    Category.PHASE_CHANGE: _rate(Slot.PHASE),
    Category.COLLISION: _collision,
    Category.THERMAL: _thermal,
    Category.OPTICAL: _optical,
}
"""Activity [t, h, w] of a clip at each frame and pixel, without unit."""


def _norm(field: np.ndarray) -> np.ndarray:
    """|f|, [t, h, w], of a scalar, a vector or a symmetric tensor (xx, yy, xy)."""
    weights = np.array([1.0, 1.0, 2.0] if len(field) == 3 else [1.0] * len(field))
    return np.sqrt(np.einsum("c,cthw->thw", weights, np.square(field)))


def _change(field: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """|difference| from neighbour to neighbour along an axis, [t, h, w].

    The mean of the differences to both sides, each counted as far as both places are defined, so
    that the rim of a body is no change of what it is made of.
    """
    before, after = (_cut(axis, 0, -1), _cut(axis, 1, None))
    steps = _norm(field[after] - field[before]) * np.minimum(mask[after], mask[before])[0]
    total, sides = np.zeros(field.shape[1:]), np.zeros(field.shape[1:])
    for side in (before, after):
        total[side[1:]] += steps
        sides[side[1:]] += 1
    return total / sides


def _cut(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Of an array [c, t, h, w], a range of one axis."""
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(4))


def _largest(field: np.ndarray) -> float:
    return float(np.abs(field).max(initial=0.0)) or 1.0


def _scaled(activity: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """To a largest value of 1, zero below `floor`; all zero where the largest is negligible."""
    largest = float(activity.max(initial=0.0))
    if not largest > NEGLIGIBLE:
        return np.zeros_like(activity)
    scaled = activity / largest
    return np.where(scaled < floor, 0.0, scaled)


def _pooled(activity: np.ndarray, spatial: int, temporal: int) -> np.ndarray:
    """Means over the latent grid's cells: [t, h, w] -> [T, H, W]; frame 0 alone comes first."""
    cells = reduce(activity, "t (h a) (w b) -> t h w", "mean", a=spatial, b=spatial)
    rest = reduce(cells[1:], "(t n) h w -> t h w", "mean", n=temporal)
    return np.concatenate([cells[:1], rest])
