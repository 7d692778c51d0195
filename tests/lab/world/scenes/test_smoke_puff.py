"""The smoke puff: kept smoke, a rise that never stops, and fields that balance."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.dye import read_dye
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.smoke_puff import (
    AIR,
    EXTENT,
    GRAVITY,
    MIXING,
    SmokePuff,
    early_rise,
    read_puff,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import momentum_balance
from pila.physics.terms.thermal import heat_transport

SCENE = SmokePuff()
SMALL = Canvas(size=64)
SEEDS = range(5)


def worst(frames):
    return max(SCENE.measure(frames).values())


def clip(seed, violation=None, canvas=SMALL):
    return SCENE.simulate(seed, violation, canvas, False)


@pytest.fixture(scope="module")
def true_clips():
    return [clip(s) for s in SEEDS]


@pytest.fixture(scope="module")
def true_errors(true_clips):
    raw = [worst(c.frames) for c in true_clips]
    return raw, [worst(degraded(c.frames)) for c in true_clips]


def test_true_clips_obey(true_errors):
    raw, after = true_errors
    assert np.median(raw) < 0.06
    assert max(raw) < 0.15
    assert max(after) < 0.2


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation, true_errors):
    broken = [clip(s, violation).frames for s in SEEDS]
    after = [worst(degraded(f)) for f in broken]
    for errors, values in zip(true_errors, ([worst(f) for f in broken], after), strict=True):
        assert np.mean([b > e for b in values for e in errors]) >= 0.95


def test_smoke_is_kept_in_the_pixels(true_clips):
    for shown in true_clips:
        total = read_dye(shown.frames).sum((1, 2))
        assert np.abs(total / total[0] - 1).max() < 0.005
        lightness = (AIR - shown.fields[Slot.DENSITY]).sum((0, 2, 3))
        assert np.abs(lightness / lightness[0] - 1).max() < 1e-3


def test_pixels_give_back_the_first_acceleration(true_clips):
    """The rise read from colours is that of the light gas, within the faint smoke left out.

    The air that the puff sets in motion leaves at most half of the reduced gravity; a soft edge,
    walls near by and the first mixing take up to half of that.
    """
    rows = (np.arange(SMALL.size)[::-1] + 0.5) / SMALL.size * EXTENT
    for shown in true_clips:
        height, _ = read_puff(read_dye(shown.frames))
        speed, acceleration = early_rise(SMALL.times[1:-1], height)
        gas = (AIR - shown.fields[Slot.DENSITY][0]).sum(2)
        _, expected = early_rise(SMALL.times, gas @ rows / gas.sum(1))
        half = shown.parameters["reduced_gravity"] / 2
        assert acceleration == pytest.approx(expected, rel=0.1)
        assert 0.5 * half < acceleration < half
        assert abs(speed) < 0.05 * half


def rms(field):
    return field.square().mean().sqrt()


@pytest.mark.parametrize("seed", [0, 1])
def test_true_fields_balance_smoke_and_momentum(seed):
    """Within what second differences see of a front three cells wide."""
    canvas = Canvas(size=64, frame_rate=64)
    shown = clip(seed, canvas=canvas)
    fields = {
        slot: torch.from_numpy(np.ascontiguousarray(f[None, :, :, ::-1]))
        for slot, f in shown.fields.items()
    }
    step = EXTENT / canvas.size
    fd = Calculus(dt=1 / canvas.frame_rate, dx=step, dy=step)
    k = Coefficients(diffusivity=MIXING, viscosity=MIXING * AIR)
    u, lightness = fields[Slot.VELOCITY], fields[Slot.DENSITY] - AIR
    # Lighter gas is carried and mixed as heat is.
    smoke = heat_transport(fd, k, velocity=u, temperature=lightness)
    # Boussinesq: the air's inertia everywhere, and the buoyancy that the term does not know.
    weight = torch.cat([torch.zeros_like(lightness), GRAVITY * lightness], dim=1)
    momentum = momentum_balance(
        fd,
        k,
        velocity=u,
        pressure=fields[Slot.PRESSURE],
        density=torch.full_like(lightness, AIR),
    )
    for pieces, bound, wrong in ((smoke, 0.1, 1), ((*momentum, weight), 0.03, 2)):
        pieces = [p[:, :, 8:-1, 2:-2, 2:-2] for p in pieces]
        scale = max(rms(p) for p in pieces)
        assert rms(sum(pieces)) < bound * scale
        # A flux or a pressure that is too large by a fifth is noticed.
        assert rms(sum(pieces) + 0.2 * pieces[wrong]) > 2 * rms(sum(pieces))
