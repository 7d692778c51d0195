"""A block on a spring: its period is read off its own extension, and violations are told apart."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.elastic import ZIGZAG, body_mask, fit_damped_cosine, overtone, released
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.spring_mass import EXTENT, GRAVITY, SpringMass, read_block
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.elastic import deformation_compatibility, stress_strain_closure
from pila.physics.terms.rigid_body import kinematic_consistency

SCENE = SpringMass()
SEEDS = range(8)


def clip_of(seed, violation=None, canvas=None):
    return SCENE.simulate(seed, violation, canvas or Canvas(size=64), False)


@cache
def worst(violation):
    return worst_laws(SCENE, violation, Canvas(size=64), SEEDS)


def test_released_solves_the_damped_oscillator():
    """x'' + 2 k x' + w^2 x = 0 by central differences at their order, h^2 w^2 / 6 ~ 1e-7."""
    h, w, k = 1e-4, 8.0, 0.3
    t = np.arange(0, 2, h)
    x = released(t, 0.1, w, k)
    speed, bend = (x[2:] - x[:-2]) / (2 * h), (x[2:] - 2 * x[1:-1] + x[:-2]) / h**2
    balance = bend + 2 * k * speed + w**2 * x[1:-1]
    assert np.abs(balance).max() < 1e-5 * np.abs(bend).max()
    assert x[0] == pytest.approx(0.1)
    assert x[1] == pytest.approx(0.1 - 0.1 * w**2 * h**2 / 2, rel=1e-9)


def test_the_fit_recovers_a_damped_cosine():
    t = np.arange(33) / 16
    fit = fit_damped_cosine(t, 0.4 + released(t, 0.1, 7.3, 0.25))
    assert fit.omega == pytest.approx(np.sqrt(7.3**2 - 0.25**2), rel=2e-3)
    assert fit.decay == pytest.approx(0.25, abs=0.02)
    assert fit.offset == pytest.approx(0.4, abs=1e-3)
    assert fit.misfit < 0.01 * fit.swing
    assert fit_damped_cosine(t, released(t, 0.1, 7.3, 0.25)[::-1]).growth(2.0) > 0.5


@pytest.mark.parametrize("phase", [0.0, 0.7, 2.5])
def test_the_overtone_tells_a_zigzag_from_a_cosine_and_from_noise(phase):
    t = np.arange(33) / 16
    noise = 0.01 * np.random.default_rng(0).normal(size=33)
    cosine = 0.4 + 0.1 * np.cos(7.3 * t + phase)
    zigzag = 0.4 + 0.1 * 2 / np.pi * np.arcsin(np.cos(7.3 * t + phase))
    lingering = 0.4 + 0.1 * np.tanh(2 * np.cos(7.3 * t + phase))
    shares = [overtone(t, y, fit_damped_cosine(t, y)) for y in (cosine, cosine + noise, zigzag)]
    assert shares[0] == pytest.approx(0, abs=0.005)
    assert abs(shares[1]) < 0.05
    assert shares[2] == pytest.approx(ZIGZAG, rel=0.1)
    assert overtone(t, lingering, fit_damped_cosine(t, lingering)) < -0.05


@pytest.mark.parametrize("seed", range(4))
def test_stiffness_is_read_from_the_pixels(seed):
    """k / m = g / extension within 2 %, the pixels of one clip at 128 px."""
    clip = clip_of(seed, canvas=Canvas())
    assert SCENE.measure(clip.frames)["period"] < 0.02
    y, area, seen = read_block(clip.frames)
    fit = fit_damped_cosine(np.arange(33) / 16, y)
    p = clip.parameters
    assert seen.all()
    assert fit.omega**2 == pytest.approx(p["spring_constant"] / p["mass"], rel=0.02)
    assert np.sqrt(area) == pytest.approx(p["side"], rel=0.02)
    assert p["omega"] ** 2 == pytest.approx(GRAVITY / (p["balance"] - 0.28), rel=1e-9)
    assert 1.5 < p["omega"] * 2.06 / (2 * np.pi) < 4


def test_fields_obey_the_kinematic_terms():
    """Block: dd/dt = u. Spring: strain is the gradient of displacement; stress is E x strain."""
    canvas = Canvas(size=128, frame_rate=128)
    clip = clip_of(1, canvas=canvas)
    # Calculus counts rows upwards here, as y does.
    field = {
        str(slot): torch.from_numpy(f[None, :, :, ::-1].copy()) for slot, f in clip.fields.items()
    }
    cell = EXTENT / 128
    fd, k = Calculus(dt=1 / 128, dx=cell, dy=cell), Coefficients()

    def share(term, inside, **changed):
        slots = {str(s): field[str(s)] for s in term.reads} | changed
        pieces = [p[0][:, inside] for p in term(fd, k, **slots)]
        return (torch.stack(pieces).sum(0).pow(2).mean() / pieces[0].pow(2).mean()).sqrt().item()

    everything, spring = (
        torch.from_numpy(clip.masks[slot][0, :, ::-1].copy()) == 1.0
        for slot in (Slot.VELOCITY, Slot.STRAIN)
    )
    # Points of the spring cross pixels at a strain near 1, so dd/dt = u holds for the block alone.
    block = everything & ~(torch.from_numpy(clip.masks[Slot.STRAIN][0, :, ::-1].copy()) > 0)
    block &= block.roll(6, 1) & block.roll(-6, 1)
    assert share(kinematic_consistency, block) < 0.01
    assert share(kinematic_consistency, block, velocity=1.3 * field["velocity"]) > 0.2
    inner = spring & spring.roll(2, 1) & spring.roll(-2, 1) & spring.roll(2, 2) & spring.roll(-2, 2)
    assert share(deformation_compatibility, inner) < 1e-6
    assert share(deformation_compatibility, inner, strain=1.3 * field["strain"]) > 0.2
    stiff = Coefficients(stiffness=clip.parameters["modulus"])
    stress, strain = stress_strain_closure(
        fd, stiff, stress=field["stress"], strain=field["strain"]
    )
    assert torch.allclose(stress, -strain)


def test_stress_at_the_balance_carries_the_weight():
    clip = clip_of(2)
    p = clip.parameters
    strain = 1 - 0.28 / p["balance"]
    assert p["modulus"] * strain * 0.14**2 == pytest.approx(p["mass"] * GRAVITY, rel=1e-9)


@pytest.mark.parametrize("state", ["raw", "degraded"])
def test_true_clips_measure_near_zero(state):
    assert np.median(worst(None)[state]) < 0.08
    assert worst(None)[state].max() < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation):
    for state in ("raw", "degraded"):
        assert auc(worst(None)[state], worst(violation)[state]) >= 0.95


def test_played_backwards_it_gains_energy_and_at_half_speed_its_period_is_wrong():
    frames = clip_of(1).frames
    assert SCENE.measure(frames[::-1])["energy"] > 0.3
    assert SCENE.measure(frames[np.arange(33) // 2])["period"] > 0.6


def test_nothing_that_moves_or_nothing_at_all_fails():
    frames = clip_of(1).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
    assert body_mask(np.full_like(frames, 120)).max() == 0
