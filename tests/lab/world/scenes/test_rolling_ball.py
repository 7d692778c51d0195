"""Rolling without slipping: energy, contact, true fields, and violations told apart."""

import numpy as np
import pytest
import torch
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.render import pixel_centres
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.rolling_ball import EXTENT, GRAVITY, RollingBall
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.collision import impulse_response
from pila.physics.terms.rigid_body import rigid_motion

SIZE = 64
SCENE = RollingBall()
CELL = EXTENT / SIZE
FD = Calculus(dt=1 / 16, dx=CELL, dy=CELL)


def clip(seed=0, violation=None, size=SIZE):
    return SCENE.simulate(seed, violation, Canvas(size=size), False)


def upward(field):
    """[1, c, t, h, w] with rows in the direction of y, as the operators take them."""
    return torch.from_numpy(field[:, :, ::-1].copy())[None]


def centres(one, t):
    p = one.parameters
    side = 1 if p["side"] == "right" else -1
    travelled = p["acceleration"] * t**2 / 2
    return (
        p["x0"] + side * np.cos(p["theta"]) * travelled,
        p["y0"] - np.sin(p["theta"]) * travelled,
        side,
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_point_of_contact_rests_and_all_else_turns_about_it(seed):
    one = clip(seed)
    p = one.parameters
    t = Canvas().times
    cx, cy, side = centres(one, t)
    touch_x = cx - side * np.sin(p["theta"]) * p["radius"]
    touch_y = cy - np.cos(p["theta"]) * p["radius"]
    spin = p["acceleration"] * t / p["radius"]
    x, y = pixel_centres(SIZE, EXTENT)
    lever = np.hypot(x - touch_x[:, None, None], y - touch_y[:, None, None])
    inside = one.masks[Slot.VELOCITY][0] > 0.99
    speed = np.hypot(*one.fields[Slot.VELOCITY])
    assert speed[inside] == pytest.approx((spin[:, None, None] * lever)[inside], abs=1e-9)


@pytest.mark.parametrize("violation", [None, "slides"])
def test_height_lost_is_kinetic_energy_gained(violation):
    """Mean of u^2 / 2 over the disc is g h; discretisation of the disc leaves 1 %."""
    one = clip(1, violation, size=128)
    cover = one.masks[Slot.VELOCITY][0, -1]
    kinetic = ((one.fields[Slot.VELOCITY][:, -1] ** 2).sum(0) / 2 * cover).sum() / cover.sum()
    p = one.parameters
    fall = p["acceleration"] * (1.5 if violation else 1) * Canvas().times[-1] ** 2 / 2
    assert kinetic == pytest.approx(GRAVITY * np.sin(p["theta"]) * fall, rel=0.01)


def test_the_true_motion_is_rigid_and_its_rate_is_the_impulse():
    one = next(c for c in map(clip, range(20)) if c.parameters["slope"] == "gentle")
    inside = one.masks[Slot.VELOCITY] > 0.99
    for axis in (1, 2, 3):  # Central differences read the neighbours.
        inside = inside & np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    held = upward(inside)[0, 0, 1:-1]
    velocity, impulse = (upward(one.fields[s]) for s in (Slot.VELOCITY, Slot.IMPULSE))

    def norms(pieces):
        first = pieces[0][0, :, 1:-1][:, held]
        total = torch.stack(list(pieces)).sum(0)
        return float(total[0, :, 1:-1][:, held].norm() / first.norm())

    k = Coefficients()
    stretch = torch.tensor([1.2, 1.0], dtype=torch.float64)[:, None, None, None]
    assert held.sum() > 1000
    assert norms(rigid_motion(FD, k, velocity=velocity)) < 1e-9
    assert norms(rigid_motion(FD, k, velocity=velocity * stretch)) > 0.1
    assert norms(impulse_response(FD, k, velocity=velocity, impulse=impulse)) < 0.01
    assert norms(impulse_response(FD, k, velocity=velocity, impulse=1.2 * impulse)) > 0.15


def test_acceleration_and_rolling_are_recovered_from_pixels():
    errors = SCENE.measure(clip(3).frames)
    assert errors["acceleration"] < 0.03
    assert errors["rolling"] < 0.05


def test_a_frictionless_slide_is_half_too_fast():
    errors = SCENE.measure(clip(3, "slides").frames)
    assert errors["acceleration"] == pytest.approx(0.5, abs=0.04)
    assert errors["rolling"] > 0.95


def test_half_speed_has_a_quarter_of_the_acceleration():
    slow = clip(1).frames[np.arange(33) // 2]
    assert SCENE.measure(slow)["acceleration"] == pytest.approx(0.75, abs=0.05)


def test_true_clips_measure_near_zero():
    raw, after = true_errors(RollingBall, SIZE).T
    assert np.median(raw) < 0.06
    assert max(raw) < 0.15
    assert max(after) < 0.15


@pytest.mark.parametrize("violation", RollingBall.violations)
def test_a_violation_is_told_from_the_truth(violation):
    assert (separation(RollingBall, violation, SIZE) >= 0.95).all()


def test_nothing_moving_or_nothing_there_is_no_rolling():
    frames = clip(1).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
