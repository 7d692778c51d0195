"""Times and peaks of memory: on a CUDA GPU by events, elsewhere by the clock; interleaved.

A GPU is given work before each event, as a denoiser gives it: launches then run ahead as they do
in a pipeline, which waits for nothing within a step, and what is timed is what the device does.
With nothing before it, small kernels are timed by how fast the host launches them.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

WARM_UPS = 2
SIDE, PRODUCTS = 8192, 24
"""Of the matrix products that keep a GPU busy: some 35 ms on an H100, longer elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Of one thing, in milliseconds.

    Attributes:
        median: of the repeats.
        low: their lower quartile.
        high: their upper quartile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Times":
        """From at least one value."""
        if len(values) < 2:
            return cls(median=values[0], low=values[0], high=values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, low=low, high=high)


def interleaved(
    runs: Mapping[str, Callable[[], object]], *, device: torch.device, repeats: int
) -> dict[str, Times]:
    """Times of several things, taken in turns, so that drifts of the clock meet all alike.

    Args:
        runs: what is timed, by name.
        device: where it runs; on a CUDA GPU its own events time it.
        repeats: turns that count, after two that warm up.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    busy = None
    if device.type == "cuda":
        busy = torch.zeros(SIDE, SIDE, dtype=torch.bfloat16, device=device)
    for turn in range(WARM_UPS + repeats):
        for name, run in runs.items():
            spent = _timed(run, device, busy)
            if turn >= WARM_UPS:
                found[name].append(spent)
    return {name: Times.of(values) for name, values in found.items()}


def peak_gib(run: Callable[[], object], device: torch.device) -> float | None:
    """The peak of a CUDA GPU's memory during a run, weights among it; None elsewhere."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**30


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given: accelerators are given work ahead."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _timed(run: Callable[[], object], device: torch.device, busy: torch.Tensor | None) -> float:
    if busy is not None:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(PRODUCTS):
            torch.matmul(busy, busy)
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
    wait(device)
    begin = time.perf_counter()
    run()
    wait(device)
    return 1e3 * (time.perf_counter() - begin)
