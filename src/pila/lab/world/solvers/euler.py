"""One-dimensional compressible flow of an ideal gas, planar or cylindrical, by finite volumes.

Scheme: primitive variables continued to the faces with limited slopes (MUSCL), HLLC fluxes, two
Runge-Kutta stages that keep a total-variation bound. Faces carry their area and cells their
volume, so that mass and energy are kept to rounding in both symmetries; the cylinder's geometric
source is the pressure on a cell's sides. Reference: E. F. Toro, Riemann Solvers and Numerical
Methods for Fluid Dynamics, chs. 10, 14 and 17.
"""

import numpy as np
from numba import njit

from pila.errors import InputError
from pila.lab.world.solvers.riemann import GAMMA

CFL_BOUND = 0.5
"""Largest CFL number at which the scheme keeps density and pressure positive."""
PLANAR, CYLINDRICAL = 0, 1
"""Exponent of the radius in a face's area."""


def solve_euler(
    density: np.ndarray,
    velocity: np.ndarray,
    pressure: np.ndarray,
    *,
    spacing: float,
    times: np.ndarray,
    symmetry: int = PLANAR,
    gamma: float = GAMMA,
    cfl: float = 0.45,
    open_end: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density [kg/m^3], velocity [m/s] and pressure [Pa] at each time, each [t, n].

    Cells lie between r = 0 and n * `spacing`; r = 0 is a wall (planar) or the axis (cylindrical).

    Args:
        density, velocity, pressure: the gas at time 0, [n] cell means.
        spacing: width of a cell [m].
        times: when to report [s], ascending from 0 or later.
        symmetry: `PLANAR` or `CYLINDRICAL`.
        gamma: ratio of specific heats.
        cfl: share of a cell that the fastest wave crosses in one step, up to `CFL_BOUND`.
        open_end: let waves leave at the far end, which is a wall otherwise.

    Raises:
        InputError: a state, grid or step that the scheme cannot take.
    """
    if not 0 < cfl <= CFL_BOUND:
        raise InputError(
            f"cfl is {cfl}; the scheme keeps density and pressure positive up to {CFL_BOUND}: "
            f"lower it to {CFL_BOUND}"
        )
    if symmetry not in (PLANAR, CYLINDRICAL):
        raise InputError(f"symmetry is {symmetry}; it is {PLANAR} planar or {CYLINDRICAL} cylinder")
    for name, value in (("spacing", spacing), ("gamma - 1", gamma - 1)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be above 0")
    state = np.array([density, velocity, pressure], dtype=np.float64)
    if state.ndim != 2 or state.shape[1] < 4:
        raise InputError(f"the gas has shape {list(state.shape[1:])}; give at least 4 cells, [n]")
    if not np.isfinite(state).all():
        raise InputError("density, velocity or pressure is not finite; give finite cell means")
    for name, row in (("density", state[0]), ("pressure", state[2])):
        if row.min() <= 0:
            raise InputError(f"{name} falls to {row.min():.4g}; a gas has {name} above 0")
    times = np.asarray(times, dtype=np.float64)
    if times.ndim != 1 or not len(times) or times[0] < 0 or (np.diff(times) < 0).any():
        raise InputError("times must ascend from 0 or later: sort them")
    n = state.shape[1]
    faces = np.arange(n + 1) * spacing
    area = faces**symmetry
    volume = np.diff(faces ** (symmetry + 1)) / (symmetry + 1)
    out = np.empty((len(times), 3, n))
    _march(state, spacing, times, area, volume, gamma, cfl, open_end, out)
    return out[:, 0], out[:, 1], out[:, 2]


# Plain loops rather than array expressions: they compile several times faster.
@njit(cache=True)
def _march(state, spacing, times, area, volume, gamma, cfl, open_end, out):
    n = state.shape[1]
    w = np.empty((3, n + 4))
    u = np.empty((3, n))
    first = np.empty((3, n))
    rate = np.empty((3, n))
    slope = np.empty((3, n + 4))
    flux = np.empty((3, n + 1))
    for i in range(n):
        rho, v, p = state[0, i], state[1, i], state[2, i]
        w[0, i + 2], w[1, i + 2], w[2, i + 2] = rho, v, p
        u[0, i], u[1, i], u[2, i] = rho, rho * v, p / (gamma - 1) + 0.5 * rho * v * v
    now = 0.0
    for k in range(len(times)):
        while now < times[k]:
            fastest = 0.0
            for i in range(2, n + 2):
                fastest = max(fastest, abs(w[1, i]) + np.sqrt(gamma * w[2, i] / w[0, i]))
            left = times[k] - now
            dt = min(cfl * spacing / fastest, left)
            _rate(w, slope, flux, rate, area, volume, gamma, open_end)
            for q in range(3):
                for i in range(n):
                    first[q, i] = u[q, i] + dt * rate[q, i]
            _resolve(first, w, gamma)
            _rate(w, slope, flux, rate, area, volume, gamma, open_end)
            for q in range(3):
                for i in range(n):
                    u[q, i] = 0.5 * (u[q, i] + first[q, i] + dt * rate[q, i])
            _resolve(u, w, gamma)
            # The last step ends on the asked time itself, free of rounding.
            now = times[k] if dt == left else now + dt
        for q in range(3):
            for i in range(n):
                out[k, q, i] = w[q, i + 2]


@njit(cache=True)
def _resolve(u, w, gamma):
    for i in range(u.shape[1]):
        rho = u[0, i]
        v = u[1, i] / rho
        w[0, i + 2], w[1, i + 2] = rho, v
        w[2, i + 2] = (gamma - 1) * (u[2, i] - 0.5 * rho * v * v)


@njit(cache=True)
def _rate(w, slope, flux, rate, area, volume, gamma, open_end):
    """Time derivative of the conserved cell means."""
    n = rate.shape[1]
    for q in range(3):
        mirror = -1.0 if q == 1 else 1.0
        far = 1.0 if open_end else mirror
        for g in range(2):
            w[q, 1 - g] = mirror * w[q, 2 + g]
            w[q, n + 2 + g] = w[q, n + 1] if open_end else far * w[q, n + 1 - g]
        for i in range(1, n + 3):
            back, ahead = w[q, i] - w[q, i - 1], w[q, i + 1] - w[q, i]
            # Van Leer's harmonic slope; zero at extrema keeps every face between its neighbours.
            slope[q, i] = 2 * back * ahead / (back + ahead) if back * ahead > 0 else 0.0
    for f in range(n + 1):
        i = f + 1
        flux[0, f], flux[1, f], flux[2, f] = _hllc(
            w[0, i] + slope[0, i] / 2,
            w[1, i] + slope[1, i] / 2,
            w[2, i] + slope[2, i] / 2,
            w[0, i + 1] - slope[0, i + 1] / 2,
            w[1, i + 1] - slope[1, i + 1] / 2,
            w[2, i + 1] - slope[2, i + 1] / 2,
            gamma,
        )
    for i in range(n):
        for q in range(3):
            rate[q, i] = (area[i] * flux[q, i] - area[i + 1] * flux[q, i + 1]) / volume[i]
        rate[1, i] += w[2, i + 2] * (area[i + 1] - area[i]) / volume[i]


@njit(cache=True)
def _hllc(d_l, u_l, p_l, d_r, u_r, p_r, gamma):
    """Flux of mass, momentum and energy between two states, with Davis's wave speeds."""
    c_l, c_r = np.sqrt(gamma * p_l / d_l), np.sqrt(gamma * p_r / d_r)
    s_l, s_r = min(u_l - c_l, u_r - c_r), max(u_l + c_l, u_r + c_r)
    m_l, m_r = d_l * (s_l - u_l), d_r * (s_r - u_r)
    middle = (p_r - p_l + m_l * u_l - m_r * u_r) / (m_l - m_r)
    if middle >= 0:
        d, u, p, s, m = d_l, u_l, p_l, s_l, m_l
        outside = s_l >= 0
    else:
        d, u, p, s, m = d_r, u_r, p_r, s_r, m_r
        outside = s_r <= 0
    e = p / (gamma - 1) + 0.5 * d * u * u
    f0, f1, f2 = d * u, d * u * u + p, u * (e + p)
    if not outside:
        star = m / (s - middle)
        energy = star * (e / d + (middle - u) * (middle + p / m))
        f0 += s * (star - d)
        f1 += s * (star * middle - d * u)
        f2 += s * (energy - e)
    return f0, f1, f2
