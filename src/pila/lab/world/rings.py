"""Rings: a circular wave read back from a signed picture, about a centre that it shows itself."""

from dataclasses import dataclass

import numpy as np

from pila.lab.world.render import pixel_centres

RADII = (np.arange(72) + 0.5) * 0.0075
"""Radii at which rings are read, as shares of the view's side."""
STEP, LARGEST = float(RADII[1] - RADII[0]), float(RADII[-3])
NUM_ANGLES, NUM_SECTORS = 48, 12
FAINTEST = 10.0
"""Least height of a ring that counts as seen [grey levels]."""


@dataclass(frozen=True, slots=True)
class Ring:
    """The strongest crest of a ring wave, each [t].

    Attributes:
        radius: mean over directions [m].
        height: [grey levels].
        spacing: distance from the crest to its deeper neighbouring trough [m].
        uneven: standard deviation of the radius over directions [m].
        seen: whether there is a ring at all, bool.
    """

    radius: np.ndarray
    height: np.ndarray
    spacing: np.ndarray
    uneven: np.ndarray
    seen: np.ndarray


def read_ring(tint: np.ndarray, extent: float) -> Ring | None:
    """The ring in a signed picture [t, h, w] of `extent` metres, or None where there is none."""
    strong = np.abs(tint)
    strong = np.clip(strong - 0.3 * np.partition(strong.ravel(), -200)[-200], 0, None)
    x, y = pixel_centres(tint.shape[1], 1.0)
    centre = np.array([(strong * x).sum(), (strong * y).sum()]) / max(float(strong.sum()), 1e-9)
    # The centre of all the light is the ring's, unless part of the ring has left the view.
    for _ in range(2):
        centre = centre + _offset(*_sectors(tint, centre)[:2])
    each, usable, radius, height, spacing = _sectors(tint, centre)
    seen = (height > FAINTEST) & (usable.sum(1) >= NUM_SECTORS // 2)
    if seen.mean() < 0.8 or seen.sum() < 9:
        return None
    count = np.maximum(usable.sum(1), 1)
    mean = (each * usable).sum(1) / count
    uneven = np.sqrt((((each - mean[:, None]) ** 2) * usable).sum(1) / count)
    return Ring(radius * extent, height, spacing * extent, uneven * extent, seen)


def _sectors(
    tint: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Radii by sector [t, 12] and which lie in view; mean radius, height and spacing [t]."""
    polar, inside = _to_polar(tint, centre)
    # Where under 0.4 of a circle lies in view its mean is not trusted.
    mean = (polar * inside).sum(1) / np.maximum(inside.sum(0), 1) * (inside.mean(0) > 0.4)
    # √r undoes the fading in two dimensions: the ring then travels without change.
    level = mean * np.sqrt(RADII)
    if level.min(1).sum() + level.max(1).sum() < 0:
        polar, level = -polar, -level
    radius, top = _peak(level, np.zeros(len(level)), 1.0)
    by_sector = (polar * inside).reshape(len(polar), NUM_SECTORS, -1, len(RADII)).mean(2)
    rows = (by_sector * np.sqrt(RADII)).reshape(-1, len(RADII))
    each = _peak(rows, np.repeat(radius, NUM_SECTORS), 0.08)[0].reshape(-1, NUM_SECTORS)
    whole = inside.reshape(NUM_SECTORS, -1, len(RADII)).all(1)
    usable = each < RADII[whole.sum(1) - 1] - 0.02
    return each, usable, radius, top / np.sqrt(radius), _trough_distance(level, radius)


def _to_polar(tint: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear samples [t, 48, r] on circles round a centre, and which lie in view [48, r]."""
    size = tint.shape[1]
    angle = (np.arange(NUM_ANGLES)[:, None] + 0.5) * 2 * np.pi / NUM_ANGLES
    column = (centre[0] + RADII * np.cos(angle)) * size - 0.5
    row = (1 - centre[1] - RADII * np.sin(angle)) * size - 0.5
    inside = (column >= 0) & (column <= size - 1) & (row >= 0) & (row <= size - 1)
    j = np.clip(column.astype(int), 0, size - 2)
    i = np.clip(row.astype(int), 0, size - 2)
    u, v = np.clip(column - j, 0, 1), np.clip(row - i, 0, 1)
    upper = tint[:, i, j] * (1 - u) + tint[:, i, j + 1] * u
    lower = tint[:, i + 1, j] * (1 - u) + tint[:, i + 1, j + 1] * u
    return upper * (1 - v) + lower * v, inside


def _peak(level: np.ndarray, near: np.ndarray, window: float) -> tuple[np.ndarray, np.ndarray]:
    """Radius and value of the highest point of profiles [n, r] within a window of `near`."""
    allowed = (np.abs(RADII - near[:, None]) <= window) & (RADII > 0.05) & (LARGEST > RADII)
    k = np.clip(np.where(allowed, level, -np.inf).argmax(1), 2, len(RADII) - 3)
    # Parabola by least squares through five points.
    a, b, c, d, e = (level[np.arange(len(level)), k + i] for i in (-2, -1, 0, 1, 2))
    slope, bend = (2 * e + d - b - 2 * a) / 10, (2 * a - b - 2 * c - d + 2 * e) / 14
    shift = np.where(bend < 0, np.clip(-slope / np.minimum(2 * bend, -1e-9), -1.5, 1.5), 0)
    return RADII[k] + shift * STEP, c + shift * slope / 2


def _offset(each: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Shift of a centre from the radii [t, 12] that are seen round it: first harmonics."""
    angle = (np.arange(NUM_SECTORS) + 0.5) * 2 * np.pi / NUM_SECTORS
    harmonics = [np.ones(NUM_SECTORS), *(f(n * angle) for n in (1, 2) for f in (np.cos, np.sin))]
    basis = usable[..., None] * np.stack(harmonics, -1)
    found = np.linalg.pinv(basis, rcond=1e-2) @ (usable * each)[..., None]
    return np.median(found[usable.sum(1) >= 7, 1:3, 0], axis=0) if usable.any() else np.zeros(2)


def _trough_distance(level: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Distance from the crest to its deeper neighbouring trough, [t]."""
    sides = []
    for sign in (-1, 1):
        trough, depth = _peak(-level, radius + sign * 0.09, 0.05)
        sides.append((depth.mean(), np.abs(trough - radius)))
    return max(sides, key=lambda side: side[0])[1]
