"""Buoyant, incompressible flow in a closed square box, on a staggered grid, in float64.

    du/dt + div(u u) = -grad p + b c e_y + nu lap u,   div u = 0,   dc/dt + div(u c) = D lap c

The Boussinesq approximation: c is the share of a light gas and b its reduced gravity. Velocities
stand on the faces (Harlow and Welch, Phys. Fluids 8, 1965). Fluxes are upwind with van Leer's
limited slopes (J. Comput. Phys. 32, 1979), so that gas is kept to rounding and no new extremes
arise; time advances by Heun's method with a projection in each stage (Chorin, Math. Comput. 22,
1968; Shu and Osher, J. Comput. Phys. 77, 1988). Walls are smooth and let nothing through.
Rows run upwards here: row 0 is the floor.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

from pila.errors import InputError

CFL_BOUND = 0.5
"""Largest dt (max|u| + max|v|) / cell at which limited fluxes make no new extremes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gas:
    """What drives and slows the flow.

    Args:
        buoyancy: upward acceleration of undiluted gas [m/s^2], either sign.
        viscosity: kinematic [m^2/s].
        diffusivity: of the gas in the air [m^2/s].

    Raises:
        InputError: a negative viscosity or diffusivity, or a buoyancy that is not finite.
    """

    buoyancy: float
    viscosity: float
    diffusivity: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.buoyancy):
            raise InputError(f"buoyancy is {self.buoyancy}; it must be finite: try 0.5 m/s^2")
        for name in ("viscosity", "diffusivity"):
            value = getattr(self, name)
            if not value >= 0 or not np.isfinite(value):
                raise InputError(f"{name} is {value} m^2/s; it must be 0 or more: try 3e-4")


@dataclass(frozen=True, slots=True)
class Flow:
    """Velocities on the faces, u [n, n + 1] and v [n + 1, n] in m/s, and the gas [n, n]."""

    u: np.ndarray
    v: np.ndarray
    gas: np.ndarray


def still(gas: np.ndarray) -> Flow:
    """Air at rest that holds `gas` [n, n], each cell in 0..1.

    Raises:
        InputError: the grid is not square, or a share is outside 0..1.
    """
    if gas.ndim != 2 or gas.shape[0] != gas.shape[1] or len(gas) < 4:
        raise InputError(f"gas is {list(gas.shape)}; the box is square, at least 4 x 4 cells")
    if not (gas.min() >= 0 and gas.max() <= 1):
        raise InputError(
            f"gas goes from {gas.min():g} to {gas.max():g}; a share is in 0..1: scale it"
        )
    n = len(gas)
    return Flow(np.zeros((n, n + 1)), np.zeros((n + 1, n)), gas.astype(np.float64))


def step(flow: Flow, gas: Gas, cell: float, dt: float) -> Flow:
    """The flow after dt seconds; `cell` is a cell's side [m].

    Raises:
        InputError: dt is above what advection or diffusion bear.
    """
    _check_step(flow, gas, cell, dt)
    u1, v1, c1 = _advance(flow.u, flow.v, flow.gas, gas, cell, dt)
    u1, v1 = project(u1, v1, cell)
    u2, v2, c2 = _advance(u1, v1, c1, gas, cell, dt)
    u2, v2 = project(0.5 * (flow.u + u2), 0.5 * (flow.v + v2), cell)
    return Flow(u2, v2, 0.5 * (flow.gas + c2))


def advance(flow: Flow, gas: Gas, cell: float, duration: float) -> Flow:
    """The flow after `duration` seconds, in even steps well under the bound."""
    # The speed can grow by buoyancy's acceleration meanwhile.
    speed = np.abs(flow.u).max() + np.abs(flow.v).max() + abs(gas.buoyancy) * duration
    steps = duration * speed / (0.8 * CFL_BOUND * cell)
    steps = max(steps, duration * max(gas.viscosity, gas.diffusivity) / (0.2 * cell**2))
    count = max(1, int(np.ceil(steps)))
    for _ in range(count):
        flow = step(flow, gas, cell, duration / count)
    return flow


