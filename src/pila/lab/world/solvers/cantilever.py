"""The first bending mode of a strip clamped at one end, from Euler-Bernoulli beam theory."""

import numpy as np

from pila.errors import InputError

ROOT = 1.8751040687119611
"""First root of cos(z) cosh(z) = -1: the mode's wave number times the length."""
SHAPE = 0.7340955137589228
"""(cosh + cos) / (sinh + sin) at that root: no moment at the free end."""
NODES = np.linspace(0, 1, 513)
"""Places along the strip, in shares of its length, at which its bend is given."""
STEEPEST = 0.95
"""Largest sine of the angle to the straight strip."""


def first_frequency(modulus: float, density: float, thickness: float, length: float) -> float:
    """First bending frequency [rad/s] of a clamped strip of rectangular section.

    Args:
        modulus: Young's modulus [Pa].
        density: mass per volume [kg/m^3].
        thickness: in the plane of bending [m].
        length: free length [m].

    Raises:
        InputError: a quantity that is not above 0, or a strip too thick for the theory.
    """
    given = {"modulus": modulus, "density": density, "thickness": thickness, "length": length}
    for name, value in given.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be above 0")
    if thickness > length / 5:
        raise InputError(
            f"thickness is {thickness:g} m on a length of {length:g} m; beam theory needs at most "
            f"a fifth: make it {length / 5:g} m or less"
        )
    return float(ROOT**2 * np.sqrt(modulus * thickness**2 / (12 * density * length**4)))


def mode(share: np.ndarray, derivative: int = 0) -> np.ndarray:
    """First mode at shares of the length, 1 at the tip, or a derivative (up to 2) by the share."""
    z = ROOT * share
    cosine = (np.cos(z), -np.sin(z), -np.cos(z))[derivative]
    sine = (np.sin(z), np.cos(z), -np.sin(z))[derivative]
    even, odd = (np.sinh(z), np.cosh(z)) if derivative == 1 else (np.cosh(z), np.sinh(z))
    return ROOT**derivative * (even - cosine - SHAPE * (odd - sine)) / 2


def bend(
    tip: np.ndarray, length: np.ndarray, *, rigid: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The strip's centre line, bent in its first mode without a change of length.

    The deflection is the mode's at equal arc length; its slope by arc length is the sine of the
    angle, whatever its size.

    Args:
        tip: deflection of the free end [m], [t].
        length: length of the strip [m], [t].
        rigid: turn it about the clamp as a straight rod instead.

    Returns:
        Place along the straight strip [m], deflection [m] and angle [rad] at `NODES`, each [t, n].

    Raises:
        InputError: a deflection whose steepest slope exceeds `STEEPEST`.
    """
    q, long = np.asarray(tip)[:, None], np.asarray(length)[:, None]
    shape, slope = (NODES, np.ones_like(NODES)) if rigid else (mode(NODES), mode(NODES, 1))
    sine = q / long * slope
    if np.abs(sine).max() > STEEPEST:
        raise InputError(
            f"the tip is {np.abs(tip / length).max():.3g} lengths aside; at most "
            f"{STEEPEST / slope.max():.3g} keeps the length: bend it less"
        )
    angle = np.arcsin(sine)
    steps = (np.cos(angle[:, 1:]) + np.cos(angle[:, :-1])) / 2 * np.diff(NODES) * long
    along = np.concatenate([np.zeros_like(q), np.cumsum(steps, axis=1)], axis=1)
    return along, q * shape, angle
