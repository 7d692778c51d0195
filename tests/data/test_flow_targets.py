"""Motion targets: what velocity means, against known motion and the world's true fields."""

import numpy as np
import pytest
import torch

from pila.adapter.fields import integrate_from_middle
from pila.data.flow_targets import (
    DisFlow,
    deformation_targets,
    estimator_name,
    flow_targets,
)
from pila.errors import InputError
from pila.lab.world import Canvas, simulate
from pila.lab.world.true_targets import true_targets
from pila.physics.layout import Slot

SIZE = 96


def texture(x, y):
    """A smooth picture without direction, [h, w, 3] uint8, at columns x and rows y [px]."""
    waves = [(0.9, 0.2, 1.0), (-0.3, 0.8, 2.0), (0.5, -0.6, 0.5), (0.25, 0.3, 3.0)]
    grey = sum(np.cos(a * x + b * y + c) for a, b, c in waves)
    return np.repeat((127 + 25 * np.asarray(grey)).astype(np.uint8)[..., None], 3, -1)


def moving(shift, frames=9, size=SIZE):
    """A texture whose frame k is displaced by `shift(k)` (x, y) in pixels."""
    y, x = np.mgrid[:size, :size].astype(float)
    return np.stack([texture(x - shift(k)[0], y - shift(k)[1]) for k in range(frames)])


