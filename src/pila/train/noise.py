"""Noise levels that flow matching is trained on, and means over some of a batch."""

import torch
from torch import Tensor


def shifted(u: Tensor, shift: float) -> Tensor:
    """Noise levels from uniform ones, as diffusers' flow schedulers shift them."""
    return shift * u / (1 + (shift - 1) * u)


def evenly(count: int, rng: torch.Generator) -> Tensor:
    """Uniform numbers [count] in [0, 1): one draw, spread evenly over the range."""
    return (torch.rand(1, generator=rng) + torch.arange(count) / count) % 1


def noise_levels(count: int, shift: float, rng: torch.Generator) -> Tensor:
    """Shifted noise levels [count], spread so that every step sees all ranges."""
    return shifted(evenly(count, rng), shift)


def masked_mean(x: Tensor, chosen: Tensor) -> Tensor:
    """Mean [] of the chosen ones of x [b]; NaN where there are none."""
    return (x * chosen).sum() / chosen.sum()
