"""Motion cues: exact where brightness is constant, at rest where there is nothing to see."""

import math

import pytest
import torch

from pila.adapter.motion import DAMPING, FASTEST, NUM_CUES, brightness_constancy, motion_cues


def waves(u, *, grid=(7, 16, 18), channels=6, dtype=torch.float64):
    """Smooth patterns [1, c, t, h, w] of several directions that all move with u cells a frame."""
    t, y, x = torch.meshgrid(*(torch.arange(n, dtype=dtype) for n in grid), indexing="ij")
    made = []
    for i in range(channels):
        angle = math.pi * i / channels
        k = 2 * math.pi / 16 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=dtype)
        made.append(torch.sin(k[0] * (x - u[0] * t) + k[1] * (y - u[1] * t) + i))
    return 10 * torch.stack(made)[None]


@pytest.mark.parametrize("u", [(0.5, 0.0), (0.0, -0.7), (-0.4, 0.6)])
def test_a_translation_is_found(u):
    found, texture = brightness_constancy(waves(u))
    inner = found[:, :, 1:-1, 3:-3, 3:-3]
    wanted = torch.tensor(u, dtype=found.dtype)[None, :, None, None, None].expand_as(inner)
    # What remains is the damping's shrinking and the differences' second order.
    least = texture[:, :, 1:-1, 3:-3, 3:-3].min().item()
    torch.testing.assert_close(inner, wanted, rtol=DAMPING / least + 0.06, atol=0.03)


def test_the_other_way_round_is_the_opposite():
    one, other = (brightness_constancy(waves(u))[0] for u in ((0.5, -0.3), (-0.5, 0.3)))
    torch.testing.assert_close(one.mean((2, 3, 4)), -other.mean((2, 3, 4)), rtol=0.05, atol=0.01)


def test_where_there_is_no_texture_nothing_moves():
    flat = torch.randn(2, 4, 5, 1, 1).expand(2, 4, 5, 12, 12)
    cues = motion_cues(flat)
    assert cues.shape == (2, NUM_CUES, 5, 12, 12)
    torch.testing.assert_close(cues, torch.zeros_like(cues))


def test_stripes_tell_motion_across_them_alone():
    """The aperture problem: damping leaves the motion along the stripes at rest."""
    x = torch.arange(16.0)
    t = torch.arange(6.0)[:, None, None]
    field = 3 * torch.sin(2 * math.pi / 8 * (x - 0.5 * t)).expand(6, 14, 16)
    u, texture = brightness_constancy(field[None, None])
    assert u[0, 0, 2, 6, 8] > 0.35
    assert u[0, 1].abs().max() < 1e-5
    assert texture.abs().max() < 1e-4


def test_cues_are_bounded_and_small_grids_work():
    wild = 100 * torch.randn(1, 16, 3, 4, 4)
    cues = motion_cues(wild)
    assert cues[:, :4].abs().max() <= FASTEST
    assert (cues[:, 4] >= 0).all()
    assert (cues[:, 4] <= 1).all()
    assert motion_cues(torch.randn(1, 16, 3, 9, 11)).shape == (1, NUM_CUES, 3, 9, 11)


def test_coarse_cues_are_in_the_same_unit():
    cues = motion_cues(waves((0.5, -0.25), grid=(7, 24, 24)).float())[:, :, 2:-2, 6:-6, 6:-6]
    fine, coarse = cues[:, :2].mean((2, 3, 4)), cues[:, 2:4].mean((2, 3, 4))
    torch.testing.assert_close(fine, coarse, rtol=0.25, atol=0.03)
