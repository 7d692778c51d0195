"""A clamped ruler: its mode, pitch and length are read from pixels, violations are told apart."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.elastic import fit_damped_cosine, released
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.vibrating_beam import EXTENT, STATIONS, VibratingBeam, read_beam
from pila.lab.world.solvers.cantilever import mode
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.elastic import deformation_compatibility, stress_strain_closure
from pila.physics.terms.rigid_body import kinematic_consistency

SCENE = VibratingBeam()


def clip_of(seed, violation=None, canvas=None):
    return SCENE.simulate(seed, violation, canvas or Canvas(size=64), False)


@cache
def worst(violation):
    return worst_laws(SCENE, violation, Canvas(size=64), range(8))


@pytest.mark.parametrize("seed", range(3))
def test_pitch_and_length_are_read_from_the_pixels(seed):
    """Frequency within 1 % of sqrt(E h^2 / 12 rho) (1.8751 / L)^2, length within 2 %."""
    clip = clip_of(seed, canvas=Canvas())
    deflection, length = read_beam(clip.frames)
    fit = fit_damped_cosine(np.arange(33) / 16, deflection[:, -1])
    p = clip.parameters
    expected = (
        1.8751**2 * np.sqrt(p["modulus"] * 0.07**2 / (12 * p["density"])) / p["free_length"] ** 2
    )
    assert p["omega"] == pytest.approx(expected, rel=1e-4)
    assert fit.omega == pytest.approx(p["omega"], rel=0.01)
    assert length == pytest.approx(p["free_length"], rel=0.02)
    assert 1.5 < p["omega"] * 2.06 / (2 * np.pi) < 4
    # The bend itself: the mode at the stations, to a fifth of a pixel.
    tip = released(np.arange(33) / 16, p["amplitude"], p["omega"], p["decay"])
    tip *= {"up": 1, "down": -1}[p["direction"]]
    shape = p["y0"] + np.outer(tip, mode(STATIONS))
    assert np.sqrt(((deflection - shape) ** 2).mean()) < 0.2 * EXTENT / 128


def test_fields_obey_the_kinematic_terms():
    """Near the straight ruler, where turning is small: dd/dt = u, strain = sym grad d, s = E e."""
    canvas = Canvas(size=96, frame_rate=100)
    clip = clip_of(1, canvas=canvas)
    p = clip.parameters
    # Calculus counts rows upwards here, as y does.
    field = {
        str(slot): torch.from_numpy(f[None, :, :, ::-1].copy()) for slot, f in clip.fields.items()
    }
    cell = EXTENT / 96
    fd, k = Calculus(dt=1 / 100, dx=cell, dy=cell), Coefficients()
    inside = torch.from_numpy(clip.masks[Slot.VELOCITY][0, :, ::-1].copy()) == 1.0
    for axis in (0, 1, 2):
        inside &= inside.roll(1, axis) & inside.roll(-1, axis)
    tip = released(canvas.times, p["amplitude"], p["omega"], p["decay"])
    inside[1:-1] &= torch.from_numpy(np.abs(tip) < 0.012)[1:-1, None, None]
    inside[[0, -1]] = False
    # Turning by an angle q adds q^2 / 2 to the linear gradient: compare strain where q < 0.01.
    straight = torch.zeros_like(inside)
    crossing = int(np.abs(tip).argmin())
    assert abs(tip[crossing]) < 0.003
    straight[crossing] = inside[crossing]
    assert straight.sum() > 150

    def share(term, where, **changed):
        slots = {str(s): field[str(s)] for s in term.reads} | changed
        pieces = [piece[0][:, where] for piece in term(fd, k, **slots)]
        return (torch.stack(pieces).sum(0).pow(2).mean() / pieces[0].pow(2).mean()).sqrt().item()

    assert share(kinematic_consistency, inside) < 0.05
    assert share(kinematic_consistency, inside, velocity=1.3 * field["velocity"]) > 0.2
    assert share(deformation_compatibility, straight) < 0.08
    assert share(deformation_compatibility, straight, strain=1.3 * field["strain"]) > 0.2
    stiff = Coefficients(stiffness=p["modulus"])
    stress, strain = stress_strain_closure(
        fd, stiff, stress=field["stress"], strain=field["strain"]
    )
    assert torch.allclose(stress, -strain)


def test_the_outer_side_of_a_bend_is_stretched():
    clip = clip_of(1)
    along = clip.fields[Slot.STRAIN][0, 0] + clip.fields[Slot.STRAIN][1, 0]
    rows = np.arange(64)[:, None] * np.ones(64)
    covered = clip.masks[Slot.STRAIN][0, 0]
    middle = (rows * covered).sum(0) / np.maximum(covered.sum(0), 1e-9)
    upper, lower = (
        along[(rows < middle) & (covered > 0.9)],
        along[(rows > middle) & (covered > 0.9)],
    )
    bent_up = clip.parameters["direction"] == "up"
    assert (upper.mean() < 0 < lower.mean()) == bent_up
    assert (upper.mean() > 0 > lower.mean()) != bent_up


@pytest.mark.parametrize("state", ["raw", "degraded"])
def test_true_clips_measure_near_zero(state):
    assert np.median(worst(None)[state]) < 0.08
    assert worst(None)[state].max() < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation):
    for state in ("raw", "degraded"):
        assert auc(worst(None)[state], worst(violation)[state]) >= 0.95


def test_played_backwards_it_gains_energy():
    assert SCENE.measure(clip_of(1).frames[::-1])["energy"] > 0.3


def test_nothing_that_moves_or_nothing_at_all_fails():
    frames = clip_of(1).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
    assert set(SCENE.measure(np.full_like(frames, 120)).values()) == {1.0}
