"""Intervals and gap closed on numbers whose answer is known."""

import numpy as np
import pytest

from pila.evaluate.table import gap_closed, mean_estimate, roc_area


def test_interval_covers_the_mean_and_narrows_with_n():
    rng = np.random.default_rng(0)
    few, many = mean_estimate(rng.normal(size=30)), mean_estimate(rng.normal(size=3000))
    assert few.low < few.value < few.high
    assert many.high - many.low == pytest.approx(4 * 0.98 / 3000**0.5, rel=0.15)


def test_gap_closed_is_0_for_the_frozen_and_1_for_the_truth():
    rng = np.random.default_rng(1)
    frozen, true = rng.uniform(0.5, 1, 60), rng.uniform(0, 0.1, 60)
    assert gap_closed(frozen, frozen, true).value == 0
    assert gap_closed(frozen, true, true).value == pytest.approx(1)
    half = gap_closed(frozen, (frozen + true) / 2, true)
    assert half.value == pytest.approx(0.5)
    # Paired: the same prompts are drawn for all three, so an exact half has no spread.
    assert half.high - half.low < 1e-9


def test_roc_area_of_known_normals_and_ties():
    rng = np.random.default_rng(2)
    true, broken = rng.normal(0, 1, 800), rng.normal(1, 1, 800)
    found = roc_area(true, broken)
    # Phi(1 / sqrt 2): the chance that a unit normal shifted by one is above an unshifted one.
    assert found.value == pytest.approx(0.7602, abs=0.025)
    assert found.low < found.value < found.high
    assert roc_area(true, true).value == 0.5
    assert roc_area(np.zeros(5), np.ones(7)).value == 1.0
