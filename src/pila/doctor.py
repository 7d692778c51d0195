"""`pila doctor`: what is installed, what it runs on, what fits, and what is wrong."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PACKAGES = (
    "pila",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "numba",
    "pymunk",
    "av",
    "opencv-python-headless",
)
"""Whose versions a report of a fault should name."""
EXTRAS = {
    "gradio": "web: pila serve",
    "peft": "lora: the LoRA control, and LoRA updates in pila generate",
    "deepspeed": "deepspeed: ZeRO over many processes",
    "pyiqa": "imaging: pila evaluate imaging judge",
}
WEIGHTS = {
    "embedded": 0.02,
    "Wan2.1-T2V-1.3B": 2.84 + 11.4 + 0.5,
    "Wan2.1-T2V-14B": 28.6 + 11.4 + 0.5,
    "Wan2.2-T2V-A14B": 2 * 28.6 + 11.4 + 0.5,
}
"""GB of weights: denoisers and UMT5-XXL in bfloat16, the VAE in float32. Sampling takes more."""
LARGEST_PART = {
    "embedded": 0.02,
    "Wan2.1-T2V-1.3B": 11.4,
    "Wan2.1-T2V-14B": 28.6,
    "Wan2.2-T2V-A14B": 28.6,
}
"""GB of the largest component: what `--offload model` must hold at once."""
LEAST_DISK = 5.0
"""GB below which caches are likely to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An accelerator, or the CPU.

    Attributes:
        name: in words.
        kind: as `--device` takes it.
        memory_gb: in all; main memory for the CPU.
        free_gb: now, where that can be asked.
    """

    name: str
    kind: str
    memory_gb: float
    free_gb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What was found.

    Attributes:
        python: its version.
        platform: operating system and architecture.
        packages: versions; None where one is missing.
        extras: optional packages likewise.
        devices: the CPU first; without memory where that cannot be asked.
        fits: by model, how its weights fit the best device.
        paths: where caches lie, and GB free there, None where that cannot be asked.
        parser: who finds a prompt's categories.
        problems: what is wrong, each with its remedy; none is good.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    extras: dict[str, str | None]
    devices: list[Device]
    fits: dict[str, str]
    paths: dict[str, dict[str, Any]]
    parser: str
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


def examine() -> Checkup:
    """Look at everything; nothing is loaded onto a device and nothing is downloaded.

    It is for broken machines: what cannot be looked at is a problem, never an exception.
    """
    packages = {name: _version(name) for name in PACKAGES}
    problems = [
        f"{name} is not installed: run make again, or pip install -c constraints.txt pila"
        for name, found in packages.items()
        if found is None
    ]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        problems.append(
            f"Python is {platform.python_version()}; pila is made for 3.11 to 3.13: use one of them"
        )

    def tried(what: str, probe: Callable[[], T], otherwise: T, remedy: str) -> T:
        try:
            return probe()
        except Exception as error:
            problems.append(f"{what} ({_one_line(error)}); {remedy}")
            return otherwise

    blind = Device(name="unknown", kind="cpu", memory_gb=0.0, free_gb=None)
    cpu = tried("the CPU cannot be looked at", _cpu, blind, "pila runs without knowing it")
    devices = [cpu]
    if packages["torch"] is not None:
        devices += tried(
            "PyTorch or its driver does not work",
            lambda: _accelerators(cpu, problems),
            [],
            "install PyTorch again, in the build for this machine (docs/install.md), and look "
            "whether nvidia-smi works",
        )
    again = "set PILA_CACHE or HF_HOME to a place that can be read"
    unknown: dict[str, Any] = {"path": "unknown", "free_gb": None}
    about = {}
    for name, find in {"latents, results": _cache, "models of the hub": _hub}.items():
        about[name] = tried(
            f"the place of {name} cannot be looked at",
            lambda find=find: _place(find(), problems),
            unknown,
            again,
        )
    if not any(packages[name] is None for name in ("torch", "safetensors")):
        problems += tried(
            "the embedded model cannot be looked at", _assets, [], "install pila again"
        )
    return Checkup(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages=packages,
        extras={name: _version(name) for name in EXTRAS},
        devices=devices,
        fits={model: _fit(model, devices) for model in WEIGHTS},
        paths=about,
        parser=tried("the parser cannot be told", _parser, "unknown", "install pila again"),
        problems=problems,
    )


def text(checkup: Checkup) -> str:
    """The findings as people read them."""
    lines = [f"python     {checkup.python}, {checkup.platform}"]
    known = ", ".join(f"{n} {v}" for n, v in checkup.packages.items() if v)
    lines.append(f"packages   {known}")
    for name, found in checkup.extras.items():
        lines.append(f"extra      {name} {found or 'not installed'} ({EXTRAS[name]})")
    for device in checkup.devices:
        free = "" if device.free_gb is None else f", {device.free_gb:.1f} GB free"
        lines.append(f"device     {device.kind}: {device.name}, {device.memory_gb:.1f} GB{free}")
    lines += [f"model      {name}: {how}" for name, how in checkup.fits.items()]
    for name, place in checkup.paths.items():
        free = "" if place["free_gb"] is None else f", {place['free_gb']:.1f} GB free"
        lines.append(f"path       {name}: {place['path']}{free}")
    lines.append(f"parser     {checkup.parser}")
    lines += [f"problem    {problem}" for problem in checkup.problems]
    if not checkup.problems:
        lines.append("no problem found")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _cpu() -> Device:
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    size = os.sysconf("SC_PAGE_SIZE") if pages else 0
    free = None
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in rows:
            free = int(rows["MemAvailable"].split()[0]) / 1e6
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device(
        name=f"{platform.processor() or platform.machine()}, {count} cores",
        kind="cpu",
        memory_gb=pages * size / 1e9,
        free_gb=free,
    )


def _accelerators(cpu: Device, problems: list[str]) -> list[Device]:
    import torch

    if torch.cuda.is_available():
        found = []
        for i in range(torch.cuda.device_count()):
            try:
                free, total = torch.cuda.mem_get_info(i)
                name = torch.cuda.get_device_name(i)
            except RuntimeError as error:
                problems.append(
                    f"cuda:{i} does not answer ({_one_line(error)}); see with nvidia-smi who uses "
                    "it, or hide it with CUDA_VISIBLE_DEVICES"
                )
                continue
            found.append(
                Device(name=name, kind=f"cuda:{i}", memory_gb=total / 1e9, free_gb=free / 1e9)
            )
        return found
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        problems.append(
            "an NVIDIA driver is here, but this PyTorch is for CPUs alone: install again without "
            "PIP_EXTRA_INDEX_URL pointing at the CPU wheels"
        )
    if torch.backends.mps.is_available():
        return [Device(name="Apple GPU", kind="mps", memory_gb=cpu.memory_gb, free_gb=None)]
    return []


def _fit(model: str, devices: list[Device]) -> str:
    """How a model's weights fit the device with most memory; sampling takes more than weights."""
    best = max(devices[1:] or devices, key=lambda d: d.memory_gb)
    weights, part = WEIGHTS[model], LARGEST_PART[model]
    size = f"{weights:.1f} GB of weights"
    if best.kind == "cpu":
        if weights < 1:
            return f"{size}: runs on this CPU in seconds"
        fits = "fit" if weights < best.memory_gb else "do not fit"
        return f"{size}: {fits} this machine's memory, and a CPU is too slow; use a GPU"
    if weights < 0.8 * best.memory_gb:
        return f"{size}: fit {best.kind} whole"
    if part < 0.8 * best.memory_gb:
        return f"{size}: --offload model holds {part:.1f} GB of them at once on {best.kind}"
    return f"{size}: --offload group or sequential, layer by layer on {best.kind}"


