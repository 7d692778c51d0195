"""The mirror: angle in is angle out, held against the wave solver and read back from pixels."""

import numpy as np
import pytest
import torch
from tests.lab.world.degrade import degraded
from tests.lab.world.leapfrog import propagate

from pila.lab.world.captions import HELD_OUT
from pila.lab.world.light import fit_bend, read_pulse
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.mirror import EXTENT, GAP, THICKNESS, Mirror, find_mirror
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.fluid import mass_continuity
from pila.physics.terms.optical import support_gating

SCENE = Mirror()
SMALL = Canvas(size=96)


def _worst(clip) -> tuple[float, float]:
    frames = clip.frames
    return max(SCENE.measure(frames).values()), max(SCENE.measure(degraded(frames)).values())


@pytest.fixture(scope="module")
def true():
    return [_worst(SCENE.simulate(s, None, SMALL, False)) for s in range(4)]


def test_a_wave_packet_leaves_a_mirror_as_the_images_say():
    """Solved with a mirror border at y = 0: the reflected packet is the incident one's image."""
    cells, angle, c, k = 256, 0.6, 1.0, 2 * np.pi / 0.08
    h = 1 / cells
    x, y = np.meshgrid((np.arange(cells) + 0.5) * h, (np.arange(cells) + 1) * h)
    nx, ny = np.sin(angle), -np.cos(angle)

    def packet(t, sign):
        px, py = x - 0.3 - c * nx * t, sign * y - 0.35 - c * ny * t
        along, across = px * nx + py * ny, py * nx - px * ny
        return np.exp(-(along**2 + across**2) / (2 * 0.07**2)) * np.cos(k * along)

    rate = (packet(1e-4, 1) - packet(-1e-4, 1)) / 2e-4
    dt, steps = 0.6 * h, round(0.75 / (0.6 * h))
    wave = propagate(
        packet(0, 1), rate, np.ones_like(x), spacing=h, step=dt, num_steps=steps, every=steps
    )[-1]

    def centre(f):
        return np.array([(f**2 * x).sum(), (f**2 * y).sum()]) / (f**2).sum()

    image = packet(steps * dt, -1)
    assert np.hypot(*(centre(wave) - centre(image))) < 0.02
    flown = (centre(wave) - np.array([0.3, -0.35])) / (steps * dt)
    assert np.degrees(np.arctan2(*flown)) == pytest.approx(np.degrees(angle), abs=1.0)
    assert np.hypot(*flown) == pytest.approx(c, rel=0.03)


def test_true_light_is_carried_and_stays_outside_the_mirror():
    clip = SCENE.simulate(1, None, Canvas(size=256, num_frames=9, frame_rate=32), False)
    f = {s: torch.from_numpy(np.flip(v, 2).copy())[None] for s, v in clip.fields.items()}
    fd, k = Calculus(dt=1 / 32, dx=EXTENT / 256, dy=EXTENT / 256), Coefficients()
    # A few pixels in front of the mirror the streak's own border ends.
    solid = f[Slot.PHASE].amin((0, 1, 2)) < 0.5
    near = torch.nn.functional.max_pool2d(solid[None, None].double(), 9, 1, 4)[0, 0] > 0
    inside = torch.zeros_like(f[Slot.WAVE])
    inside[:, :, 1:-1, 2:-2, 2:-2] = 1
    inside[..., near] = 0

    def share(velocity):
        pieces = mass_continuity(fd, k, density=f[Slot.WAVE], velocity=velocity)
        size = max(float((p * inside).pow(2).mean().sqrt()) for p in pieces)
        return float((sum(pieces) * inside).pow(2).mean().sqrt()) / size

    assert share(f[Slot.VELOCITY]) < 0.05
    assert share(1.2 * f[Slot.VELOCITY]) > 0.15
    whole, kept = support_gating(fd, k, wave=f[Slot.WAVE], phase=f[Slot.PHASE])
    assert float((whole + kept).abs().max()) < 0.6 * float(whole.abs().max())
    assert float((whole + kept).pow(2).mean().sqrt()) < 0.1 * float(whole.pow(2).mean().sqrt())


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_path_and_mirror_are_read_from_pixels(seed):
    clip = SCENE.simulate(seed, None, Canvas(), False)
    p = clip.parameters
    found = find_mirror(clip.frames)
    assert found is not None
    axis, middle = found
    assert axis == (0 if p["side"] in ("left", "right") else 1)
    inward = p["surface"] - THICKNESS / 2
    expected = inward if p["side"] in ("left", "bottom") else EXTENT - inward
    assert middle == pytest.approx(expected, abs=0.006)
    bend = fit_bend(Canvas().times, read_pulse(clip.frames, EXTENT).centre, GAP)
    assert bend is not None
    for velocity in (bend.before, bend.after):
        angle = np.degrees(np.arctan2(abs(velocity[1 - axis]), abs(velocity[axis])))
        assert angle == pytest.approx(p["incidence"], abs=1.0)
        assert np.hypot(*velocity) == pytest.approx(p["light_speed"], rel=0.03)


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


def test_a_reflection_played_backwards_is_one_too_and_a_frozen_clip_is_none():
    clip = SCENE.simulate(2, None, Canvas(), False).frames
    assert max(SCENE.measure(np.ascontiguousarray(clip[::-1])).values()) < 0.12
    assert SCENE.measure(np.repeat(clip[:1], 33, 0))["reflection"] == 1.0
    assert set(SCENE.measure(np.full_like(clip, 128)).values()) == {1.0}


def test_captions_name_all_words_and_hold_some_forms_out():
    assert len(SCENE.templates) == 20 + HELD_OUT
    for template in SCENE.templates:
        assert all(f"{{{gap}}}" in template for gap in SCENE.words)
