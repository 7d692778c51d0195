"""Intervals and gap closed on numbers whose answer is known."""

import numpy as np
import pytest

from pila.lab.experiments.table import (
    gap_closed,
    holm,
    mean_estimate,
    paired_difference,
    roc_area,
    spread,
)


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


def test_paired_difference_of_a_shift_of_noise_and_of_nothing():
    rng = np.random.default_rng(3)
    other = rng.normal(size=200)
    noise = rng.normal(0, 0.1, 200)
    shifted = paired_difference(other + 0.1 + noise, other)
    assert shifted.value == pytest.approx(0.1, abs=0.02)
    assert 0 < shifted.low < shifted.value < shifted.high
    assert shifted.p < 0.001
    # Pairing: the spread of prompts, ten times the difference, does not enter.
    assert shifted.high - shifted.low < 0.04
    nothing = paired_difference(other + noise - noise.mean(), other)
    assert nothing.p > 0.5
    assert nothing.low < 0 < nothing.high
    same = paired_difference(other, other)
    assert (same.value, same.p) == (0, 1)


def test_sign_flips_are_exact_on_few_prompts():
    # Of 2^5 signs only all plus and all minus reach a mean of 1.
    found = paired_difference(np.ones(5), np.zeros(5))
    assert found.p == pytest.approx(2 / 32, abs=0.015)


def test_a_p_value_is_below_5_percent_in_5_percent_of_tables_without_effect():
    rng = np.random.default_rng(4)
    p = [paired_difference(rng.normal(size=20), np.zeros(20)).p for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_spread_takes_two_training_seeds():
    assert spread([0.5]) is None
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5)


def test_without_a_gap_none_of_it_is_closed():
    same = np.full(5, 0.4)
    assert np.isnan(gap_closed(same, same, same).value)


def test_no_share_of_a_gap_that_is_not_shown():
    rng = np.random.default_rng(0)
    true = rng.random(30)
    frozen = true + rng.normal(0.01, 0.3, 30)  # a gap, by chance alone
    assert np.isnan(gap_closed(frozen, true, true).value)
    wider = gap_closed(frozen + 1, true, true)
    assert wider.value == pytest.approx(1)
    assert wider.low == pytest.approx(1)


def test_scenes_that_differ_give_a_wider_interval_than_their_prompts():
    rng = np.random.default_rng(0)
    scenes = [scene for scene in range(6) for _ in range(20)]
    frozen = np.ones(120)
    method = 0.2 * np.array(scenes) / 6 + 0.4 + 0.01 * rng.standard_normal(120)
    over_prompts = gap_closed(frozen, method, np.zeros(120))
    over_scenes = gap_closed(frozen, method, np.zeros(120), scenes)
    assert over_scenes.value == pytest.approx(over_prompts.value)
    assert over_scenes.high - over_scenes.low > 2 * (over_prompts.high - over_prompts.low)


def test_holm_multiplies_by_what_is_left_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
