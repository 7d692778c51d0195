"""A boiling pot: kept liquid, transported phase, measured speed, and violations told apart."""

import numpy as np
import pytest
import torch
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.mixture import unmix
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.boiling_pot import EXTENT, HUES, WIDTH, BoilingPot
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.phase_change import phase_transport

SIZE = 80
SCENE = BoilingPot()


def test_true_clips_obey_and_stay_near_zero_when_degraded():
    raw, worn = true_errors(BoilingPot, SIZE).T
    assert np.median(raw) < 0.06
    assert raw.max() < 0.15
    assert worn.max() < 0.25


@pytest.mark.parametrize("violation", SCENE.violations)
def test_every_violation_is_told_from_the_truth(violation):
    assert separation(BoilingPot, violation, SIZE).min() >= 0.95


def test_nothing_moves_nothing_wins():
    frames = SCENE.simulate(1, None, Canvas(size=SIZE), False).frames
    for frame in (0, 16, 32):
        static = np.repeat(frames[frame][None], 33, 0)
        assert max(SCENE.measure(static).values()) == 1.0


def test_half_speed_and_backwards_are_noticed():
    frames = SCENE.simulate(1, None, Canvas(size=SIZE), False).frames
    assert SCENE.measure(frames[::-1])["bubbles_rise"] == 1.0
    assert SCENE.measure(frames[np.arange(33) // 2])["terminal_speed"] > 0.3


def test_the_liquid_keeps_its_area_in_pixels_and_in_the_fields():
    """To 1 % of what was poured in."""
    clip = SCENE.simulate(2, None, Canvas(size=SIZE), False)
    pixel = (EXTENT / SIZE) ** 2
    poured = WIDTH * clip.parameters["liquid_depth"]
    liquid, _ = unmix(clip.frames, tuple(HUES.values()))
    assert liquid.sum((1, 2)) * pixel == pytest.approx(poured, rel=0.02)
    share = clip.fields[Slot.PHASE][0] * clip.masks[Slot.PHASE][0]
    assert share.sum((1, 2)) * pixel == pytest.approx(poured, rel=0.01)


def test_phase_moves_with_the_flow():
    """Bubbles' edges are carried, to 15 % of the change over 7 x 7 px; at half the speed not.

    Pixel by pixel it would be half of it: an edge is a ramp one pixel wide.
    """
    size, rate = 128, 160
    clip = SCENE.simulate(3, None, Canvas(size=size, num_frames=9, frame_rate=rate), False)
    step = EXTENT / size
    # Rows run downwards, y upwards: turned over, so that both run the same way.
    fields = {str(s): torch.from_numpy(f[:, :, ::-1].copy())[None] for s, f in clip.fields.items()}
    content = torch.from_numpy(clip.masks[Slot.PHASE][0, :, ::-1].copy())
    # Inside the pot, away from its walls and from the level: all neighbours are wet.
    inside = torch.nn.functional.avg_pool2d(content[:, None], 17, 1, 8)[:, 0] > 0.999
    fd = Calculus(dt=1 / rate, dx=step, dy=step)

    def residual(factor):
        moved = fields | {"velocity": factor * fields["velocity"]}
        slots = {name: moved[name] for name in ("velocity", "phase")}
        pieces = (p[0, 0] for p in phase_transport(fd, Coefficients(), **slots))
        change, carried = (
            torch.nn.functional.avg_pool2d(p[:, None], 7, 1, 3)[:, 0] for p in pieces
        )
        rest = ((change + carried) * inside)[1:-1]
        return float(rest.norm() / (change * inside)[1:-1].norm())

    assert residual(1.0) < 0.15
    assert residual(0.5) > 0.4
