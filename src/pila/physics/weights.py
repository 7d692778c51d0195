"""Adaptive weights of a category's terms (Eq. 6)."""

import torch
from jaxtyping import Float
from torch import Tensor

from pila.errors import InputError
from pila.physics.norms import TINY


class AdaptiveWeights(torch.nn.Module):
    """The adaptive weights a_kj of Eq. 6 for one category: a_j ∝ level_j^-power, mean 1.

    `level` is a running mean of the term's loss, so power 0 weighs terms equally and power 1
    makes them contribute equally. The paper does not say how its weights adapt: this rule, half
    way between the two and within a factor `limit` of the geometric mean, is ours. The state is
    in buffers, so that resumed training continues it; no gradient passes.
    """

    level: Tensor
    started: Tensor

    def __init__(
        self, num_terms: int, *, decay: float = 0.99, power: float = 0.5, limit: float = 10.0
    ):
        super().__init__()
        if not 0 <= decay < 1:
            raise InputError(f"AdaptiveWeights.decay is {decay}; it must lie in [0, 1)")
        if limit < 1:
            raise InputError(f"AdaptiveWeights.limit is {limit}; it must be at least 1")
        self.decay, self.power, self.limit = decay, power, limit
        self.register_buffer("level", torch.ones(num_terms))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, terms: Float[Tensor, "b n"]) -> None:
        """Take the scores of one more batch into the running mean."""
        now = terms.detach().mean(0).to(self.level)
        kept = self.decay * self.level + (1 - self.decay) * now
        self.level.copy_(torch.where(self.started, kept, now))
        self.started.fill_(True)

    def forward(self) -> Float[Tensor, " n"]:
        """The current weights."""
        log = self.level.clamp_min(TINY).log()
        spread = (self.power * (log.mean() - log)).exp().clamp(1 / self.limit, self.limit)
        return spread / spread.mean()
