"""The Mixture of Physics Experts: semantic experts for the clip, refinement experts for a token."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pila.errors import InputError

Tokens = Float[Tensor, "b n c"]
"""Hidden states of a video transformer; n = t h w tokens, time slowest."""


class SemanticExperts(nn.Module):
    """Semantic Expert Block: X~ = X + sum_e rho_e B_e, rho = softmax(router(text)).

    All experts are active. A basis map B_e is learned on a coarse grid and resampled to the
    tokens', so that one branch serves all sizes and a map costs little at Wan's width (ours: the
    paper has maps in R^{N x C}).

    Args:
        text_dim: width of the pooled prompt embedding.
        width: C, the transformer's.
        num_experts: basis maps.
        grid: frames, rows and columns on which a map is learned.
        router_width: of the router's hidden layer.
    """

    def __init__(
        self,
        *,
        text_dim: int,
        width: int,
        num_experts: int,
        grid: tuple[int, int, int],
        router_width: int,
    ) -> None:
        super().__init__()
        # Text encoders differ widely in scale.
        self.norm = nn.LayerNorm(text_dim, elementwise_affine=False)
        self.router = nn.Sequential(
            nn.Linear(text_dim, router_width), nn.SiLU(), nn.Linear(router_width, num_experts)
        )
        # Alike, the experts would stay alike: all get the same gradient.
        self.maps = nn.Parameter(0.02 * torch.randn(num_experts, width, *grid))

    def forward(
        self,
        tokens: Tokens,
        text: Float[Tensor, "b d"],
        size: tuple[int, int, int],
        *,
        inverted: bool = False,
    ) -> tuple[Tokens, Float[Tensor, "b e"]]:
        """Tokens with the mixed map added, and rho.

        Args:
            tokens: [b, t h w, c].
            text: pooled prompt embeddings.
            size: t, h, w of the tokens.
            inverted: route by the logits' opposite.
        """
        weights = self.route(text, inverted=inverted)
        mixed = torch.einsum("be,ecthw->bcthw", weights.to(self.maps.dtype), self.maps)
        mixed = F.interpolate(mixed.float(), size=size, mode="trilinear", align_corners=False)
        return tokens + mixed.flatten(2).transpose(1, 2).to(tokens.dtype), weights

    def route(self, text: Float[Tensor, "b d"], *, inverted: bool = False) -> Float[Tensor, "b e"]:
        """rho alone, from pooled prompt embeddings; it knows nothing of the tokens."""
        logits = self.router(self.norm(text.to(self.maps.dtype))).float()
        return (-logits if inverted else logits).softmax(-1)


class RefinementExperts(nn.Module):
    """Refinement Expert Block: x~' = x~ + sum over top-k of rho_i e_i(x~), rho a token's own.

    The experts are linear maps of bounded rank that start at zero. They are computed as one wide
    product of all of them, in which the unselected count nothing: k of 8 such experts cost less
    than sorting tokens would.

    Args:
        width: C.
        num_experts: E_r.
        top_k: experts that act on a token.
        rank: of an expert.
    """

    def __init__(self, *, width: int, num_experts: int, top_k: int, rank: int) -> None:
        super().__init__()
        self.num_experts, self.top_k, self.rank = num_experts, top_k, rank
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.router = nn.Linear(width, num_experts)
        self.down = nn.Linear(width, num_experts * rank, bias=False)
        self.up = nn.Linear(num_experts * rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(
        self, tokens: Tokens, *, inverted: bool = False
    ) -> tuple[Tokens, Float[Tensor, "b n e"], Float[Tensor, "b n e"]]:
        """What is added to the tokens, rho over all experts, and what of it acts (else 0)."""
        x = self.norm(tokens.to(self.router.weight.dtype))
        logits = self.router(x).float()
        weights = (-logits if inverted else logits).softmax(-1)
        best, indices = weights.topk(self.top_k, dim=-1)
        acting = torch.zeros_like(weights).scatter(-1, indices, best)
        hidden = self.down(x).unflatten(-1, (self.num_experts, self.rank))
        hidden = hidden * acting.unsqueeze(-1).to(hidden.dtype)
        return self.up(hidden.flatten(-2)).to(tokens.dtype), weights, acting


def check_experts(*, num_semantic: int, num_refinement: int, top_k: int) -> None:
    """Refuse numbers of experts that cannot be.

    Raises:
        InputError: names value, bound and remedy.
    """
    for name, count in (("num_semantic", num_semantic), ("num_refinement", num_refinement)):
        if count < 0 or count == 1:
            raise InputError(f"{name} is {count}; use 2 or more, or 0 to leave the block out")
    if num_refinement and not 1 <= top_k <= num_refinement:
        raise InputError(
            f"top_k is {top_k}; there are {num_refinement} refinement experts, so use "
            f"1..{num_refinement}"
        )
