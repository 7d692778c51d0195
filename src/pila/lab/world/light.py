"""Light and waves: coloured amplitudes drawn on grey, read back, and a pulse's two-piece path.

A colour stands for an amplitude: crest hue for positive values, the opposite hue for negative.
"""

from dataclasses import dataclass

import numpy as np

from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import pixel_centres

GLOW = {
    "red": (255, 70, 60),
    "green": (60, 235, 80),
    "blue": (70, 120, 255),
    "yellow": (255, 225, 50),
    "purple": (205, 80, 255),
}
"""Colour of a pulse at full intensity [0, 255]."""
LEAST_CHROMA = 30.0
"""Colour difference [grey levels] under which a clip shows no light."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse read back from pixels: centre [t, 2] in metres, seen [t] bool."""

    centre: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True, slots=True)
class Bend:
    """A path of two straight pieces that join at one moment.

    Attributes:
        moment: when the pieces join [s].
        point: where [m], [2].
        before, after: velocities [m/s], [2].
        swerve: change of direction within a piece [rad], the larger of the two.
        drift: relative change of speed within a piece, the larger of the two.
        misfit: root mean square distance of the track from the pieces [m].
        reach: length of the path [m].
    """

    moment: float
    point: np.ndarray
    before: np.ndarray
    after: np.ndarray
    swerve: float
    drift: float
    misfit: float
    reach: float


def read_tint(frames: np.ndarray) -> np.ndarray:
    """Signed colour along the clip's strongest hue axis [t, h, w], in grey levels.

    Grey ground, whatever its texture, has none. The sign is the one with more light.
    """
    rgb = frames.astype(np.float32)
    a = rgb[..., 0] - rgb[..., 1]
    b = rgb[..., 2] - rgb[..., 1]
    moments = np.array([[(a * a).mean(), (a * b).mean()], [(a * b).mean(), (b * b).mean()]])
    axis = np.linalg.eigh(moments)[1][:, 1]
    tint = axis[0] * a + axis[1] * b
    return tint if tint.mean() >= 0 else -tint


def read_pulse(frames: np.ndarray, extent: float) -> Pulse:
    """Centre of the light above a quarter of its peak, in each frame [t, h, w, 3]."""
    tint = read_tint(frames)
    size = tint.shape[1]
    x, y = pixel_centres(size, extent)
    count = max(4, size * size // 1000)
    bright = np.partition(tint.reshape(len(tint), -1), -count, axis=1)[:, -count:].mean(1)
    usual = np.median(bright)
    weight = np.clip(tint - 0.25 * np.maximum(bright, 0.5 * usual)[:, None, None], 0, None)
    total = np.maximum(weight.sum((1, 2)), 1e-9)
    centre = np.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1) / total[:, None]
    return Pulse(centre, (bright > LEAST_CHROMA) & (bright > 0.5 * usual))


def fit_bend(t: np.ndarray, track: np.ndarray, gap: float) -> Bend | None:
    """The best path of two straight pieces through a track [t, 2], or None if it is too short.

    Moments are tried every quarter frame; frames within `gap` seconds of a moment are left out,
    as the pulse is then partly in either piece. Each piece keeps at least five frames.
    """
    step = float(np.median(np.diff(t))) if len(t) > 9 else 0.0
    moments = np.arange(t[0], t[-1], step / 4) if step else np.array([])
    kept = np.abs(t - moments[:, None]) >= gap if step else np.zeros((0, len(t)), bool)
    late = t - moments[:, None]
    enough = ((kept & (late < 0)).sum(1) >= 5) & ((kept & (late > 0)).sum(1) >= 5)
    if not enough.any():
        return None
    moments, kept, late = moments[enough], kept[enough], late[enough]
    basis = np.stack([np.ones_like(late), np.clip(late, None, 0), np.clip(late, 0, None)], -1)
    basis = basis * kept[..., None]
    found = np.linalg.pinv(basis) @ (track * kept[..., None])
    rest = track * kept[..., None] - basis @ found
    misfits = np.sqrt((rest**2).sum((1, 2)) / kept.sum(1))
    best = int(np.argmin(misfits))
    point, before, after = found[best]
    swerves, drifts = [], []
    for side, velocity in ((late[best] < 0, before), (late[best] > 0, after)):
        use = kept[best] & side
        along, across = _change(t[use], track[use])
        speed = float(np.hypot(*velocity))
        swerves.append(relative(across, speed))
        drifts.append(relative(along, speed))
    reach = float(np.hypot(*np.diff(track, axis=0).T).sum())
    return Bend(
        float(moments[best]),
        point,
        before,
        after,
        max(swerves),
        max(drifts),
        float(misfits[best]),
        reach,
    )


def _change(t: np.ndarray, track: np.ndarray) -> tuple[float, float]:
    """Change of velocity along and across the flight over one piece [m/s]."""
    (_, velocity, bend), _ = polynomial_fit(t - t.mean(), track, 2)
    change = 2 * bend * (t[-1] - t[0])
    direction = velocity / max(float(np.hypot(*velocity)), 1e-9)
    along = abs(float(change @ direction))
    across = abs(float(change[0] * direction[1] - change[1] * direction[0]))
    return along, across
