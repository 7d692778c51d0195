"""How steadily a clip changes: what each measure answers to, and weights for unseen scenes."""

import numpy as np
import pytest
import torch

from pila.score.steadiness import FEWEST, MEASURES, steadiness, weigh


def moving(shift: int = 2, frames: int = 9) -> torch.Tensor:
    """A pattern that moves evenly and comes in again on the other side."""
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(4, 12, 12, generator=generator)
    still -= still.mean((1, 2), keepdim=True)
    return torch.stack([still.roll(shift * i, -1) for i in range(frames)], dim=1)


def measures(latents: torch.Tensor) -> dict[str, float]:
    found = steadiness(latents)
    assert found is not None
    return found


def test_even_motion_neither_drifts_nor_is_uneven():
    found = measures(moving())
    assert tuple(found) == MEASURES
    assert found["drift"] == pytest.approx(0, abs=1e-6)
    assert found["unevenness"] == pytest.approx(0, abs=1e-6)
    assert found["jerkiness"] > 0, "cells change by turns as the pattern passes"


def test_what_appears_drifts():
    latents = moving() + 0.3 * torch.arange(9.0)[:, None, None]
    assert measures(latents)["drift"] > 0.1


def test_what_stops_is_uneven():
    latents = moving()
    latents[:, 5:] = latents[:, 5:6]
    assert measures(latents)["unevenness"] > 0.1


def test_what_trembles_is_jerky():
    wave = torch.sin(2 * torch.pi * torch.arange(12) / 12).expand(1, 12, 12)
    even, trembling = (
        torch.stack([wave.roll(place, -1) for place in places], dim=1)
        for places in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 3, 2, 4, 3, 5, 4])
    )
    assert measures(trembling)["jerkiness"] > 2 * measures(even)["jerkiness"]


def test_brightness_and_size_do_not_count():
    one, other = measures(moving()), measures(3 * moving() + 7)
    assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_short_and_still_clips_have_none():
    assert steadiness(moving(frames=FEWEST - 1)) is None
    assert steadiness(moving(frames=FEWEST)) is not None
    assert steadiness(moving(shift=0)) is None


def test_the_first_latent_frame_stands_apart():
    latents = moving()
    before = measures(latents)
    latents[:, 0] = 50
    assert measures(latents) == before


def clips(scene: str, level: float, apart: float, seed: int) -> list[tuple[str, bool, dict]]:
    draw = np.random.default_rng(seed)
    return [
        (scene, bad, {n: level + apart * bad + draw.normal() for n in MEASURES})
        for bad in (False, True)
        for _ in range(60)
    ]


def test_weights_tell_apart_what_they_have_not_seen():
    known = [*clips("a", 0.0, 2.0, 1), *clips("b", 0.3, 2.0, 2)]
    scenes, broken, found = zip(*known, strict=True)
    weighing = weigh(found, broken, scenes)
    assert all(w > 0 for w in weighing.weights)
    right = [(weighing(m) > 0) == bad for _, bad, m in clips("c", 0.1, 2.0, 3)]
    assert np.mean(right) > 0.9


def test_every_scene_and_kind_weighs_alike():
    """Ten times the broken clips do not move the limit."""
    known = [*clips("a", 0.0, 2.0, 1), *clips("b", 0.3, 2.0, 2)]
    many = known + 9 * [clip for clip in known if clip[1]]
    one, other = (
        weigh(found, broken, scenes)
        for scenes, broken, found in (zip(*some, strict=True) for some in (known, many))
    )
    assert one.bias == pytest.approx(other.bias, abs=1e-3)
    assert one.weights == pytest.approx(other.weights, abs=1e-3)


def test_an_outlier_counts_four_deviations():
    known = [*clips("a", 0.0, 2.0, 1), *clips("b", 0.3, 2.0, 2)]
    scenes, broken, found = zip(*known, strict=True)
    weighing = weigh(found, broken, scenes)
    assert weighing(dict.fromkeys(MEASURES, 1e9)) == weighing(dict.fromkeys(MEASURES, 1e3))
