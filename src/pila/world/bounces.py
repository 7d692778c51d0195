"""Bounces read back from a path: parabolas of one curvature, found by dynamic programming."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

NOISE = 0.2
"""Reading noise of a height, in units of the lowest hop that can be told from rest."""
COST = 12.0
"""What an arc must save in squared misfit, in units of the noise, to count as one."""
FEWEST = 3
"""Samples of an arc; only the last one, cut by the end of the clip, may have fewer."""
FASTEST = 0.25
"""Speed of impact, relative to the fastest one, from which on a bounce's ratio is read."""


@dataclass(frozen=True, slots=True)
class Bounces:
    """What a path says of bouncing.

    Attributes:
        gravity: downward acceleration between bounces [m/s^2].
        misfit: root mean square distance to the arcs [m].
        height: where each bounce turns the path upward [m], shape [bounces].
        ratio: rebound speed / impact speed of each bounce that is fast and long enough to tell.
    """

    gravity: float
    misfit: float
    height: np.ndarray
    ratio: np.ndarray


def read_bounces(t: np.ndarray, y: np.ndarray, gravity: float, settled: float) -> Bounces | None:
    """Read heights y [m] at times t [s], both [t]; None where hardly anything flies.

    Args:
        t: times, evenly spaced save for lost frames.
        y: heights of the ball's centre.
        gravity: about what to expect; a tenth to twice of it is searched.
        settled: hops lower than this [m] at the end count as rest and are left out.
    """
    above = np.flatnonzero(y > y.min() + settled)
    flying = int(above[-1]) + 1 if len(above) else 0
    if flying > len(t) - 4:
        flying = len(t)
    if flying < 6 or np.ptp(y) < 2 * settled:
        return None
    t, y = t[:flying], y[:flying]
    noise = NOISE * settled
    curvatures = gravity * np.linspace(0.1, 2.2, 22)
    costs, _ = _split(t, y, curvatures, noise)
    found = float(curvatures[np.argmin(costs)])
    for _ in range(2):
        _, ends = _split(t, y, np.array([found]), noise)
        found = _curvature(t, y, ends)
    return _joints(t, y, ends, found)


def _split(
    t: np.ndarray, y: np.ndarray, curvatures: np.ndarray, noise: float
) -> tuple[np.ndarray, list[int]]:
    """Least cost of splitting y into arcs for each curvature, and the best split's ends."""
    n = len(t)
    z = y + curvatures[:, None] * t**2 / 2  # an arc of that curvature becomes a straight line
    z = z - z.mean(1, keepdims=True)
    s = t - t.mean()

    def sums(values: np.ndarray) -> np.ndarray:
        total = np.zeros((*values.shape[:-1], n + 1))
        np.cumsum(values, axis=-1, out=total[..., 1:])
        return total[..., None, :] - total[..., :, None]  # [.., from, to)

    count = np.maximum(sums(np.ones(n)), 1)
    st, sz = sums(s), sums(z)
    tt, tz, zz = sums(s**2) - st**2 / count, sums(s * z) - st * sz / count, sums(z**2)
    misfit = zz - sz**2 / count - tz**2 / np.maximum(tt, 1e-12)
    length = np.arange(n + 1)[None, :] - np.arange(n + 1)[:, None]
    short = (length < FEWEST) & ~((length > 0) & (np.arange(n + 1) == n))
    cost = np.where(short, np.inf, np.maximum(misfit, 0) / noise**2 + COST)
    best = np.full((len(curvatures), n + 1), np.inf)
    best[:, 0] = 0
    origin = np.zeros((len(curvatures), n + 1), int)
    for end in range(1, n + 1):
        total = best[:, :end] + cost[:, :end, end]
        origin[:, end] = total.argmin(1)
        best[:, end] = total.min(1)
    row = int(best[:, n].argmin())
    ends = [n]
    while ends[0] > 0:
        ends.insert(0, int(origin[row, ends[0]]))
    return best[:, n], ends


def _curvature(t: np.ndarray, y: np.ndarray, ends: list[int]) -> float:
    """The downward acceleration that all arcs share, least squares."""
    top = bottom = 0.0
    for i, j in pairwise(ends):
        if j - i > 2:
            basis = np.vander(t[i:j] - t[i], 2)
            bend = -(t[i:j] ** 2) / 2
            bend = bend - basis @ np.linalg.lstsq(basis, bend, rcond=None)[0]
            top, bottom = top + float(bend @ y[i:j]), bottom + float(bend @ bend)
    return top / max(bottom, 1e-12)


def _joints(t: np.ndarray, y: np.ndarray, ends: list[int], gravity: float) -> Bounces:
    """Where consecutive arcs meet, and how fast the path comes and goes there."""
    lines, rest = [], []
    for i, j in pairwise(ends):
        if j - i < 2:
            continue
        z = y[i:j] + gravity * t[i:j] ** 2 / 2
        slope, offset = np.polyfit(t[i:j], z, 1)
        lines.append((slope, offset, t[i], t[j - 1], j - i))
        rest.append(z - slope * t[i:j] - offset)
    height, ratio, impact, clear = [], [], [], []
    step = float(np.median(np.diff(t))) / 2
    for (m0, c0, _, before, _), (m1, c1, after, _, samples) in pairwise(lines):
        if m1 - m0 < 1e-9:
            continue  # the path bends down: no bounce
        when = np.clip((c0 - c1) / (m1 - m0), before - step, after + step)
        height.append(c0 + m0 * when - gravity * when**2 / 2)
        impact.append(gravity * when - m0)
        ratio.append((m1 - gravity * when) / max(impact[-1], 1e-9))
        clear.append(samples >= FEWEST)
    speed = np.array(impact)
    fast = speed > FASTEST * speed.max(initial=0.0)
    return Bounces(
        gravity=gravity,
        misfit=float(np.sqrt(np.mean(np.concatenate(rest) ** 2))) if rest else np.inf,
        height=np.array(height),
        ratio=np.array(ratio)[fast & np.array(clear, bool)],
    )
