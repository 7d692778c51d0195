"""What the experts are held to while training: coarse and fine alignment, and balance."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

COARSE, FINE, BALANCE = 0.1, 0.02, 0.01
"""Weights beside the flow-matching loss (ProPhy)."""


def relative_alignment(
    expressed: Float[Tensor, "b k"], labels: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """L_coarse: clips of like physics are to use the semantic experts alike.

    Mean squared difference of the batch's two cosine-similarity matrices, off the diagonal: the
    mean and not the sum over pairs, so that its weight does not depend on the batch. A clip
    without a label is unlike all others, and alike to those that have none either.

    Args:
        expressed: the experts' weights, projected to the label dimension.
        labels: which categories a clip has.

    Returns:
        0 for a batch of one clip.
    """
    wanted = _similarity(labels.to(expressed.dtype))
    none = ~labels.any(1)
    wanted = torch.where(none[:, None] & none[None], torch.ones_like(wanted), wanted)
    apart = (_similarity(expressed) - wanted).square()
    b = len(labels)
    if b < 2:
        return apart.sum() * 0
    pairs = ~torch.eye(b, dtype=torch.bool, device=apart.device)
    return apart[pairs].mean()


def absolute_alignment(
    expressed: Float[Tensor, "b k"], labels: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """The ablation's L_coarse: binary cross-entropy against the labels themselves."""
    return F.binary_cross_entropy_with_logits(expressed, labels.to(expressed.dtype))


def token_alignment(
    told: Float[Tensor, "b n k"], maps: Float[Tensor, "b n k"], mask: Bool[Tensor, "b n k"]
) -> Float[Tensor, ""]:
    """L_fine: inside the mask, what the token router says is to be what the map says.

    Mean squared error over the mask's entries of each clip, then over clips that have any.

    Args:
        told: the token router's weights, mapped to categories.
        maps: where each category's phenomenon is, 0 to 1.
        mask: annotated category and a positive map.
    """
    count = mask.sum((1, 2))
    error = ((told - maps).square() * mask).sum((1, 2)) / count.clamp_min(1)
    return error.sum() / (count > 0).sum().clamp_min(1)


def balance(weights: Float[Tensor, "b n e"], acting: Float[Tensor, "b n e"]) -> Float[Tensor, ""]:
    """L_balance: 1 where all experts are used alike, up to E / k where only k ever act.

    Number of experts times the product of each expert's share of the tokens (a count, without
    gradient) and its mean weight, the usual form for sparse mixtures of experts.
    """
    num_experts = weights.shape[-1]
    share = (acting > 0).float().mean((0, 1))
    share = share / share.sum().clamp_min(1e-9)
    return num_experts * (share * weights.mean((0, 1))).sum()


def _similarity(rows: Float[Tensor, "b k"]) -> Float[Tensor, "b b"]:
    unit = F.normalize(rows, dim=-1)
    return unit @ unit.T
