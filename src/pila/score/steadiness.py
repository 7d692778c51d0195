"""How steadily a clip changes, read off its latents alone: no adapter, no caption, no truth.

What breaks a law often shows in the course of the change: an amount that appears or vanishes
moves the whole picture's mean, and what stops, jumps or trembles changes by fits and starts. The
three measures are those of 110 descriptors that told best in scenes which the fit had not seen, on
development clips (results/LOG.md); a weighted sum of them is fitted to true and broken clips of
the simulated world (`pila experiment score`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MEASURES = ("drift", "unevenness", "jerkiness")
FEWEST = 4
"""Latent frames; the first stands apart, and the others have at least one second difference."""
_STILL = 1e-4
"""RMS change of a latent cell, in units of the latents' spread, below which nothing happens."""
_RIDGE = 1e-3


def steadiness(latents: Float[Tensor, "c t h w"]) -> dict[str, float] | None:
    """Measures of one clip's change, all without unit; None of a clip that is short or still.

    - drift: RMS step of the channels' means over that of the cells; how far the change is one of
      amounts and not of places.
    - unevenness: mean difference of successive steps' RMS, over their mean.
    - jerkiness: RMS second difference of the cells, over the mean step.

    The first latent frame is left out: a causal VAE encodes it by itself.

    Args:
        latents: clean ones, normalised as the transformer has them.
    """
    if latents.shape[1] < FEWEST:
        return None
    steps = latents[:, 1:].double().diff(dim=1)
    sizes = steps.square().mean((0, 2, 3)).sqrt()
    mean = sizes.mean()
    if mean < _STILL:
        return None
    means = steps.mean((2, 3)).square().mean(0).sqrt()
    return {
        "drift": float(means.mean() / mean),
        "unevenness": float(sizes.diff().abs().mean() / mean),
        "jerkiness": float(steps.diff(dim=1).square().mean().sqrt() / mean),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """A weighted sum of the measures: the log odds of broken against true, as many of each."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __call__(self, measures: Mapping[str, float]) -> float:
        """Log odds of one clip; above 0 is like broken clips, below like true ones."""
        values = np.array([measures[name] for name in MEASURES])
        standard = _clip((values - self.centre) / self.scale)
        return self.bias + float(np.dot(standard, self.weights))


def weigh(
    measures: Sequence[Mapping[str, float]], broken: Sequence[bool], scenes: Sequence[str]
) -> Weighing:
    """Fit the sum to clips by ridge logistic regression, every scene's two kinds weighed alike.

    Args:
        measures: of each clip, from `steadiness`.
        broken: whether a law is broken in it.
        scenes: where it is from; each with clips of both kinds.
    """
    values = np.array([[m[name] for name in MEASURES] for m in measures])
    groups = list(zip(scenes, broken, strict=True))
    counts = Counter(groups)
    share = np.array([1 / counts[group] for group in groups]) / len(counts)
    centre = share @ values
    scale = np.sqrt(share @ (values - centre) ** 2) + 1e-9
    standard = torch.tensor(_clip((values - centre) / scale))
    target = torch.tensor(np.array(broken, dtype=float))
    weight = torch.zeros(len(MEASURES), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = torch.nn.functional.binary_cross_entropy_with_logits(
            standard @ weight + bias, target, torch.tensor(share), reduction="sum"
        )
        total = total + _RIDGE / 2 * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return Weighing(
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weight.tolist()),
        bias=bias.item(),
    )


def _clip(standard: np.ndarray) -> np.ndarray:
    # Ratios have long tails; four deviations say enough.
    return np.clip(standard, -4.0, 4.0)
