"""Newton's cradle: a pendulum handed on, energy kept, and a measure that tells."""

from functools import cache

import numpy as np
import pytest
from tests.lab.world.scenes.residuals import relative_residual, upright
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.newtons_cradle import (
    EXTENT,
    GAP,
    GRAVITY,
    NewtonsCradle,
    broken_swing,
    fit_swing,
    period,
    swing,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.collision import impulse_response
from pila.physics.terms.rigid_body import kinematic_consistency

SCENE = NewtonsCradle()
SMALL = Canvas(size=64)
TIMES = Canvas().times


@pytest.mark.parametrize(("amplitude", "length"), [(0.4, 0.3), (0.65, 0.48)])
def test_the_balls_taken_together_swing_as_one_pendulum(amplitude, length):
    angle = swing(amplitude, length, GRAVITY, TIMES)
    rate, _, seen, misfit = fit_swing(TIMES, angle.sum(1), length)
    # The gaps are crossed at full speed: the period is shorter by about GAP / (L A) a half swing.
    assert 2 * np.pi / rate == pytest.approx(period(amplitude, length), rel=0.01)
    assert seen == pytest.approx(amplitude, rel=0.02)
    assert misfit < 0.02 * amplitude
    # Only one outer ball is out, and the middle one hardly moves.
    assert np.minimum(np.abs(angle[:, 0]), np.abs(angle[:, 2])).max() < 8 * GAP / length
    assert np.abs(angle[:, 1]).max() < 8 * GAP / length


def test_each_swing_goes_as_high_as_the_one_before():
    amplitude, length = 0.6, 0.3
    fine = np.arange(0, 2.0, 1 / 80)
    angle = swing(amplitude, length, GRAVITY, fine)
    half = period(amplitude, length) / 2
    middle = np.arange(3) * half
    highest = [
        np.abs(angle[np.abs(fine - m) < half / 4]).max() for m in middle if m + half / 4 < 2.0
    ]
    assert len(highest) == 3
    assert np.array(highest) == pytest.approx(amplitude, rel=0.01)


def test_the_series_motion_is_the_solvers():
    """The closed form that broken clips are made of agrees before the first impact."""
    amplitude, length = 0.65, 0.48
    quarter = period(amplitude, length) / 4
    early = TIMES[: int(16 * (quarter - 0.01)) + 1]
    series = broken_swing(amplitude, length, early, "none_out", np.random.default_rng(0))
    exact = swing(amplitude, length, GRAVITY, early)
    assert series == pytest.approx(exact, abs=2e-3)


def test_true_fields_obey_kinematics_and_the_pendulum():
    canvas = Canvas(size=128, frame_rate=80)
    clip = SCENE.simulate(0, None, canvas, False)
    fields, inside = upright(clip)
    step = EXTENT / canvas.size
    k = Coefficients()
    d, u, j = (fields[s] for s in (Slot.DISPLACEMENT, Slot.VELOCITY, Slot.IMPULSE))

    right = Calculus(dt=1 / 80, dx=step, dy=step)
    wrong = Calculus(dt=1.25 / 80, dx=step, dy=step)
    # Where balls touch, a pixel may lie in one ball now and in the other next: a few per mille.
    for fd, low, high in ((right, 0.0, 0.02), (wrong, 0.15, 1.0)):
        moves = kinematic_consistency(fd, k, displacement=d, velocity=u)
        assert low <= relative_residual(moves, inside) < high
        response = impulse_response(fd, k, velocity=u, impulse=j)
        assert low <= relative_residual(response, inside) < high
    # The ball let go falls at first along its arc, by g sin(angle).
    at_rest = fields[Slot.IMPULSE][0].numpy()[:, 1]
    moving = inside[1] & (np.hypot(*at_rest) > 0.5)
    assert np.hypot(*at_rest)[moving] == pytest.approx(
        GRAVITY * np.sin(clip.parameters["amplitude"]), rel=0.03
    )


@cache
def _true() -> dict[str, np.ndarray]:
    return worst_laws(SCENE, None, SMALL, range(8))


def test_true_clips_measure_near_zero():
    for state, errors in _true().items():
        assert np.median(errors) < 0.06, state
        assert errors.max() < 0.15, state


@pytest.mark.parametrize("violation", SCENE.violations)
def test_every_violation_is_told_from_the_truth(violation):
    broken = worst_laws(SCENE, violation, SMALL, range(8))
    for state, errors in broken.items():
        assert auc(_true()[state], errors) >= 0.95, state


@pytest.mark.parametrize(
    ("violation", "law"),
    [
        ("two_out", "exchange"),
        ("none_out", "energy"),
        ("no_exchange", "exchange"),
        ("super_elastic", "energy"),
        ("wrong_period", "period"),
        ("jitter", "string"),
    ],
)
def test_the_broken_law_is_named(violation, law):
    true = SCENE.measure(SCENE.simulate(1, None, SMALL, False).frames)
    broken = SCENE.measure(SCENE.simulate(1, violation, SMALL, False).frames)
    assert broken[law] > true[law] + 0.25


def test_half_speed_shows_a_quarter_of_gravity():
    frames = SCENE.simulate(2, None, Canvas(size=64, frame_rate=32), False).frames
    assert SCENE.measure(frames)["period"] == pytest.approx(0.75, abs=0.05)


def test_a_still_picture_obeys_nothing():
    frames = SCENE.simulate(1, None, SMALL, False).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
