"""Optimizers of a run: AdamW, or Muon for the matrices inside blocks and AdamW for the rest."""

from typing import Any

import torch

from pila.train.config import OptimConfig

HIDDEN = "hidden"
"""Mark of a parameter group of matrices between layers, which Muon may train."""


def make_optimizers(groups: list[dict[str, Any]], optim: OptimConfig) -> list[Any]:
    """The optimizers of some parameter groups, AdamW first.

    Args:
        groups: with `params`; one may carry `lr_scale`, `weight_decay` and the mark `hidden`.
        optim: says which. Muon's updates are scaled to AdamW's, so that one rate serves both.

    Returns:
        One optimizer, or two. Groups keep their `lr_scale`.
    """
    by_muon, by_adamw = [], []
    for group in groups:
        muon = optim.optimizer == "muon" and group.get(HIDDEN)
        (by_muon if muon else by_adamw).append(group)
    made: list[Any] = []
    if by_adamw:
        made.append(
            torch.optim.AdamW(
                by_adamw, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay
            )
        )
    if by_muon:
        made.append(
            torch.optim.Muon(
                by_muon,
                lr=optim.lr,
                weight_decay=optim.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return made
