"""Melting and freezing by the enthalpy method: heat spreads in one dimension, flat or round.

Enthalpy is counted per heat capacity, in kelvin, from the solid at its melting point. The front
is nowhere tracked: a cell between 0 and the latent heat L / c melts at the melting temperature.
    ∂h/∂t = a ∇²T,   T = min(h, 0) + max(h - L/c, 0),   liquid fraction = h c / L in 0..1
(Voller and Cross, Int. J. Heat Mass Transfer 24, 1981). Finite volumes, explicit Euler.
"""

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import Literal

import numpy as np
from numba import njit

from pila.errors import InputError

Geometry = Literal["planar", "cylindrical"]
SAFETY = 0.9
"""Share of the stability bound that is taken where no step is given."""


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A substance of equal properties when solid and when liquid.

    Attributes:
        diffusivity: a of heat [m^2/s].
        latent: latent heat over heat capacity, L / c [K].
    """

    diffusivity: float
    latent: float

    def __post_init__(self) -> None:
        for name in ("diffusivity", "latent"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; a medium that melts has one above 0")

    def temperature(self, enthalpy: np.ndarray) -> np.ndarray:
        """Temperature above the melting point [K], same shape."""
        return np.minimum(enthalpy, 0.0) + np.maximum(enthalpy - self.latent, 0.0)

    def liquid_fraction(self, enthalpy: np.ndarray) -> np.ndarray:
        """Molten share 0..1, same shape."""
        return np.clip(enthalpy / self.latent, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Melting:
    """A solved course of melting or freezing.

    Attributes:
        centres: positions of the cells' centres [m], shape [n].
        volumes: the cells' volumes per wall area [m], or per radian and height [m^2], shape [n].
        enthalpy: [k, n] in kelvin, at each asked time.
        heat: what came in through the walls until then, volume times kelvin, shape [k].
    """

    centres: np.ndarray
    volumes: np.ndarray
    enthalpy: np.ndarray
    heat: np.ndarray


def cells(width: float, num_cells: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Areas of the faces [n + 1] and volumes of the cells [n] from 0 to `width` metres."""
    if geometry not in ("planar", "cylindrical"):
        raise InputError(f"geometry is {geometry!r}; choose planar or cylindrical")
    if not (np.isfinite(width) and width > 0) or num_cells < 2:
        raise InputError(
            f"{num_cells} cells on {width} m; a grid has at least 2 cells on a width above 0"
        )
    faces = np.linspace(0.0, width, num_cells + 1)
    if geometry == "planar":
        return np.ones(num_cells + 1), np.diff(faces)
    return faces, np.diff(faces**2) / 2


def largest_step(areas: np.ndarray, volumes: np.ndarray, cell: float, diffusivity: float) -> float:
    """Longest stable time step [s]: no cell may give away more heat than its own excess.

    A wall lies half a cell from the nearest centre, so that its face counts twice.
    """
    weights = areas.copy()
    weights[[0, -1]] *= 2
    return float(cell / diffusivity / ((weights[:-1] + weights[1:]) / volumes).max())


def solve(
    medium: Medium,
    start: np.ndarray,
    times: np.ndarray,
    *,
    width: float,
    geometry: Geometry = "planar",
    near: float | None = None,
    far: float | None = None,
    step: float | None = None,
) -> Melting:
    """Enthalpy at each of the times; the first of them shows the start.

    Args:
        medium: what melts or freezes.
        start: enthalpy of each cell [n] in kelvin.
        times: not decreasing [k] seconds.
        width: of the domain, or its radius where it is cylindrical [m].
        geometry: planar, or cylindrical around 0.
        near: temperature above melting of the wall at 0 [K]; None insulates it.
        far: temperature above melting of the wall at `width` [K]; None insulates it.
        step: longest time step [s]; None takes 0.9 of the stability bound.

    Raises:
        InputError: a step above the bound, a wall on the axis, times that run backwards.
    """
    start, times = np.asarray(start, np.float64), np.asarray(times, np.float64)
    areas, volumes = cells(width, len(start), geometry)
    cell = width / len(start)
    bound = largest_step(areas, volumes, cell, medium.diffusivity)
    step = SAFETY * bound if step is None else step
    if not 0 < step <= bound:
        raise InputError(
            f"step is {step:.3g} s; explicit melting on cells of {cell:.3g} m is stable above 0 "
            f"up to {bound:.3g} s: take a shorter step or wider cells"
        )
    if near is not None and geometry == "cylindrical":
        raise InputError(f"near is {near} K; a cylinder has no wall on its axis: leave it None")
    if len(times) == 0 or (np.diff(times) < 0).any() or not np.isfinite(times).all():
        raise InputError("times are empty, not finite or run backwards; sort them")
    walls = np.array([np.nan if wall is None else wall for wall in (near, far)])
    enthalpy, heat = _march(
        start, times, areas, volumes, cell, medium.diffusivity, medium.latent, walls, step
    )
    centres = (np.arange(len(start)) + 0.5) * cell
    return Melting(centres=centres, volumes=volumes, enthalpy=enthalpy, heat=heat)


@njit(cache=True)
def _march(start, times, areas, volumes, cell, diffusivity, latent, walls, longest):
    n = len(start)
    h = start.copy()
    temperature = np.empty(n)
    flow = np.zeros(n + 1)  # through each face, towards larger positions
    course = np.empty((len(times), n))
    course[0] = h
    taken = np.zeros(len(times))
    total = 0.0
    for k in range(1, len(times)):
        span = times[k] - times[k - 1]
        num_steps = int(np.ceil(span / longest))
        for _ in range(num_steps):
            step = span / num_steps
            for i in range(n):
                temperature[i] = min(h[i], 0.0) + max(h[i] - latent, 0.0)
            for i in range(1, n):
                flow[i] = areas[i] * (temperature[i - 1] - temperature[i])
            if not np.isnan(walls[0]):
                flow[0] = 2 * areas[0] * (walls[0] - temperature[0])
            if not np.isnan(walls[1]):
                flow[n] = 2 * areas[n] * (temperature[n - 1] - walls[1])
            gain = step * diffusivity / cell
            for i in range(n):
                h[i] += gain * (flow[i] - flow[i + 1]) / volumes[i]
            total += gain * (flow[0] - flow[n])
        course[k] = h
        taken[k] = total
    return course, taken


def neumann_coefficient(stefan: float) -> float:
    """Neumann's λ of the front s = 2 λ sqrt(a t): the root of sqrt(π) λ exp(λ²) erf(λ) = St.

    The liquid is at its melting point and the wall is St L / c below it (Carslaw and Jaeger,
    Conduction of Heat in Solids, 1959, sec. 11.2).
    """
    if not (np.isfinite(stefan) and 0 < stefan < 20):
        raise InputError(f"stefan is {stefan}; a front that advances has a number in 0..20")
    low, high = 0.0, 3.0
    for _ in range(60):  # bisection: the left side grows with λ
        middle = (low + high) / 2
        if sqrt(pi) * middle * exp(middle**2) * erf(middle) < stefan:
            low = middle
        else:
            high = middle
    return (low + high) / 2
