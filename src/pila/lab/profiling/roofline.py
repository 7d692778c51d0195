"""The least time that a network's arithmetic and memory traffic take on a device, as measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pila.lab.profiling.clock import wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What a device reaches at best.

    Attributes:
        flops: operations a second of a large matrix product.
        bandwidth: bytes a second of a large copy, read and written.
    """

    flops: float
    bandwidth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least that a pass takes.

    Attributes:
        flops: of its matrix products and convolutions.
        bytes: read and written by them, weights once, all else fused into them.
        milliseconds: the longer of the two at the device's ceilings.
    """

    flops: int
    bytes: int
    milliseconds: float


def ceilings(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.3) -> Ceilings:
    """Measure a device for twice that long."""
    large = device.type != "cpu"
    side = 8192 if large else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    flops = 2 * side**3 * _rate(lambda: a @ b, device, seconds)
    source = torch.empty(2**28 if large else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() * _rate(lambda: target.copy_(source), device, seconds)
    return Ceilings(flops=flops, bandwidth=bandwidth)


def floor(module: nn.Module, run: Callable[[], Any], limits: Ceilings) -> Floor:
    """Count a pass of a module at the ceilings of its device.

    Args:
        module: whose linear layers and convolutions are counted; other products (the experts')
            are counted in the arithmetic, and not in the memory.
        run: one pass of it.
        limits: of the device.
    """
    moved = 0

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        weights = sum(p.numel() * p.element_size() for p in layer.parameters(recurse=False))
        moved += weights + sum(x.numel() * x.element_size() for x in (given[0], output))

    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
    finally:
        for handle in handles:
            handle.remove()
    flops = counter.get_total_flops()
    least = max(flops / limits.flops, moved / limits.bandwidth)
    return Floor(flops=flops, bytes=moved, milliseconds=1e3 * least)


def _rate(run: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Runs a second."""
    run()
    wait(device)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        run()
        count += 1
        wait(device)
    return count / (time.perf_counter() - start)
