"""How many processor threads PyTorch gets, and that they sleep while they wait.

OpenMP threads that spin at the end of each small operation take the processor from whoever else
needs it, and from one another: on two cores a second program with threads of its own slowed the
embedded model down by a factor of ten (docs/performance.md, "A busy machine").
"""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait give the processor away: GNU's OpenMP reads the first, LLVM's both."""
ONE_THREAD_BELOW = 1e11
"""Operations of a denoiser's pass below which one thread is as fast as several, also on a quiet
machine: the work between two waits is too short to share (`benchmarks/busy.py`)."""


def let_threads_sleep(environment: MutableMapping[str, str] | None = None) -> None:
    """Have OpenMP's threads sleep while they wait, unless the user's environment says otherwise.

    It acts where PyTorch is imported later, in this process or in one that it starts.
    """
    environment = os.environ if environment is None else environment
    if not any(name in environment for name in (*PASSIVE, "GOMP_SPINCOUNT")):
        environment.update(PASSIVE)


def threads_for(operations: float, available: int) -> int:
    """Threads worth having for a pass of that many operations, at most those available."""
    return 1 if operations < ONE_THREAD_BELOW else available


@contextmanager
def sampling_threads(pipeline: Any, *, height: int, width: int, num_frames: int) -> Iterator[None]:
    """PyTorch's threads while a pipeline samples on a CPU clips of `num_frames` x height x width.

    OMP_NUM_THREADS, where the user has set it, is left in force.
    """
    import torch

    if "OMP_NUM_THREADS" in os.environ or pipeline._execution_device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    work = denoiser_operations(pipeline, height=height, width=width, num_frames=num_frames)
    torch.set_num_threads(threads_for(work, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def denoiser_operations(pipeline: Any, *, height: int, width: int, num_frames: int) -> float:
    """Multiplications and additions of one pass of the pipeline's denoiser: two a weight and token.

    Attention's own products come on top; they matter where the count is far above any threshold.
    """
    denoiser = pipeline.transformer if pipeline.transformer is not None else pipeline.transformer_2
    patch = denoiser.config.patch_size
    frames = (num_frames - 1) // pipeline.vae_scale_factor_temporal + 1
    cells = (
        height // pipeline.vae_scale_factor_spatial,
        width // pipeline.vae_scale_factor_spatial,
    )
    tokens = frames // patch[0] * (cells[0] // patch[1]) * (cells[1] // patch[2])
    return 2.0 * tokens * sum(p.numel() for p in denoiser.parameters())
