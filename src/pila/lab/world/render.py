"""Drawing: grey textured backgrounds, soft-edged shapes and heat, so that pixels can be read back.

Every background and texture is close to grey, and everything measured is colour: differences
between channels cancel the texture. Reading is the inverse of drawing and stands beside it.
"""

import numpy as np

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


def coverage(distance: np.ndarray, extent: float) -> np.ndarray:
    """Share of each pixel inside a shape, from signed distances [..., h, w] in metres.

    Distances are negative inside. The edge is a ramp one pixel wide, the first-order area
    coverage of a straight edge.
    """
    return np.clip(0.5 - distance * (distance.shape[-1] / extent), 0.0, 1.0)


def bar_distance(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float
) -> np.ndarray:
    """Signed distance [m] to a round-ended bar, [t, h, w]; ends [t, 2], points [h, w]."""
    ax, ay = (start[:, i, None, None] for i in (0, 1))
    bx, by = (end[:, i, None, None] - start[:, i, None, None] for i in (0, 1))
    along = ((x - ax) * bx + (y - ay) * by) / np.maximum(bx**2 + by**2, 1e-12)
    along = np.clip(along, 0, 1)
    return np.hypot(x - ax - along * bx, y - ay - along * by) - radius


def box_distance(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], half: tuple[float, float]
) -> np.ndarray:
    """Signed distance [m] to a box along the axes, same shape as `x` and `y`."""
    dx, dy = np.abs(x - centre[0]) - half[0], np.abs(y - centre[1]) - half[1]
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0)


def paint(image: np.ndarray, covered: np.ndarray, colour: np.ndarray | tuple) -> None:
    """Lay a colour [3] or [..., 3] over `image` [t, h, w, 3] in place, where it is covered."""
    image += covered[..., None] * (np.asarray(colour, float) - image)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Grey levels of any real dtype, rounded and clipped to 0..255, same shape."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def read_temperature(frames: np.ndarray) -> np.ndarray:
    """Temperature (1 is the colour map's full scale) from pixels, [t, h, w]."""
    rgb = frames.astype(np.float64)
    return (rgb[..., 0] - rgb[..., 2]) / (HEAT_DIRECTION[0] - HEAT_DIRECTION[2])
