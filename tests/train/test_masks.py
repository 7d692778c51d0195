"""Masks on known fields."""

import pytest
import torch

from pila.physics import Calculus
from pila.physics.bank import Slot
from pila.train.masks import FLOOR, MOST, blended, bootstrap_mask, motion_weight, physical_mask

FD = Calculus()


def moving_corner():
    """A velocity that speeds up in one corner and rests elsewhere, [1, 2, 6, 8, 8]."""
    u = torch.zeros(1, 2, 6, 8, 8)
    u[:, 0, :, :2, :2] = torch.linspace(0, 3, 6)[:, None, None] ** 2
    return u


def test_bootstrap_mask_is_high_where_motion_changes_and_at_the_floor_elsewhere():
    mask = bootstrap_mask(moving_corner(), torch.zeros(1, 16, 6, 8, 8), FD)
    assert mask.shape == (1, 1, 6, 8, 8)
    assert mask.min() == pytest.approx(FLOOR)
    assert mask.max() == 1
    assert (mask[:, :, 2:, :2, :2] > 0.5).all()
    assert (mask[..., 5:, 5:] == FLOOR).all()


def test_masks_do_not_depend_on_the_fields_scale():
    u, x = torch.randn(2, 2, 6, 8, 8), torch.randn(2, 16, 6, 8, 8)
    torch.testing.assert_close(bootstrap_mask(u, x, FD), bootstrap_mask(7 * u, 7 * x, FD))


def test_physical_mask_follows_heat():
    heat = torch.zeros(1, 1, 6, 8, 8)
    heat[..., 3:5, 3:5] = torch.arange(6.0)[:, None, None]
    mask = physical_mask({Slot.TEMPERATURE: heat}, FD)
    assert (mask[..., 3:5, 3:5] > 0.5).all()
    assert (mask[..., 0, :] == FLOOR).all()


def test_a_field_at_rest_gives_the_floor():
    mask = physical_mask({Slot.VELOCITY: torch.zeros(1, 2, 6, 8, 8)}, FD)
    assert (mask == FLOOR).all()


def test_blend_runs_from_bootstrap_to_physical():
    one, two = torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    assert blended(one, two, 0, 10).mean() == 0
    assert blended(one, two, 5, 10).mean() == 0.5
    assert blended(one, two, 10, 10).mean() == 1
    assert blended(one, two, 0, 0).mean() == 1


def test_flow_errors_count_most_where_the_estimate_changes():
    x = torch.randn(2, 16, 1, 8, 8).repeat(1, 1, 9, 1, 1)  # texture at rest
    x[:, :, 4:, 2:4, 2:4] += 1.0
    weight = motion_weight(x.clone().requires_grad_(), 0.75)
    assert weight.shape == (2, 1, 1, 8, 8)
    assert not weight.requires_grad
    torch.testing.assert_close(weight.mean((3, 4)), torch.ones(2, 1, 1))
    # All change is in 4 of 64 cells: sixteen times the mean, cut off at MOST.
    assert weight[..., 2:4, 2:4].min() > 0.7 * 64 / 4
    assert weight[..., 5:, 5:].max() == pytest.approx(0.25, abs=0.01)
    x[:, :, 4:, 2, 2] += 100.0
    one = motion_weight(x, 1.0)
    assert MOST < one.max() / one.mean() <= 64  # it holds nearly all of the weight, no more
    torch.testing.assert_close(motion_weight(x, 0.0), torch.ones(2, 1, 1, 8, 8))


def test_a_clip_at_rest_is_weighed_evenly():
    x = torch.randn(1, 16, 1, 8, 8).repeat(1, 1, 9, 1, 1)
    weight = motion_weight(x, 0.75)
    assert torch.isfinite(weight).all()
    torch.testing.assert_close(weight, torch.ones(1, 1, 1, 8, 8))
