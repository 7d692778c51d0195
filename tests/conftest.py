"""What every test shares: one thread, shapes checked at run time, no display, no hub."""

import json
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

import pila  # noqa: F401  before torch, so that its threads sleep while they wait

# Shapes are checked where house rules ask for them. `pila.lab.world` is left out: the hook wraps
# functions inside their other decorators, and numba cannot compile the wrapper.
CHECKED = ["pila.flow", "pila.physics", "pila.adapter"]
_hook = install_import_hook(CHECKED, "beartype.beartype")

# The machines that run the suite share few cores: threads that wait for each other are slower.
torch.set_num_threads(1)

settings.register_profile("shared-cores", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "shared-cores")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where no CUDA device is found."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


TINY_SAMPLING = {"height": 32, "width": 32, "num_frames": 9, "fps": 8, "steps": 2}


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Wan repository with tiny random models and sampling values of its own."""
    from diffusers import WanPipeline
    from tests.pipelines import tiny

    folder = tmp_path_factory.mktemp("wan")
    WanPipeline(**tiny.components()).save_pretrained(folder)
    sampling = TINY_SAMPLING | {
        "guidance_scale": 2.0,
        "max_sequence_length": 16,
        "scenes": ["thrown_ball", "ball_collision", "hot_spot"],
    }
    (folder / "pila.json").write_text(json.dumps(sampling))
    return folder


@pytest.fixture(scope="session")
def adapter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny adapter that fits `wan_folder` and whose correction is not zero."""
    from tests.pipelines import tiny

    folder = tmp_path_factory.mktemp("adapter")
    tiny.live_adapter().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plain_adapter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny plain control that fits `wan_folder` and whose correction is not zero."""
    from tests.pipelines import tiny

    from pila.adapter import PlainAdapter

    torch.manual_seed(0)
    adapter = PlainAdapter(
        latent_channels=tiny.LATENT_CHANNELS, text_dim=tiny.TEXT_WIDTH, hidden_width=8, num_blocks=2
    )
    torch.nn.init.normal_(adapter.out.weight, std=0.2)
    folder = tmp_path_factory.mktemp("plain-adapter")
    adapter.save_pretrained(folder)
    return folder


@pytest.fixture
def no_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that tests."""
    from pila.network import PROXY_VARIABLES, TLS_VARIABLES

    for name in (*PROXY_VARIABLES, *TLS_VARIABLES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
