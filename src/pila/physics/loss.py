"""The one place where residuals become numbers (Eqs. 6-7): squares, masks, scales and weights.

Plain mean squares (the paper's form) are minimised by constant and zero fields. The relative form
scores a balance by

    score = ‖Σ pᵢ‖² / (Σ ‖pᵢ‖)²,    ‖·‖ the masked root mean square over one sample,

which lies in [0, 1] by the triangle inequality: 0 where the pieces cancel, about 1/n for n
unrelated pieces of equal size, 1 where a piece has nothing to balance it. A floor in numerator and
denominator makes 1 also the score of a balance without pieces, so that no field can gain by
shrinking, by turning constant or by vanishing. The form is our choice (docs/decisions.md). Scores
of linear relations do not depend on the fields' scale; in non-linear ones the scale is physics.

Inflation, the opposite evasion, adds a motion that obeys the law for nothing (trial.md, lesson 3).
Against it a reference is given, usually the bank before the experts: a score is then divided by
the smaller of both sizes (Σ ‖pᵢ‖)², and beyond 1 saturates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

import torch
from jaxtyping import Float
from torch import Tensor

from pila.errors import InputError
from pila.physics.bank import Category, Slot
from pila.physics.calculus import Calculus
from pila.physics.norms import TINY, centred, full, inner, mean_square, per_sample, share_of
from pila.physics.residual import Coefficients, Pieces, Residual
from pila.physics.terms import TERMS
from pila.types import AnyField, Scalar

_EXCESS = 0.1
"""Beyond 1, which only a reference allows, a score grows more slowly and stays below 1/_EXCESS: a
field at rest in the reference may begin to move."""


class Form(StrEnum):
    """How a residual is scored."""

    RELATIVE = auto()
    PLAIN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualLoss:
    """What `residual_loss` returns for b samples and n terms."""

    total: Float[Tensor, " b"]
    """The weighted mean of the terms."""
    terms: Float[Tensor, "b n"]
    """Each term's score."""
    names: tuple[str, ...]

    @property
    def means(self) -> dict[str, Tensor]:
        """Each term's mean over the samples [], by name; nothing waits for an accelerator."""
        return dict(zip(self.names, self.terms.detach().mean(0).unbind(), strict=True))

    def report(self) -> dict[str, float]:
        """The same as numbers."""
        return {name: mean.item() for name, mean in self.means.items()}


def residual_loss(
    fields: Mapping[Slot, AnyField],
    terms: Category | Sequence[Residual],
    fd: Calculus,
    k: Coefficients,
    *,
    form: Form | str = Form.RELATIVE,
    mask: Scalar | None = None,
    weights: Float[Tensor, " n"] | None = None,
    baseline_fields: Mapping[Slot, AnyField] | None = None,
    floor: float = 1e-10,
    check_finite: bool = True,
) -> ResidualLoss:
    """Score canonical fields by a category's relations, sample by sample (Eq. 6).

    Args:
        fields: canonical fields [b, components, t, h, w] by slot; those the terms read.
        terms: a category, or some residuals (an ablation leaves a family out).
        fd: difference operators of the grid.
        k: latent-space normalizers.
        form: "relative" (above) or "plain", the mean square of the pieces' sum.
        mask: where the relations are asked for, >= 0; its scale does not matter.
        weights: the adaptive weights a_kj, >= 0, normalised here; None weighs terms equally.
        baseline_fields: the same fields of b samples, whose sizes (Σ ‖pᵢ‖)² are held against those
            of `fields`, without gradient: a score up to 1 is divided by no more than their size
            there. Both are measured in one pass: the price is a larger batch, not a second pass.
            The plain form is held against nothing.
        floor: mean square below which pieces count as absent.
        check_finite: look at the scores, which waits for an accelerator.

    Half precision is computed in fp32. Raises FloatingPointError naming a term that is not
    finite (not under torch.compile, which cannot look at values), and InputError for missing
    fields, grids too small and options that do not fit.
    """
    residuals = TERMS[terms] if isinstance(terms, Category) else tuple(terms)
    form = _form(form)
    if not residuals:
        raise InputError("residual_loss was given 0 terms; it needs at least 1")
    if weights is not None and weights.shape[-1] != len(residuals):
        raise InputError(
            f"weights has {weights.shape[-1]} entries; there are {len(residuals)} terms"
        )
    fields = {slot: full(f) for slot, f in fields.items()}
    share = share_of(mask, next(iter(fields.values())))
    measured, shares = fields, share
    if baseline_fields is not None:
        if form is Form.PLAIN:
            raise InputError("baseline_fields is given, but the plain form has none; leave it out")
        if missing := [str(slot) for slot in fields if slot not in baseline_fields]:
            raise InputError(f"baseline_fields lacks {', '.join(missing)}, which the fields have")
        measured = {s: torch.cat([f, full(baseline_fields[s]).detach()]) for s, f in fields.items()}
        shares = torch.cat([share, share])

    sums, sizes = zip(
        *(_measure(r, measured, fd, k, shares, floor) for r in residuals), strict=True
    )
    top, size = torch.stack(sums, dim=1), torch.stack(sizes, dim=1)
    if baseline_fields is not None:
        (top, _), (size, limit) = top.chunk(2), size.chunk(2)
        size = torch.minimum(size, limit.detach())
        size = size + _EXCESS * torch.relu(top - size)
    scores = top if form is Form.PLAIN else (top + floor) / (size + floor)

    names = tuple(r.name for r in residuals)
    if check_finite:
        _require_finite(scores, residuals, fields)
    if weights is None:
        total = scores.mean(1)
    else:
        total = (scores * weights).sum(1) / weights.sum()
    return ResidualLoss(total=total, terms=scores, names=names)


