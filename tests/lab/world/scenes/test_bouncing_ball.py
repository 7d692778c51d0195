"""Bounces: closed form, constant restitution, free fall in the fields, and a measure that tells."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.scenes.residuals import relative_residual, upright
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.balls import colour_weights, read_ball
from pila.lab.world.bounces import read_bounces
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.bouncing_ball import (
    EXTENT,
    GRAVITY,
    BouncingBall,
    arcs,
    follow,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.collision import impulse_response
from pila.physics.terms.rigid_body import kinematic_consistency, rigid_motion

SCENE = BouncingBall()
SMALL = Canvas(size=64)


@pytest.mark.parametrize("restitution", [0.6, 0.85])
def test_each_apex_is_the_squared_restitution_of_the_one_before(restitution):
    drop = 1.3
    first = np.sqrt(2 * drop / GRAVITY)
    starts = first * (1 + 2 * np.cumsum(restitution ** np.arange(4)) - 2)
    apex = starts + first * restitution ** np.arange(1, 5)
    assert apex[0] == pytest.approx(first * (1 + restitution))
    height = follow(apex, arcs(drop, restitution, 60.0))
    assert height == pytest.approx(drop * restitution ** (2 * np.arange(1, 5)), rel=1e-12)


def test_bounces_pile_up_at_zenos_time_and_the_ball_rests():
    drop, e = 1.0, 0.6
    end = np.sqrt(2 * drop / GRAVITY) * (1 + e) / (1 - e)
    path = arcs(drop, e, 60.0)
    assert path[-1][0] == pytest.approx(end, abs=0.02)
    assert follow(np.array([end + 0.1]), path) == pytest.approx(0.0)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_gravity_and_restitution_are_recovered_from_pixels(seed):
    clip = SCENE.simulate(seed, None, Canvas(), False)
    track = read_ball(colour_weights(clip.frames, 1)[0], EXTENT)
    read = read_bounces(Canvas().times, track.centre[:, 1], GRAVITY, EXTENT)
    assert read.gravity == pytest.approx(GRAVITY, rel=0.01)
    assert read.bounces >= 2
    assert read.ratio == pytest.approx([clip.parameters["restitution"]] * 2, rel=0.03)
    floor = clip.parameters["floor"] + clip.parameters["radius"]
    assert read.height == pytest.approx(floor, abs=0.02)
    assert read.misfit < 0.01 * EXTENT


def test_true_fields_obey_kinematics_rigidity_and_free_fall():
    canvas = Canvas(size=128, frame_rate=80)
    clip = SCENE.simulate(2, None, canvas, False)
    fields, inside = upright(clip)
    step = EXTENT / canvas.size
    fd = Calculus(dt=1 / canvas.frame_rate, dx=step, dy=step)
    slow = Calculus(dt=1.25 / canvas.frame_rate, dx=step, dy=step)
    k = Coefficients()
    d, u, j = (fields[s] for s in (Slot.DISPLACEMENT, Slot.VELOCITY, Slot.IMPULSE))
    moves = kinematic_consistency(fd, k, displacement=d, velocity=u)
    assert relative_residual(moves, inside) < 1e-10
    late = kinematic_consistency(slow, k, displacement=d, velocity=u)
    assert relative_residual(late, inside) > 0.15
    response = impulse_response(fd, k, velocity=u, impulse=j)
    assert relative_residual(response, inside) < 1e-10
    response = impulse_response(slow, k, velocity=u, impulse=j)
    assert relative_residual(response, inside) > 0.15
    # A translating ball has no velocity gradient: tiny beside its speed per radius.
    gradient = torch.cat(rigid_motion(fd, k, velocity=u), dim=1)[0].numpy()[:, inside]
    assert np.abs(gradient).max() * clip.parameters["radius"] < 1e-8
    # Between bounces the velocity changes by g alone.
    fall = fd.t(u)[0].numpy()
    first = slice(2, int(0.8 * np.sqrt(2 * clip.parameters["drop"] / GRAVITY) * 80))
    assert fall[1][first][inside[first]] == pytest.approx(-GRAVITY, rel=1e-9)
    assert fall[0][first][inside[first]] == pytest.approx(0.0, abs=1e-9)


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
        ("super_elastic", "restitution"),
        ("bounces_in_air", "contact"),
        ("gravity_off", "gravity"),
        ("sticks_and_jumps", "contact"),
        ("jitter", "contact"),
        ("growing", "shape"),
    ],
)
def test_the_broken_law_is_named(violation, law):
    true = SCENE.measure(SCENE.simulate(4, None, SMALL, False).frames)
    broken = SCENE.measure(SCENE.simulate(4, violation, SMALL, False).frames)
    assert broken[law] > true[law] + 0.25


def test_half_speed_shows_a_quarter_of_gravity():
    frames = SCENE.simulate(2, None, Canvas(size=64, frame_rate=32), False).frames
    assert SCENE.measure(frames)["gravity"] == pytest.approx(0.75, abs=0.05)


def test_played_backwards_the_bounces_gain_energy():
    frames = SCENE.simulate(1, None, SMALL, False).frames
    assert SCENE.measure(frames[::-1])["restitution"] > 0.3


def test_a_still_picture_obeys_nothing():
    frames = SCENE.simulate(1, None, SMALL, False).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
