"""The blast's ring: solved fields obey the gas's equations, pixels give the front, breaks show."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.blast_ring import (
    CELLS,
    EXTENT,
    REACH,
    BlastRing,
    blast,
    mach_number,
    read_ring,
)
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity, momentum_balance

SCENE = BlastRing()
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
    assert np.median(true) < (0.06 if raw else 0.1)
    assert max(true) < 0.15
    for violation in SCENE.violations:
        broken = worst(violation, raw)
        assert np.mean([b > t for b in broken for t in true]) >= 0.95, violation


def test_the_front_is_read_within_a_pixel():
    """Against the solver's own front, half of the crest of what is drawn."""
    clip = SCENE.simulate(4, None, Canvas(), False)
    seen, front, _, crest = read_ring(clip.frames)
    assert seen.all()
    k = clip.parameters
    density, *_ = blast(k["pressure_ratio"], k["temperature_ratio"], k["radius"], np.array([1.5]))
    r = (np.arange(CELLS) + 0.5) * REACH / CELLS
    outer = r[np.flatnonzero(density[0] > 1 + (density[0].max() - 1) / 2)[-1]]
    assert front[24] == pytest.approx(outer, abs=EXTENT / 128)
    assert crest[24] == pytest.approx(density[0].max() - 1, rel=0.1)


def test_mach_number_inverts_the_jump_of_a_shock():
    mach = np.array([1.0, 1.3, 2.0, 3.0])
    jump = 2.4 * mach**2 / (0.4 * mach**2 + 2)
    assert mach_number(jump - 1) == pytest.approx(mach, rel=1e-12)


def test_half_speed_and_reversal_break_the_front():
    film = frames(1, None)
    slow = SCENE.measure(film[np.arange(len(film)) // 2])
    assert slow["front_speed"] == pytest.approx(0.5, abs=0.08)
    back = SCENE.measure(film[::-1])
    assert back["slows"] == back["front_speed"] == 1.0
    assert SCENE.measure(np.repeat(film[:1], 33, 0))["slows"] == 1.0
    assert set(SCENE.measure(np.full_like(film, 90)).values()) == {1.0}


def _balance(pieces, keep: torch.Tensor) -> float:
    """Root mean square of the balance over that of its largest piece, where `keep`."""
    keep = keep.expand_as(pieces[0])
    size = max(float((p[keep] ** 2).mean()) for p in pieces)
    left = torch.stack(list(pieces)).sum(0)
    return (float((left[keep] ** 2).mean()) / size) ** 0.5


def test_mass_and_momentum_balance_behind_the_front():
    """Relative residual under 6 % in the ring between 0.04 and 0.09 m behind the front."""
    canvas = Canvas(size=192, num_frames=33, frame_rate=40)
    clip = SCENE.simulate(1, None, canvas, False)
    k = clip.parameters
    cut = slice(21, 26)
    slots = (Slot.VELOCITY, Slot.PRESSURE, Slot.DENSITY)
    u, p, rho = (torch.tensor(clip.fields[s][None][:, :, cut, ::-1].copy()) for s in slots)
    # Rows are turned over: the calculus takes y along the rows, the fields take y up.
    s = (np.arange(192) + 0.5) / 192 * EXTENT
    r = torch.tensor(np.hypot(s - k["x0"], (s - k["y0"])[:, None]))
    dense = rho[0, 0, 2] > 1 + (rho[0, 0, 2].max() - 1) / 2
    front = r[dense].max()
    keep = torch.zeros_like(rho, dtype=torch.bool)
    keep[0, 0, 2] = (r > front - 0.09) & (r < front - 0.04)
    fd = Calculus(dt=1 / 40, dx=EXTENT / 192, dy=EXTENT / 192)
    still = Coefficients(viscosity=1e-12)
    assert _balance(mass_continuity(fd, still, density=rho, velocity=u), keep) < 0.06
    wrong = mass_continuity(fd, still, density=rho, velocity=1.3 * u)
    assert _balance(wrong, keep) > 0.15
    gas = {"velocity": u, "density": rho}
    assert _balance(momentum_balance(fd, still, pressure=p, **gas), keep) < 0.06
    assert _balance(momentum_balance(fd, still, pressure=1.3 * p, **gas), keep) > 0.15
