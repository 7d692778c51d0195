"""Layers that the encoder, the decoder and the plain control are built from.

Everything acts on grids [b, c, t, h, w]. Inside, data lie channels-last (b t h w c in memory), so
that a pointwise layer is a matrix product and a convolution in space or in time is a view away
from a two-dimensional channels-last convolution, the fastest form on CPUs and on GPUs. All layers
are local (normalisation is over channels only), so a clip may be tiled exactly (`tiling.py`).
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pila.adapter.tiling import Reach
from pila.errors import InputError
from pila.types import AnyField, Latent

CONVS = ("factorised", "dense")


def channels_last(x: Latent) -> Float[Tensor, "b t h w c"]:
    """View with channels at the end; contiguous, and a copy only if x was not channels-last."""
    return x.movedim(1, -1).contiguous()


def channels_first(x: Float[Tensor, "b t h w c"]) -> Latent:
    """Inverse view of `channels_last`."""
    return x.movedim(-1, 1)


class Pointwise(nn.Linear):
    """A 1x1x1 convolution: the same linear map at every place."""

    def forward(self, x: AnyField) -> AnyField:  # type: ignore[override]
        """[b, in, t, h, w] -> [b, out, t, h, w]."""
        return channels_first(super().forward(channels_last(x)))


class ChannelNorm(nn.LayerNorm):
    """Normalises the channels at every place by themselves."""

    def forward(self, x: AnyField) -> AnyField:  # type: ignore[override]
        """[b, c, t, h, w], shape kept."""
        return channels_first(super().forward(channels_last(x)))


class SpatialConv(nn.Conv2d):
    """3x3 convolution over (h, w), the same at every frame."""

    def __init__(self, channels_in: int, channels_out: int, *, dilation: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, padding=dilation, dilation=dilation)

    def forward(self, x: AnyField) -> AnyField:  # type: ignore[override]
        """[b, in, t, h, w] -> [b, out, t, h, w]."""
        b, _, t, _, _ = x.shape
        frames = channels_last(x).flatten(0, 1).movedim(-1, 1)
        return super().forward(frames).movedim(1, -1).unflatten(0, (b, t)).movedim(-1, 1)


class TemporalConv(nn.Conv2d):
    """Convolution over three frames, the same at every cell."""

    def __init__(self, channels_in: int, channels_out: int, *, dilation: int = 1) -> None:
        super().__init__(
            channels_in, channels_out, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)
        )

    def forward(self, x: AnyField) -> AnyField:  # type: ignore[override]
        """[b, in, t, h, w] -> [b, out, t, h, w]."""
        h, w = x.shape[-2:]
        tracks = channels_last(x).flatten(2, 3).movedim(-1, 1)
        return super().forward(tracks).movedim(1, -1).unflatten(2, (h, w)).movedim(-1, 1)


class DenseConv(nn.Conv3d):
    """3x3x3 convolution over (t, h, w), with a dilation for time and one for space."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        time_dilation: int = 1,
        space_dilation: int = 1,
    ) -> None:
        spread = (time_dilation, space_dilation, space_dilation)
        super().__init__(channels_in, channels_out, 3, padding=spread, dilation=spread)


def reach_of(blocks: Iterable[nn.Module], *, more: Reach = (0, 0)) -> Reach:
    """Frames and cells to each side that a place answers to after blocks in a row, and `more`."""
    own = [block.reach for block in blocks if isinstance(block, ResidualBlock)]
    return sum((t for t, _ in own), more[0]), sum((s for _, s in own), more[1])


class ResidualBlock(nn.Module):
    """x + f(x; condition): two normalised convolutions, the first scaled and shifted (FiLM).

    `conv="factorised"` convolves in space, then in time: (2+1)-D, 12 weights per pair of channels;
    `"dense"` convolves twice with 3x3x3 kernels, 54 weights per pair, about 8 times the work.

    `reach`: frames and cells to each side that a place answers to.
    """

    def __init__(
        self,
        width: int,
        condition_dim: int,
        *,
        time_dilation: int = 1,
        space_dilation: int = 1,
        conv: str = "factorised",
    ) -> None:
        super().__init__()
        if conv not in CONVS:
            raise InputError(f"conv is {conv!r}; choose one of {', '.join(CONVS)}")
        dense = conv == "dense"
        self.reach = (time_dilation + dense, space_dilation + dense)
        self.film = nn.Linear(condition_dim, 2 * width)
        self.norm_in = ChannelNorm(width, elementwise_affine=False)
        self.norm_out = ChannelNorm(width)
        if conv == "factorised":
            self.conv_in: nn.Module = SpatialConv(width, width, dilation=space_dilation)
            self.conv_out: nn.Module = TemporalConv(width, width, dilation=time_dilation)
        else:
            self.conv_in = DenseConv(width, width)
            self.conv_out = DenseConv(
                width, width, time_dilation=time_dilation, space_dilation=space_dilation
            )

    def forward(self, x: Latent, condition: Float[Tensor, "b _"]) -> Latent:
        """[b, width, t, h, w], shape kept; condition [b, condition_dim]."""
        scale, shift = self.film(F.silu(condition))[:, :, None, None, None].chunk(2, dim=1)
        hidden = self.conv_in(F.silu(torch.addcmul(shift, self.norm_in(x), 1 + scale)))
        return x + self.conv_out(F.silu(self.norm_out(hidden)))