def _cache() -> Path:
    if found := os.environ.get("PILA_CACHE"):
        return Path(found)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pila"


def _hub() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _place(path: Path, problems: list[str]) -> dict[str, Any]:
    there = path
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    if free < LEAST_DISK:
        problems.append(f"{path} has {free:.1f} GB free; free some, or set PILA_CACHE or HF_HOME")
    if not os.access(there, os.W_OK):
        problems.append(f"{there} cannot be written; set PILA_CACHE or HF_HOME to a place that can")
    return {"path": str(path), "free_gb": free}


def _assets() -> list[str]:
    from pila.errors import InputError
    from pila.pipelines.locate import EMBEDDED_ADAPTER, EMBEDDED_MODEL
    from pila.pipelines.repository import check_model_folder, check_wan_repository

    try:
        check_wan_repository(EMBEDDED_MODEL)
        check_model_folder(EMBEDDED_ADAPTER)
    except InputError as error:
        return [f"the embedded model is damaged ({error}); install pila again"]
    return []


def _parser() -> str:
    name = os.environ.get("PILA_LLM_MODEL") or os.environ.get("OPENAI_MODEL")
    if not name:
        return "offline lexicon (set PILA_LLM_MODEL to ask a language model)"
    place = os.environ.get("PILA_LLM_BASE_URL") or os.environ.get("OPENAI_BASE_URL")
    from pila.network import shown_address  # the report is for others to read

    return f"language model {name} at {shown_address(place) if place else 'api.openai.com'}"
