"""The correction decoder (Eq. 9): refined bank, condition and v -> dv."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pila.adapter.blocks import ChannelNorm, Pointwise, ResidualBlock, reach_of
from pila.adapter.condition import Condition
from pila.adapter.tiling import Reach
from pila.physics.bank import NUM_BANK_CHANNELS
from pila.types import BankTensor, Latent

TIME_DILATIONS = (1, 4)
SPACE_DILATIONS = (1, 2)
LEAST_STD = 0.02
"""A channel that varies less is not brought up to 1: it would be rounding and noise."""


class Decoder(nn.Module):
    """A small space-time network whose last layer starts at zero, so that dv starts at zero.

    The first layer acts on concat[bank, v, broadcast c]; since c is the same everywhere, its part
    is computed once and added, which is the same sum without the broadcast copy.
    `sees_feature` adds the encoder's feature to the concatenation (off in the paper).
    `scales_bank` gives each channel of the bank a learned factor, since the slots' sizes differ by
    a factor of 30; `set_bank_scale` says where it begins.
    """

    def __init__(
        self,
        *,
        latent_channels: int,
        width: int,
        num_blocks: int,
        conv: str = "factorised",
        sees_feature: bool = False,
        scales_bank: bool = False,
    ) -> None:
        super().__init__()
        self.sees_feature = sees_feature
        self.bank_scale = nn.Parameter(torch.ones(NUM_BANK_CHANNELS)) if scales_bank else None
        channels_in = NUM_BANK_CHANNELS + latent_channels + (width if sees_feature else 0)
        self.stem = Pointwise(channels_in, width)
        self.stem_condition = nn.Linear(width, width, bias=False)
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
        self.out = Pointwise(width, latent_channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @property
    def reach(self) -> Reach:
        """Frames and cells to each side that a place of dv answers to."""
        return reach_of(self.blocks)

    @torch.no_grad()
    def set_bank_scale(self, std: Float[Tensor, "32"]) -> None:
        """Factors that bring channels of these standard deviations to 1, where none are set yet."""
        if self.bank_scale is not None and bool((self.bank_scale == 1).all()):
            self.bank_scale.copy_(1 / std.clamp_min(LEAST_STD))

    def forward(
        self,
        bank: BankTensor,
        condition: Condition,
        v: Latent,
        feature: Float[Tensor, "b width t h w"],
    ) -> Latent:
        """A~ [b, 32, t, h, w], c [b, width], v [b, c, t, h, w] -> dv, shaped as v."""
        dtype = self.stem.weight.dtype
        if self.bank_scale is not None:
            bank = bank * self.bank_scale[:, None, None, None]
        parts = [bank.to(dtype), v.to(dtype)]
        if self.sees_feature:
            parts.append(feature)
        x = self.stem(torch.cat(parts, dim=1))
        x = x + self.stem_condition(condition)[:, :, None, None, None]
        for block in self.blocks:
            x = block(x, condition)
        return self.out(nn.functional.silu(self.norm(x)))
