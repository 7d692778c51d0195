"""Latents as a VAE gives them and as a transformer sees them."""

import torch
from torch import Tensor


def normalise(z: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Raw VAE latents [b, c, t, h, w] to zero mean and unit variance per channel."""
    shape = (1, -1, 1, 1, 1)
    return (z - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def denormalise(z: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Latents as a transformer has them [b, c, t, h, w] to those that the VAE decodes."""
    shape = (1, -1, 1, 1, 1)
    spread, centre = (torch.tensor(v, device=z.device).view(shape) for v in (std, mean))
    return z * spread + centre
