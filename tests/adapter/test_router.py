import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pila.adapter.router import Router
from pila.errors import InputError


def route(top_k, *, seed=0, label_prior=2.0, temperature=2.0, labels=None, batch=3):
    torch.manual_seed(seed)
    router = Router(8, label_prior=label_prior, temperature=temperature)
    return router(torch.randn(batch, 8) * 3, labels, top_k=top_k)


@settings(max_examples=25)
@given(top_k=st.integers(1, 8), seed=st.integers(0, 99))
def test_weights_are_a_distribution_over_the_selected(top_k, seed):
    found = route(top_k, seed=seed)
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(3))
    assert (found.weights > 0).sum(dim=1).tolist() == [top_k] * 3
    # The best first, and the softmax has the temperature.
    chosen = found.scores.gather(1, found.indices)
    assert (chosen.diff(dim=1) <= 0).all()
    torch.testing.assert_close(found.selected_weights, (chosen / 2).softmax(dim=1))


def test_no_experts():
    found = route(0)
    assert found.indices.shape == (3, 0)
    assert not found.weights.any()


@settings(max_examples=25)
@given(seed=st.integers(0, 99), category=st.integers(0, 7), prior=st.floats(0, 10))
def test_a_label_never_lowers_its_rank(seed, category, prior):
    labels = torch.zeros(3, 8, dtype=torch.bool)
    before = route(8, seed=seed)
    labels[:, category] = True
    after = route(8, seed=seed, label_prior=prior, labels=labels)
    rank = [(r.indices == category).nonzero()[:, 1] for r in (before, after)]
    assert (rank[1] <= rank[0]).all()
    assert torch.equal(before.logits, after.logits)


def test_labels_select_under_a_strong_prior():
    labels = torch.zeros(3, 8, dtype=torch.bool)
    labels[0, [1, 6]] = labels[1, [2, 7]] = labels[2, [0, 3]] = True
    found = route(2, label_prior=1e3, labels=labels)
    assert [set(row) for row in found.indices.tolist()] == [{1, 6}, {2, 7}, {0, 3}]


@pytest.mark.parametrize("top_k", [-1, 9])
def test_k_out_of_range(top_k):
    with pytest.raises(InputError, match=f"top_k is {top_k}; there are 8 experts"):
        route(top_k)
