"""Physics-IQ's masks and components on clips whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pila.errors import InputError
from pila.lab.experiments.measures import controls
from pila.lab.experiments.physics_iq import action_masks, acts, components, iou, score
from pila.lab.world import Canvas, simulate

TAKES = {"st": 0.8, "s": 0.9, "ws": 0.7, "mse": 0.01}


def box(columns, *, t=9, size=64):
    """A bright box 12 px wide on black, its left edge at each frame's column."""
    frames = np.zeros((t, size, size, 3), np.uint8)
    for frame, column in zip(frames, columns, strict=True):
        frame[20:32, column : column + 12] = 200
    return frames


def test_a_clip_agrees_with_itself():
    frames = simulate("thrown_ball", 3, canvas=Canvas(size=64)).frames
    assert components(frames, frames) == {"st": 1, "s": 1, "ws": 1, "mse": 0}


def test_what_stands_still_is_in_no_mask():
    still = box([10] * 9)
    assert not action_masks(still).any()
    assert components(still, still)["ws"] == 1
    found = components(still, box(range(0, 36, 4)))
    assert found["s"] == found["ws"] == 0
    assert found["st"] == pytest.approx(1 / 9)  # both are empty in the first frame alone


def test_the_background_takes_three_tenths_of_each_frame():
    # A step of 100 grey levels is over 10 while 0.7^n of it is: n = 1 to 6.
    frames = np.full((12, 32, 32, 3), 50, np.uint8)
    frames[1:] = 150
    assert action_masks(frames).all((1, 2)).tolist() == [False] + [True] * 6 + [False] * 5


def test_a_true_clip_of_slow_change_has_no_action():
    assert acts(box(range(0, 36, 4)))
    assert not acts(box([10] * 9))
    slow = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((9, 32, 32, 3), np.uint8)
    assert not acts(slow)


def test_specks_under_five_pixels_are_opened_away():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    frames[1:, 10:13, 10:12] = 60
    assert not action_masks(frames).any()


def test_time_counts_in_st_and_not_in_s():
    there, back = box(range(0, 36, 4)), box(range(32, -4, -4))
    found = components(back, there)
    assert found["st"] < 0.5 < 0.6 < found["s"]
    true = simulate("thrown_ball", 4, canvas=Canvas(size=96)).frames
    turned = controls(true)["reversed"]
    assert components(turned, true)["st"] < components(turned, true)["s"]


def test_mse_is_on_the_unit_scale():
    black, white = (np.full((9, 32, 32, 3), v, np.uint8) for v in (0, 255))
    assert components(black, white)["mse"] == pytest.approx(1)


def test_the_total_is_100_for_a_second_take_and_clipped_at_both_ends():
    assert score(TAKES, TAKES) == pytest.approx(100)
    assert score({"st": 0, "s": 0, "ws": 0, "mse": 0.5}, TAKES) == 0
    half = {name: TAKES[name] / 2 for name in ("st", "s", "ws")} | {"mse": 0.06}
    assert score(half, TAKES) == pytest.approx(100 * (0.5 - 0.05))
    assert score({"st": 1, "s": 1, "ws": 1, "mse": 0}, TAKES) == 100


@given(
    st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4)
)
def test_iou_is_symmetric_in_the_unit_interval_and_1_for_the_same(one, other):
    a, b = np.array(one), np.array(other)
    assert iou(a, a) == 1
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1
    assert (iou(a, b) == 1) == (one == other)


def test_clips_of_two_shapes_are_refused():
    with pytest.raises(InputError, match="of one shape"):
        components(np.zeros((9, 32, 32, 3), np.uint8), np.zeros((9, 48, 48, 3), np.uint8))


def test_given_frames_count_for_nothing():
    true = simulate("thrown_ball", 3).frames
    still = np.repeat(true[:1], len(true), axis=0)
    still[:9] = true[:9]  # given
    alone, whole = components(still, true, first=9), components(still, true)
    assert alone["st"] < whole["st"]
    assert alone["mse"] == pytest.approx(whole["mse"] * len(true) / (len(true) - 9))
    assert acts(true, first=9)
