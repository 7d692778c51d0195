from dataclasses import replace

import pytest
import torch
from torch import nn

from pila.errors import InputError
from pila.train.config import OptimConfig
from pila.train.optimizer import HIDDEN, make_optimizers

MUON = OptimConfig(optimizer="muon", lr=1e-2)


class AsMatrix(nn.Module):
    """A 3x3 convolution whose kernel is held as a matrix."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).clone())
        self.shape = conv.weight.shape

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight.view(self.shape), padding=1)


def steps(module, *, clip=None, count=3):
    (optimizer,) = make_optimizers([{"params": list(module.parameters()), HIDDEN: True}], MUON)
    rng = torch.Generator().manual_seed(0)
    for _ in range(count):
        # Two micro-batches, whose gradients add up.
        for _ in range(2):
            module(torch.randn(2, 3, 5, 5, generator=rng)).square().mean().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return optimizer


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_a_kernel_is_trained_as_the_matrix_that_it_is(clip):
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    matrix = AsMatrix(conv)
    before = conv.weight.detach().clone()
    steps(conv, clip=clip)
    steps(matrix, clip=clip)
    assert not torch.equal(conv.weight, before)
    torch.testing.assert_close(conv.weight.flatten(1), matrix.weight, rtol=0, atol=1e-6)


def test_no_gradient_outlives_a_step():
    conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    optimizer = steps(conv)
    assert isinstance(optimizer, torch.optim.Muon)
    assert conv.weight.grad is None
    held = conv.weight.detach().clone()
    optimizer.step()
    assert torch.equal(conv.weight, held)


def test_what_is_not_marked_is_trained_by_adamw():
    conv = nn.Conv2d(3, 3, 3)
    groups = [{"params": [conv.weight], HIDDEN: True}, {"params": [conv.bias]}]
    adamw, muon = make_optimizers(groups, replace(MUON, muon_scale=3.0))
    assert (type(adamw), type(muon)) == (torch.optim.AdamW, torch.optim.Muon)
    assert [group["params"] for group in adamw.param_groups] == [[conv.bias]]
    assert [group["lr_scale"] for group in muon.param_groups] == [3.0]
    assert [type(o) for o in make_optimizers(groups, OptimConfig())] == [torch.optim.AdamW]


def test_a_pytorch_without_muon_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    conv = nn.Conv2d(3, 3, 3)
    groups = [{"params": [conv.weight], HIDDEN: True}]
    assert len(make_optimizers(groups, OptimConfig())) == 1
    with pytest.raises(InputError, match="optimizer is muon, which PyTorch has from"):
        make_optimizers(groups, MUON)
