"""A soft body dropped on a floor: free fall, then half a period of a damped mass on a spring.

The body feels its floor as a spring and a dashpot in parallel (Kelvin-Voigt) while its height
above first touch is below zero; each phase has a closed form, and only the moment of lift-off is
searched for.
"""

import numpy as np

from pila.errors import InputError


def damping_ratio(restitution: float) -> float:
    """Share of critical damping at which a contact without gravity gives that restitution.

    Restitution is exp(-pi z / sqrt(1 - z^2)) for a share z; one above 1 gives a negative share.

    Raises:
        InputError: a restitution that is not above 0.
    """
    if not (np.isfinite(restitution) and restitution > 0):
        raise InputError(f"restitution is {restitution}; it must be above 0")
    loss = -np.log(restitution)
    return float(loss / np.hypot(np.pi, loss))


def soft_bounce(
    t: np.ndarray, *, drop: float, omega: float, restitution: float, gravity: float = 9.81
) -> np.ndarray:
    """Height above first touch, velocity and acceleration of a body let go at rest, [3, t].

    Args:
        t: times since the release [s], 0 or later, [t].
        drop: height above first touch at the release [m].
        omega: frequency of the body on its contact spring, sqrt(k / m) [rad/s].
        restitution: speed after a contact over the speed before it, without weight.
        gravity: downwards [m/s^2].

    Raises:
        InputError: a drop, frequency, restitution or gravity that is not above 0.
    """
    given = {"drop": drop, "omega": omega, "gravity": gravity}
    for name, value in given.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be above 0")
    if t.min() < 0:
        raise InputError(f"t starts at {t.min():g} s; the body is let go at 0: take later times")
    damping = omega * damping_ratio(restitution)
    start, speed, height, touching = 0.0, 0.0, drop, False
    motion = np.zeros((3, len(t)))
    while True:
        if touching:
            lasts = _contact_time(speed, omega, damping, gravity)
        else:
            lasts = (speed + np.sqrt(speed**2 + 2 * gravity * height)) / gravity
        here = (t >= start) & (t <= start + lasts)
        after = np.append(t[here] - start, min(lasts, 1e9))
        if touching:
            phase = _contact(after, speed, omega, damping, gravity)
        else:
            fall = -np.full_like(after, gravity)
            position = height + (speed + fall * after / 2) * after
            phase = np.stack([position, speed + fall * after, fall])
        motion[:, here] = phase[:, :-1]
        start, speed, height, touching = start + lasts, float(phase[1, -1]), 0.0, not touching
        if start >= t.max():
            return motion


def _contact(
    after: np.ndarray, speed: float, omega: float, damping: float, gravity: float
) -> np.ndarray:
    """Height, velocity and acceleration [3, t] `after` touching the floor at `speed`."""
    rest = -gravity / omega**2
    ringing = np.sqrt(omega**2 - damping**2)
    cosine, sine = np.cos(ringing * after), np.sin(ringing * after)
    fade = np.exp(-damping * after)
    even, odd = -rest, (speed - damping * rest) / ringing
    height = rest + fade * (even * cosine + odd * sine)
    velocity = -damping * (height - rest) + fade * ringing * (odd * cosine - even * sine)
    return np.stack([height, velocity, -gravity - 2 * damping * velocity - omega**2 * height])


def _contact_time(speed: float, omega: float, damping: float, gravity: float) -> float:
    """Time from touch to lift-off [s]; infinite where the body comes to rest on the floor."""
    ringing = np.sqrt(omega**2 - damping**2)
    after = np.linspace(0, 2 * np.pi / ringing, 400)[1:]
    above = np.nonzero(_contact(after, speed, omega, damping, gravity)[0] > 0)[0]
    if len(above) == 0 or above[0] == 0:
        return np.inf
    low, high = after[above[0] - 1], after[above[0]]
    for _ in range(50):
        middle = (low + high) / 2
        lifted = _contact(np.array([middle]), speed, omega, damping, gravity)[0, 0] > 0
        low, high = (low, middle) if lifted else (middle, high)
    return float(high)
