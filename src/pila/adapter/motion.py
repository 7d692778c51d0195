"""What brightness constancy says about motion: a start for the encoder, without weights.

Latents of Wan's VAE move with what they show, so that d x/dt + u . grad x = 0 holds for each of
their channels about as well as it does for grey levels. Its least-squares solution over the
channels and a small neighbourhood (Lucas and Kanade, 1981) is rough, and it spares the encoder
what convolutions learn slowly: products of differences in time and in space. The idea and the
constants are ours (docs/decisions.md); u is still what the encoder makes of it.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pila.physics.calculus import Calculus
from pila.types import AnyField, Latent, Vector

NUM_CUES = 5
"""u at full resolution, u at half of it, and how sure the former can be."""
REACH = 2
"""Cells to each side that share a motion."""
CUE_REACH = (1, 2 * (REACH + 1) + 1)
"""Frames and cells to each side that a cue answers to: at half resolution one cell more than the
neighbourhood, for its differences."""
DAMPING = 0.1
"""Added to the diagonal of the normal equations [squared latent units per squared cell]: below
such a texture motion is taken as unknown and shrinks to rest. Latents have a variance of 1."""
FASTEST = 4.0
"""Cells per latent frame that a cue approaches and does not reach: differences see no further."""


def motion_cues(x0_hat: Latent) -> Float[Tensor, "b 5 t h w"]:
    """Estimates of motion in cells per latent frame, float32, and a confidence in 0..1.

    Args:
        x0_hat: estimate of the clean latents [b, c, t, h, w], at least 3 frames of 4 x 4 cells.
    """
    x = x0_hat.float()
    fine, texture = brightness_constancy(x)
    h, w = x.shape[-2:]
    if h < 8 or w < 8:  # a half of it is too small for differences
        coarse = fine
    else:
        half, _ = brightness_constancy(F.avg_pool3d(x, (1, 2, 2), ceil_mode=True))
        # A cell of the half is two of these, in size and in distance.
        coarse = 2 * half.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., :h, :w]
    bounded = [FASTEST * torch.tanh(u / FASTEST) for u in (fine, coarse)]
    return torch.cat([*bounded, texture / (texture + DAMPING)], dim=1)


def brightness_constancy(x: Latent) -> tuple[Vector, AnyField]:
    """Damped least squares of d x/dt + u . grad x = 0: u, and the lesser eigenvalue of texture.

    Args:
        x: [b, c, t, h, w] float32.

    Returns:
        u [b, 2, t, h, w] in cells per frame, x right and y down, and [b, 1, t, h, w].
    """
    fd = Calculus()
    dt, dx, dy = fd.t(x), fd.x(x), fd.y(x)
    products = [dx * dx, dx * dy, dy * dy, dt * dx, dt * dy]
    xx, xy, yy, tx, ty = near(torch.stack([p.mean(1) for p in products], dim=1)).split(1, dim=1)
    least = (xx + yy) / 2 - (((xx - yy) / 2).square() + xy.square()).sqrt()
    xx, yy = xx + DAMPING, yy + DAMPING
    determinant = xx * yy - xy * xy  # at least the damping squared
    u = torch.cat([xy * ty - yy * tx, xy * tx - xx * ty], dim=1) / determinant
    return u, least.clamp_min(0)


def near(f: AnyField) -> AnyField:
    """Mean over the neighbourhood in space, its rim repeated."""
    b, c, t, h, w = f.shape
    side = 2 * REACH + 1
    frames = F.pad(f.transpose(1, 2).reshape(b * t, c, h, w), (REACH,) * 4, mode="replicate")
    return F.avg_pool2d(frames, side, stride=1).unflatten(0, (b, t)).transpose(1, 2)
