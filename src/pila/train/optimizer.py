"""Optimizers of a run: AdamW, or Muon for the matrices inside blocks and AdamW for the rest."""

from typing import Any

import torch
from torch import Tensor, nn

from pila.train.config import OptimConfig

HIDDEN = "hidden"
"""Mark of a parameter group of matrices and kernels between layers, which Muon may train."""


class KernelMuon(torch.optim.Muon):
    """Muon that takes convolutions, too: a kernel [out, in, ...] is the matrix [out, in x ...].

    torch's own refuses all but matrices. What it updates here are flat views of the parameters, and
    their gradients are views of the parameters' gradients: whatever scales those reaches these.
    """

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        self.whole: list[nn.Parameter] = []
        flat = [group | {"params": [self._flat(p) for p in group["params"]]} for group in groups]
        super().__init__(flat, **options)

    def _flat(self, parameter: nn.Parameter) -> nn.Parameter:
        if parameter.ndim == 2:
            return parameter
        flat = nn.Parameter(parameter.detach().flatten(1))
        self.whole.append(parameter)

        def follow(changed: Tensor) -> None:
            flat.grad = None if changed.grad is None else changed.grad.flatten(1)

        parameter.register_post_accumulate_grad_hook(follow)
        return flat

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As any optimizer's; a kernel's own gradient goes with its view's."""
        super().zero_grad(set_to_none)
        if set_to_none:
            for parameter in self.whole:
                parameter.grad = None


def make_optimizers(groups: list[dict[str, Any]], optim: OptimConfig) -> list[Any]:
    """The optimizers of some parameter groups, AdamW first.

    Args:
        groups: with `params`; one may carry `lr_scale`, `weight_decay` and the mark `hidden`.
        optim: says which. Muon's updates are scaled to AdamW's, and its rate by `muon_scale`.

    Returns:
        One optimizer, or two. Groups keep their `lr_scale`, Muon's with `muon_scale` in it.
    """
    by_muon, by_adamw = [], []
    for group in groups:
        if optim.optimizer == "muon" and group.get(HIDDEN):
            scale = group.get("lr_scale", 1.0) * optim.muon_scale
            by_muon.append(group | {"lr_scale": scale})
        else:
            by_adamw.append(group)
    made: list[Any] = []
    if by_adamw:
        made.append(
            torch.optim.AdamW(
                by_adamw, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay
            )
        )
    if by_muon:
        made.append(
            KernelMuon(
                by_muon,
                lr=optim.lr,
                weight_decay=optim.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return made
