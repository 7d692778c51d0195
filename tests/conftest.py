"""What every test shares: one thread, shapes checked at run time, no display, no hub."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes are checked where house rules ask for them. `pila.world` is left out: the hook wraps
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
