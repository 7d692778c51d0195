from typing import Any

import pytest
import torch

from pila.adapter import PilaAdapter

TEXT = 12


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make_inputs(batch=2, size=(4, 5, 6), dtype=torch.float32):
    """x_t, v, sigma, text, labels of a small clip with oblong frames."""
    x_t, v = torch.randn(2, batch, 16, *size, dtype=dtype)
    labels = torch.zeros(batch, 8, dtype=torch.bool)
    labels[:, 5] = True
    return x_t, v, torch.linspace(0.1, 0.9, batch), torch.randn(batch, TEXT, dtype=dtype), labels


def make_adapter(*, live=True, **config):
    """A tiny adapter; `live` gives the zero-initialised last layer values, as training would."""
    defaults: dict[str, Any] = {"text_dim": TEXT, "hidden_width": 8}
    adapter = PilaAdapter(**(defaults | config))
    if live:
        torch.nn.init.normal_(adapter.decoder.out.weight)
    return adapter


def reached(module):
    """Names of the parameters that the last backward pass gave a gradient other than zero."""
    return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.fixture
def inputs():
    return make_inputs()


@pytest.fixture
def adapter():
    return make_adapter()
