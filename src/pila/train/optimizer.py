"""Optimizers of a run: AdamW, or Muon for the matrices inside blocks and AdamW for the rest."""

from typing import Any

import torch
from torch import Tensor, nn

from pila.errors import InputError
from pila.train.config import OptimConfig

HIDDEN = "hidden"
"""Mark of a parameter group of matrices and kernels between layers, which Muon may train."""


def inside_blocks(name: str, parameter: nn.Parameter) -> bool:
    """Whether a transformer's parameter is a matrix of one of its blocks."""
    return ".blocks." in f".{name}" and parameter.ndim == 2


def kernel_muon(groups: list[dict[str, Any]], **options: Any) -> torch.optim.Optimizer:
    """PyTorch's Muon for convolutions, too: a kernel [out, in, ...] is the matrix [out, in x ...].

    Its own refuses all but matrices. What it updates here are flat views of the kernels, and their
    gradients are views of the kernels' gradients: whatever scales those reaches these.

    Raises:
        InputError: a PyTorch that has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"optim.optimizer is muon, which PyTorch has from 2.9 on, and this is "
            f"{torch.__version__}; use adamw or a newer one"
        )
    kernels: list[nn.Parameter] = []

    def flat(parameter: nn.Parameter) -> nn.Parameter:
        if parameter.ndim == 2:
            return parameter
        view = nn.Parameter(parameter.detach().flatten(1))
        kernels.append(parameter)

        def follow(changed: Tensor) -> None:
            view.grad = None if changed.grad is None else changed.grad.flatten(1)

        parameter.register_post_accumulate_grad_hook(follow)
        return view

    flattened = [group | {"params": [flat(p) for p in group["params"]]} for group in groups]
    optimizer = torch.optim.Muon(flattened, **options)

    def forget(*_: Any) -> None:
        # `zero_grad` knows the views alone.
        for kernel in kernels:
            kernel.grad = None

    optimizer.register_step_post_hook(forget)
    return optimizer


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
            kernel_muon(
                by_muon,
                lr=optim.lr,
                weight_decay=optim.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return made
