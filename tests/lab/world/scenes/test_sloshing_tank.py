"""The sloshing tank: finite-depth gravity waves, kept volume, and fields that balance."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.dye import read_dye
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.sloshing_tank import (
    EXTENT,
    GRAVITY,
    WIDTH,
    SloshingTank,
    fit_oscillation,
    read_surface,
    released,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity, momentum_balance

SCENE = SloshingTank()
SMALL = Canvas(size=96)
FINE = Canvas(size=128, num_frames=9, frame_rate=160)
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
    for errors in true_errors:
        assert np.median(errors) < 0.06
        assert max(errors) < 0.1


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(violation, true_errors):
    broken = [clip(s, violation).frames for s in SEEDS]
    after = [worst(degraded(f)) for f in broken[:4]]
    for errors, values in zip(true_errors, ([worst(f) for f in broken], after), strict=True):
        assert np.mean([b > e for b in values for e in errors]) >= 0.95


def test_a_released_wave_solves_the_damped_oscillator():
    t = np.linspace(0, 2, 2001)
    a, rate = released(t, 0.02, 9.0, 0.6)
    assert a[0] == 0.02
    assert rate[0] == 0.0
    assert np.abs(np.gradient(a, t)[1:-1] - rate[1:-1]).max() < 2e-5 * np.abs(rate).max()
    bend = np.gradient(rate, t, edge_order=2)
    assert np.abs(bend + 1.2 * rate + 81 * a)[2:-2].max() < 1e-4 * np.abs(bend).max()


@pytest.mark.parametrize("seed", range(4))
def test_pixels_give_back_width_depth_and_frequency(seed):
    shown = clip(seed)
    surface = read_surface(read_dye(shown.frames))
    assert surface is not None
    height, along, width = surface
    assert width == pytest.approx(WIDTH, abs=0.3 * EXTENT / 96)
    assert height.mean() == pytest.approx(shown.parameters["depth_at_rest"], rel=0.05)
    tip = height @ np.cos(np.pi * along / width) * 2 / len(along)
    natural = shown.parameters["natural_frequency"]
    omega, gamma, _ = fit_oscillation(SMALL.times, tip, natural)
    assert np.hypot(omega, gamma) == pytest.approx(natural, rel=0.02)
    assert gamma == pytest.approx(shown.parameters["damping"], abs=0.15)


def test_half_speed_breaks_the_dispersion_and_reversal_the_energy():
    frames = clip(0).frames
    assert SCENE.measure(frames[np.arange(33) // 2])["dispersion"] > 0.4
    assert SCENE.measure(frames[::-1])["energy"] > 0.5


def upright(field):
    """Rows from the top [c, t, h, w] to a batch whose rows go up."""
    return torch.from_numpy(np.ascontiguousarray(field[None, :, :, ::-1]))


def balances(seed):
    """Inner mask, continuity's and momentum's pieces on the true fields at a fine time step."""
    shown = clip(seed, canvas=FINE)
    fields = {slot: upright(f) for slot, f in shown.fields.items()}
    mask = torch.from_numpy(shown.masks[Slot.VELOCITY][:, :, ::-1].copy()).amin(1)[0] > 0.999
    inner = torch.zeros_like(mask)
    inner[3:-3, 3:-3] = True
    for axis in (0, 1):
        for shift in (-3, 3):
            inner &= torch.roll(mask, shift, axis)
    step = EXTENT / FINE.size
    fd, k = Calculus(dt=1 / FINE.frame_rate, dx=step, dy=step), Coefficients(viscosity=1e-9)
    rho, u = fields[Slot.DENSITY], fields[Slot.VELOCITY]
    # The term knows no body force: the weight of the liquid is taken off the pressure.
    y = (torch.arange(FINE.size, dtype=u.dtype) + 0.5) * step
    pressure = fields[Slot.PRESSURE] + shown.parameters["density"] * GRAVITY * y[:, None]
    friction = 2 * shown.parameters["damping"] * rho * u
    momentum = momentum_balance(fd, k, velocity=u, pressure=pressure, density=rho)
    mass = mass_continuity(fd, k, density=rho, velocity=u)
    return (
        inner,
        [p[:, :, 2:-2, inner] for p in mass],
        [p[:, :, 2:-2, inner] for p in (*momentum, friction)],
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_true_fields_balance_mass_and_momentum(seed):
    inner, mass, momentum = balances(seed)
    assert inner.sum() > 500
    assert torch.stack(mass).sum(0).abs().max() < 2e-3 * max(p.abs().max() for p in mass)
    inertia = momentum[0].abs().max()
    rest = torch.stack(momentum).sum(0)
    assert rest.abs().max() < 0.01 * inertia
    # A tenth more inertia is noticed.
    assert (rest + 0.1 * momentum[0]).abs().max() > 0.09 * inertia


def test_the_pressure_vanishes_at_the_free_surface_to_second_order():
    """Linear theory: the error goes with the square of the amplitude."""
    shown = clip(0, canvas=Canvas(size=128))
    p = shown.fields[Slot.PRESSURE][0]
    top = (shown.masks[Slot.PRESSURE][0] > 0.999).argmax(1)
    column = p.shape[2] // 2
    surface = np.array([p[i, row, column] for i, row in enumerate(top[:, column])])
    scale = shown.parameters["density"] * GRAVITY * EXTENT / 128
    steep = np.pi / WIDTH * shown.parameters["amplitude"]
    bound = scale + steep**2 * shown.parameters["density"] * GRAVITY / (np.pi / WIDTH)
    assert np.abs(surface).max() < bound
