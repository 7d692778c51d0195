"""Hard smooth balls that collide elastically, free or on strings, by pymunk (Chipmunk).

Chipmunk resolves a contact by the impulse along the line of centres that turns the approach speed
v into -v times the elasticity. It does so exactly for one pair; balls that should strike one after
another (Newton's cradle) therefore need a small gap between them, wider than one step's motion.
"""

from dataclasses import dataclass

import numpy as np
import pymunk

from pila.errors import InputError

MAX_ADVANCE = 0.05
"""Farthest that a ball may come in one step, relative to the smallest radius: a contact is noticed
up to one step late, which turns the line of centres by about this angle."""


@dataclass(frozen=True, slots=True)
class Motion:
    """What the balls did.

    Attributes:
        position: centres at each time [m], shape [t, n, 2].
        velocity: [m/s], shape [t, n, 2].
        impulse: what contacts gave each ball since the time before [N s], shape [t, n, 2].
    """

    position: np.ndarray
    velocity: np.ndarray
    impulse: np.ndarray


def collide(
    *,
    position: np.ndarray,
    velocity: np.ndarray,
    radius: np.ndarray,
    mass: np.ndarray,
    times: np.ndarray,
    steps: int,
    gravity: float = 0.0,
    pivot: np.ndarray | None = None,
) -> Motion:
    """Follow n frictionless balls of elasticity 1.

    Args:
        position: centres at the first time [m], shape [n, 2], y up.
        velocity: at the first time [m/s], shape [n, 2].
        radius: [m], shape [n].
        mass: [kg], shape [n].
        times: when to report [s], evenly spaced, shape [t].
        steps: steps from one time to the next.
        gravity: downward acceleration [m/s^2].
        pivot: where each ball's string is held [m], shape [n, 2]; None for free balls. The string
            is as long as the first position says and stays taut (a rigid light rod).

    Raises:
        InputError: a mass or radius that is not above 0, balls that overlap at the start, a ball
            on its pivot, or steps too few for the speed.
    """
    _check(position, velocity, radius, mass, times, steps, gravity, pivot)
    space = pymunk.Space()
    space.gravity = (0.0, -gravity)
    space.collision_slop = 0.0
    space.collision_bias = 1.0  # a late contact's overlap is left to the rebound, not pushed apart
    bodies = []
    for i, (place, speed) in enumerate(zip(position, velocity, strict=True)):
        # Smooth balls never spin up: no torque acts on them.
        body = pymunk.Body(float(mass[i]), float("inf"))
        body.position, body.velocity = _vector(place), _vector(speed)
        ball = pymunk.Circle(body, float(radius[i]))
        ball.elasticity, ball.friction = 1.0, 0.0
        space.add(body, ball)
        if pivot is not None:
            held = _vector(pivot[i])
            space.add(pymunk.PinJoint(space.static_body, body, held, (0.0, 0.0)))
        bodies.append(body)
    index = {body: i for i, body in enumerate(bodies)}
    given = np.zeros((len(times), len(bodies), 2))
    now = 0

    def note(arbiter: pymunk.Arbiter, space: pymunk.Space, data: object) -> None:
        # Chipmunk's impulse acts on the first body, and its reaction on the second.
        first, second = (index[b] for b in arbiter.bodies)
        given[now, first] += arbiter.total_impulse
        given[now, second] -= arbiter.total_impulse

    space.on_collision(post_solve=note)
    places, speeds = np.zeros_like(given), np.zeros_like(given)
    step = float(times[1] - times[0]) / steps
    for now in range(len(times)):
        for _ in range(steps if now else 0):
            space.step(step)
        places[now] = [body.position for body in bodies]
        speeds[now] = [body.velocity for body in bodies]
    return Motion(places, speeds, given)


def _vector(xy: np.ndarray) -> pymunk.Vec2d:
    return pymunk.Vec2d(float(xy[0]), float(xy[1]))


def _check(
    position: np.ndarray,
    velocity: np.ndarray,
    radius: np.ndarray,
    mass: np.ndarray,
    times: np.ndarray,
    steps: int,
    gravity: float,
    pivot: np.ndarray | None,
) -> None:
    for name, values in (("mass", mass), ("radius", radius)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise InputError(f"{name} is {values.tolist()}; every ball's {name} must be above 0")
    apart = np.hypot(*(position[:, None] - position[None]).transpose(2, 0, 1))
    gaps = (apart - radius[:, None] - radius[None])[np.triu_indices(len(radius), 1)]
    if gaps.size and gaps.min() < 0:
        raise InputError(
            f"two balls overlap by {-gaps.min():.3g} m at the start; "
            "place their centres at least the sum of their radii apart"
        )
    fall = 0.0
    if pivot is not None:
        length = np.hypot(*(position - pivot).T)
        if length.min() <= 0:
            raise InputError("a ball lies on its pivot; a string must be longer than 0 m")
        fall = float((position[:, 1] - pivot[:, 1] + length).max())
    # Upper bound of any one ball's speed: elastic contacts can hand all energy to the lightest.
    energy = float((mass * ((velocity**2).sum(1) / 2 + abs(gravity) * fall)).sum())
    advance = np.sqrt(2 * energy / mass.min()) * float(times[1] - times[0]) / max(steps, 1)
    bound = MAX_ADVANCE * float(radius.min())
    if steps < 1 or advance > bound:
        raise InputError(
            f"steps is {steps}: a ball may come {advance:.3g} m in one step; the bound is "
            f"{bound:.3g} m: take at least {int(np.ceil(max(steps, 1) * advance / bound))} steps"
        )
