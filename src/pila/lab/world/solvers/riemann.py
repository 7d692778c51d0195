"""The exact Riemann solution of the Euler equations: two gases at rest or moving, side by side.

Method: Newton's iteration for the pressure between the waves, then a look-up along x/t (E. F. Toro,
Riemann Solvers and Numerical Methods for Fluid Dynamics, ch. 4).
"""

from dataclasses import astuple, dataclass

import numpy as np

from pila.errors import InputError

GAMMA = 1.4
"""Ratio of specific heats of a diatomic ideal gas."""


@dataclass(frozen=True, slots=True)
class GasState:
    """A uniform ideal gas: density [kg/m^3], velocity [m/s], pressure [Pa].

    Raises:
        InputError: a density or pressure that is not above 0.
    """

    density: float
    velocity: float
    pressure: float

    def __post_init__(self) -> None:
        for name in ("density", "pressure"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; a gas has {name} above 0")

    def sound_speed(self, gamma: float = GAMMA) -> float:
        """sqrt(gamma p / rho) [m/s]."""
        return float(np.sqrt(gamma * self.pressure / self.density))


@dataclass(frozen=True, slots=True)
class StarState:
    """What lies between the outer waves: pressure [Pa], velocity [m/s], both densities [kg/m^3]."""

    pressure: float
    velocity: float
    density_left: float
    density_right: float


def star_state(left: GasState, right: GasState, gamma: float = GAMMA) -> StarState:
    """The two middle states of a Riemann problem.

    Raises:
        InputError: the gases part so fast that a vacuum opens between them.
    """
    c_left, c_right = left.sound_speed(gamma), right.sound_speed(gamma)
    widest = 2 * (c_left + c_right) / (gamma - 1)
    if right.velocity - left.velocity >= widest:
        raise InputError(
            f"the gases part by {right.velocity - left.velocity:.4g} m/s; a vacuum opens from "
            f"{widest:.4g} m/s on: part them more slowly"
        )
    p = (left.pressure + right.pressure) / 2
    for _ in range(60):
        f_left, slope_left = _across(p, left, gamma)
        f_right, slope_right = _across(p, right, gamma)
        step = (f_left + f_right + right.velocity - left.velocity) / (slope_left + slope_right)
        # A Newton step beyond zero pressure is cut back to a tenth of the present one.
        new = max(p - step, 0.1 * p)
        done = abs(new - p) <= 1e-14 * p
        p = new
        if done:
            break
    f_left, f_right = _across(p, left, gamma)[0], _across(p, right, gamma)[0]
    velocity = (left.velocity + right.velocity + f_right - f_left) / 2
    return StarState(p, velocity, _density(p, left, gamma), _density(p, right, gamma))


def riemann_solution(
    left: GasState, right: GasState, speed: np.ndarray, gamma: float = GAMMA
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density, velocity and pressure along x/t = `speed` [m/s], each of its shape."""
    star = star_state(left, right, gamma)
    # The right half is the left half of the mirrored problem.
    mirrored = GasState(right.density, -right.velocity, right.pressure)
    behind = (star.velocity, star.pressure)
    d_l, u_l, p_l = _half(left, star.density_left, *behind, speed, gamma)
    d_r, u_r, p_r = _half(
        mirrored, star.density_right, -star.velocity, star.pressure, -speed, gamma
    )
    on_left = speed < star.velocity
    return (
        np.where(on_left, d_l, d_r),
        np.where(on_left, u_l, -u_r),
        np.where(on_left, p_l, p_r),
    )


def _across(p: float, gas: GasState, gamma: float) -> tuple[float, float]:
    """Velocity change [m/s] across the wave that brings `gas` to pressure p, and its slope."""
    if p > gas.pressure:
        a = 2 / ((gamma + 1) * gas.density)
        b = (gamma - 1) / (gamma + 1) * gas.pressure
        root = np.sqrt(a / (p + b))
        return (p - gas.pressure) * root, root * (1 - (p - gas.pressure) / (2 * (p + b)))
    c = gas.sound_speed(gamma)
    ratio = p / gas.pressure
    change = 2 * c / (gamma - 1) * (ratio ** ((gamma - 1) / (2 * gamma)) - 1)
    return change, ratio ** (-(gamma + 1) / (2 * gamma)) / (gas.density * c)


def _density(p: float, gas: GasState, gamma: float) -> float:
    ratio = p / gas.pressure
    if ratio > 1:
        g = (gamma - 1) / (gamma + 1)
        return gas.density * (ratio + g) / (g * ratio + 1)
    return gas.density * ratio ** (1 / gamma)


def _half(
    gas: GasState, density: float, velocity: float, pressure: float, speed: np.ndarray, gamma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The solution left of the contact, from the outer `gas` to the state behind its wave."""
    outer, inner = astuple(gas), (density, velocity, pressure)
    c = gas.sound_speed(gamma)
    if pressure > gas.pressure:
        flux = (pressure - gas.pressure) / np.maximum(gas.velocity - velocity, 1e-300)
        shock = gas.velocity - flux / gas.density
        rho, u, p = (np.where(speed < shock, o, i) for o, i in zip(outer, inner, strict=True))
        return rho, u, p
    head, tail = gas.velocity - c, velocity - np.sqrt(gamma * pressure / density)
    at = np.clip(speed, head, max(tail, head))
    u = 2 / (gamma + 1) * (c + (gamma - 1) / 2 * gas.velocity + at)
    factor = 2 / (gamma + 1) + (gamma - 1) / ((gamma + 1) * c) * (gas.velocity - at)
    rho = gas.density * factor ** (2 / (gamma - 1))
    return rho, u, gas.pressure * factor ** (2 * gamma / (gamma - 1))
