"""The two kinds of experts, and what holds them."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pila.errors import InputError
from pila.prophy.experts import RefinementExperts, SemanticExperts, check_experts
from pila.prophy.losses import (
    absolute_alignment,
    balance,
    relative_alignment,
    token_alignment,
)


@pytest.fixture
def semantic():
    torch.manual_seed(0)
    return SemanticExperts(text_dim=6, width=8, num_experts=4, grid=(2, 3, 3), router_width=5)


@pytest.fixture
def refinement():
    torch.manual_seed(0)
    made = RefinementExperts(width=8, num_experts=4, top_k=2, rank=3)
    torch.nn.init.normal_(made.up.weight)
    return made


def test_a_semantic_expert_alone_adds_its_own_map(semantic):
    # A router whose bias decides: expert 2 takes all the weight.
    with torch.no_grad():
        semantic.router[2].weight.zero_()
        semantic.router[2].bias.copy_(torch.tensor([0.0, 0.0, 200.0, 0.0]))
    tokens = torch.zeros(1, 2 * 3 * 3, 8)
    added, weights = semantic(tokens, torch.randn(1, 6), (2, 3, 3))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
    # On its own grid a map is taken as it is, time slowest, columns fastest.
    torch.testing.assert_close(added[0, 1 * 9 + 2 * 3 + 1], semantic.maps[2, :, 1, 2, 1])


def test_a_map_is_resampled_to_the_tokens(semantic):
    with torch.no_grad():
        semantic.maps.copy_(torch.linspace(0, 1, 3).expand_as(semantic.maps))
    added, _ = semantic(torch.zeros(1, 4 * 6 * 12, 8), torch.randn(1, 6), (4, 6, 12))
    rows = added.unflatten(1, (4, 6, 12))[0, :, :, :, 0]
    assert (rows.diff(dim=2) >= -1e-6).all(), "columns rise as the map's do"
    torch.testing.assert_close(rows[0, 0], rows[3, 5], msg="nothing changes along time and rows")


def test_refinement_is_the_sum_over_the_top_k(refinement):
    tokens = torch.randn(2, 5, 8)
    update, weights, acting = refinement(tokens)
    x = refinement.norm(tokens)
    down = refinement.down.weight.unflatten(0, (4, 3))
    up = refinement.up.weight.unflatten(1, (4, 3))
    for b in range(2):
        for n in range(5):
            best = weights[b, n].topk(2).indices
            wanted = sum(weights[b, n, e] * (up[:, e] @ (down[e] @ x[b, n])) for e in best)
            torch.testing.assert_close(update[b, n], wanted)
            assert set(acting[b, n].nonzero()[:, 0].tolist()) == set(best.tolist())


def test_inversion_turns_the_ranking_round(refinement, semantic):
    tokens = torch.randn(1, 7, 8)
    _, plain, _ = refinement(tokens)
    _, inverted, _ = refinement(tokens, inverted=True)
    assert torch.equal(plain.argsort(-1), inverted.argsort(-1).flip(-1))
    text = torch.randn(1, 6)
    _, plain = semantic(torch.zeros(1, 18, 8), text, (2, 3, 3))
    _, inverted = semantic(torch.zeros(1, 18, 8), text, (2, 3, 3), inverted=True)
    assert torch.equal(plain.argsort(-1), inverted.argsort(-1).flip(-1))


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ({"num_semantic": 1, "num_refinement": 8, "top_k": 2}, "num_semantic is 1"),
        ({"num_semantic": 4, "num_refinement": -1, "top_k": 2}, "num_refinement is -1"),
        ({"num_semantic": 4, "num_refinement": 8, "top_k": 9}, r"top_k is 9.*1\.\.8"),
        ({"num_semantic": 4, "num_refinement": 8, "top_k": 0}, "top_k is 0"),
    ],
)
def test_impossible_numbers_are_refused(numbers, match):
    with pytest.raises(InputError, match=match):
        check_experts(**numbers)


LABELS = torch.eye(8, dtype=torch.bool)


def test_relative_alignment_is_zero_where_clips_are_as_alike_as_their_labels():
    labels = LABELS[[0, 0, 3, 5]]
    assert relative_alignment(labels.float(), labels) < 1e-12
    # Any turn of the label space leaves similarities: it is relative.
    turn, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    assert relative_alignment(labels.double() @ turn, labels) < 1e-12


def test_relative_alignment_by_hand():
    labels = LABELS[[0, 1]]  # unlike: 0
    expressed = torch.zeros(2, 8)
    expressed[:, 0] = 1  # alike: 1
    assert relative_alignment(expressed, labels).item() == pytest.approx(1.0)


def test_relative_alignment_of_one_clip_or_of_clips_without_labels():
    one: Any = torch.randn(1, 8, requires_grad=True)
    loss = relative_alignment(one, LABELS[:1])
    loss.backward()
    assert loss == 0
    assert torch.isfinite(one.grad).all()
    none = torch.zeros(2, 8, dtype=torch.bool)
    assert relative_alignment(torch.ones(2, 8), none) < 1e-12, "both without: alike"


def test_absolute_alignment_asks_for_the_labels_themselves():
    labels = LABELS[[0, 3]]
    right = 20.0 * (2 * labels.float() - 1)
    assert absolute_alignment(right, labels) < 1e-6
    assert absolute_alignment(-right, labels) > 10


def test_token_alignment_counts_inside_the_mask_alone():
    maps = torch.zeros(2, 4, 8)
    maps[0, 1, 2] = 1.0
    mask = maps > 0
    told: Any = torch.full_like(maps, 0.5, requires_grad=True)
    loss = token_alignment(told, maps, mask)
    assert loss.item() == pytest.approx(0.25), "the clip without a map is left out of the mean"
    loss.backward()
    assert set(map(tuple, told.grad.nonzero().tolist())) == {(0, 1, 2)}
    assert token_alignment(told, maps, torch.zeros_like(mask)) == 0


@given(st.integers(2, 6), st.integers(0, 1000))
def test_balance_is_least_where_all_experts_are_used(num_experts, seed):
    logits = torch.randn(3, 50, num_experts, generator=torch.Generator().manual_seed(seed))
    even = torch.full((1, num_experts, num_experts), 1.0 / num_experts)
    acting = torch.eye(num_experts)[None] / num_experts
    assert balance(even, acting).item() == pytest.approx(1.0)
    collapsed = torch.zeros_like(logits)
    collapsed[..., 0] = 1.0
    assert balance(collapsed, collapsed).item() == pytest.approx(num_experts)
    weights = logits.softmax(-1)
    chosen = torch.zeros_like(weights).scatter(-1, weights.argmax(-1, keepdim=True), 1.0)
    assert balance(weights, chosen * weights) >= 1.0 - 0.1
