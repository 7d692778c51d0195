"""Times and peaks of memory: on a GPU by events, in one run, interleaved."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

WARM_UPS = 2


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
        device: where it runs; on a GPU its own events time it.
        repeats: turns that count, after two that warm up.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(WARM_UPS + repeats):
        for name, run in runs.items():
            spent = _timed(run, device)
            if turn >= WARM_UPS:
                found[name].append(spent)
    return {name: Times.of(values) for name, values in found.items()}


def peak_gib(run: Callable[[], object], device: torch.device) -> float | None:
    """The peak of a GPU's memory during a run, weights among it; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**30


def _timed(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
    begin = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - begin)
