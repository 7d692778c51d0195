"""Adaptive weights: level terms keep equal weight, a loud one is turned down, within limits."""

import pytest
import torch

from pila.errors import InputError
from pila.physics import AdaptiveWeights


def test_weights_begin_equal_and_keep_mean_1():
    weights = AdaptiveWeights(3)
    assert torch.equal(weights(), torch.ones(3))
    weights.update(torch.tensor([[0.1, 0.2, 0.9], [0.3, 0.4, 0.5]]))
    assert weights().mean().item() == pytest.approx(1)


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_power_sets_how_much_a_loud_term_is_turned_down(power: float, ratio: float):
    weights = AdaptiveWeights(2, power=power)
    weights.update(torch.tensor([[0.1, 0.4]]))
    quiet, loud = weights().tolist()
    assert quiet / loud == pytest.approx(ratio)


def test_limit_bounds_the_spread():
    weights = AdaptiveWeights(2, power=1.0, limit=3.0)
    weights.update(torch.tensor([[0.0, 1.0]]))
    quiet, loud = weights().tolist()
    assert quiet / loud == pytest.approx(9)


def test_the_level_is_a_running_mean_that_a_checkpoint_keeps():
    one, other = AdaptiveWeights(2, decay=0.5), AdaptiveWeights(2, decay=0.5)
    one.update(torch.tensor([[1.0, 2.0]]))
    other.load_state_dict(one.state_dict())
    for weights in (one, other):
        weights.update(torch.tensor([[3.0, 2.0]]))
    assert one.level.tolist() == [2.0, 2.0]
    assert torch.equal(one(), other())


def test_no_gradient_passes():
    weights = AdaptiveWeights(2)
    weights.update(torch.rand(4, 2, requires_grad=True))
    assert not weights().requires_grad


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match=r"decay is 1.0; it must lie in \[0, 1\)"):
        AdaptiveWeights(2, decay=1.0)
    with pytest.raises(InputError, match=r"limit is 0.5; it must be at least 1"):
        AdaptiveWeights(2, limit=0.5)
