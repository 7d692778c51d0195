"""Constant spin about a fixed centre: true fields, measured spin, and violations told apart."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.halves import read_halves
from pila.lab.world.render import pixel_centres
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.spinning_bar import EXTENT, SPEEDS, SpinningBar
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.rigid_body import kinematic_consistency, rigid_motion

SIZE = 64
SCENE = SpinningBar()
CELL = EXTENT / SIZE
FD = Calculus(dt=1 / 16, dx=CELL, dy=CELL)


def clip(seed=0, violation=None):
    return SCENE.simulate(seed, violation, Canvas(size=SIZE), False)


def upward(field):
    """[1, c, t, h, w] with rows in the direction of y, as the operators take them."""
    return torch.from_numpy(field[:, :, ::-1].copy())[None]


def test_velocity_is_the_spin_times_the_distance_from_the_hub():
    one = clip(2)
    x, y = pixel_centres(SIZE, EXTENT)
    spin = one.parameters["spin"]
    inside = one.masks[Slot.VELOCITY][0] > 0.99
    ux, uy = one.fields[Slot.VELOCITY]
    assert np.abs(ux + spin * (y - one.parameters["y0"]))[inside].max() < 1e-9
    assert np.abs(uy - spin * (x - one.parameters["x0"]))[inside].max() < 1e-9
    assert (spin > 0) == (one.parameters["sense"] == "anticlockwise")
    low, high = SPEEDS[one.parameters["speed"]]
    assert low <= abs(spin) <= high


def test_the_true_motion_is_rigid_and_a_sheared_one_is_not():
    one = clip(2)
    inside = one.masks[Slot.VELOCITY] > 0.99
    for axis in (2, 3):  # Central differences read the neighbours.
        inside = inside & np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    held = upward(inside)[0, 0]

    def misfit(stretch):
        velocity = upward(one.fields[Slot.VELOCITY] * np.array([stretch, 1])[:, None, None, None])
        gradient, transposed = rigid_motion(FD, Coefficients(), velocity=velocity)
        total = (gradient + transposed)[0][:, held]
        return float(total.norm() / gradient[0][:, held].norm())

    assert held.sum() > 1000
    assert misfit(1.0) < 1e-9
    assert misfit(1.2) > 0.1


def test_displacement_changes_at_the_velocity_about_the_middle_frame():
    """d = x - X turns with the body, so that d_t = u holds where little has turned: error
    (w dt)^2 / 6 at the middle frame."""
    one = next(c for c in map(clip, range(20)) if c.parameters["speed"] == "slowly")
    around = one.masks[Slot.VELOCITY][0, 15:18] > 0.99
    held = torch.from_numpy(np.flipud(around.all(0)).copy())

    def misfit(factor):
        rate, minus = kinematic_consistency(
            FD,
            Coefficients(),
            displacement=upward(one.fields[Slot.DISPLACEMENT]),
            velocity=factor * upward(one.fields[Slot.VELOCITY]),
        )
        total = (rate + minus)[0, :, 16][:, held]
        return float(total.norm() / rate[0, :, 16][:, held].norm())

    turn = one.parameters["spin"] / 16
    assert misfit(1.0) == pytest.approx(turn**2 / 6, rel=0.1)
    assert misfit(1.0) < 0.005
    assert misfit(1.2) > 0.15


@pytest.mark.parametrize("degrade", [False, True])
def test_spin_is_recovered_from_pixels_to_one_percent(degrade):
    one = clip(3)
    frames = degraded(one.frames) if degrade else one.frames
    spin = np.polyfit(np.arange(33) / 16, read_halves(frames, EXTENT).angle, 1)[0]
    assert spin == pytest.approx(one.parameters["spin"], rel=0.01)


def test_true_clips_measure_near_zero():
    raw, after = true_errors(SpinningBar, SIZE).T
    assert np.median(raw) < 0.06
    assert max(raw) < 0.15
    assert max(after) < 0.15


@pytest.mark.parametrize("violation", SpinningBar.violations)
def test_a_violation_is_told_from_the_truth(violation):
    assert (separation(SpinningBar, violation, SIZE) >= 0.95).all()


@pytest.mark.parametrize(
    ("violation", "law"), [("stops", "spin"), ("wandering", "centre"), ("growing", "shape")]
)
def test_the_law_that_is_broken_is_the_one_that_says_so(violation, law):
    errors = SCENE.measure(clip(2, violation).frames)
    assert max(errors, key=errors.__getitem__) == law


def test_nothing_turning_or_nothing_there_is_no_spin():
    frames = clip(1).frames
    assert SCENE.measure(np.repeat(frames[:1], 33, 0))["spin"] == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
