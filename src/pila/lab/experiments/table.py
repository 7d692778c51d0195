"""Intervals: bootstrap over prompts, or over scenes, all clips of one drawn together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def resampled_means(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Bootstrap means [RESAMPLES, m] of per-prompt rows [prompts, m]; rows are drawn whole.

    The same seed draws the same prompts, so that differences between methods are paired.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return counts @ values / n


def by_group(values: np.ndarray, groups: Sequence[object]) -> np.ndarray:
    """Means [groups, m] of rows [prompts, m] that share a group, such as a scene."""
    names = list(dict.fromkeys(groups))
    place = np.array([names.index(group) for group in groups])
    return np.array([values[place == i].mean(0) for i in range(len(names))])


def mean_estimate(values: np.ndarray) -> Estimate:
    """Mean of per-prompt values [prompts] with its interval."""
    low, high = np.quantile(resampled_means(values[:, None])[:, 0], [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def gap_closed(
    frozen: np.ndarray,
    method: np.ndarray,
    true: np.ndarray,
    groups: Sequence[object] | None = None,
) -> Estimate:
    """(E_frozen - E_method) / (E_frozen - E_true) over the same prompts [prompts], paired.

    1 is as good as true clips through the VAE, 0 as the frozen generator. NaN where there is no
    gap that these prompts show, the interval of E_frozen - E_true reaching 0: a share of nothing
    has any value, and its sign is chance.

    Args:
        frozen, method, true: errors of each prompt [prompts].
        groups: each prompt's scene, where the interval is over scenes instead of prompts.
    """
    rows = np.stack([frozen, method, true], axis=1)
    if groups is not None:
        rows = by_group(rows, groups)
    f, m, t = rows.mean(0)
    means = resampled_means(rows)
    gaps = means[:, 0] - means[:, 2]
    if np.quantile(gaps, 0.025) <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    shown = gaps > 0
    draws = (means[shown, 0] - means[shown, 1]) / gaps[shown]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float((f - m) / (f - t)), float(low), float(high))


def roc_area(true: np.ndarray, broken: np.ndarray, seed: int = 0) -> Estimate:
    """Chance that a broken clip's score is above a true one's, from scores [n] and [m].

    Ties count half (Mann-Whitney). The interval resamples true and broken clips apart.
    """
    above = (broken[:, None] > true) + 0.5 * (broken[:, None] == true)
    rng = np.random.default_rng(seed)
    weights = [
        rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n for n in (len(broken), len(true))
    ]
    low, high = np.quantile(((weights[0] @ above) * weights[1]).sum(1), [0.025, 0.975])
    return Estimate(float(above.mean()), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired mean difference with its 95 % bootstrap interval and the sign-flip p-value."""

    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}], p {self.p:.3f}"


def paired_difference(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Difference:
    """Mean of one - other over the same prompts [prompts], made from the same noise.

    The interval resamples prompts. p is two-sided: were the methods alike, each prompt's
    difference would have either sign as likely, so that signs are flipped at random.
    """
    d = one - other
    estimate = mean_estimate(d)
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1.0, 1.0]), size=(RESAMPLES, len(d)))
    # A little slack: flipped sums of the same numbers differ by rounding.
    beyond = np.abs(signs @ d / len(d)) >= abs(estimate.value) * (1 - 1e-9)
    p = (1 + beyond.sum()) / (1 + RESAMPLES)
    return Difference(estimate.value, estimate.low, estimate.high, float(p))


def holm(p: Sequence[float]) -> list[float]:
    """p values of one table, corrected for their number (Holm, 1979): none is below its own.

    The chance that any of the table's true null hypotheses has a corrected p below 0.05 is at most
    0.05.
    """
    order = np.argsort(p)
    scaled = [p[i] * (len(p) - rank) for rank, i in enumerate(order)]
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(p) else []
    return [float(value) for value in found]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over training seeds (n - 1 below the sum); None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
