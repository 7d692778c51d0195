"""Label-prior masked expert routing, LPMER (Eqs. 4, 21-24)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pila.adapter.condition import Condition
from pila.errors import InputError
from pila.physics.bank import Category

NUM_EXPERTS = len(Category)

CategoryMask = Bool[Tensor, "b categories"]
"""Which categories a prompt names, in `Category` order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which experts refine which sample, and with what weight. Columns are in `Category` order."""

    logits: Float[Tensor, "b categories"]
    """What the router thinks, before the label prior."""
    scores: Float[Tensor, "b categories"]
    """Logits with the label prior added: the ranking."""
    indices: Int[Tensor, "b k"]
    """The selected experts, best first."""
    weights: Float[Tensor, "b categories"]
    """Softmax over the selected experts; exactly 0 elsewhere. Sums to 1 unless K = 0."""

    @property
    def selected_weights(self) -> Float[Tensor, "b k"]:
        """The weights in the order of `indices`."""
        return self.weights.gather(1, self.indices)


def check_top_k(top_k: int) -> int:
    """top_k, or InputError if there are not that many experts."""
    if not 0 <= top_k <= NUM_EXPERTS:
        raise InputError(f"top_k is {top_k}; there are {NUM_EXPERTS} experts, so 0..{NUM_EXPERTS}")
    return top_k


class Router(nn.Module):
    """Condition and category_mask -> Route."""

    def __init__(self, width: int, *, label_prior: float, temperature: float) -> None:
        super().__init__()
        if temperature <= 0:
            raise InputError(f"router_temperature is {temperature}; it must be above 0")
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, NUM_EXPERTS))
        self.label_prior = label_prior
        self.temperature = temperature

    def forward(
        self, condition: Condition, category_mask: CategoryMask | None, *, top_k: int
    ) -> Route:
        """c [b, width], category_mask [b, 8] or None -> the route over `top_k` experts."""
        logits = self.mlp(condition).float()
        scores = (
            logits if category_mask is None else logits + self.label_prior * category_mask
        )  # Eq. 22
        best, indices = scores.topk(check_top_k(top_k), dim=-1)  # Eq. 23
        weights = torch.zeros_like(scores)
        if top_k:
            weights = weights.scatter(
                1, indices, (best / self.temperature).softmax(dim=-1)
            )  # Eq. 24
        return Route(logits=logits, scores=scores, indices=indices, weights=weights)
