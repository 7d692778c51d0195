from typing import Any

import pytest
import torch
from tests.pipelines import tiny

from pila.adapter import PilaAdapter


def small_adapter(**config: Any) -> PilaAdapter:
    torch.manual_seed(3)
    options = {"hidden_width": 8, "encoder_blocks": 1, "decoder_blocks": 1, "gate": "none"}
    options |= {"latent_channels": tiny.LATENT_CHANNELS, "text_dim": tiny.TEXT_WIDTH}
    return PilaAdapter(**{**options, **config}).eval()


@pytest.fixture(scope="session")
def untrained() -> PilaAdapter:
    return small_adapter()


@pytest.fixture(scope="session")
def live() -> PilaAdapter:
    """An adapter whose correction is about a tenth of v."""
    adapter = small_adapter()
    torch.nn.init.normal_(adapter.decoder.out.weight, std=0.05)
    return adapter


@pytest.fixture(scope="session")
def components() -> dict[str, Any]:
    return tiny.components()


@pytest.fixture(scope="session")
def components_22() -> dict[str, Any]:
    return tiny.components(wan22=True)
