"""A soft ball: g, area and recovery are read from pixels, and violations are told apart."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.soft_ball import EXTENT, FLOOR, SoftBall, read_soft_ball
from pila.lab.world.solvers.soft_bounce import soft_bounce
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.collision import impulse_response
from pila.physics.terms.elastic import deformation_compatibility
from pila.physics.terms.rigid_body import kinematic_consistency

SCENE = SoftBall()


def clip_of(seed, violation=None, canvas=None):
    return SCENE.simulate(seed, violation, canvas or Canvas(size=64), False)


def motion_of(clip, t):
    p = clip.parameters
    return soft_bounce(t, drop=p["drop"], omega=p["omega"], restitution=p["restitution"])


@cache
def worst(violation):
    return worst_laws(SCENE, violation, Canvas(size=64), range(8))


@pytest.mark.parametrize("seed", range(3))
def test_height_area_and_squash_are_read_from_the_pixels(seed):
    """Height within a fifth of a pixel, area within 1 %, ln(a / b) / 2 within 0.03."""
    clip = clip_of(seed, canvas=Canvas())
    radius = clip.parameters["radius"]
    above = motion_of(clip, Canvas().times)[0]
    y, area, stretch, seen = read_soft_ball(clip.frames)
    assert seen.all()
    assert y == pytest.approx(FLOOR + radius + above, abs=0.2 * EXTENT / 128)
    assert area == pytest.approx(np.pi * radius**2, rel=0.01)
    squash = -np.log1p(np.minimum(above, 0) / radius)
    assert squash.max() > 0.05
    assert stretch == pytest.approx(squash, abs=0.03)
    assert SCENE.measure(clip.frames)["gravity"] < 0.02


def fields_at_the_floor(seed):
    """Fields of a clip of 2,000 frames a second around the first contact, y upwards."""
    from pila.lab.world.scenes import soft_ball

    clip = clip_of(seed)
    p, rate = clip.parameters, 2000
    fine = np.arange(0, 2, 1 / rate)
    start = int(np.argmax(motion_of(clip, fine)[0] < 0)) + 20
    t = fine[start : start + 33]
    above, speed, _ = motion_of(clip, t)
    upright = p["radius"] + above
    ball = np.stack([FLOOR + upright, p["radius"] ** 2 / upright, upright])
    rates = np.stack([speed, -(p["radius"] ** 2) / upright**2 * speed, speed])
    image = np.zeros((33, 96, 96, 3))
    covered = soft_ball._draw(image, p["x0"], ball, "red")
    fields, masks = soft_ball._truth(covered, p["x0"], p["radius"], ball, rates, rate)
    inside = torch.from_numpy(masks[Slot.VELOCITY][0, :, ::-1].copy()) == 1.0
    for axis in (0, 1, 2):
        inside &= inside.roll(1, axis) & inside.roll(-1, axis)
    inside[[0, -1]] = False
    tensors = {str(s): torch.from_numpy(f[None, :, :, ::-1].copy()) for s, f in fields.items()}
    return tensors, inside, Calculus(dt=1 / rate, dx=EXTENT / 96, dy=EXTENT / 96)


def test_squashing_is_free_of_divergence_and_strain_is_the_gradient_of_displacement():
    field, inside, fd = fields_at_the_floor(0)
    velocity = field["velocity"]
    stretching = fd.x(velocity[:, :1])[0][:, inside]
    assert fd.div(velocity)[0][:, inside].abs().max() < 1e-9 * stretching.abs().max()
    strain, gradient = deformation_compatibility(
        fd, Coefficients(), strain=field["strain"], displacement=field["displacement"]
    )
    rest = (strain + gradient)[0][:, inside]
    assert rest.abs().max() < 1e-9 * strain[0][:, inside].abs().max()
    # Where the floor holds it, the ball stands still.
    lowest = int(inside[16].any(1).nonzero()[0])
    column = int(inside[16].any(0).nonzero().float().mean())
    assert velocity[0, 1, 16, lowest, column].abs() < 0.2 * velocity[0, 1, 16].abs().max()


def test_flight_obeys_the_kinematic_terms():
    """In the air dd/dt = u and du/dt = j to 1e-2; the times of the first flight only."""
    canvas = Canvas(size=64, frame_rate=64)
    clip = clip_of(0, canvas=canvas)
    assert motion_of(clip, canvas.times)[0].min() > 0
    field = {str(s): torch.from_numpy(f[None, :, :, ::-1].copy()) for s, f in clip.fields.items()}
    fd, k = Calculus(dt=1 / 64, dx=EXTENT / 64, dy=EXTENT / 64), Coefficients()
    inside = torch.from_numpy(clip.masks[Slot.VELOCITY][0, :, ::-1].copy()) == 1.0
    inside &= inside.roll(1, 0) & inside.roll(-1, 0)
    # The first and last velocities are one-sided.
    inside[:2], inside[-2:] = False, False
    for term, factor in ((kinematic_consistency, "velocity"), (impulse_response, "impulse")):
        for gain, low, high in ((1.0, 0.0, 0.01), (1.3, 0.2, 1.0)):
            slots = {str(s): field[str(s)] for s in term.reads}
            slots[factor] = gain * slots[factor]
            pieces = [piece[0][:, inside] for piece in term(fd, k, **slots)]
            share = (
                (torch.stack(pieces).sum(0).pow(2).mean() / pieces[0].pow(2).mean()).sqrt().item()
            )
            assert low <= share < high


@pytest.mark.parametrize("state", ["raw", "degraded"])
def test_true_clips_measure_near_zero(state):
    assert np.median(worst(None)[state]) < 0.08
    assert worst(None)[state].max() < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation):
    for state in ("raw", "degraded"):
        assert auc(worst(None)[state], worst(violation)[state]) >= 0.95


def test_played_backwards_it_gains_energy_and_at_half_speed_it_falls_too_slowly():
    frames = clip_of(2).frames
    assert SCENE.measure(frames[::-1])["energy"] > 0.3
    assert SCENE.measure(frames[np.arange(33) // 2])["gravity"] > 0.6


def test_nothing_that_moves_or_nothing_at_all_fails():
    frames = clip_of(1).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
