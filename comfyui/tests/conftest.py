"""Threads, the hub and shared fixtures as in the package's own tests."""

import torch
from tests.conftest import adapter_folder, plain_adapter_folder

torch.set_num_threads(1)

__all__ = ["adapter_folder", "plain_adapter_folder"]
