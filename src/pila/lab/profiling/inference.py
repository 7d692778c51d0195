"""A guided denoising step, with and without the adapter, timed in one run.

The frozen step is what diffusers does: two passes of the denoiser, guidance, and the scheduler's
own arithmetic left out, as it is the same for both. The adapter is called once a step, on the
guided velocity, and its dv is added in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from pila.adapter.condition import pool_text
from pila.errors import InputError
from pila.lab.profiling import accelerations as companions
from pila.lab.profiling import roofline as floors
from pila.lab.profiling.clock import Times, interleaved, peak_gib
from pila.lab.profiling.models import Size, build_adapter, build_denoiser, denoiser_config, inputs

GUIDANCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Everything that a step needs, on its device."""

    denoiser: Any
    adapter: Any
    network: Any
    """The adapter's module, which `adapter` is or compiles."""
    given: dict[str, torch.Tensor]
    condition: torch.Tensor

    def frozen(self) -> torch.Tensor:
        """The guided velocity [b, 16, t, h, w], in the denoiser's precision."""
        x, text = self.given["latents"], self.given["text"]
        half = x.to(text.dtype)
        t = self.given["sigma"] * 1000
        # Caches keep what they know of either pass apart, by these names.
        with self.denoiser.cache_context("cond"):
            conditional = self.denoiser(half, t, text, return_dict=False)[0]
        with self.denoiser.cache_context("uncond"):
            unconditional = self.denoiser(half, t, torch.zeros_like(text), return_dict=False)[0]
        return unconditional + GUIDANCE * (conditional - unconditional)

    def corrected(self, v: torch.Tensor, top_k: int) -> torch.Tensor:
        """v + dv in float32."""
        x, sigma = self.given["latents"], self.given["sigma"]
        return v.float() + self.adapter(x, v.float(), sigma, self.condition, top_k=top_k).float()


def build(
    model: str,
    size: Size,
    *,
    device: torch.device,
    dtype: torch.dtype,
    layers: int | None = None,
    conv: str = "factorised",
    compiled: bool = False,
    tile: int | None = None,
    beside: str | None = None,
) -> Step:
    """A step of a model at a size.

    Args:
        model: one of `models.MODELS`.
        size: of the clips.
        device: where it runs.
        dtype: of the denoiser and of the adapter's networks.
        layers: blocks of the denoiser instead of its own number.
        conv: the adapter's convolutions, "factorised" or "dense".
        compiled: run the adapter through torch.compile.
        tile: cells to each side of the tiles that the adapter is computed in; None for whole clips.
        beside: what is put on the denoiser, one of `companions.COMPANIONS`.

    Raises:
        InputError: an unknown model, or sizes that it cannot take.
    """
    given = inputs(model, size, device=device, dtype=dtype)
    adapter: Any = build_adapter(model, device=device, dtype=dtype, conv=conv)
    if tile is not None:
        adapter.enable_tiling(height=tile, width=tile)
    denoiser: Any = build_denoiser(model, device=device, dtype=dtype, layers=layers)
    if beside is not None:
        denoiser = companions.put(beside, denoiser, device=device, dtype=dtype)
    return Step(
        denoiser=denoiser,
        adapter=torch.compile(adapter) if compiled else adapter,
        network=adapter,
        given=given,
        condition=pool_text(given["text"].float()),
    )


