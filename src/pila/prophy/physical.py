"""Physical blocks: the transformer's own blocks beside it, and how their experts shared a pass."""

from dataclasses import dataclass, replace
from typing import Any

from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from jaxtyping import Float
from torch import Tensor, nn

from pila.prophy.experts import RefinementExperts


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How the experts shared one forward pass of the transformer."""

    size: tuple[int, int, int]
    """Frames, rows and columns of tokens."""
    semantic: Float[Tensor, "b e"] | None = None
    """rho_s; None without semantic experts."""
    expressed: Float[Tensor, "b categories"] | None = None
    """rho_s projected to the categories."""
    refinement: Float[Tensor, "b n r"] | None = None
    """rho_r over all experts; None without refinement experts."""
    acting: Float[Tensor, "b n r"] | None = None
    """rho_r of each token's top k, 0 elsewhere."""
    told: Float[Tensor, "b n 8"] | None = None
    """rho_r mapped to the categories."""

    @property
    def token_maps(self) -> Float[Tensor, "b categories t h w"] | None:
        """Where the token router sees each category, 0 to 1 where L_fine was learned."""
        if self.told is None:
            return None
        return self.told.transpose(1, 2).unflatten(2, self.size)

    def detached(self) -> "Routing":
        """The same without a graph, on the CPU."""
        values = {
            name: value.detach().float().cpu()
            for name in ("semantic", "expressed", "refinement", "acting", "told")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **values)


class PhysicalBlock(nn.Module):
    """A block of the transformer's own kind; the last one refines between attention and FFN."""

    def __init__(self, block: WanTransformerBlock, refinement: RefinementExperts | None) -> None:
        super().__init__()
        self.block, self.refinement = block, refinement
        self.inverted = False
        self.weights: Tensor | None = None
        self.acting: Tensor | None = None
        self._before: Tensor | None = None
        if refinement is not None:
            # The states before cross-attention pass through norm2, and attn2's output is what is
            # added to them: with both known, the experts see the sum and add to it.
            block.norm2.register_forward_pre_hook(self._see)
            block.attn2.register_forward_hook(self._refine)

    def forward(self, tokens: Tensor, *given: Tensor) -> Tensor:
        """As the block; `given` is what it takes beside its tokens."""
        return self.block(tokens, *given)

    def _see(self, norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._before = given[0]

    def _refine(self, attention: nn.Module, given: Any, out: Tensor) -> Tensor:
        assert self.refinement is not None
        assert self._before is not None
        tokens = self._before.to(out.dtype) + out
        self._before = None
        update, self.weights, self.acting = self.refinement(tokens, inverted=self.inverted)
        return out + update
