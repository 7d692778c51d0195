"""Ripples: an exact solution of the wave equation, whose ring is read back from pixels."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded
from tests.lab.world.leapfrog import propagate

from pila.lab.world.captions import HELD_OUT
from pila.lab.world.light import read_tint
from pila.lab.world.rings import read_ring
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.ripples import DENSITY, EXTENT, Ripples, ring_wave
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.compressible import compression_dynamics
from pila.physics.terms.optical import wave_propagation

SCENE = Ripples()
SMALL = Canvas(size=96)


def _worst(clip) -> tuple[float, float]:
    frames = clip.frames
    return max(SCENE.measure(frames).values()), max(SCENE.measure(degraded(frames)).values())


@pytest.fixture(scope="module")
def true():
    return [_worst(SCENE.simulate(s, None, SMALL, False)) for s in range(4)]


def _share(pieces, inside) -> float:
    """Size of a balance beside its largest piece."""
    sizes = [float((p * inside).pow(2).mean().sqrt()) for p in pieces]
    return float((sum(pieces) * inside).pow(2).mean().sqrt()) / max(sizes)


def test_true_fields_obey_the_wave_equation_and_shallow_water():
    # At 64 frames a second the time step is finer than the clip's, the law the same.
    clip = SCENE.simulate(1, None, Canvas(size=256, num_frames=9, frame_rate=64), False)
    f = {s: torch.from_numpy(np.flip(v, 2).copy())[None] for s, v in clip.fields.items()}
    fd = Calculus(dt=1 / 64, dx=EXTENT / 256, dy=EXTENT / 256)
    inside = torch.zeros_like(f[Slot.WAVE])
    inside[:, :, 2:-2, 4:-4, 4:-4] = 1
    c = clip.parameters["wave_speed"]
    for speed, low, high in ((c, 0.0, 0.02), (1.2 * c, 0.2, 1.0)):
        k = Coefficients(wave_speed=speed)
        assert low <= _share(wave_propagation(fd, k, wave=f[Slot.WAVE]), inside) <= high
    for density, low, high in ((DENSITY, 0.0, 0.02), (1.3 * DENSITY, 0.2, 1.0)):
        k = Coefficients(rest_density=density)
        pieces = compression_dynamics(fd, k, velocity=f[Slot.VELOCITY], pressure=f[Slot.PRESSURE])
        assert low <= _share(pieces, inside) <= high


def test_the_ring_is_what_the_wave_solver_computes():
    cells, c, h = 160, 1.0, 1 / 160
    x, y = np.meshgrid(*(2 * [(np.arange(cells) + 0.5) * h - 0.5]))
    radius, dt = np.hypot(x, y), 0.5 * h
    before, now, after, late = ring_wave(radius, 0.1 + c * dt * np.array([-1, 0, 1, 40]), 0.19)[0]
    solved = propagate(
        now, (after - before) / (2 * dt), np.full_like(x, c), spacing=h, step=dt, num_steps=40
    )[-1]
    # What the border sends back has come no nearer than this.
    free = radius < 0.37
    assert np.abs(solved - late)[free].max() < 0.01 * np.abs(late[free]).max()


def test_the_ring_fades_as_one_over_root_r():
    r = np.linspace(0, 4, 4000)
    crests = ring_wave(r, np.array([1.0, 2.0, 3.0]), 0.19)[0].max(1)
    assert crests * np.sqrt([1, 2, 3]) == pytest.approx([crests[0]] * 3, rel=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_speed_is_read_from_pixels(seed):
    clip = SCENE.simulate(seed, None, Canvas(), False)
    ring = read_ring(read_tint(clip.frames), EXTENT)
    assert ring is not None
    slope = np.polyfit(Canvas().times, ring.radius, 1)[0]
    assert slope == pytest.approx(clip.parameters["wave_speed"], rel=0.02)
    # The height of the crest falls throughout.
    assert (np.diff(ring.height[::4]) < 0).all()


def test_true_clips_measure_near_zero(true):
    raw, coarse = zip(*true, strict=True)
    assert np.median(raw) < 0.03
    assert max(raw) < 0.06
    assert max(coarse) < 0.10


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(true, violation):
    broken = [_worst(SCENE.simulate(s, violation, SMALL, False)) for s in range(3)]
    for column in (0, 1):
        assert min(b[column] for b in broken) > max(t[column] for t in true)


def test_backwards_and_frozen_clips_break_the_law():
    clip = SCENE.simulate(2, None, Canvas(), False).frames
    assert SCENE.measure(clip[::-1])["speed"] == 1.0
    assert SCENE.measure(np.repeat(clip[:1], 33, 0))["speed"] == pytest.approx(1.0)
    assert set(SCENE.measure(np.full_like(clip, 128)).values()) == {1.0}


def test_captions_name_all_words_and_hold_some_forms_out():
    assert len(SCENE.templates) == 20 + HELD_OUT
    for template in SCENE.templates:
        assert all(f"{{{gap}}}" in template for gap in SCENE.words)
