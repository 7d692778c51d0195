"""Two blocks in contact: series against equation, pixels against series, breaks told apart."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded

from pila.lab.world.render import read_temperature
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.contact_bodies import EXTENT, ContactBodies, fit_decay, rod_profile
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.thermal import heat_transport

SCENE = ContactBodies()
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


@pytest.mark.parametrize("seed", [0, 1])
def test_pixels_give_back_the_decay_rate(seed):
    """k = a (pi / 2 l)^2 within 6 % at 128 px, the metal's diffusivity read from the video."""
    clip = SCENE.simulate(seed, None, Canvas(), False)
    profile = rod_profile(read_temperature(clip.frames))
    assert profile is not None
    rod = 2 * clip.parameters["length"]
    exact = clip.parameters["diffusivity"] * (np.pi / rod) ** 2
    assert fit_decay(profile, np.arange(33) / 16)[2] == pytest.approx(exact, rel=0.06)


def test_reversed_heat_runs_from_cold_to_hot_and_a_frozen_clip_has_no_law():
    film = frames(1, None)
    assert SCENE.measure(film[::-1])["evens_out"] == 1.0
    assert SCENE.measure(np.repeat(film[:1], 33, 0))["diffusion"] == 1.0
    assert set(SCENE.measure(np.full_like(film, 90)).values()) == {1.0}


def test_fields_obey_the_heat_equation_and_keep_their_heat():
    """Relative residual under 2 % inside the blocks; a diffusivity 20 % off shows."""
    canvas = Canvas(size=192, frame_rate=64)
    clip = SCENE.simulate(2, None, canvas, False)
    heat, mask = clip.fields[Slot.TEMPERATURE], clip.masks[Slot.TEMPERATURE]
    total = (heat * mask).sum((0, 2, 3))
    assert total == pytest.approx(total[0], rel=2e-3)
    tall = clip.parameters["side"] in ("top", "bottom")
    inside = np.flatnonzero((mask[0, 0, :, 96] if tall else mask[0, 0, 96]) > 0.999)
    cut, band = slice(inside[3], inside[-3]), slice(88, 104)
    box = (cut, band) if tall else (band, cut)
    t = torch.tensor(heat[None][..., box[0], box[1]].copy())
    u = torch.zeros(1, 2, *t.shape[2:], dtype=t.dtype)
    fd = Calculus(dt=1 / 64, dx=EXTENT / 192, dy=EXTENT / 192)

    def residual(diffusivity: float) -> float:
        pieces = heat_transport(
            fd, Coefficients(diffusivity=diffusivity), velocity=u, temperature=t
        )
        # From a quarter second on: a frame is coarse beside the first moments after the contact.
        inner = torch.stack([p[:, :, 16:-1, 2:-2, 2:-2] for p in pieces])
        return float((inner.sum(0) ** 2).mean() / (inner[0] ** 2).mean()) ** 0.5

    true = clip.parameters["diffusivity"]
    assert residual(true) < 0.02
    assert residual(1.2 * true) > 0.15
