"""Which attention kernels a frozen generator's forward takes while something in it learns."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def kernels_for_training(device: torch.device) -> Iterator[None]:
    """Attention as products and a softmax on CPUs, where the fused one is slow backwards."""
    plain = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with plain, warnings.catch_warnings():
        # Weights of norms stay in float32 under autocast, which leaves a fused kernel out.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield
