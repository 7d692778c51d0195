"""The burst tube: exact waves, true fields that obey the gas's equations, laws that see breaks."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.shock_tube import EXTENT, SOUND_SPEED, ShockTube, gas_profile
from pila.lab.world.solvers.riemann import GAMMA, GasState, star_state
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity, momentum_balance

SCENE = ShockTube()
SMALL = Canvas(size=64)
SEEDS = range(8)


@cache
def frames(seed: int, violation: str | None) -> np.ndarray:
    return SCENE.simulate(seed, violation, SMALL, False).frames


def worst(violation: str | None, raw: bool) -> list[float]:
    clips = [frames(s, violation) for s in SEEDS]
    return [max(SCENE.measure(f if raw else degraded(f, i)).values()) for i, f in enumerate(clips)]


@pytest.mark.parametrize("raw", [True, False])
def test_true_clips_obey_and_every_violation_stands_out(raw):
    true = worst(None, raw)
    assert np.median(true) < (0.08 if raw else 0.13)
    assert max(true) < 0.17
    for violation in SCENE.violations:
        broken = worst(violation, raw)
        assert np.mean([b > t for b in broken for t in true]) >= 0.95, violation


def test_at_full_size_a_true_clip_is_near_zero():
    clip = SCENE.simulate(0, None, Canvas(), False)
    assert max(SCENE.measure(clip.frames).values()) < 0.06


def test_pixels_give_back_the_exact_shock():
    """The shock is where Rankine and Hugoniot put it, within a pixel and a half."""
    clip = SCENE.simulate(3, None, Canvas(), False)
    thin = clip.parameters["density_ratio"]
    density = gas_profile(clip.frames)
    assert density is not None
    pressure = SOUND_SPEED**2 / GAMMA
    dense, rare = GasState(1.0, 0.0, pressure), GasState(thin, 0.0, thin * pressure)
    star = star_state(dense, rare)
    jump = star.pressure / rare.pressure
    mach = np.sqrt((GAMMA + 1) / (2 * GAMMA) * jump + (GAMMA - 1) / (2 * GAMMA))
    at = (clip.parameters["membrane"] + mach * SOUND_SPEED * 2.0) / EXTENT * 128
    half = (star.density_right + thin) / 2
    found = np.flatnonzero(density[-1] > half)[-1] + 1
    assert found == pytest.approx(at, abs=1.5)
    assert density[-1, -4:] == pytest.approx(thin, abs=0.02)


def test_half_speed_has_a_quarter_of_the_push():
    film = frames(1, None)
    slow = SCENE.measure(film[np.arange(len(film)) // 2])
    assert slow["momentum"] == pytest.approx(0.75, abs=0.05)


def test_time_reversed_gas_flows_back_and_a_frozen_clip_has_no_law():
    film = frames(1, None)
    back = SCENE.measure(film[::-1])
    assert back["outflow"] == back["momentum"] == 1.0
    assert SCENE.measure(np.repeat(film[:1], 33, 0))["outflow"] == 1.0
    assert set(SCENE.measure(np.full_like(film, 90)).values()) == {1.0}


def _balance(pieces, keep: torch.Tensor) -> float:
    """Root mean square of the balance over that of its largest piece, where `keep`."""
    size = max(float((p[keep] ** 2).mean()) for p in pieces)
    left = torch.stack(list(pieces)).sum(0)
    return (float((left[keep] ** 2).mean()) / size) ** 0.5


def test_mass_and_momentum_balance_in_the_rarefaction():
    """Relative residual under 2 % between the fan's head and tail; a wrong velocity shows."""
    canvas = Canvas(size=256, frame_rate=40)
    # The dense side is on the left: the flow goes along +x.
    seed = next(
        s for s in range(20) if SCENE.simulate(s, None, SMALL, False).parameters["side"] == "left"
    )
    clip = SCENE.simulate(seed, None, canvas, False)
    row = round((1 - clip.parameters["height"] / EXTENT) * 256)
    rows = slice(row - 3, row + 3)
    slots = (Slot.VELOCITY, Slot.PRESSURE, Slot.DENSITY)
    assert min(clip.masks[s][..., rows, :].min() for s in slots) == 1.0
    u, p, rho = (torch.tensor(clip.fields[s][None][..., rows, :].copy()) for s in slots)
    fd = Calculus(dt=1 / 40, dx=EXTENT / 256, dy=EXTENT / 256)
    k = Coefficients(viscosity=1e-12)
    x = (np.arange(256) + 0.5) / 256 * EXTENT - clip.parameters["membrane"]
    speed = torch.tensor(x / canvas.times[24])
    fan = (speed > -0.92 * SOUND_SPEED) & (speed < -0.7 * SOUND_SPEED)
    keep = torch.zeros_like(rho, dtype=torch.bool)
    keep[:, :, 24] = fan
    mass = mass_continuity(fd, k, density=rho, velocity=u)
    assert _balance(mass, keep) < 0.02
    assert _balance(mass_continuity(fd, k, density=rho, velocity=1.2 * u), keep) > 0.1
    momentum = momentum_balance(fd, k, velocity=u, pressure=p, density=rho)
    keep = keep.expand(-1, 2, -1, -1, -1)
    assert _balance(momentum, keep) < 0.02
    assert _balance(momentum_balance(fd, k, velocity=u, pressure=1.2 * p, density=rho), keep) > 0.1
