"""Balls: drawn, read back from pixels, and their true fields.

Balls are saturated colours on grey ground, so that colour alone tells one from the other.
"""

from dataclasses import dataclass

import numpy as np

from pila.lab.world.fit import relative
from pila.lab.world.render import coverage, paint, pixel_centres
from pila.lab.world.scene import Fields
from pila.physics.layout import Slot

PALETTE = {
    "red": (220, 40, 45),
    "green": (35, 165, 60),
    "blue": (40, 80, 220),
    "yellow": (225, 195, 30),
    "orange": (235, 120, 25),
    "purple": (150, 50, 190),
}
"""Ball colours [0, 255]: saturated, so that colour alone tells ball from ground."""


def disc_coverage(centres: np.ndarray, radius: np.ndarray, size: int, extent: float) -> np.ndarray:
    """Share of each pixel under a disc, [t, h, w]; centres [t, 2] and radius [t] in metres."""
    x, y = pixel_centres(size, extent)
    distance = np.hypot(
        x - centres[:, 0, None, None], y - centres[:, 1, None, None], dtype=np.float64
    )
    return coverage(distance - radius[:, None, None], extent)


def draw_ball(
    image: np.ndarray,
    covered: np.ndarray,
    centres: np.ndarray,
    radius: np.ndarray,
    colour: str,
    extent: float,
) -> None:
    """Paint a shaded ball over `image` [t, h, w, 3] in place; light comes from the upper left."""
    size = image.shape[1]
    x, y = pixel_centres(size, extent)
    r = radius[:, None, None]
    nx, ny = (x - centres[:, 0, None, None]) / r, (y - centres[:, 1, None, None]) / r
    shade = np.clip(1.0 + 0.22 * (ny - nx) * 0.7, 0.7, 1.25)[..., None]
    paint(image, covered, np.clip(np.array(PALETTE[colour]) * shade, 0, 255))


@dataclass(frozen=True, slots=True)
class BallTrack:
    """A ball read back from pixels: centre [t, 2] and radius [t] in metres, seen [t] bool."""

    centre: np.ndarray
    radius: np.ndarray
    seen: np.ndarray


def colour_weights(frames: np.ndarray, num_balls: int) -> list[np.ndarray]:
    """Soft masks [t, h, w] of the `num_balls` most present saturated hues.

    The hues come from the clip itself (its strongest hue clusters), never from the simulator.
    """
    rgb = frames.astype(np.float64)
    high, low = rgb.max(-1), rgb.min(-1)
    chroma = high - low
    weight = np.clip((chroma - 35.0) / 50.0, 0.0, 1.0)
    if num_balls == 1:
        return [weight]
    # Hues of the coloured pixels alone: the ground is most of the picture and has none.
    coloured = weight > 0
    hue = _hue(rgb[coloured], high[coloured], chroma[coloured])
    names = np.array([_hue_of(np.array(c, float)) for c in PALETTE.values()])
    nearest = np.argmin(np.abs(_wrap(hue[:, None] - names)), axis=-1)
    share = np.bincount(nearest, weight[coloured], minlength=len(names))
    chosen = np.argsort(share)[::-1][:num_balls]
    mine = np.argmin(np.abs(_wrap(hue[:, None] - names[chosen])), axis=-1)
    masks = []
    for i in range(num_balls):
        mask = np.zeros_like(weight)
        mask[coloured] = weight[coloured] * (mine == i)
        masks.append(mask)
    return masks


def read_ball(weight: np.ndarray, extent: float) -> BallTrack:
    """Centre and radius of the ball under a soft mask: first moments and area."""
    size = weight.shape[1]
    x, y = pixel_centres(size, extent)
    area = weight.sum((1, 2))
    safe = np.maximum(area, 1e-9)
    cell = (extent / size) ** 2
    cx, cy = (weight * x).sum((1, 2)) / safe, (weight * y).sum((1, 2)) / safe
    radius = np.sqrt(area * cell / np.pi)
    return BallTrack(np.stack([cx, cy], 1), radius, area > 6.0)


def shape_error(track: BallTrack) -> float:
    """Spread of a ball's area over time, relative to its mean; 1 where it is lost."""
    area = track.radius[track.seen] ** 2
    return relative(2 * area.std(), area.mean())


def ball_truth(
    positions: list[np.ndarray], coverages: list[np.ndarray], frame_rate: float
) -> tuple[Fields, Fields]:
    """Fields of rigid balls: displacement from the middle frame, velocity, impulse, no strain.

    Impulse is the velocity change per unit time [m/s^2], as the term u_t = j reads it.
    """
    shape = (1, *coverages[0].shape)
    total = np.clip(sum(coverages), 1e-6, None)

    def blend(values: list[np.ndarray]) -> np.ndarray:
        grid = [v.T[:, :, None, None] * c for v, c in zip(values, coverages, strict=True)]
        return np.asarray(sum(grid)) / total

    velocities = [np.gradient(p, 1 / frame_rate, axis=0, edge_order=2) for p in positions]
    middle = len(positions[0]) // 2
    mask = np.clip(sum(coverages), 0, 1).reshape(shape)
    everywhere = np.ones(shape)
    fields: Fields = {
        Slot.DISPLACEMENT: blend([p - p[middle] for p in positions]),
        Slot.VELOCITY: blend(velocities),
        Slot.IMPULSE: blend(
            [np.gradient(v, 1 / frame_rate, axis=0, edge_order=2) for v in velocities]
        ),
        Slot.STRAIN: np.zeros((3, *shape[1:])),
        Slot.DENSITY: mask.copy(),
    }
    masks = dict.fromkeys(fields, mask) | {Slot.DENSITY: everywhere}
    return fields, masks


def _hue(rgb: np.ndarray, high: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(rgb, -1, 0)
    c = np.maximum(chroma, 1e-6)
    hue = np.where(high == r, (g - b) / c, np.where(high == g, 2 + (b - r) / c, 4 + (r - g) / c))
    return hue % 6.0


def _hue_of(colour: np.ndarray) -> float:
    return float(_hue(colour[None], colour.max()[None], (colour.max() - colour.min())[None])[0])


def _wrap(difference: np.ndarray) -> np.ndarray:
    return (difference + 3.0) % 6.0 - 3.0
