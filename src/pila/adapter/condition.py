"""The condition vector c: the pooled text of the refined prompt, and the noise level."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pila.types import Sigma

Condition = Float[Tensor, "b width"]
Text = Float[Tensor, "b d"]


def pool_text(
    embeddings: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None = None
) -> Float[Tensor, "b d"]:
    """Mean embedding over the tokens of each prompt.

    Without a mask, tokens that are zero in every dimension count as padding: that is how
    diffusers' Wan pipelines pad their prompt embeddings. A prompt without tokens pools to zeros.
    """
    if mask is None:
        mask = (embeddings != 0).any(dim=-1)
    kept = mask.unsqueeze(-1)
    total = torch.where(kept, embeddings, 0).float().sum(dim=1)
    return (total / kept.sum(dim=1).clamp(min=1)).to(embeddings.dtype)


class SigmaEmbedding(nn.Module):
    """Sines and cosines of the noise level at geometric frequencies, then a small MLP."""

    num_frequencies = 16
    highest_frequency = 64.0
    """Periods per unit of sigma: resolves the closest steps of a 50-step schedule."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * self.num_frequencies, width)
        self.outer = nn.Linear(width, width)

    def forward(self, sigma: Sigma) -> Condition:
        """[b] -> [b, width]."""
        steps = torch.arange(self.num_frequencies, device=sigma.device, dtype=torch.float32)
        ratio = math.log(self.highest_frequency * 4) / (self.num_frequencies - 1)
        frequency = 0.25 * torch.exp(ratio * steps)  # from a quarter of a period over [0, 1]
        phase = 2 * math.pi * sigma.float().unsqueeze(-1) * frequency
        waves = torch.cat([phase.sin(), phase.cos()], dim=-1)
        return self.outer(F.silu(self.inner(waves.to(self.inner.weight.dtype))))


class ConditionEncoder(nn.Module):
    """Text and noise level, each projected; their sum through one more layer."""

    def __init__(self, *, text_dim: int, width: int) -> None:
        super().__init__()
        # Text encoders differ widely in scale; a zero embedding stays zero under this norm.
        self.norm = nn.LayerNorm(text_dim, elementwise_affine=False)
        self.text = nn.Linear(text_dim, width)
        self.sigma = SigmaEmbedding(width)
        self.text_share = 1.0
        """How much of the text counts, which training raises from 0 (App. B)."""
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(self, text: Text, sigma: Sigma) -> Condition:
        """text [b, text_dim], sigma [b] -> c [b, width]."""
        # Behind the norm, which would take any factor before it away again.
        text = self.text_share * self.norm(text.to(self.text.weight.dtype))
        return self.out(self.text(text) + self.sigma(sigma))
