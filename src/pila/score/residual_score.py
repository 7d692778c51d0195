"""The residual score: how far a clip's own field proxies are from the relations of its categories.

No truth and no judge: an adapter reads the clip's latents as if they were a clean estimate
(sigma = 0), its bank before the experts is held against the relations of the categories that the
caption names, and the score is their mean relative residual, 0 (balanced) to 1. It can rank clips
of one prompt; what it is worth is what `pila experiment main` says of best-of-4.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pila.errors import InputError
from pila.physics import TERMS, Calculus, Coefficients, residual_loss
from pila.physics.layout import Category
from pila.score.plausibility import Scorer, load_scorer, read_clean

_loaded: dict[tuple[str, str, str], Scorer] = {}


def residual_scores(
    latents: Tensor,
    captions: Sequence[str],
    *,
    adapter: str,
    model: str = "embedded",
    device: str = "cpu",
    categories: Sequence[Sequence[Category]] | None = None,
) -> Tensor:
    """Mean relative residual of each clip, [n] on the CPU; less is better.

    Args:
        latents: clean latents [n, c, t, h, w], normalised as the transformer has them.
        captions: a caption for each.
        adapter: place of a PILA adapter; its bank is read.
        model: the Wan repository whose text encoder made the adapter's condition.
        device: where it computes.
        categories: of each clip; None asks the offline parser. A clip without any is held against
            all eight.

    Raises:
        InputError: as many captions as clips are needed; an adapter without a bank.
    """
    if len(captions) != len(latents):
        raise InputError(f"{len(captions)} captions for {len(latents)} clips; give one for each")
    scorer = _load(adapter, model, device)
    if categories is None:
        from pila.labels.parser import make_parser

        parser = make_parser("offline")
        categories = [parser(caption).categories for caption in captions]
    text = torch.stack([scorer.encoders.padded_text(caption) for caption in captions]).to(device)
    chosen = [list(c) or list(Category) for c in categories]
    with torch.no_grad():
        return bank_scores(scorer.adapter, latents.to(device).float(), text, chosen).cpu()


def bank_scores(
    adapter: Any, latents: Tensor, text: Tensor, categories: Sequence[Sequence[Category]]
) -> Tensor:
    """Mean relative residual [n] of an adapter's bank on clean latents.

    Args:
        adapter: a `PilaAdapter`.
        latents: [n, c, t, h, w].
        text: token embeddings [n, tokens, d].
        categories: at least one of each clip.
    """
    order, calculus, coefficients = list(Category), Calculus(), Coefficients()
    labels = torch.zeros(len(latents), len(order), dtype=torch.bool, device=latents.device)
    for row, names in zip(labels, categories, strict=True):
        row[[order.index(c) for c in names]] = True
    _, fields = read_clean(adapter, latents, text, labels)
    total = torch.zeros(len(latents), device=latents.device)
    for index, category in enumerate(order):
        mine = labels[:, index]
        if mine.any():
            read = {slot for term in TERMS[category] for slot in term.reads}
            part = {slot: fields[slot][mine] for slot in read}
            scored = residual_loss(part, category, calculus, coefficients)
            total[mine] += scored.total.to(total)
    return total / labels.sum(1)


def _load(adapter: str, model: str, device: str) -> Scorer:
    """An adapter and the encoders of its model, kept by this process."""
    key = (adapter, model, device)
    if key not in _loaded:
        loaded = load_scorer(adapter, model, device=torch.device(device))
        _loaded.clear()
        _loaded[key] = loaded
    return _loaded[key]