def project(u: np.ndarray, v: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of a velocity that keeps volume."""
    p = _poisson(divergence(u, v, cell), cell)
    u, v = u.copy(), v.copy()
    u[:, 1:-1] -= (p[:, 1:] - p[:, :-1]) / cell
    v[1:-1] -= (p[1:] - p[:-1]) / cell
    return u, v


def pressure(flow: Flow, gas: Gas, cell: float) -> np.ndarray:
    """Pressure over density [m^2/s^2] beside the still air's, mean 0, [n, n]."""
    u, v, _ = _advance(flow.u, flow.v, flow.gas, gas, cell, 1.0)
    return _poisson(divergence(u - flow.u, v - flow.v, cell), cell)


def divergence(u: np.ndarray, v: np.ndarray, cell: float) -> np.ndarray:
    """Volume that leaves each cell [1/s], [n, n]."""
    return (u[:, 1:] - u[:, :-1] + v[1:] - v[:-1]) / cell


def _check_step(flow: Flow, gas: Gas, cell: float, dt: float) -> None:
    speed = float(np.abs(flow.u).max() + np.abs(flow.v).max())
    number = dt * speed / cell
    if not 0 < number <= CFL_BOUND and not (speed == 0 and dt > 0):
        raise InputError(
            f"the CFL number is {number:.3g} (dt {dt:g} s, speed {speed:.3g} m/s, cell {cell:g} m)"
            f"; it must be above 0 and at most {CFL_BOUND}: take dt {CFL_BOUND * cell / speed:.3g}"
        )
    number = dt * max(gas.viscosity, gas.diffusivity) / cell**2
    if number > 0.25:
        raise InputError(
            f"the diffusion number is {number:.3g}; at most 0.25 is stable: "
            f"take dt {dt * 0.25 / number:.3g}"
        )


def _advance(
    u: np.ndarray, v: np.ndarray, c: np.ndarray, gas: Gas, cell: float, dt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One explicit Euler stage of u, v and c, before the projection."""
    du = _transport(
        u[:, 1:-1].copy(),
        0.5 * (u[:, 1:] + u[:, :-1]),
        0.5 * (v[:, 1:] + v[:, :-1]),
        cell,
        gas.viscosity,
    )
    dv = _transport(
        v[1:-1].copy(), 0.5 * (u[1:] + u[:-1]), 0.5 * (v[1:] + v[:-1]), cell, gas.viscosity
    )
    dc = _transport(c, u, v, cell, gas.diffusivity)
    dv += gas.buoyancy * 0.5 * (c[1:] + c[:-1])
    u, v = u.copy(), v.copy()
    u[:, 1:-1] += dt * du
    v[1:-1] += dt * dv
    return u, v, c + dt * dc


@cache
def _cosines(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal cosine transform [n, n] and the eigenvalues of cell^2 times the Laplacian."""
    k, i = np.arange(n)[:, None], np.arange(n) + 0.5
    matrix = np.sqrt(2 / n) * np.cos(np.pi * k * i / n)
    matrix[0] /= np.sqrt(2)
    line = -4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2
    values = line[:, None] + line
    # The mean of the pressure is free.
    values[0, 0] = np.inf
    return matrix, values


def _poisson(source: np.ndarray, cell: float) -> np.ndarray:
    """Solve lap p = source with no flux through the walls, exactly on the grid."""
    matrix, values = _cosines(len(source))
    return matrix.T @ ((matrix @ source @ matrix.T) * (cell**2 / values)) @ matrix


@njit(cache=True)
def _face(far, near, ahead):
    """Value at the face between `near` (upwind) and `ahead`, by van Leer's limited slope."""
    back, forth = near - far, ahead - near
    product = back * forth
    if product <= 0.0:
        return near
    return near + product / (back + forth)


@njit(cache=True)
def _transport(q, u, v, cell, diffusivity):
    """-div(u q) + diffusivity lap q of cells q [h, w] with u [h, w + 1] and v [h + 1, w].

    What comes in through the border brings 0; nothing diffuses through it.
    """
    h, w = q.shape
    rate = np.zeros_like(q)
    for i in range(h):
        for j in range(w + 1):
            a = u[i, j]
            left = q[i, j - 1] if j > 0 else 0.0
            right = q[i, j] if j < w else 0.0
            flux = 0.0
            if a > 0.0:
                inner = 0 < j < w
                far = q[i, j - 2] if j > 1 else left
                flux = a * (_face(far, left, right) if inner else left)
            elif a < 0.0:
                inner = 0 < j < w
                far = q[i, j + 1] if j < w - 1 else right
                flux = a * (_face(far, right, left) if inner else right)
            if 0 < j < w:
                flux -= diffusivity * (right - left) / cell
            if j > 0:
                rate[i, j - 1] -= flux / cell
            if j < w:
                rate[i, j] += flux / cell
    for i in range(h + 1):
        for j in range(w):
            a = v[i, j]
            below = q[i - 1, j] if i > 0 else 0.0
            above = q[i, j] if i < h else 0.0
            flux = 0.0
            if a > 0.0:
                inner = 0 < i < h
                far = q[i - 2, j] if i > 1 else below
                flux = a * (_face(far, below, above) if inner else below)
            elif a < 0.0:
                inner = 0 < i < h
                far = q[i + 1, j] if i < h - 1 else above
                flux = a * (_face(far, above, below) if inner else above)
            if 0 < i < h:
                flux -= diffusivity * (above - below) / cell
            if i > 0:
                rate[i - 1, j] -= flux / cell
            if i < h:
                rate[i, j] += flux / cell
    return rate
