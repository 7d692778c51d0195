"""Refraction: Snell's law, held against the wave solver and read back from pixels."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded
from tests.lab.world.leapfrog import propagate

from pila.lab.world.captions import HELD_OUT
from pila.lab.world.light import fit_bend, read_pulse
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.refraction import EXTENT, GAP, WIDTH, Crossing, Refraction, intensity
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity

SCENE = Refraction()
SMALL = Canvas(size=96)


def _worst(clip) -> tuple[float, float]:
    frames = clip.frames
    return max(SCENE.measure(frames).values()), max(SCENE.measure(degraded(frames)).values())


@pytest.fixture(scope="module")
def true():
    return [_worst(SCENE.simulate(s, None, SMALL, False)) for s in range(4)]


def test_the_pulse_is_the_envelope_that_the_wave_solver_computes():
    """A packet with its carrier crosses the border; its intensity is the closed form's."""
    cells, index, angle = 320, 1.5, 0.6
    speed, h = 0.45, 1 / 320
    before = speed * np.array([np.sin(angle), -np.cos(angle)])
    out = np.arcsin(np.sin(angle) / index)
    after = speed / index * np.array([np.sin(out), -np.cos(out)])

    def closed(t):
        t = np.atleast_1d(t)
        ways = t[:, None] * before, t[:, None] * after
        return intensity(Crossing(0.5, 0.5, before, after, *ways), t, cells)[0]

    # Rows from the top of the view, as in every clip.
    x, y = np.meshgrid((np.arange(cells) + 0.5) * h, (np.arange(cells)[::-1] + 0.5) * h)
    start, dt, k = -0.5, 0.6 * h / speed, 2 * np.pi / 0.055
    phase = k * ((x - 0.5) * before[0] + (y - 0.5) * before[1] - speed**2 * start) / speed

    def packet(t):
        envelope = np.sqrt(closed(t))
        return envelope * np.cos(phase - k * speed * (t - start))

    rate = (packet(start + 1e-4) - packet(start - 1e-4)) / 2e-4
    steps = round(1.1 / dt)
    media = np.where(y > 0.5, speed, speed / index)
    wave = propagate(
        packet(start), rate, media, spacing=h, step=dt, num_steps=steps, every=steps,
        border="sponge",
    )[-1]  # fmt: skip
    light, under = wave**2, y < 0.5
    due = closed(start + steps * dt)

    def centre(f):
        return np.array([(f * under * x).sum(), (f * under * y).sum()]) / (f * under).sum()

    # 0.6 s after the crossing the pulse is 0.18 m under the border; a pixel is 0.008 m.
    assert np.hypot(*(centre(light) - centre(due))) < 0.006

    def spread(f):
        cx, cy = centre(f)
        along = (x - cx) * np.sin(out) - (y - cy) * np.cos(out)
        return np.sqrt((f * under * along**2).sum() / (f * under).sum())

    assert spread(due) == pytest.approx(WIDTH / index, rel=0.03)
    assert spread(light) == pytest.approx(spread(due), rel=0.06)


def test_true_light_is_carried_at_its_velocity_in_either_medium():
    clip = SCENE.simulate(1, None, Canvas(size=256, num_frames=9, frame_rate=32), False)
    # Rows upwards, as the term's y.
    f = {s: torch.from_numpy(np.flip(v, 2).copy())[None] for s, v in clip.fields.items()}
    fd, k = Calculus(dt=1 / 32, dx=EXTENT / 256, dy=EXTENT / 256), Coefficients()
    row = round(clip.parameters["border"] * 256)
    inside = torch.zeros_like(f[Slot.WAVE])
    inside[:, :, 1:-1, 2:-2, 2:-2] = 1
    inside[:, :, :, row - 4 : row + 4] = 0

    def share(velocity):
        pieces = mass_continuity(fd, k, density=f[Slot.WAVE], velocity=velocity)
        size = max(float((p * inside).pow(2).mean().sqrt()) for p in pieces)
        return float((sum(pieces) * inside).pow(2).mean().sqrt()) / size

    assert share(f[Slot.VELOCITY]) < 0.03
    assert share(1.2 * f[Slot.VELOCITY]) > 0.15


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_angles_and_index_are_read_from_pixels(seed):
    clip = SCENE.simulate(seed, None, Canvas(), False)
    bend = fit_bend(Canvas().times, read_pulse(clip.frames, EXTENT).centre, GAP)
    assert bend is not None
    p = clip.parameters
    incidence, refracted = (
        np.degrees(np.arctan2(abs(v[0]), -v[1])) for v in (bend.before, bend.after)
    )
    assert incidence == pytest.approx(p["incidence"], abs=0.5)
    assert refracted == pytest.approx(p["refracted"], abs=0.7)
    assert np.hypot(*bend.before) / np.hypot(*bend.after) == pytest.approx(p["index"], rel=0.03)


def test_true_clips_measure_near_zero(true):
    raw, coarse = zip(*true, strict=True)
    assert np.median(raw) < 0.06
    assert max(raw) < 0.12
    assert max(coarse) < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_violations_are_told_from_the_truth(true, violation):
    broken = [_worst(SCENE.simulate(s, violation, SMALL, False)) for s in range(3)]
    for column in (0, 1):
        assert min(b[column] for b in broken) > max(t[column] for t in true)


def test_backwards_and_frozen_clips_break_the_law():
    clip = SCENE.simulate(2, None, Canvas(), False).frames
    assert SCENE.measure(clip[::-1])["snell"] == 1.0
    assert SCENE.measure(np.repeat(clip[:1], 33, 0))["snell"] == 1.0
    assert set(SCENE.measure(np.full_like(clip, 128)).values()) == {1.0}


def test_captions_name_all_words_and_hold_some_forms_out():
    assert len(SCENE.templates) == 20 + HELD_OUT
    for template in SCENE.templates:
        assert all(f"{{{gap}}}" in template for gap in SCENE.words)
