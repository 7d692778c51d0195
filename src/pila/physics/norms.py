"""Masked means over one sample's space and time."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pila.physics.bank import Slot
from pila.types import AnyField, Field, Scalar

TINY = 1e-30
"""Below every mean square that matters and above fp32's smallest number."""


def share_of(mask: Scalar | None, like: AnyField) -> Scalar:
    """What each cell counts: the mask divided by its sum, so that a sample's shares sum to 1."""
    if mask is None:
        _, _, t, h, w = like.shape
        return like.new_full((like.shape[0], 1, t, h, w), 1 / (t * h * w))
    mask = mask.to(like)
    return mask / mask.sum(dim=(2, 3, 4), keepdim=True).clamp_min(TINY)


def inner(a: Field, b: Field, share: Scalar) -> Float[Tensor, " b"]:
    """Mean over cells, by share, and over channels of a product."""
    return (a * b * share).sum(dim=(2, 3, 4)).mean(1)


def mean_square(f: AnyField, share: Scalar) -> Float[Tensor, " b"]:
    """Mean over cells, by share, and over channels of a square."""
    return inner(f, f, share)


def centred(f: Field, share: Scalar) -> Field:
    """A field less its mean; subtracting one cell first makes a constant field exactly zero."""
    f = f - f[:, :, :1, :1, :1]
    return f - (f * share).sum(dim=(2, 3, 4), keepdim=True)


def per_sample(value: Float[Tensor, " b"]) -> Tensor:
    """One number per sample, shaped to meet a grid."""
    return value.reshape(-1, 1, 1, 1, 1)


def full(f: Field) -> Field:
    """A field in fp32 at least: squares of differences are below half precision's reach."""
    return f.float() if f.dtype in (torch.float16, torch.bfloat16) else f


def variance_shares(
    fields: Mapping[Slot, AnyField],
    baseline_fields: Mapping[Slot, AnyField],
    *,
    mask: Scalar | None = None,
) -> dict[Slot, Float[Tensor, " b"]]:
    """Variance of each field over that of the same slot in a reference, per sample.

    Near 1 where the experts kept the field's variety, towards 0 in a collapse, far above 1 in an
    inflation: a low residual means something only beside it. NaN where the reference is constant.
    """
    shares = {}
    for slot, field in fields.items():
        share = share_of(mask, full(field))
        now, before = (
            mean_square(centred(full(f), share), share) for f in (field, baseline_fields[slot])
        )
        shares[Slot(slot)] = torch.where(before > 0, now / before.clamp_min(TINY), torch.nan)
    return shares
