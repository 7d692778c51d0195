"""Where straight tracks bend: found exactly, together, and not made up."""

import numpy as np
import pytest

from pila.lab.world.fit import best_bend

T = np.arange(20) / 16
MOMENT = T[7] + 1 / 64


def _track(before: tuple[float, float], after: tuple[float, float]) -> np.ndarray:
    late = (T - MOMENT)[:, None]
    start = np.array([3.0, 1.0])
    return start + np.where(late < 0, late * np.array(before), late * np.array(after))


def test_a_bend_between_two_frames_is_found_with_its_velocities():
    bend = best_bend(T, _track((2, 0), (-1, 1)), _track((0, 0), (1.5, -0.5)))
    assert bend is not None
    assert bend.time == pytest.approx(MOMENT)
    np.testing.assert_allclose(bend.before, [[2, 0], [0, 0]], atol=1e-9)
    np.testing.assert_allclose(bend.after, [[-1, 1], [1.5, -0.5]], atol=1e-9)
    assert bend.misfit < 1e-9


def test_tracks_that_bend_at_two_moments_misfit_and_few_frames_show_nothing():
    one = _track((2, 0), (-1, 0))
    bend = best_bend(T, one, one[::-1])
    assert bend is not None
    assert bend.misfit > 0.02
    assert best_bend(T[:8], one[:8]) is None
    assert best_bend(T[:8], one[:8], least=3) is not None
