"""`pila profile`: what is asked, checked, measured, printed and written."""

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from pila.errors import InputError
from pila.json_files import read_object
from pila.progress import only_own_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """Time the adapter on the models that people run, with random weights; nothing is downloaded.

    The frozen guided step and the same with the adapter take turns in one run. On a CPU take fewer
    layers and smaller clips: the frozen step is then continued to the full depth.
    """

    model: Positional[Literal["wan2.1-1.3b", "wan2.2-a14b", "embedded"]] = "embedded"
    """Whose denoiser is built at its real configuration."""
    resolution: tuple[str, ...] = ()
    """Height x width of the clips, one or several; 480x832 by default, 64x64 for embedded."""
    frames: int | None = None
    """4 n + 1; 81 by default, 33 for embedded."""
    batch: tuple[int, ...] = (1,)
    """Clips at once, one or several."""
    top_k: tuple[int, ...] = (0, 1, 2, 4, 8)
    """Numbers of experts."""
    layers: int | None = None
    """Blocks of the denoiser that are built, at least 2; all by default."""
    conv: tuple[Literal["factorised", "dense"], ...] = ("factorised",)
    """The adapter's convolutions; dense 3x3x3 is the reference that it is compared with."""
    compiled: bool = False
    """Run the adapter through torch.compile."""
    tile: int | None = None
    """Compute the adapter in tiles of so many latent cells to each side, at least 8."""
    beside: tuple[str, ...] = ()
    """Also time both with something else on the denoiser, one after another: compile, fp8,
    first-block-cache, lora, group-offload, int8 (torchao), nf4 (bitsandbytes)."""
    repeats: int = 10
    """Turns that count, after two that warm up."""
    parts: bool = False
    """Also time encoder, fields, router, experts and decoder apart."""
    training: bool = False
    """Also time a step of the coupling stage."""
    caching: bool = False
    """Also time Wan's VAE as it encodes clips for a latent cache."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto is bfloat16 on CUDA and float32 elsewhere."""
    threads: int | None = None
    """Of the CPU; all by default."""
    output: Path = Path("benchmarks/results")
    """Folder for <device>-<date>.json; rows are added to a file of the same day."""
    json: bool = False
    """Print the rows as one JSON object instead of the table."""


def run(request: ProfileRequest) -> dict[str, Any]:
    """Measure what is asked and write it; returns what the file then holds.

    Raises:
        InputError: a value out of its bounds, or memory that does not suffice.
    """
    _check(request)
    import torch

    from pila.lab.profiling import accelerations as companions
    from pila.lab.profiling import caching, inference, training
    from pila.lab.profiling.models import Size
    from pila.pipelines.locate import find_device

    only_own_progress()
    device = find_device(request.device)
    for name in request.beside:
        companions.check(name, device)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    small = request.model == "embedded"
    frames = request.frames or (33 if small else 81)
    sizes = [
        Size.of(resolution, frames=frames, batch=batch)
        for resolution in request.resolution or (("64x64",) if small else ("480x832",))
        for batch in request.batch
    ]
    name = request.dtype
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    dtype = getattr(torch, name)
    options: dict[str, Any] = {"device": device, "repeats": request.repeats}
    rows: list[dict[str, Any]] = []
    try:
        for size in sizes:
            for conv in request.conv:
                how: dict[str, Any] = {"dtype": dtype, "layers": request.layers, "conv": conv}
                how |= {"compiled": request.compiled, "tile": request.tile, "device": device}
                for beside in (None, *request.beside):
                    rows += [
                        {"kind": "inference"} | row
                        for row in inference.measure(
                            request.model,
                            size,
                            # How K matters shows without companions.
                            top_ks=request.top_k if beside is None else request.top_k[-1:],
                            repeats=request.repeats,
                            beside=beside,
                            **how,
                        )
                    ]
                if request.parts:
                    # Its parts are called by themselves, past compilation and tiles.
                    eager: dict[str, Any] = how | {"compiled": False, "tile": None}
                    step = inference.build(request.model, size, **eager)
                    found = inference.parts(step, top_k=max(request.top_k), **options)
                    rows.append(
                        {
                            "kind": "parts",
                            "model": request.model,
                            "resolution": f"{size.height}x{size.width}",
                            "frames": frames,
                            "top_k": max(request.top_k),
                            "conv": conv,
                        }
                        | {f"{part}_ms": times.median for part, times in found.items()}
                    )
            if request.training:
                found = training.measure(request.model, size, layers=request.layers, **options)
                rows.append({"kind": "training"} | found)
            if request.caching:
                rows.append({"kind": "caching"} | caching.measure(size, **options))
    except torch.OutOfMemoryError:
        raise InputError(
            f"{device} has too little memory for {request.model} at {sizes[-1]}; take fewer "
            "--layers or a smaller --resolution"
        ) from None
    results = _added(request.output, describe(device), rows)
    return results | {"new": len(rows)}


