"""Flow matching in diffusers' Wan convention; the only file that knows sigma = 1 is noise.

x_t = (1 - sigma) x_0 + sigma eps and v = eps - x_0, hence x_0 = x_t - sigma v (paper, Eq. 1).
"""

from torch import Tensor

from pila.types import FrameSigma, Latent, Sigma


def grid(sigma: Sigma | FrameSigma) -> Tensor:
    """Noise levels [b] or [b, t] shaped [b, 1, 1 or t, 1, 1], to meet a latent grid."""
    return sigma.reshape(len(sigma), 1, -1, 1, 1)


def noised(x_0: Latent, noise: Latent, sigma: Sigma | FrameSigma) -> Latent:
    """The path's point x_t between clean latents and noise."""
    s = grid(sigma)
    return (1 - s) * x_0 + s * noise


def velocity_target(x_0: Latent, noise: Latent) -> Latent:
    """The flow-matching field v that a generator is trained to predict."""
    return noise - x_0


def clean_estimate(x_t: Latent, v: Latent, sigma: Sigma | FrameSigma) -> Latent:
    """Estimate of the clean latents from a predicted velocity (Eq. 1)."""
    return x_t - grid(sigma) * v
