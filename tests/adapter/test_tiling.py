"""Tiles give what the whole gives; each part's reach is what it really answers to."""

import pytest
import torch
from tests.adapter.conftest import make_adapter, make_inputs

from pila.adapter.tiling import Tiling
from pila.errors import InputError


@pytest.mark.parametrize("config", [{}, {"conv": "dense"}, {"encoder_sees_motion": False}])
@pytest.mark.parametrize(
    ("size", "tile"),
    [
        ((41, 5, 4), {"frames": 8, "height": None, "width": None}),
        ((4, 37, 5), {"height": 8, "width": None}),
        ((3, 9, 46), {"frames": None, "height": 8, "width": 15}),
    ],
)
def test_tiles_give_what_the_whole_gives(config, size, tile):
    adapter = make_adapter(**config).double()
    call = make_inputs(batch=1, size=size, dtype=torch.float64)
    with torch.no_grad():
        whole = adapter(*call, return_details=True)
        adapter.enable_tiling(**tile)
        tiled = adapter(*call, return_details=True)
        adapter.disable_tiling()
        again = adapter(*call)
    # x0_hat and the correction are float32 by contract; all between them is float64 here.
    for part in ("feature", "bank", "refined", "updates"):
        torch.testing.assert_close(getattr(tiled, part), getattr(whole, part), rtol=0, atol=2e-6)
    torch.testing.assert_close(tiled.correction, whole.correction, rtol=0, atol=2e-6)
    assert torch.equal(again, whole.correction)


@pytest.mark.parametrize("config", [{}, {"conv": "dense"}, {"encoder_sees_motion": False}])
def test_the_encoders_reach_is_what_it_answers_to(config):
    encoder = make_adapter(**config).encoder.double()
    frames, cells = encoder.reach
    x = torch.randn(1, 16, 2 * frames + 5, 2 * cells + 6, 8, dtype=torch.float64)
    x.requires_grad_()
    t, h = frames + 2, cells + 3
    # One channel: all of them sum to zero, as they are normalised. Eight cells of width, since
    # motion at half resolution is not read off less.
    encoder(x, torch.tensor([0.5]))[0, 0, t, h, 4].backward()
    assert x.grad is not None
    seen = x.grad[0].abs().amax((0, 3)) > 0  # [t, h]
    ts, hs = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert ts.min() >= t - frames
    assert ts.max() <= t + frames
    assert hs.min() >= h - cells
    assert hs.max() <= h + cells
    # And not far less: a margin that is too wide costs time.
    assert ts.max() - ts.min() >= 2 * frames - 2
    assert hs.max() - hs.min() >= 2 * cells - 4


def test_a_margin_that_is_too_small_shows():
    adapter = make_adapter().double()
    x = torch.randn(1, 16, 4, 40, 5, dtype=torch.float64)
    sigma = torch.tensor([0.5])

    def encode(x):
        return adapter.encoder(x, sigma)

    frames, cells = adapter.encoder.reach
    with torch.no_grad():
        short = Tiling(height=8).map(encode, x, reach=(frames, cells - 8))
        right = Tiling(height=8).map(encode, x, reach=(frames, cells))
        whole = encode(x)
    assert (short - whole).abs().max() > 1e-4
    torch.testing.assert_close(right, whole)


def test_every_place_is_written_once():
    x = torch.arange(3 * 21 * 17 * 30, dtype=torch.float64).reshape(3, 1, 21, 17, 30)
    for tiling in (Tiling(frames=8, height=9, width=11), Tiling(width=29), Tiling()):
        assert torch.equal(tiling.map(lambda x: x.clone(), x, reach=(1, 2)), x)


@pytest.mark.parametrize("name", ["frames", "height", "width"])
def test_tiles_below_a_difference_are_refused(name):
    with pytest.raises(InputError, match=f"tile's {name} is 7; it must be at least 8"):
        make_adapter().enable_tiling(**{name: 7})