def test_an_even_motion_is_found_in_cells_per_latent_frame():
    frames = moving(lambda k: (1.5 * k, -0.75 * k))
    flow, confidence = flow_targets(frames)
    assert flow.shape == (2, 3, SIZE // 8, SIZE // 8)
    assert confidence.shape == (1, 3, SIZE // 8, SIZE // 8)
    assert flow.dtype == confidence.dtype == np.float32
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    expected = np.reshape([1.5 * 4 / 8, -0.75 * 4 / 8], (2, 1, 1, 1))
    assert np.abs(flow - expected)[inner].max() < 0.05
    assert confidence[inner].min() > 0.7


def test_flat_pictures_say_nothing():
    flow, confidence = flow_targets(np.full((9, 32, 48, 3), 90, np.uint8))
    assert flow.shape == (2, 3, 4, 6)
    assert not flow.any()
    assert not confidence.any()


def counted(rate):
    """A flow that reads the frames' numbers off their brightness: acceleration `rate`."""

    def falling(before, after):
        early, late = float(before.mean()), float(after.mean())
        flow = np.zeros((*before.shape[:2], 2), np.float32)
        flow[..., 1] = rate * (late**2 - early**2) / 2
        return flow

    return falling


def test_what_velocity_means():
    """Of y = a k^2 / 2: a k at each frame, its mean over a latent frame's four, 0 at frame 0."""
    rate, t = 0.1, 13
    frames = np.stack([np.full((64, 64, 3), k, np.uint8) for k in range(t)])
    flow, _ = flow_targets(frames, estimator=counted(rate))
    at_frames = rate * np.arange(t)
    at_frames[-1] = rate * (t - 1.5)  # the last displacement is all that is known there
    expected = np.array([0.0, *(at_frames[i : i + 4].mean() for i in range(1, t, 4))])
    inner = flow[:, :, 2:-2, 2:-2]
    np.testing.assert_allclose(
        inner[1], np.broadcast_to(expected[:, None, None] * 4 / 8, inner[1].shape), atol=1e-5
    )
    assert not inner[0].any()


def test_estimators_have_names():
    assert estimator_name(DisFlow(side=200)) == "dis-200"
    assert "falling" in estimator_name(counted(1.0))


@pytest.mark.parametrize(
    ("scene", "most"),
    [
        ("ball_collision", 0.05),
        ("thrown_ball", 0.12),
        ("billiards", 0.05),
        ("newtons_cradle", 0.08),
        ("spring_mass", 0.10),
    ],
)
def test_flow_agrees_with_the_true_velocity(scene, most):
    clip = simulate(scene, 0, canvas=Canvas(size=SIZE))
    flow, confidence = flow_targets(clip.frames)
    true = true_targets(clip)
    u, mask = true.fields[Slot.VELOCITY], true.masks[Slot.VELOCITY]
    inside = mask > 0.5
    error = np.hypot(*(flow - u))[None]
    speed = np.hypot(*u)[None]
    assert error[inside].mean() < most
    assert error[inside].mean() < 0.35 * speed[inside].mean()
    assert (confidence * error)[inside].sum() / confidence[inside].sum() < most
    # Where nothing is, nothing moves, but for what leaks over the objects' rims.
    assert np.hypot(*flow)[None][mask < 0.01].mean() < 0.1
    if np.abs(u[1]).max() > 0.2:  # y points down, against the world's own axis
        upside_down = np.hypot(flow[0] - u[0], flow[1] + u[1])[None]
        assert upside_down[inside].mean() > 2 * error[inside].mean()


def test_true_fields_come_in_cells_and_latent_frames():
    """A thrown ball on a view of 10 m at 16 fps: gravity, and velocity as displacement's rate."""
    clip = simulate("thrown_ball", 3, canvas=Canvas(size=64))
    true = true_targets(clip)
    inside = true.masks[Slot.IMPULSE][0] > 0.5
    gravity = 9.81 * (4 / 16) ** 2 * (64 / 8 / clip.metres)
    impulse = true.fields[Slot.IMPULSE]
    np.testing.assert_allclose(impulse[1][inside], gravity, rtol=1e-3)
    np.testing.assert_allclose(impulse[0][inside], 0, atol=1e-3)

    def over_the_ball(slot):
        field, mask = true.fields[slot], true.masks[slot]
        return (field * mask).sum((2, 3)) / mask.sum((2, 3))

    d, u = over_the_ball(Slot.DISPLACEMENT), over_the_ball(Slot.VELOCITY)
    # Latent frames after the first lie a latent frame apart.
    np.testing.assert_allclose(np.diff(d[:, 1:]), (u[:, 1:-1] + u[:, 2:]) / 2, atol=0.02)


def test_a_lens_s_clip_knows_its_width():
    clip = simulate("melting_disc", 0, canvas=Canvas(size=32, num_frames=9))
    assert clip.metres == clip.parameters["extent"]
    true = true_targets(clip)
    assert not true.fields[Slot.VELOCITY].any()
    assert true.fields[Slot.PHASE].shape == (1, 3, 4, 4)


def test_deformation_follows_the_adapter_s_rules():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    stretch = torch.stack([0.1 * x, -0.2 * y])[None, :, None].repeat(2, 1, 7, 1, 1)
    confidence = torch.ones(2, 1, 7, 5, 6)
    confidence[1, :, 5, 2, 3] = 0.25
    found = deformation_targets(stretch, confidence)
    assert torch.equal(found.displacement, integrate_from_middle(stretch))
    assert not found.displacement[:, :, 3].any()
    torch.testing.assert_close(found.displacement[0, :, 6], 3 * stretch[0, :, 6])
    expected = torch.tensor([0.1, -0.2, 0.0]).view(1, 3, 1, 1, 1).expand_as(found.strain)
    torch.testing.assert_close(found.strain, expected)
    # A way that leads through a doubtful frame is doubtful from there on, outwards.
    trusted = found.displacement_confidence[1, 0, :, 2, 3]
    assert trusted.tolist() == [1, 1, 1, 1, 1, 0.25, 0.25]
    assert found.strain_confidence[1, 0, 5, 1:4, 2:5].unique().tolist() == [0.25]
    assert found.strain_confidence[0].min() == 1


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 32, 32, 3), np.uint8), "4 n \\+ 1"),
        (np.zeros((9, 32, 32, 3), np.float32), "takes uint8"),
        (np.zeros((9, 30, 32, 3), np.uint8), "multiples of 8"),
    ],
)
def test_wrong_frames_are_named(frames, message):
    with pytest.raises(InputError, match=message):
        flow_targets(frames)
