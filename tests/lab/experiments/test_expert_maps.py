"""Overlap of maps on hand-made ones: perfect, opposite, blind, and only as good as the middle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pila.lab.experiments.expert_maps import held_against, iou_of_map, roc_of_map


def truth():
    active = np.zeros((2, 4, 4), bool)
    active[:, 1:3, 1:3] = True
    return active


def test_a_perfect_an_opposite_and_a_blind_map():
    active = truth()
    perfect = active * 2.0 + 0.1
    assert roc_of_map(perfect, active) == 1
    assert iou_of_map(perfect, active) == 1
    assert roc_of_map(-perfect, active) == 0
    assert iou_of_map(-perfect, active) == 0
    blind = np.ones(active.shape)
    assert roc_of_map(blind, active) == 0.5
    # A quarter of the cells is active: a quarter of an even choice is right, 2 / (8 + 8 - 2).
    assert iou_of_map(blind, active) == pytest.approx(2 / 14)


def test_a_truth_without_both_kinds_of_cells_says_nothing():
    assert roc_of_map(np.ones(8), np.zeros(8, bool)) is None
    assert roc_of_map(np.ones(8), np.ones(8, bool)) is None
    assert iou_of_map(np.ones(8), np.zeros(8, bool)) is None


@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_the_area_is_the_share_of_pairs_in_order(scores, flags):
    action, active = np.array(scores, float), np.array(flags)
    area = roc_of_map(action, active)
    if area is None:
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in action[active] for b in action[~active]]
    assert area == pytest.approx(np.mean(pairs))
    assert roc_of_map(3 * action + 7, active) == pytest.approx(area)  # only the order counts
    assert roc_of_map(-action, active) == pytest.approx(1 - area)
    assert 0 <= (iou_of_map(action, active) or 0) <= 1


def test_knowing_the_middle_alone_is_not_above_chance():
    # Two clips of the same true place: whatever finds it finds it in the other clip as well.
    active = truth()
    found = held_against([active * 1.0, active * 1.0], [active, active])
    assert [f and f["area"] - f["area_chance"] for f in found] == [0, 0]
    # In clips of different places the same maps are above chance.
    moved = np.roll(active, 2, axis=2)
    found = held_against([active * 1.0, moved * 1.0], [active, moved])
    for f in found:
        assert f is not None
        assert f["area"] == 1
        assert f["area_chance"] < 0.5
        assert f["iou_chance"] == 0


def test_clips_without_activity_are_left_out():
    active, nothing = truth(), np.zeros((2, 4, 4), bool)
    found = held_against([active * 1.0] * 3, [active, nothing, active])
    assert found[1] is None
    assert found[0] is not None
    assert held_against([active * 1.0] * 2, [active, nothing])[0] is None
