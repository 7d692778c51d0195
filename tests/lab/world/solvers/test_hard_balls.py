"""Hard balls: closed-form collisions, the pendulum's period, kept energy, named mistakes."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.hard_balls import Motion, collide

GRAVITY = 9.81


def _two_balls(offset: float, ratio: float, steps: int = 200) -> tuple[Motion, np.ndarray]:
    radius = np.array([0.1, 0.1 * ratio])
    mass = radius**2
    apart = radius.sum()
    start = np.array([[-0.1, 0.0], [apart * np.sqrt(1 - offset**2), apart * offset]])
    motion = collide(
        position=start,
        velocity=np.array([[0.25, 0.0], [0.0, 0.0]]),
        radius=radius,
        mass=mass,
        times=np.arange(17) / 16,
        steps=steps,
    )
    return motion, mass


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.7])
@pytest.mark.parametrize("ratio", [1.0, 0.75])
def test_an_oblique_collision_is_the_closed_form(offset, ratio):
    """Smooth balls exchange 2 m1 m2 / (m1 + m2) x closing speed along the line of centres."""
    motion, mass = _two_balls(offset, ratio)
    line = np.array([np.sqrt(1 - offset**2), offset])
    push = 2 * mass.prod() / mass.sum() * 0.25 * line[0] * line
    after = np.array([[0.25, 0.0] - push / mass[0], push / mass[1]])
    # One step late, 0.3 mm of 0.2 m, turns the line of centres by about 2e-3.
    assert motion.velocity[-1] == pytest.approx(after, abs=0.25 * 4e-3)


def test_impulse_is_the_change_of_momentum():
    motion, mass = _two_balls(0.4, 0.8)
    change = mass[:, None] * np.diff(motion.velocity, axis=0)
    assert motion.impulse[1:] == pytest.approx(change, abs=1e-15)
    assert motion.impulse.sum((0, 1)) == pytest.approx(0.0, abs=1e-15)
    assert np.hypot(*motion.impulse[:, 1].sum(0)) > 1e-3


def test_energy_and_momentum_of_free_balls_are_kept():
    motion, mass = _two_balls(0.5, 0.75)
    energy = (mass * (motion.velocity**2).sum(-1)).sum(-1) / 2
    assert energy == pytest.approx(energy[0], rel=1e-12)
    momentum = (mass[:, None] * motion.velocity).sum(1)
    assert momentum == pytest.approx(np.broadcast_to(momentum[0], momentum.shape), abs=1e-15)


def test_the_same_start_gives_the_same_bytes():
    one, two = _two_balls(0.2, 1.0)[0], _two_balls(0.2, 1.0)[0]
    assert one.position.tobytes() == two.position.tobytes()


@pytest.mark.parametrize("degrees", [10.0, 40.0])
def test_one_ball_on_a_string_swings_as_a_pendulum(degrees):
    """Period 2 pi sqrt(L/g) (1 + A^2/16 + 11 A^4/3072), read from the first passage of rest."""
    length, amplitude = 0.4, np.radians(degrees)
    t = np.arange(0, 1.4, 0.01)
    motion = collide(
        position=np.array([[-length * np.sin(amplitude), -length * np.cos(amplitude)]]),
        velocity=np.zeros((1, 2)),
        radius=np.array([0.1]),
        mass=np.ones(1),
        times=t,
        steps=40,
        gravity=GRAVITY,
        pivot=np.zeros((1, 2)),
    )
    x = motion.position[:, 0, 0]
    cross = np.flatnonzero(x[:-1] * x[1:] < 0)
    passes = t[cross] + 0.01 * x[cross] / (x[cross] - x[cross + 1])
    exact = (
        2 * np.pi * np.sqrt(length / GRAVITY) * (1 + amplitude**2 / 16 + 11 * amplitude**4 / 3072)
    )
    assert 2 * (passes[1] - passes[0]) == pytest.approx(exact, rel=5e-4)
    assert np.hypot(*motion.position[:, 0].T) == pytest.approx(length, rel=2e-4)
    energy = (motion.velocity**2).sum((1, 2)) / 2 + GRAVITY * (motion.position[:, 0, 1] + length)
    assert energy == pytest.approx(energy[0], rel=2e-3)


GOOD = {
    "position": np.array([[0.0, 0.0], [0.3, 0.0]]),
    "velocity": np.array([[0.1, 0.0], [0.0, 0.0]]),
    "radius": np.array([0.1, 0.1]),
    "mass": np.ones(2),
    "times": np.arange(3) / 16,
    "steps": 100,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mass": np.array([1.0, -1.0])}, "mass is .*-1.0.* must be above 0"),
        ({"radius": np.array([0.0, 0.1])}, "radius is .* must be above 0"),
        ({"position": np.array([[0.0, 0.0], [0.15, 0.0]])}, "overlap by 0.05 m"),
        ({"velocity": np.array([[40.0, 0.0], [0.0, 0.0]])}, "steps is 100.*bound.*at least 500"),
        ({"pivot": np.array([[0.0, 0.0], [0.3, 1.0]])}, "lies on its pivot"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        collide(**(GOOD | change))
