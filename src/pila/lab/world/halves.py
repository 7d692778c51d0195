"""Rigid bodies of two coloured halves: drawn, read back from pixels, and their true fields.

Two halves of different hue make a rotation visible: the line from one half's centroid to the
other's turns with the body.
"""

from dataclasses import dataclass

import numpy as np

from pila.lab.world.balls import PALETTE, colour_weights
from pila.lab.world.render import coverage, paint, pixel_centres
from pila.lab.world.scene import Fields
from pila.physics.layout import Slot

FAINT = 35.0
"""Chroma [grey levels] under which `colour_weights` sees no colour."""


def body_frame(
    centre: np.ndarray, angle: np.ndarray, size: int, extent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates along and across a body's axis [m], each [t, h, w].

    Args:
        centre: [t, 2] in metres.
        angle: of the axis against x, anticlockwise [rad], [t].
        size: pixels along a side.
        extent: metres along a side.
    """
    x, y = pixel_centres(size, extent)
    dx, dy = x - centre[:, 0, None, None], y - centre[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return cos * dx + sin * dy, cos * dy - sin * dx


def draw_halves(
    image: np.ndarray,
    covered: np.ndarray,
    along: np.ndarray,
    colours: tuple[str, str],
    shade: np.ndarray,
    extent: float,
) -> None:
    """Paint a body over `image` [t, h, w, 3] in place: first colour where `along` > 0.

    Args:
        image: [t, h, w, 3] in [0, 255].
        covered: share of each pixel under the body, [t, h, w].
        along: coordinate along the body's axis [m], [t, h, w].
        colours: names in `PALETTE`.
        shade: brightness factor, broadcast to [t, h, w].
        extent: metres along a side.
    """
    first, second = (np.array(PALETTE[c], float) for c in colours)
    share = coverage(-along, extent)[..., None]
    paint(image, covered, np.clip((second + share * (first - second)) * shade[..., None], 0, 255))


@dataclass(frozen=True, slots=True)
class HalvesTrack:
    """A body of two halves read back from pixels, arrays over frames.

    Attributes:
        centre: [t, 2] in metres.
        angle: of the line from the fainter to the more present hue [rad], unwrapped, [t].
        separation: of the halves' centroids [m], [t].
        area: [m^2], [t].
        seen: both halves found, [t] bool.
    """

    centre: np.ndarray
    angle: np.ndarray
    separation: np.ndarray
    area: np.ndarray
    seen: np.ndarray


def read_halves(frames: np.ndarray, extent: float) -> HalvesTrack:
    """Find the two most present hues in frames [t, h, w, 3] and follow both halves.

    Where fewer than half the frames show both, angles mean nothing; look at `seen` first.
    """
    size = frames.shape[1]
    x, y = pixel_centres(size, extent)
    chroma = frames.max(-1).astype(np.float64) - frames.min(-1)
    areas, centroids = [], []
    for mask in colour_weights(frames, 2):
        inside = mask > 0.5
        # Each hue is held against its own strength, so that both halves' edges are read at half
        # coverage and the more colourful half does not seem larger.
        full = float(np.median(chroma[inside])) if inside.any() else 255.0
        cover = np.where(mask > 0, np.clip((chroma - FAINT) / (0.8 * full - FAINT), 0, 1), 0)
        area = cover.sum((1, 2))
        safe = np.maximum(area, 1e-9)
        centroids.append(np.stack([(cover * x).sum((1, 2)), (cover * y).sum((1, 2))], 1))
        centroids[-1] /= safe[:, None]
        areas.append(area)
    total = np.maximum(areas[0] + areas[1], 1e-9)
    centre = (areas[0][:, None] * centroids[0] + areas[1][:, None] * centroids[1]) / total[:, None]
    dx, dy = (centroids[0] - centroids[1]).T
    seen = (areas[0] > 6.0) & (areas[1] > 6.0)
    angle = np.arctan2(dy, dx)
    angle[seen] = np.unwrap(angle[seen])
    return HalvesTrack(centre, angle, np.hypot(dx, dy), total * (extent / size) ** 2, seen)


def turning_truth(
    centre: np.ndarray, angle: np.ndarray, covered: np.ndarray, extent: float, frame_rate: float
) -> tuple[Fields, Fields]:
    """Fields of a rigid body that moves and turns: u = v + w x r.

    Displacement counts from the middle frame, at the point where the matter is now. Impulse is
    the velocity's change at a fixed point [m/s^2], u_t = v_t + w_t x r - w x v, as the term
    u_t = j reads it.

    Args:
        centre: [t, 2] in metres.
        angle: anticlockwise [rad], [t].
        covered: share of each pixel under the body, [t, h, w].
        extent: metres along a side.
        frame_rate: frames per second.
    """
    x, y = pixel_centres(covered.shape[-1], extent)
    r = np.stack([x - centre[:, 0, None, None], y - centre[:, 1, None, None]])

    def rate(f: np.ndarray) -> np.ndarray:
        return np.gradient(f, 1 / frame_rate, axis=0, edge_order=2)

    def grid(f: np.ndarray) -> np.ndarray:
        return f.T[..., None, None]

    def cross(spin: np.ndarray, v: np.ndarray) -> np.ndarray:
        return grid(spin) * np.stack([-v[1], v[0]])

    velocity, spin = rate(centre), rate(angle)
    middle = len(angle) // 2
    back = grid(angle[middle] - angle)
    before = np.cos(back) * r + np.sin(back) * np.stack([-r[1], r[0]])
    mask = covered[None]
    fields: Fields = {
        Slot.DISPLACEMENT: r - before + grid(centre - centre[middle]),
        Slot.VELOCITY: grid(velocity) + cross(spin, r),
        Slot.IMPULSE: grid(rate(velocity)) + cross(rate(spin), r) - cross(spin, grid(velocity)),
        Slot.STRAIN: np.zeros((3, *covered.shape)),
    }
    fields = {slot: np.where(mask > 0, f, 0.0) for slot, f in fields.items()}
    masks = dict.fromkeys(fields, mask)
    # Density is known everywhere: the body's coverage.
    return fields | {Slot.DENSITY: mask.copy()}, masks | {Slot.DENSITY: np.ones_like(mask)}
