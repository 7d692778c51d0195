"""The physics adapter: a frozen generator's prediction -> a correction to it (Eqs. 1-10)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor

from pila import flow
from pila.adapter.base import LatentAdapter, check_sampling_scale, require_finite
from pila.adapter.blocks import CONVS
from pila.adapter.condition import Condition, ConditionEncoder
from pila.adapter.decoder import Decoder
from pila.adapter.encoder import Encoder
from pila.adapter.experts import REACH, Experts, Updates
from pila.adapter.fields import FieldEstimate, make_fields
from pila.adapter.gate import Gain, make_gate
from pila.adapter.router import Route, Router, check_top_k
from pila.adapter.tiling import Reach, Tiling
from pila.errors import InputError
from pila.physics.bank import Category, Slot
from pila.types import BankTensor, Latent, Vector

WIDTH_MULTIPLE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOutput:
    """What one pass computed on its way to the correction."""

    correction: Latent
    """g(sigma) dv, in float32: add it to v in float32."""
    gate: Gain
    feature: Float[Tensor, "b width t h w"]
    estimate: FieldEstimate
    condition: Condition
    refined: BankTensor
    updates: Updates
    """M_k * O_k of the selected experts, unweighted, in the order of `route.indices`."""
    route: Route

    @property
    def bank(self) -> BankTensor:
        """The attribute bank before the experts."""
        return self.estimate.bank

    @property
    def velocity(self) -> Vector:
        """The velocity proxy u before the experts, in cells per latent frame."""
        return self.estimate.velocity

    def expert_banks(self, *, detach_bank: bool = False) -> Float[Tensor, "b k 32 t h w"]:
        """A_k = A + M_k O_k for the selected experts, in the order of `route.indices` (Eq. 5).

        With `detach_bank` the A in this sum is a constant; a loss on A_k still reaches the
        estimate through what the operators read. To train them alone, call `adapter.experts` on
        detached bank and feature with this output's condition and route.
        """
        bank = self.bank.detach() if detach_bank else self.bank
        return bank.unsqueeze(1) + self.updates

    def category_bank(self, category: Category, *, detach_bank: bool = False) -> BankTensor:
        """A_k of one category for the whole batch; plain A for samples not routed to it."""
        chosen = self.route.indices == list(Category).index(category)
        update = (self.updates * chosen[:, :, None, None, None, None]).sum(dim=1)
        return (self.bank.detach() if detach_bank else self.bank) + update

    def check_finite(self, **inputs: Tensor) -> None:
        """FloatingPointError naming the first place that is not finite, the given inputs first.

        It waits for the device once; not for use inside a compiled step.
        """
        require_finite(
            {
                **inputs,
                "the encoder's feature": self.feature,
                **{f"the bank's {slot} slot": self.bank[:, slot.channels] for slot in Slot},
                "the router's scores": self.route.scores,
                "the experts' updates": self.updates,
                "the refined bank": self.refined,
                "the gate": self.gate,
                "the correction": self.correction,
            }
        )


class PilaAdapter(LatentAdapter):
    """PILA's adapter. Untrained, its correction is exactly zero.

    Args:
        latent_channels: channels of the generator's latents (Wan 2.1 and 2.2-A14B: 16).
        text_dim: width of the pooled prompt embedding (UMT5-XXL: 4096).
        hidden_width: channels of every hidden layer, a multiple of 8.
        top_k: experts per sample, 0..8; 0 decodes the bank as it was estimated.
        label_prior: added to the logit of every category that the prompt names.
        router_temperature: of the softmax over the selected experts.
        gate: "quadratic" (the paper's), "none", "mid" or "learned"; see `gate.py`.
        gate_floor: the least gain of the gate.
        field_estimator: "anchored" (AFE), "anchored-filled" (the same, and the scaffold in the
            channels that the fields leave free), or "scaffold" for the ablation without it.
        encoder_blocks: residual blocks of the encoder.
        decoder_blocks: residual blocks of the decoder.
        encoder_sees_motion: whether the encoder reads `motion_cues` beside the estimate. Ours.
        conv: "factorised" (2+1)-D or "dense" 3x3x3 convolutions.
        expert_width: hidden units of each operator; None takes `hidden_width`. Eight operators as
            wide as the rest are half of all parameters.
        experts_see_feature: whether the operators read the encoder's feature besides the bank.
        decoder_sees_feature: whether the decoder does. Off in the paper: all must pass the bank.
        decoder_scales_bank: whether the decoder has a learned factor for each channel of the bank.
            Ours.
        default_scale: factor on the correction wherever a generator is sampled with this adapter,
            beside the caller's `adapter_scale`. Ours; 1 in the paper.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        text_dim: int = 4096,
        hidden_width: int = 128,
        top_k: int = 4,
        label_prior: float = 2.0,
        router_temperature: float = 2.0,
        gate: str = "quadratic",
        gate_floor: float = 0.05,
        field_estimator: str = "anchored",
        encoder_blocks: int = 4,
        encoder_sees_motion: bool = True,
        decoder_blocks: int = 2,
        conv: str = "factorised",
        expert_width: int | None = None,
        experts_see_feature: bool = True,
        decoder_sees_feature: bool = False,
        decoder_scales_bank: bool = False,
        default_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_top_k(top_k)
        check_sampling_scale(default_scale)
        counts = {
            "latent_channels": latent_channels,
            "text_dim": text_dim,
            "encoder_blocks": encoder_blocks,
            "decoder_blocks": decoder_blocks,
            "expert_width": 1 if expert_width is None else expert_width,
        }
        for name, count in counts.items():
            if count < 1:
                raise InputError(f"{name} is {count}; it must be at least 1")
        if hidden_width < 1 or hidden_width % WIDTH_MULTIPLE:
            raise InputError(
                f"hidden_width is {hidden_width}; "
                f"it must be a positive multiple of {WIDTH_MULTIPLE}"
            )
        if conv not in CONVS:
            raise InputError(f"conv is {conv!r}; choose one of {', '.join(CONVS)}")
        width = hidden_width
        self.encoder = Encoder(
            latent_channels=latent_channels,
            width=width,
            num_blocks=encoder_blocks,
            conv=conv,
            sees_motion=encoder_sees_motion,
        )
        self.fields = make_fields(field_estimator, width)
        self.condition = ConditionEncoder(text_dim=text_dim, width=width)
        self.router = Router(width, label_prior=label_prior, temperature=router_temperature)
        self.experts = Experts(width=width, hidden=expert_width, see_feature=experts_see_feature)
        self.decoder = Decoder(
            latent_channels=latent_channels,
            width=width,
            num_blocks=decoder_blocks,
            conv=conv,
            sees_feature=decoder_sees_feature,
            scales_bank=decoder_scales_bank,
        )
        self.sigma_gate = make_gate(gate, floor=gate_floor)
        self.tiling: Tiling | None = None

    def forward(
        self,
        x_t: Tensor,
        v: Tensor,
        sigma: Tensor,
        text: Tensor,
        category_mask: Tensor | None = None,
        *,
        top_k: int | None = None,
        active: Iterable[Slot | str] | None = None,
        return_details: bool = False,
        check_finite: bool = False,
    ) -> Latent | AdapterOutput:
        """The gated correction g(sigma) dv [b, c, t, h, w] in float32, to be added to v.

        Args:
            x_t: noisy latents, [b, c, t, h, w].
            v: the generator's prediction at them, of the same shape.
            sigma: noise levels in [0, 1], 1 = pure noise, [b].
            text: pooled embedding of the refined prompt, [b, text_dim]; see `pool_text`.
            category_mask: categories that the prompt names, bool [b, 8]; None routes by c alone.
            top_k: experts for this call instead of the configured number.
            active: weak slots for this call instead of `fields.active`.
            return_details: return an `AdapterOutput` instead, from the same pass.
            check_finite: look at every intermediate result, waiting for the device once. Meant
                for the step after a non-finite correction was met, to learn where it arose.

        Raises:
            InputError: for shapes that do not fit, or top_k outside 0..8.
            FloatingPointError: with check_finite, naming the first place that is not finite.
        """
        self.check_inputs(x_t, v, sigma, text, category_mask)
        top_k = self.config["top_k"] if top_k is None else top_k

        x0_hat = flow.clean_estimate(x_t.float(), v.float(), sigma.float())  # Eq. 1
        feature = self._by_tiles(
            lambda x: self.encoder(x, sigma), x0_hat, reach=self.encoder.reach
        )  # Eq. 2
        estimate = self.fields(feature, active=active)  # Eq. 3, AFE
        c = self.condition(text, sigma)
        route = self.router(c, category_mask, top_k=top_k)  # Eq. 4, LPMER
        details = return_details or check_finite

        def refine(bank: Tensor, feature: Tensor) -> tuple[Tensor, Tensor | None]:
            found = self.experts(bank, feature, c, route, return_updates=details)
            return found.bank, found.updates

        refined, updates = self._by_tiles(refine, estimate.bank, feature, reach=REACH)  # Eqs. 5, 8
        dv = self._by_tiles(
            lambda bank, v, feature: self.decoder(bank, c, v, feature),
            *(refined, v, feature),
            reach=self.decoder.reach,
        )  # Eq. 9
        gate = self.sigma_gate(sigma)
        correction = flow.grid(gate) * dv.to(torch.promote_types(dv.dtype, gate.dtype))  # Eq. 10
        if not details:
            return correction
        assert updates is not None
        output = AdapterOutput(
            correction=correction,
            gate=gate,
            feature=feature,
            estimate=estimate,
            condition=c,
            refined=refined,
            updates=updates,
            route=route,
        )
        if check_finite:
            output.check_finite(x_t=x_t, v=v, sigma=sigma, text=text)
        return output if return_details else correction

    def enable_tiling(
        self, *, frames: int | None = None, height: int | None = 48, width: int | None = 48
    ) -> None:
        """Compute encoder, experts and decoder in tiles of at most so many latent frames and cells.

        Memory for hidden layers is then that of one tile. The correction is the same up to
        rounding; each tile is read with a margin (`reach`), so that small tiles cost more time.

        Raises:
            InputError: an extent is below 8.
        """
        self.tiling = Tiling(frames=frames, height=height, width=width)

    def disable_tiling(self) -> None:
        """Compute clips whole again."""
        self.tiling = None

    def _by_tiles(self, local: Callable[..., Any], *grids: Tensor, reach: Reach) -> Any:
        """`local` of the grids, whole or as `tiling` says; see `Tiling.map`."""
        if self.tiling is None:
            return local(*grids)
        return self.tiling.map(local, *grids, reach=reach)
