"""Drawing: grey textured backgrounds, shaded balls and heat, so that pixels can be read back.

Every background and texture is close to grey, and everything measured is colour: differences
between channels cancel the texture. Reading is the inverse of drawing and stands beside it.
"""

from dataclasses import dataclass

import numpy as np

PALETTE = {
    "red": (220, 40, 45),
    "green": (35, 165, 60),
    "blue": (40, 80, 220),
    "yellow": (225, 195, 30),
    "orange": (235, 120, 25),
    "purple": (150, 50, 190),
}
"""Ball colours [0, 255]: saturated, so that colour alone tells ball from ground."""

HEAT_DIRECTION = np.array([165.0, 40.0, -35.0])
"""Colour added per unit of temperature; red minus blue is linear in temperature."""


def pixel_centres(size: int, extent: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) [m] of the pixel centres, y up, each [h, w]."""
    s = (np.arange(size) + 0.5) / size * extent
    x, y = np.meshgrid(s, s[::-1])
    return x, y


def background(rng: np.random.Generator, size: int, low: float, high: float) -> np.ndarray:
    """A grey field with a gradient and a smooth texture, [h, w, 3] in [0, 255]."""
    x, y = pixel_centres(size, 1.0)
    level = rng.uniform(low, high)
    slope = rng.uniform(-14, 14, 2)
    grey = level + slope[0] * (x - 0.5) + slope[1] * (y - 0.5)
    for _ in range(3):
        k = rng.uniform(3, 16) * np.exp(1j * rng.uniform(0, 2 * np.pi))
        grey = grey + rng.uniform(1, 4) * np.cos(k.real * x + k.imag * y + rng.uniform(0, 7))
    return np.repeat(grey[..., None], 3, axis=-1)


def disc_coverage(centres: np.ndarray, radius: np.ndarray, size: int, extent: float) -> np.ndarray:
    """Share of each pixel under a disc, [t, h, w]; centres [t, 2] and radius [t] in metres.

    The edge is a ramp one pixel wide, the first-order area coverage of a straight edge.
    """
    x, y = pixel_centres(size, extent)
    distance = np.hypot(
        x - centres[:, 0, None, None], y - centres[:, 1, None, None], dtype=np.float64
    )
    return np.clip((radius[:, None, None] - distance) * (size / extent) + 0.5, 0.0, 1.0)


def draw_ball(
    image: np.ndarray,
    coverage: np.ndarray,
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
    paint = np.clip(np.array(PALETTE[colour]) * shade, 0, 255)
    image += coverage[..., None] * (paint - image)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Grey levels of any real dtype, rounded and clipped to 0..255, same shape."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class BallTrack:
    """A ball read back from pixels: centre [t, 2] and radius [t] in metres, seen [t] bool."""

    centre: np.ndarray
    radius: np.ndarray
    seen: np.ndarray


def read_temperature(frames: np.ndarray) -> np.ndarray:
    """Temperature (1 is the colour map's full scale) from pixels, [t, h, w]."""
    rgb = frames.astype(np.float64)
    return (rgb[..., 0] - rgb[..., 2]) / (HEAT_DIRECTION[0] - HEAT_DIRECTION[2])


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


def _hue(rgb: np.ndarray, high: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(rgb, -1, 0)
    c = np.maximum(chroma, 1e-6)
    hue = np.where(high == r, (g - b) / c, np.where(high == g, 2 + (b - r) / c, 4 + (r - g) / c))
    return hue % 6.0


def _hue_of(colour: np.ndarray) -> float:
    return float(_hue(colour[None], colour.max()[None], (colour.max() - colour.min())[None])[0])


def _wrap(difference: np.ndarray) -> np.ndarray:
    return (difference + 3.0) % 6.0 - 3.0
