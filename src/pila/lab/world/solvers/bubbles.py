"""Bubbles of nucleate boiling, flat and round: they grow on the bottom, leave, and rise.

Heat-limited growth goes with the root of time, r = B sqrt(t) (Plesset and Zwick, J. Appl. Phys.
25, 1954). A flat bubble rises at 0.5 sqrt(g r) (Collins, J. Fluid Mech. 22, 1965).
"""

from dataclasses import dataclass, replace

import numpy as np

from pila.errors import InputError

GRAVITY = 9.81
"""[m/s^2]"""


def rise_speed(radius: np.ndarray | float) -> np.ndarray:
    """Terminal speed [m/s] of a flat bubble of that radius [m]."""
    return 0.5 * np.sqrt(GRAVITY * np.asarray(radius))


@dataclass(frozen=True, kw_only=True)
class Bubbles:
    """One bubble for each of n sites at t times.

    Attributes:
        centres: (x, y) in metres, [2, t, n]; y counts from the bottom.
        velocity: of the centres [m/s], [2, t, n].
        radii: [t, n] metres.
        swelling: rate of the radii [m/s], [t, n].
    """

    centres: np.ndarray
    velocity: np.ndarray
    radii: np.ndarray
    swelling: np.ndarray

    def raised(self, height: float) -> "Bubbles":
        """The same bubbles over a bottom at that height [m]."""
        return replace(self, centres=self.centres + np.array([0.0, height])[:, None, None])

    def shifted(self, shift: np.ndarray, times: np.ndarray) -> "Bubbles":
        """The same bubbles out of place by `shift` [2, t, n] metres at the times [t]."""
        drift = np.gradient(shift, times, axis=1)
        return replace(self, centres=self.centres + shift, velocity=self.velocity + drift)

    def flow(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Velocity [2, t, h, w] of liquid and vapour at points [h, w].

        Potential flow of an unbounded liquid around each bubble: a doublet as it moves and a
        source as it grows. What the other bubbles, walls and surface reflect is left out.
        """
        flow = np.zeros((2, len(self.radii), *x.shape))
        for i in range(self.radii.shape[1]):
            cx, cy, u, v, r, growing = (
                a[:, i, None, None]
                for a in (*self.centres, *self.velocity, self.radii, self.swelling)
            )
            distance = np.maximum(np.hypot(x - cx, y - cy), 1e-9)
            n = np.stack([(x - cx) / distance, (y - cy) / distance])
            motion = np.stack([u + 0 * distance, v + 0 * distance])
            bubble = distance < r
            doublet = (r / distance) ** 2 * (2 * (motion * n).sum(0) * n - motion)
            outside = doublet + r * growing / distance * n
            flow += np.where(bubble, motion + growing * distance / r * n, outside)
        return flow


def boil(
    clock: np.ndarray,
    begin: np.ndarray,
    across: np.ndarray,
    largest: np.ndarray,
    growth: float,
    way: float,
    *,
    slow: float = 1.0,
    shrink: float = 0.0,
) -> Bubbles:
    """Steady boiling: each site grows a bubble, lets it rise the whole way, and starts again.

    Args:
        clock: time [t] in seconds; a broken clock may stop or run backwards.
        begin: where in its cycle each site is at time 0, in cycles [n].
        across: horizontal positions of the sites [n] metres.
        largest: radius at which a bubble leaves the bottom [n] metres.
        growth: B of r = B sqrt(t) [m/sqrt(s)].
        way: how far a bubble rises before the next one starts [m].
        slow: factor of the terminal speed; 1 is true.
        shrink: share of its radius that a bubble loses on its way; 0 is true.

    Raises:
        InputError: a radius, growth, way or factor that is not above 0, or a share of 1 or more.
    """
    for name, value in (("largest", np.min(largest)), ("growth", growth), ("way", way)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; a bubble that rises has one above 0")
    if not (slow > 0 and 0 <= shrink < 1):
        raise InputError(f"slow is {slow}, shrink {shrink}; take slow above 0, shrink in 0..1")
    attached, speed = (largest / growth) ** 2, slow * rise_speed(largest)
    cycle = attached + way / speed
    since = np.mod(begin * cycle + clock[:, None], cycle)
    young = since < attached
    # A bubble of age 0 has no size and swells infinitely fast: it is shown a hundredth later.
    age = np.maximum(since, 0.01 * attached)
    climbed = np.maximum(since - attached, 0) * speed
    radius = np.where(young, growth * np.sqrt(age), largest * (1 - shrink * climbed / way))
    swelling = np.where(young, growth / (2 * np.sqrt(age)), -largest * shrink * speed / way)
    height = np.where(young, radius, largest + climbed)
    # The clock's own rate carries over to all speeds.
    rate = np.gradient(clock, np.abs(clock[1] - clock[0]))[:, None]
    upward = rate * np.where(young, swelling, speed)
    return Bubbles(
        centres=np.stack([across + 0 * height, height]),
        velocity=np.stack([0 * upward, upward]),
        radii=radius,
        swelling=rate * swelling,
    )


def surface(liquid: np.ndarray, width: float, height: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Level [t] over the bottom at which the liquid has its area [t] beside the bubbles [t, n].

    Found by repeated substitution, which settles as long as the bubbles' widths together are less
    than the pot's: a level higher by dz covers at most those widths times dz more of them.

    Raises:
        InputError: bubbles wider together than the pot.
    """
    if (2 * radius.sum(1) >= width).any():
        raise InputError(
            f"bubbles are {2 * radius.sum(1).max():.3g} m wide together in a pot of {width} m; "
            "take fewer or smaller ones"
        )
    level = liquid / width
    for _ in range(60):
        d = np.clip((level[:, None] - height) / radius, -1, 1)
        covered = radius**2 * (np.pi - np.arccos(d) + d * np.sqrt(1 - d**2))
        level = (liquid + covered.sum(1)) / width
    return level