def residual_maps(
    fields: Mapping[Slot, AnyField],
    terms: Category | Sequence[Residual],
    fd: Calculus,
    k: Coefficients,
    *,
    floor: float = 1e-10,
) -> Float[Tensor, "b n t h w"]:
    """Where and when each relation fails: a density whose mean over a clip is its relative score.

    Args:
        fields: canonical fields [b, components, t, h, w] by slot; those the terms read.
        terms: a category, or some residuals.
        fd: difference operators of the grid.
        k: latent-space normalizers.
        floor: mean square below which pieces count as absent.

    Raises:
        InputError: for missing fields and grids too small.
    """
    residuals = TERMS[terms] if isinstance(terms, Category) else tuple(terms)
    fields = {slot: full(f) for slot, f in fields.items()}
    share = share_of(None, next(iter(fields.values())))
    maps = []
    for residual in residuals:
        pieces = _fitted(residual, fields, fd, k, share, floor)
        square = torch.stack(pieces).sum(0).square().mean(1)
        maps.append((square + floor) / (per_sample(_size(pieces, share))[:, 0] + floor))
    return torch.stack(maps, dim=1)


def _measure(
    residual: Residual,
    fields: Mapping[Slot, AnyField],
    fd: Calculus,
    k: Coefficients,
    share: Scalar,
    floor: float,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """‖Σ pᵢ‖² and (Σ ‖pᵢ‖)² of one balance, its latent scale, offset and source fitted."""
    pieces = _fitted(residual, fields, fd, k, share, floor)
    return mean_square(torch.stack(pieces).sum(0), share), _size(pieces, share)


def _size(pieces: Pieces, share: Scalar) -> Float[Tensor, " b"]:
    return torch.as_tensor(
        sum(mean_square(p, share).clamp_min(TINY).sqrt() for p in pieces)
    ).square()


def _fitted(
    residual: Residual,
    fields: Mapping[Slot, AnyField],
    fd: Calculus,
    k: Coefficients,
    share: Scalar,
    floor: float,
) -> Pieces:
    """The pieces of one balance, its latent scale, offset and source fitted."""
    slots = residual.select(fields)
    pieces: Pieces = residual(fd, k, **slots)
    if residual.free_offset:
        pieces = tuple(centred(p, share) for p in pieces)
    if residual.free_scale:
        # The ratio of sizes (reduced major axis), which treats both proxies alike, keeps the
        # scale positive and tells by its score, (1 - correlation)/2, which way to improve. Least
        # squares would take the scale to 0 for unrelated fields, and there its gradient vanishes.
        first, second = pieces
        ratio = (mean_square(first, share) + floor) / (mean_square(second, share) + floor)
        pieces = (first, second * per_sample(ratio.sqrt()))
    if residual.source is not None:
        basis = residual.source(fd, k, **slots)
        rest = torch.stack(pieces).sum(0)
        fit = inner(rest, basis, share) / (mean_square(basis, share) + floor)
        pieces = (*pieces, -per_sample(fit) * basis)
    return pieces


def _form(form: Form | str) -> Form:
    if form not in tuple(Form):
        raise InputError(f"form is {form!r}; it must be one of {', '.join(Form)}")
    return Form(form)


def _require_finite(
    scores: Float[Tensor, "b n"], residuals: Sequence[Residual], fields: Mapping[Slot, Tensor]
) -> None:
    # One look at the device per call; torch.compile cannot branch on values.
    if torch.compiler.is_compiling() or bool(scores.isfinite().all()):
        return
    sample, index = (~scores.isfinite()).nonzero()[0].tolist()
    term = residuals[index]
    sources = [str(slot) for slot in term.reads if not bool(fields[slot][sample].isfinite().all())]
    cause = f"its field {', '.join(sources)} is not finite" if sources else "its fields are finite"
    raise FloatingPointError(
        f"residual {term.name} is {scores[sample, index].item()} in sample {sample}: {cause}"
    )