def describe(device: Any) -> dict[str, Any]:
    """The device in words, and the versions that a time depends on."""
    import torch

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    else:
        name = f"{device.type} of {_processor()}"
    versions = {package: version(package) for package in ("torch", "diffusers", "pila")}
    return {"device": name, "versions": versions | {"python": platform.python_version()}}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as people read them."""
    lines: list[str] = []
    kinds = dict.fromkeys(row["kind"] for row in rows)
    for kind in kinds:
        mine = [row for row in rows if row["kind"] == kind]
        columns = [c for c in _COLUMNS[kind] if any(row.get(c) is not None for row in mine)]
        if kind == "parts":
            columns += [c for c in mine[0] if c.endswith("_ms")]
        lines += ["", f"{kind}:", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += [
            "| " + " | ".join(_cell(column, row.get(column)) for column in columns) + " |"
            for row in mine
        ]
    return "\n".join(lines[1:])


_COLUMNS = {
    "inference": (
        "model",
        "resolution",
        "frames",
        "batch",
        "conv",
        "beside",
        "tile",
        "top_k",
        "frozen_ms",
        "adapter_ms",
        "overhead",
        "floor_ms",
        "over_floor",
        "memory_frozen_gib",
        "memory_gib",
    ),
    "parts": ("model", "resolution", "frames", "conv", "top_k"),
    "training": (
        "model",
        "resolution",
        "frames",
        "batch",
        "frozen_ms",
        "step_ms",
        "ratio",
        "memory_frozen_gib",
        "memory_gib",
    ),
    "caching": (
        "resolution",
        "frames",
        "encode_ms",
        "clips_per_hour",
        "hours_for_wisa_80k",
        "memory_gib",
    ),
}


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "overhead" and isinstance(value, float):
        return f"{100 * value:.3f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check(request: ProfileRequest) -> None:
    for k in request.top_k:
        if not 0 <= k <= 8:
            raise InputError(f"top_k is {k}; there are 8 experts, so use 0 to 8")
    if not (request.top_k and request.batch and request.conv):
        raise InputError("top_k, batch and conv each take at least one value")
    if request.repeats < 1:
        raise InputError(f"repeats is {request.repeats}; use at least 1")
    if request.threads is not None and request.threads < 1:
        raise InputError(f"threads is {request.threads}; use at least 1")


def _added(folder: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Today's file of this device with the rows at its end.

    Each row says what it was measured with: a file's rows may be of several commits.
    """
    from pila.files import atomic_write
    from pila.provenance import commit

    name = re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-")
    path = folder / f"{name}-{datetime.now(UTC).date()}.json"
    before: list[dict[str, Any]] = []
    if path.is_file():
        kept = read_object(path, remedy="move it away")
        if not isinstance(kept.get("rows"), list):
            raise InputError(f"{path} has no list of rows; move it away")
        # Older files say it once for all rows.
        once = {name: kept[name] for name in ("versions", "commit") if name in kept}
        before = [once | row for row in kept["rows"]]
    about = about | {"commit": commit()}
    results = {"device": about["device"], "rows": before + [about | row for row in rows]}
    with atomic_write(path) as part:
        part.write_text(json.dumps(results, indent=1) + "\n")
    return results | {"file": str(path)}


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
