"""The physics encoder (Eq. 2): estimate of the clean latents -> feature F."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pila.adapter.blocks import ChannelNorm, Pointwise, ResidualBlock, reach_of
from pila.adapter.condition import SigmaEmbedding
from pila.adapter.motion import CUE_REACH, NUM_CUES, motion_cues
from pila.adapter.tiling import Reach
from pila.types import Latent, Sigma

TIME_DILATIONS = (1, 2, 4, 8)
SPACE_DILATIONS = (1, 2, 4, 1)
"""Four blocks see 15 frames and 8 cells to each side. With the two of the decoder (5 frames, 3
cells) every corrected frame answers to all of Wan's 21 latent frames, at the cost of 3-wide
kernels and at full resolution."""


class Encoder(nn.Module):
    """Residual space-time convolutions at full latent resolution, modulated by the noise level.

    The feature is normalised, so that the heads that read it start from a known scale. With
    `sees_motion` the estimate is accompanied by what brightness constancy says of its motion.
    """

    def __init__(
        self,
        *,
        latent_channels: int,
        width: int,
        num_blocks: int,
        conv: str = "factorised",
        sees_motion: bool = True,
    ) -> None:
        super().__init__()
        self.sees_motion = sees_motion
        self.sigma = SigmaEmbedding(width)
        self.stem = Pointwise(latent_channels + (NUM_CUES if sees_motion else 0), width)
        self.blocks = nn.ModuleList(
            ResidualBlock(
                width,
                width,
                time_dilation=TIME_DILATIONS[i % len(TIME_DILATIONS)],
                space_dilation=SPACE_DILATIONS[i % len(SPACE_DILATIONS)],
                conv=conv,
            )
            for i in range(num_blocks)
        )
        self.norm = ChannelNorm(width)

    @property
    def reach(self) -> Reach:
        """Frames and cells to each side that a place of the feature answers to."""
        return reach_of(self.blocks, more=CUE_REACH if self.sees_motion else (0, 0))

    def forward(self, x0_hat: Latent, sigma: Sigma) -> Float[Tensor, "b width t h w"]:
        """x0_hat [b, c, t, h, w], sigma [b] -> F [b, width, t, h, w]."""
        condition = self.sigma(sigma)
        given = x0_hat
        if self.sees_motion:
            given = torch.cat([x0_hat, motion_cues(x0_hat).to(x0_hat.dtype)], dim=1)
        x = self.stem(given.to(self.stem.weight.dtype))
        for block in self.blocks:
            x = block(x, condition)
        return self.norm(x)
