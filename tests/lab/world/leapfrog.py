"""Scalar waves on a grid, ∂²w/∂t² = c(x)² ∇²w, by the leapfrog scheme: what scenes are held to.

Central differences in time and space, second order in both (Courant, Friedrichs and Lewy, 1928).
For light w is the electric field across the plane, in media of refractive index 1 / c.
"""

from math import log, sqrt

import numpy as np
from numba import njit

from pila.errors import InputError

COURANT_BOUND = 1 / sqrt(2)
"""Largest c dt / dx at which the scheme is stable on a square grid."""
BORDERS = ("mirror", "sponge")
ECHO = 1e-3
"""Share of the amplitude that a sponge sends back at normal incidence."""


def propagate(
    wave: np.ndarray,
    rate: np.ndarray,
    speed: np.ndarray,
    *,
    spacing: float,
    step: float,
    num_steps: int,
    every: int = 1,
    border: str = "mirror",
    sponge: int = 16,
) -> np.ndarray:
    """The wave at steps 0, every, 2 every, ..., shape [1 + num_steps // every, h, w].

    Args:
        wave: amplitude at time 0, [h, w].
        rate: its time derivative at time 0 [1/s], [h, w].
        speed: wave speed in each cell [m/s], [h, w].
        spacing: side of a cell [m].
        step: time step [s].
        num_steps: steps to take.
        every: steps from one returned frame to the next.
        border: "mirror" (w = 0 one cell outside, total reflection) or "sponge" (absorbing).
        sponge: width of the absorbing border in cells.

    Raises:
        InputError: shapes that differ, values out of range, or a step above the stable one.
    """
    wave, rate, speed = (np.ascontiguousarray(f, dtype=np.float64) for f in (wave, rate, speed))
    _check(wave, rate, speed, spacing, step, num_steps, every, border, sponge)
    courant = (speed * step / spacing) ** 2
    damping = np.zeros_like(wave)
    if border == "sponge":
        damping = step * sponge_damping(wave.shape, sponge, spacing, float(speed.max()))
    before = wave - step * rate
    # Second-order start: w(-dt) = w - dt w_t + dt²/2 w_tt, with w_tt from the equation.
    before += courant * _laplacian(wave) / 2 - damping * step * rate
    return _march(before, wave, courant, damping, num_steps, every)


def sponge_damping(shape: tuple[int, ...], width: int, spacing: float, speed: float) -> np.ndarray:
    """Damping rate s [1/s] of w_tt + 2 s w_t = c² ∇²w, [h, w]: quadratic in the border's depth.

    A wave that crosses the border and returns is damped by exp(-2 ∫ s dx / c), set to `ECHO`.
    """
    depths = []
    for cells in shape:
        i = np.arange(cells)
        depths.append(np.clip(width - np.minimum(i, cells - 1 - i), 0, None) / width)
    depth = np.maximum(depths[0][:, None], depths[1][None])
    return 1.5 * speed * log(1 / ECHO) / (width * spacing) * depth**2


def wave_energy(
    early: np.ndarray, late: np.ndarray, speed: np.ndarray, *, spacing: float, step: float
) -> float:
    """Energy ½ ∫ (w_t² / c² + |∇w|²) between two successive steps, mirror borders.

    The gradients' product is taken across the two steps: the scheme keeps this sum exactly.
    """
    kinetic = (((late - early) / (step * speed)) ** 2).sum()
    a, b = np.pad(early, 1), np.pad(late, 1)
    potential = sum((np.diff(a, axis=i) * np.diff(b, axis=i)).sum() for i in (0, 1)) / spacing**2
    return float(kinetic + potential) * spacing**2 / 2


def _check(
    wave: np.ndarray,
    rate: np.ndarray,
    speed: np.ndarray,
    spacing: float,
    step: float,
    num_steps: int,
    every: int,
    border: str,
    sponge: int,
) -> None:
    if wave.ndim != 2 or not wave.shape == rate.shape == speed.shape:
        shapes = ", ".join(str(list(f.shape)) for f in (wave, rate, speed))
        raise InputError(f"wave, rate and speed are {shapes}; give all three as the same [h, w]")
    if not (np.isfinite(wave).all() and np.isfinite(rate).all()):
        raise InputError("wave or rate holds a value that is not finite; start from finite numbers")
    if not (np.isfinite(speed).all() and speed.min() > 0):
        raise InputError(f"speed is {speed.min()} m/s somewhere; it must be above 0 and finite")
    for name, value in (("spacing", spacing), ("step", step)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be above 0 and finite")
    if num_steps < 1 or every < 1:
        raise InputError(f"num_steps is {num_steps} and every is {every}; both are 1 or more")
    if border not in BORDERS:
        raise InputError(f"border is {border!r}; choose from {', '.join(BORDERS)}")
    if border == "sponge" and not 1 <= sponge < min(wave.shape) / 2:
        raise InputError(
            f"sponge is {sponge} cells; it is at least 1 and under half of the grid's "
            f"{min(wave.shape)}: use a wider grid"
        )
    number = float(speed.max()) * step / spacing
    if number > COURANT_BOUND:
        raise InputError(
            f"the Courant number c dt / dx is {number:.3f}; the scheme is stable up to "
            f"{COURANT_BOUND:.3f}: use a step of at most "
            f"{COURANT_BOUND * spacing / float(speed.max()):.3g} s"
        )


def _laplacian(f: np.ndarray) -> np.ndarray:
    """Five-point sum of differences [h, w], with w = 0 one cell outside."""
    g = np.pad(f, 1)
    return g[2:, 1:-1] + g[:-2, 1:-1] + g[1:-1, 2:] + g[1:-1, :-2] - 4 * f


@njit(cache=True)
def _march(
    before: np.ndarray,
    now: np.ndarray,
    courant: np.ndarray,
    damping: np.ndarray,
    num_steps: int,
    every: int,
) -> np.ndarray:
    h, w = now.shape
    frames = np.empty((1 + num_steps // every, h, w))
    frames[0] = now
    old, new, ahead = before.copy(), now.copy(), np.empty_like(now)
    for step in range(1, num_steps + 1):
        for i in range(h):
            for j in range(w):
                here = new[i, j]
                lap = -4 * here
                if i > 0:
                    lap += new[i - 1, j]
                if i < h - 1:
                    lap += new[i + 1, j]
                if j > 0:
                    lap += new[i, j - 1]
                if j < w - 1:
                    lap += new[i, j + 1]
                s = damping[i, j]
                ahead[i, j] = (2 * here - (1 - s) * old[i, j] + courant[i, j] * lap) / (1 + s)
        old, new, ahead = new, ahead, old
        if step % every == 0:
            frames[step // every] = new
    return frames
