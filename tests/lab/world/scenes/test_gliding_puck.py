"""Uniform motion: true fields, measured velocity, and violations told apart."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.balls import colour_weights, read_ball
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.gliding_puck import EXTENT, SPEEDS, GlidingPuck
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.rigid_body import kinematic_consistency

SIZE = 64
SCENE = GlidingPuck()


def clip(seed=0, violation=None):
    return SCENE.simulate(seed, violation, Canvas(size=SIZE), False)


@pytest.mark.parametrize("seed", range(4))
def test_the_puck_keeps_the_velocity_that_its_words_say(seed):
    one = clip(seed)
    inside = one.masks[Slot.VELOCITY][0] > 0.99
    v = np.array([one.parameters["vx"], one.parameters["vy"]])
    ux, uy = one.fields[Slot.VELOCITY]
    assert np.hypot(ux - v[0], uy - v[1])[inside].max() < 1e-9
    low, high = SPEEDS[one.parameters["speed"]]
    assert low <= np.hypot(*v) <= high
    assert (v[0] > 0) == (one.parameters["side"] == "right")


@pytest.mark.parametrize("degrade", [False, True])
def test_velocity_is_recovered_from_pixels_to_one_percent(degrade):
    one = clip(3)
    frames = degraded(one.frames) if degrade else one.frames
    track = read_ball(colour_weights(frames, 1)[0], EXTENT)
    vx, vy = np.polyfit(np.arange(33) / 16, track.centre, 1)[0]
    speed = np.hypot(one.parameters["vx"], one.parameters["vy"])
    assert np.hypot(vx - one.parameters["vx"], vy - one.parameters["vy"]) < 0.01 * speed


def test_displacement_changes_at_the_velocity():
    one = clip(1)
    fields = {s: torch.from_numpy(one.fields[s])[None] for s in (Slot.DISPLACEMENT, Slot.VELOCITY)}
    inside = one.masks[Slot.VELOCITY][0] > 0.99
    # Central differences in time read the frames before and after.
    held = torch.from_numpy(inside[:-2] & inside[1:-1] & inside[2:])
    cell = EXTENT / SIZE

    def misfit(factor):
        rate, minus = kinematic_consistency(
            Calculus(dt=1 / 16, dx=cell, dy=cell),
            Coefficients(),
            displacement=fields[Slot.DISPLACEMENT],
            velocity=factor * fields[Slot.VELOCITY],
        )
        total = (rate + minus)[0, :, 1:-1][:, held]
        return float(total.norm() / rate[0, :, 1:-1][:, held].norm())

    assert held.sum() > 100
    assert misfit(1.0) < 1e-9
    assert misfit(1.1) == pytest.approx(0.1)


def test_true_clips_measure_near_zero():
    raw, after = true_errors(GlidingPuck, SIZE).T
    assert np.median(raw) < 0.06
    assert max(raw) < 0.15
    assert max(after) < 0.15


@pytest.mark.parametrize("violation", GlidingPuck.violations)
def test_a_violation_is_told_from_the_truth(violation):
    assert (separation(GlidingPuck, violation, SIZE) >= 0.95).all()


@pytest.mark.parametrize(
    ("violation", "broken"),
    [("slows_down", {"velocity"}), ("turns", {"velocity", "path"}), ("growing", {"shape"})],
)
def test_only_the_laws_that_are_broken_say_so(violation, broken):
    errors = SCENE.measure(clip(2, violation).frames)
    assert {law for law, error in errors.items() if error > 0.15} == broken


def test_uniform_motion_has_no_arrow_of_time():
    assert max(SCENE.measure(clip(1).frames[::-1]).values()) < 0.06


def test_nothing_moving_or_nothing_there_is_no_uniform_motion():
    frames = clip(1).frames
    assert SCENE.measure(np.repeat(frames[:1], 33, 0))["velocity"] == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
