"""Recipe-masked operator experts (Eqs. 5, 8): one per category, only the selected ones computed.

Operator k is a gated pointwise network on the bank and its finite differences,

    O_k(A, F, c) = W_k^out [ silu(G_k z + ...c) * (V_k z + ...c) ],   z = [A, dA/dt, ..., lap A, F].

A right-hand side of a transport law is a product of fields and derivatives (u . grad T, p div u),
and this is the smallest network that holds such products. The differences are the same for all
experts, so they are taken once; what is left is matrix products over all samples and selections.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from pila.adapter.blocks import channels_last
from pila.adapter.condition import Condition
from pila.adapter.router import NUM_EXPERTS, Route
from pila.physics import recipe_mask
from pila.physics.bank import NUM_BANK_CHANNELS
from pila.physics.calculus import Calculus
from pila.types import BankTensor

NUM_STENCILS = 6
"""A, dA/dt, d2A/dt2, dA/dx, dA/dy, lap A: what the residuals differentiate."""

REACH = (1, 1)
"""Frames and cells to each side that a place of the refined bank answers to: differences."""

Updates = Float[Tensor, "b k 32 t h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """The refined bank and what each selected expert proposed, in the order of Route.indices."""

    bank: BankTensor
    updates: Updates | None
    """M_k * O_k for the selected experts, before weighting; None unless asked for."""


def uniform_like_linear(*shape: int, fan_in: int) -> nn.Parameter:
    """A stack of weights, each drawn as torch draws those of a linear layer."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Experts(nn.Module):
    """Eight operators over the shared bank.

    A~ = A + sum over the selected k of w_k M_k O_k(A, F, c), with M_k exactly 1 on the slots that
    category k's residuals read and 0 elsewhere. `see_feature` gives the operators F besides A.
    `hidden` is the number of gated units of each operator; None takes `width`, the feature's.
    """

    mask: Tensor

    def __init__(self, *, width: int, hidden: int | None = None, see_feature: bool = True) -> None:
        super().__init__()
        self.units = units = width if hidden is None else hidden
        self.see_feature = see_feature
        self.calculus = Calculus()
        channels_in = NUM_STENCILS * NUM_BANK_CHANNELS + (width if see_feature else 0)
        n = NUM_EXPERTS
        # `inner` holds the gate's matrix and the value's side by side.
        self.inner = uniform_like_linear(n, channels_in, 2 * units, fan_in=channels_in)
        self.condition = uniform_like_linear(n, width, 2 * units, fan_in=width)
        self.bias = nn.Parameter(torch.zeros(n, 2 * units))
        self.outer = uniform_like_linear(n, units, NUM_BANK_CHANNELS, fan_in=units)
        self.outer_bias = nn.Parameter(torch.zeros(n, NUM_BANK_CHANNELS))
        self.register_buffer("mask", recipe_mask().to(self.outer.dtype), persistent=False)

    def forward(
        self,
        bank: BankTensor,
        feature: Float[Tensor, "b width t h w"],
        condition: Condition,
        route: Route,
        *,
        return_updates: bool = False,
    ) -> Refinement:
        """The refined bank, and with `return_updates` every selected expert's own update."""
        b, _, t, h, w = bank.shape
        k = route.indices.shape[1]
        if k == 0:
            none = bank.new_zeros(b, 0, NUM_BANK_CHANNELS, t, h, w) if return_updates else None
            return Refinement(bank=bank, updates=none)

        hidden = self.hidden(bank, feature, condition, route.indices)
        # The mask multiplies the last layer: outside a recipe an update is a sum of exact zeros.
        mask = self.mask.to(self.outer.dtype)
        outer = of_selected(self.outer * mask[:, None], route.indices)  # b k units 32
        outer_bias = of_selected(self.outer_bias * mask, route.indices)  # b k 32
        # Weighting the last layer sums over the experts inside one product.
        weight = route.selected_weights.to(hidden.dtype)
        weighted = (outer * weight[:, :, None, None]).flatten(1, 2)
        offset = (outer_bias * weight[:, :, None]).sum(dim=1, keepdim=True)
        step = torch.baddbmm(offset, hidden, weighted)  # b (t h w) 32
        refined = bank + step.unflatten(1, (t, h, w)).movedim(-1, 1)
        if not return_updates:
            return Refinement(bank=refined, updates=None)

        each = hidden.unflatten(2, (k, self.units)).transpose(1, 2) @ outer + outer_bias[:, :, None]
        return Refinement(bank=refined, updates=each.unflatten(2, (t, h, w)).movedim(-1, 2))

    def hidden(
        self,
        bank: BankTensor,
        feature: Float[Tensor, "b width t h w"],
        condition: Condition,
        indices: Int[Tensor, "b k"],
    ) -> Float[Tensor, "b n m"]:
        """Gated hidden units [b, t h w, k units] of the selected experts, expert by expert."""
        z = channels_last(self.stencils(bank, feature).to(self.inner.dtype)).flatten(1, 3)
        inner = of_selected(self.inner, indices)
        inner = rearrange(inner, "b k i (two w) -> b i (two k w)", two=2)
        offset = (condition[:, None, None] @ of_selected(self.condition, indices)).squeeze(2)
        offset = offset + of_selected(self.bias, indices)
        offset = rearrange(offset, "b k (two w) -> b 1 (two k w)", two=2)
        gate, value = torch.baddbmm(offset, z, inner).chunk(2, dim=-1)
        return F.silu(gate) * value

    def stencils(
        self, bank: BankTensor, feature: Float[Tensor, "b width t h w"]
    ) -> Float[Tensor, "b c t h w"]:
        """The bank, its finite differences and, if the experts may see it, the feature."""
        fd = self.calculus
        parts = [
            bank,
            fd.t(bank),
            time_curvature(fd, bank),
            fd.x(bank),
            fd.y(bank),
            fd.laplacian(bank),
        ]
        if self.see_feature:
            parts.append(feature)
        return torch.cat([part.to(self.inner.dtype) for part in parts], dim=1)


def of_selected(weights: Float[Tensor, "n *rest"], indices: Int[Tensor, "b k"]) -> Tensor:
    """The selected experts' weights, [b, k, *rest]: `weights[indices]`.

    Its gradient is summed in one order. That of the indexing is summed by several threads at once
    where two samples select the same expert, and no two trainings then come out alike.
    """
    return weights.index_select(0, indices.flatten()).unflatten(0, indices.shape)


def time_curvature(fd: Calculus, bank: BankTensor) -> BankTensor:
    """d2A/dt2; from 3 frames, the one value that they give, at every frame."""
    if bank.shape[2] > 3:
        return fd.tt(bank)
    first, middle, last = bank.unbind(dim=2)
    return ((last - 2 * middle + first) / fd.dt**2).unsqueeze(2).expand_as(bank)