@torch.inference_mode()
def measure(
    model: str,
    size: Size,
    *,
    device: torch.device,
    dtype: torch.dtype,
    top_ks: tuple[int, ...],
    repeats: int,
    layers: int | None = None,
    conv: str = "factorised",
    compiled: bool = False,
    tile: int | None = None,
    beside: str | None = None,
) -> list[dict[str, Any]]:
    """A row for each K: times of the frozen step and of the adapter, overhead, memory, floor.

    With fewer `layers` than the model's the frozen step is timed at one block and at that many,
    and continued to the full depth: its blocks are alike. The row says both numbers.

    Raises:
        InputError: as `build`, or one layer of several, from which nothing can be continued.
    """
    depth = denoiser_config(model)["num_layers"]
    if layers == 1 < depth:
        raise InputError(
            f"layers is 1, from which the {depth} of {model} cannot be told; use 2 to {depth}"
        )
    step = build(
        model,
        size,
        device=device,
        dtype=dtype,
        layers=layers,
        conv=conv,
        compiled=compiled,
        tile=tile,
        beside=beside,
    )
    v = step.frozen()
    runs: dict[str, Callable[[], object]] = {"frozen": step.frozen}
    runs |= {f"K = {k}": lambda k=k: step.corrected(v, k) for k in top_ks}
    shallow: Step | None = None
    if layers is not None and layers < depth:
        one: Any = build_denoiser(model, device=device, dtype=dtype, layers=1)
        if beside is not None:
            one = companions.put(beside, one, device=device, dtype=dtype)
        shallow = replace(step, denoiser=one)
        runs["one block"] = shallow.frozen
    times = interleaved(runs, device=device, repeats=repeats)
    frozen = times["frozen"].median
    if layers is not None and shallow is not None:
        frozen = _continued(frozen, times["one block"].median, layers, depth)
    limits = floors.ceilings(device, dtype)
    without, rows = peak_gib(step.frozen, device), []
    # Counted as it is written: hooks would compile it anew.
    eager = replace(step, adapter=step.network)
    for k in top_ks:
        least = floors.floor(step.network, lambda k=k: eager.corrected(v, k), limits)
        peak = peak_gib(lambda k=k: step.corrected(step.frozen(), k), device)
        spent = times[f"K = {k}"]
        rows.append(
            {
                "model": model,
                "resolution": f"{size.height}x{size.width}",
                "frames": size.frames,
                "batch": size.batch,
                "top_k": k,
                "dtype": str(dtype).removeprefix("torch."),
                "conv": conv,
                "compiled": compiled,
                "tile": tile,
                "beside": beside,
                "layers": layers or depth,
                "layers_of_model": depth,
                "frozen_ms": frozen,
                "frozen_measured_ms": _spread(times["frozen"]),
                "adapter_ms": spent.median,
                "adapter_spread_ms": _spread(spent),
                "overhead": spent.median / frozen,
                "memory_gib": peak,
                "memory_frozen_gib": without,
                "adapter_flops": least.flops,
                "adapter_bytes": least.bytes,
                "floor_ms": least.milliseconds,
                "over_floor": spent.median / least.milliseconds,
            }
        )
    return rows


def _continued(some: float, one: float, layers: int, depth: int) -> float:
    """Time of all blocks, from that of some layers and that of one."""
    return one + (depth - 1) * (some - one) / (layers - 1)


@torch.inference_mode()
def parts(step: Step, *, device: torch.device, top_k: int, repeats: int) -> dict[str, Times]:
    """Times of the adapter's parts on what each is really given, for eager adapters."""
    adapter, given = step.adapter, step.given
    v = step.frozen().float()
    x0_hat = given["latents"] - given["sigma"][:, None, None, None, None] * v
    sigma = given["sigma"]
    feature = adapter.encoder(x0_hat, sigma)
    estimate = adapter.fields(feature)
    condition = adapter.condition(step.condition, sigma)
    route = adapter.router(condition, None, top_k=top_k)
    refined = adapter.experts(estimate.bank, feature, condition, route).bank
    return interleaved(
        {
            "encoder": lambda: adapter.encoder(x0_hat, sigma),
            "fields": lambda: adapter.fields(feature),
            "condition, router": lambda: adapter.router(
                adapter.condition(step.condition, sigma), None, top_k=top_k
            ),
            "experts": lambda: adapter.experts(estimate.bank, feature, condition, route),
            "decoder": lambda: adapter.decoder(refined, condition, v, feature),
        },
        device=device,
        repeats=repeats,
    )


def _spread(times: Times) -> list[float]:
    return [times.low, times.median, times.high]
