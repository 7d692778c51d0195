"""The control: a plain residual network with the adapter's inputs, gate and parameter count."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from pila import flow
from pila.adapter.base import LatentAdapter, check_sampling_scale, require_finite
from pila.adapter.blocks import ChannelNorm, Pointwise, ResidualBlock
from pila.adapter.condition import Condition, ConditionEncoder
from pila.adapter.encoder import SPACE_DILATIONS, TIME_DILATIONS
from pila.adapter.gate import Gain, make_gate
from pila.errors import InputError
from pila.types import Latent

TOLERANCE = 0.02
"""By how much a matched control's parameter count may differ, relatively."""

DEPTHS = range(6, 13)
"""Blocks of a matched control: about as deep as the adapter's own path."""
MAX_WIDTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOutput:
    """What one pass computed: the fields that an `AdapterOutput` has too, under its names."""

    correction: Latent
    """g(sigma) dv, in float32: add it to v in float32."""
    gate: Gain
    feature: Float[Tensor, "b width t h w"]
    """What the blocks give to the last layer."""
    condition: Condition


class PlainAdapter(LatentAdapter):
    """concat[x0_hat, v] -> residual blocks under the condition -> zero-initialised layer -> gate.

    No bank, router or experts: what it gains is not due to them. It sees x0_hat directly. Labels
    are accepted, so that it can stand wherever a PilaAdapter does, and are not used.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        text_dim: int = 4096,
        hidden_width: int = 128,
        num_blocks: int = 8,
        gate: str = "quadratic",
        gate_floor: float = 0.05,
        conv: str = "factorised",
        default_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_sampling_scale(default_scale)
        counts = (latent_channels, text_dim, hidden_width, num_blocks)
        for name, count in zip(
            ("latent_channels", "text_dim", "hidden_width", "num_blocks"), counts, strict=True
        ):
            if count < 1:
                raise InputError(f"{name} is {count}; it must be at least 1")
        width = hidden_width
        self.condition = ConditionEncoder(text_dim=text_dim, width=width)
        self.stem = Pointwise(2 * latent_channels, width)
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
        self.sigma_gate = make_gate(gate, floor=gate_floor)

    def forward(
        self,
        x_t: Tensor,
        v: Tensor,
        sigma: Tensor,
        text: Tensor,
        category_mask: Tensor | None = None,
        *,
        top_k: int | None = None,
        return_details: bool = False,
        check_finite: bool = False,
    ) -> Latent | PlainOutput:
        """The gated correction [b, c, t, h, w] in float32, whatever `category_mask` and `top_k`.

        Arguments are those of `PilaAdapter.forward`; with `return_details` a `PlainOutput` from
        the same pass.

        Raises:
            InputError: for shapes that do not fit.
            FloatingPointError: with check_finite, naming the first place that is not finite.
        """
        self.check_inputs(x_t, v, sigma, text, category_mask)
        x0_hat = flow.clean_estimate(x_t.float(), v.float(), sigma.float())
        c = self.condition(text, sigma)
        x = self.stem(torch.cat([x0_hat, v.float()], dim=1).to(self.stem.weight.dtype))
        for block in self.blocks:
            x = block(x, c)
        dv = self.out(nn.functional.silu(self.norm(x)))
        gate = self.sigma_gate(sigma)
        correction = flow.grid(gate) * dv.to(torch.promote_types(dv.dtype, gate.dtype))
        if check_finite:
            places = {"x_t": x_t, "v": v, "sigma": sigma, "text": text, "the condition": c}
            places |= {"the blocks' feature": x, "the gate": gate, "the correction": correction}
            require_finite(places)
        if not return_details:
            return correction
        return PlainOutput(correction=correction, gate=gate, feature=x, condition=c)

    @classmethod
    def matching(cls, adapter: LatentAdapter) -> "PlainAdapter":
        """A control whose parameter count is within 2 % of the adapter's, and usually far closer.

        Depth and width are searched; widths that are multiples of 8 are preferred, being faster.
        """
        target = adapter.num_parameters_total()
        shared: dict[str, Any] = {
            name: adapter.config[name]
            for name in (
                "latent_channels",
                "text_dim",
                "gate",
                "gate_floor",
                "conv",
                "default_scale",
            )
        }

        sizes = parameter_counts(cls, shared)
        for multiple in (8, 4, 2, 1):
            widths = range(multiple, MAX_WIDTH + 1, multiple)
            width, depth = min(
                product(widths, DEPTHS), key=lambda pair: abs(sizes(*pair) / target - 1)
            )
            error = abs(sizes(width, depth) / target - 1)
            if error <= TOLERANCE:
                return cls(**shared, hidden_width=width, num_blocks=depth)
        raise InputError(
            f"no plain adapter comes within {TOLERANCE:.0%} of {target} parameters; the nearest, "
            f"{width} wide and {depth} deep, is off by {error:.1%}: choose another hidden_width"
        )


def parameter_counts(
    cls: type[PlainAdapter], config: dict[str, Any]
) -> Callable[[int, int], float]:
    """The count of parameters as a function of width and depth.

    It is quadratic in width and linear in depth, so six small models determine it.
    """
    steps = (8, 16, 24)
    with torch.device("meta"):  # counted, never allocated
        shallow, deeper = (
            [cls(**config, hidden_width=w, num_blocks=depth).num_parameters_total() for w in steps]
            for depth in (1, 2)
        )
    per_block = [more - less for more, less in zip(deeper, shallow, strict=True)]

    def quadratic(values: list[int], width: int) -> float:
        s = (width - steps[0]) / 8
        first, second = values[1] - values[0], values[2] - 2 * values[1] + values[0]
        return values[0] + s * first + s * (s - 1) / 2 * second

    return lambda width, depth: (
        quadratic(shallow, width) + (depth - 1) * quadratic(per_block, width)
    )
