"""The dyed vortex: exact transport, what pixels give back, and fields that balance."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.dye import full_strength, read_dye
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.dyed_vortex import (
    EXTENT,
    DyedVortex,
    angular_velocity,
    fit_profile,
    read_rotation,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity, momentum_balance
from pila.physics.terms.phase_change import phase_transport

SCENE = DyedVortex()
SMALL = Canvas(size=96)
FINE = Canvas(size=256, num_frames=9, frame_rate=64)
SEEDS = range(8)


def worst(frames):
    return max(SCENE.measure(frames).values())


def clip(seed, violation=None, canvas=SMALL):
    return SCENE.simulate(seed, violation, canvas, False)


@pytest.fixture(scope="module")
def true_errors():
    clips = [clip(s).frames for s in SEEDS]
    return [worst(f) for f in clips], [worst(degraded(f)) for f in clips[:4]]


def test_true_clips_obey(true_errors):
    raw, after = true_errors
    assert np.median(raw) < 0.06
    assert max(raw) < 0.1
    assert max(after) < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation, true_errors):
    broken = [clip(s, violation).frames for s in SEEDS]
    after = [worst(degraded(f)) for f in broken[:4]]
    for errors, values in zip(true_errors, ([worst(f) for f in broken], after), strict=True):
        assert np.mean([b > e for b in values for e in errors]) >= 0.95


def test_the_profile_is_a_body_inside_and_irrotational_outside():
    assert angular_velocity(np.array([1e-5]), 0.02, 0.01)[0] == pytest.approx(
        0.02 / (2 * np.pi * 1e-4), rel=1e-5
    )
    r = np.linspace(0.04, 0.09, 50)
    moment = angular_velocity(r, 0.02, 0.01) * r**2
    assert np.ptp(moment) < 1e-6 * moment.mean()


@pytest.mark.parametrize("seed", range(4))
def test_pixels_give_back_circulation_and_core(seed):
    shown = clip(seed, canvas=Canvas())
    strength = read_dye(shown.frames)
    radii, rate, weight, _ = read_rotation(strength / full_strength(strength), SMALL.times)
    circulation, core, _ = fit_profile(radii, rate, weight)
    assert circulation == pytest.approx(shown.parameters["circulation"], rel=0.03)
    assert core == pytest.approx(shown.parameters["core_radius"], rel=0.06)


def test_dye_is_carried_without_loss_in_a_true_clip_only():
    def spread(violation):
        total = clip(1, violation).fields[Slot.PHASE].sum((0, 2, 3))
        return np.abs(total / total[0] - 1).max()

    # What sampling at 96 px leaves.
    assert spread(None) < 5e-3
    assert spread("sink") > 0.5


def test_half_of_the_clip_reversed_is_no_even_winding():
    frames = clip(0).frames
    back = np.concatenate([frames[::2], frames[:-2:2][::-1]])
    assert SCENE.measure(back)["winding"] > 0.5


def rms(field):
    return field.square().mean().sqrt()


@pytest.mark.parametrize("seed", [0, 1])
def test_true_fields_balance_mass_momentum_and_dye(seed):
    shown = clip(seed, canvas=FINE)
    # Rows from the top to rows that go up.
    fields = {
        slot: torch.from_numpy(np.ascontiguousarray(f[None, :, :, ::-1]))
        for slot, f in shown.fields.items()
    }
    mask = torch.from_numpy(shown.masks[Slot.VELOCITY][0, 0, ::-1].copy()) > 0.999
    inner = mask.clone()
    for axis in (0, 1):
        for shift in (-4, 4):
            inner &= torch.roll(mask, shift, axis)
    step = EXTENT / FINE.size
    fd, k = Calculus(dt=1 / FINE.frame_rate, dx=step, dy=step), Coefficients(viscosity=1e-9)
    rho, u = fields[Slot.DENSITY], fields[Slot.VELOCITY]
    balances = {
        "mass": mass_continuity(fd, k, density=rho, velocity=u),
        "momentum": momentum_balance(
            fd, k, velocity=u, pressure=fields[Slot.PRESSURE], density=rho
        ),
        "dye": phase_transport(fd, k, velocity=u, phase=fields[Slot.PHASE]),
    }
    for name, pieces in balances.items():
        pieces = [p[:, :, 1:-1, inner] for p in pieces]
        scale = max(rms(p) for p in pieces)
        bound = {"mass": 0.005, "momentum": 0.005, "dye": 0.05}[name]
        assert rms(sum(pieces)) < bound * scale, name
        # A piece that is a tenth too large is noticed.
        assert rms(sum(pieces) + 0.1 * pieces[1]) > 0.08 * scale, name
