"""Bounces read back from a path: the one ballistic path, of six numbers, that lies closest to it.

A free split of the path into arcs tells more of a clean path, but reads noise as bounces: of true
clips through the embedded VAE at 64 px (off by 1 to 2 pixels) it found the restitution of one in
five, and this fit that of all to 0.05 (results/LOG.md, 2026-11-26).
"""

from dataclasses import dataclass

import numpy as np

PATHS = 500
"""Paths tried in each round."""
KEPT = 40
"""Best paths of a round, that the next one is drawn about."""
ROUNDS = 22
WIDER = 1.2
"""Spread of a round's draws over that of the paths kept from the one before."""
MOST = 8
"""Bounces followed; a ball rests after the last."""
BLUNT = 0.006
"""Distance under which an error counts as its square, above as itself, in heights of the view: a
frame that shows the ball elsewhere must not bend the whole path."""
ALIKE = 0.0015
"""Cost of a difference of the two ratios, in heights of the view: where a clip has one bounce the
second ratio says nothing and follows the first."""


@dataclass(frozen=True, slots=True)
class Bounces:
    """What a path says of bouncing.

    Attributes:
        gravity: downward acceleration between bounces [m/s^2].
        misfit: root mean square distance to the path that was found [m].
        height: of the ball's centre as it turns upward [m].
        ratio: rebound speed / impact speed of the first bounce, and of all others.
        bounces: how many begin before the end of the clip, at most `MOST`.
    """

    gravity: float
    misfit: float
    height: float
    ratio: tuple[float, float]
    bounces: int


def read_bounces(t: np.ndarray, y: np.ndarray, gravity: float, extent: float) -> Bounces:
    """The bouncing path closest to heights y [m] at times t [s], both [t] with t from 0.

    Found by the cross-entropy method: paths are drawn about the best of the round before.

    Args:
        t: times.
        y: heights of the ball's centre.
        gravity: about what to expect; a tenth to two and a half times of it is allowed.
        extent: height of the view [m], which the tolerances are shares of.
    """
    rng = np.random.default_rng(0)
    middle = np.array([y[:3].max(), 0.0, np.quantile(y, 0.05), 0.7, 0.7, gravity])
    spread = np.array([0.03 * extent, 0.4, 0.025 * extent, 0.2, 0.2, 0.3 * gravity])
    reach, best = np.diag(spread), middle
    for _ in range(ROUNDS):
        # Gravity, start and floor make up for each other: draws keep to the valley they lie in.
        drawn = middle + rng.normal(size=(PATHS, len(middle))) @ reach
        drawn[0] = best
        drawn[:, 3:5] = drawn[:, 3:5].clip(0.05, 1.6)
        drawn[:, 5] = drawn[:, 5].clip(0.1 * gravity, 2.5 * gravity)
        away = (_paths(t, drawn)[0] - y) / extent
        cost = np.sqrt(away**2 + BLUNT**2).mean(1) + ALIKE * np.abs(drawn[:, 3] - drawn[:, 4])
        order = np.argsort(cost, kind="stable")[:KEPT]
        best = drawn[order[0]]
        middle = drawn[order].mean(0)
        _, sizes, axes = np.linalg.svd(drawn[order] - middle, full_matrices=False)
        reach = WIDER * sizes[:, None] / np.sqrt(KEPT) * axes
    found, starts = _paths(t, best[None])
    return Bounces(
        gravity=float(best[5]),
        misfit=float(np.sqrt(((found[0] - y) ** 2).mean())),
        height=float(best[2]),
        ratio=(float(best[3]), float(best[4])),
        bounces=int((starts[:, 0] < t[-1]).sum()),
    )


def _paths(t: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights [n, t] of n paths, and when each bounce begins [MOST, n].

    Args:
        t: times [t].
        p: height and upward speed at t = 0, height of the centre at a bounce, ratio of the first
            and of the other bounces, gravity: [n, 6].
    """
    y0, v0, floor, first, others, g = (column[:, None] for column in p.T)
    impact = np.sqrt(v0**2 + 2 * g * np.maximum(y0 - floor, 0))
    start, up = (v0 + impact) / g, first * impact
    height, starts = y0 + v0 * t - g * t**2 / 2, []
    for _ in range(MOST):
        late = t - start
        height = np.where(late > 0, floor + up * late - g * late**2 / 2, height)
        starts.append(start[:, 0])
        start, up = start + 2 * up / g, up * others
    return np.where(t > start, floor, height), np.stack(starts)
