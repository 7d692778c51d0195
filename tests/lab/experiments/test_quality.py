"""What a clip looks like, on clips that are blurred, noisy, recoloured or still on purpose."""

import cv2
import numpy as np
import pytest

from pila.lab.experiments.quality import adherence, colours, features, frechet, grain, looks, motion
from pila.lab.world import Canvas, simulate


@pytest.fixture(scope="module")
def true():
    return simulate("thrown_ball", 3, canvas=Canvas(size=64)).frames


def test_a_true_clip_has_full_quality(true):
    found = looks(true, true)
    assert found["quality"] == 1
    assert found["colours"] == pytest.approx(1)
    assert found["motion"] == found["true_motion"] > 0


def test_blur_and_noise_both_cost_quality(true):
    blurred = np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in true])
    noise = np.random.default_rng(0).normal(0, 12, true.shape)
    noisy = np.clip(true + noise, 0, 255).astype(np.uint8)
    assert looks(blurred, true)["sharpness"] < looks(true, true)["sharpness"]
    assert looks(noisy, true)["grain"] > looks(true, true)["grain"]
    assert looks(blurred, true)["quality"] < 0.9
    assert looks(noisy, true)["quality"] < 0.9


def test_grain_is_the_noise_that_was_added():
    draw = np.random.default_rng(0)
    frames = (120 + draw.normal(0, 8, (5, 96, 96, 3))).round().astype(np.uint8)
    assert grain(frames) == pytest.approx(8, rel=0.05)
    slope = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None], (5, 96, 96))
    assert grain(np.stack([slope] * 3, -1)) < 1e-4


def test_a_still_clip_has_no_motion(true):
    assert motion(np.repeat(true[:1], 9, axis=0)) == 0


def test_another_colour_does_not_overlap(true):
    assert colours(true[..., [1, 2, 0]], true) < 0.2
    grey = np.full_like(true, 100)
    assert colours(grey, true) == 0
    assert colours(grey, grey) == 1


def test_adherence_takes_the_scene_and_its_colours():
    assert adherence({"a": 1.0, "b": 0.2}, 0.7) == 0.7
    assert adherence({"a": 1.0, "b": 1.0}, 0.7) == 0.0


def test_frechet_distance_of_known_normals():
    draw = np.random.default_rng(0)
    one = draw.normal(0, 1, (20_000, 3))
    assert frechet(one, one) == pytest.approx(0, abs=1e-9)
    # Means apart by 1 in each axis, deviations 1 and 2: 3 x 1 + 3 x (1 + 4 - 2 x 2).
    other = draw.normal(1, 2, (20_000, 3))
    assert frechet(one, other) == pytest.approx(6, rel=0.03)
    assert frechet(one, other) == pytest.approx(frechet(other, one), rel=1e-6)
    assert frechet(one[:1], other) is None


def test_features_are_means_and_deviations_of_channels():
    latents = np.stack([np.full((2, 3, 3), 5.0), np.arange(18.0).reshape(2, 3, 3)])
    assert features(latents) == pytest.approx([5, 8.5, 0, np.arange(18).std()])
