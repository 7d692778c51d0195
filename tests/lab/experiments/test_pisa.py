"""PISA's measures of masks whose distances are known, and of a real clip."""

import numpy as np
import pytest

from pila.lab.experiments.pisa import compared, errors
from pila.lab.world import Canvas, simulate

SIZE = 40
SCALE = np.sqrt(2) * SIZE


def square(row, column, *, side=6, frames=3):
    masks = np.zeros((frames, SIZE, SIZE), bool)
    masks[:, row : row + side, column : column + side] = True
    return masks


def test_a_mask_agrees_with_itself():
    assert compared(square(5, 5), square(5, 5)) == {"iou": 1, "l2": 0, "chamfer": 0, "lost": 0}


def test_l2_is_a_mean_of_absolute_coordinates_not_euclidean():
    found = compared(square(5, 5), square(9, 8))
    # Centres are 4 rows and 3 columns apart: (4 + 3) / 2, where Euclid would say 5.
    assert found["l2"] == pytest.approx(3.5 / SCALE)


def test_chamfer_sums_both_ways_and_does_not_care_which_is_which():
    one, other = square(5, 5, side=1), square(5, 9, side=1)
    assert compared(one, other)["chamfer"] == pytest.approx((4 + 4) / SCALE)
    big, small = square(5, 5, side=8), square(6, 6, side=3)
    assert compared(big, small)["chamfer"] == pytest.approx(compared(small, big)["chamfer"])
    # Every pixel of the small one lies in the big one: only one way has a distance.
    assert (compared(big, small)["chamfer"] or 0) > 0


def test_iou_of_a_known_overlap():
    assert compared(square(5, 5), square(5, 8))["iou"] == pytest.approx(18 / 54)


def test_what_is_lost_has_no_distance_and_is_counted():
    gone = square(5, 5)
    gone[1:] = False
    found = compared(gone, square(5, 5))
    assert found["lost"] == pytest.approx(2 / 3)
    assert found["iou"] == pytest.approx(1 / 3)
    assert found["l2"] == 0
    nothing = compared(np.zeros_like(gone), square(5, 5))
    assert nothing == {"iou": 0, "l2": None, "chamfer": None, "lost": 1}
    assert compared(np.zeros_like(gone), np.zeros_like(gone))["iou"] == 1


def test_a_still_ball_is_away_by_its_way():
    clip = simulate("gliding_puck", 4, canvas=Canvas(size=64))
    still = np.repeat(clip.frames[:1], len(clip.frames), axis=0)
    assert errors(clip.frames, clip.frames) == {"iou": 1, "l2": 0, "chamfer": 0, "lost": 0}
    found = errors(still, clip.frames)
    p, seconds = clip.parameters, (len(clip.frames) - 1) / 16
    way = (abs(p["vx"]) + abs(p["vy"])) / 2 * seconds / 2 / clip.metres  # mean over frames and axes
    assert found["l2"] == pytest.approx(way / np.sqrt(2), rel=0.05)
