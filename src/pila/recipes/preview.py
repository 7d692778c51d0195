"""What `pila train --dry-run` says: some ten lines on what a run trains, takes and lacks."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pila.data.shard_files import read_header
from pila.data.sources import clip_maker
from pila.errors import InputError
from pila.files import cache_root
from pila.pipelines.locate import HUB_ID
from pila.train.checkpoint import KEEP, read_record
from pila.train.config import ADAPTER_TASKS, INSIDE_TASKS, TrainConfig
from pila.train.estimate import Estimate, cached, estimate

COUPLING_FLOPS = 295e12
"""Operations a second of a coupling step of Wan 2.1-1.3B, 81 frames of 480 x 832, bfloat16,
measured on an NVIDIA H100 80GB: 284 TFLOP in 0.963 s (docs/performance.md)."""
MEASURED = {
    "embedded": "29 minutes of one core",
    "embedded-observe": "7 minutes of one core",
    "embedded-recover": "7 minutes of one core",
    "embedded-generator": "80 minutes of two cores that have bfloat16",
    "embedded-generator-fine": "80 minutes of two cores that have bfloat16",
    "embedded-generator-even": "80 minutes of two cores that have bfloat16",
    "embedded-generator-deep": "2 minutes of an NVIDIA H200",
}
"""Whole recipes, as docs/training.md has them."""
WHAT = {
    "vae": "the embedded VAE",
    "text": "the embedded text encoder",
    "generator": "the embedded generator",
    "prophy": "ProPhy's branch",
    "lora": "LoRA updates",
    "fine-tune": "all of the generator's weights",
    "plain": "the plain adapter",
    "pila": "PILA's adapter",
}
"""By task, and by the kind of adapter."""


def summary(
    recipe: str,
    stages: Mapping[str, TrainConfig],
    output: Path,
    *,
    start: str | None = None,
    missing: Sequence[str] = (),
) -> str:
    """The lines, each with a first word.

    Args:
        recipe: its name.
        stages: its configurations, with all that the call changes.
        output: the run's folder.
        start: what the first stage begins with.
        missing: what has been noticed so far.
    """
    lacking, found = list(missing), dict[str, Estimate | None]()
    for name, config in stages.items():
        if config.data is not None and not (Path(config.data) / "cache.json").is_file():
            config = replace(config, data=None)  # counted at the size that the model is made for
        try:
            found[name] = estimate(config, processes=_processes())
        except InputError as error:
            found[name] = None
            lacking += [str(error)] if str(error) not in lacking else []
    last = list(stages.values())[-1]
    known = [e for e in found.values() if e is not None]
    largest = max((e.memory_bytes for e in known), default=None)
    lacking += _hardware(last, largest)
    lines = [("trains", _trained(last, stages, known, start))]
    if last.task in ADAPTER_TASKS:
        under = f", {_count(known[-1].frozen_parameters)} parameters that rest" if known else ""
        lines.append(("model", f"{last.model}{under}"))
    lines += [
        ("data", _data(last)),
        ("steps", _each(stages, lambda c: f"{c.optim.steps:,}")),
        ("batch", f"{_each(stages, _batch)}; processes that share it: {_processes()}"),
        ("precision", _each(stages, _precision)),
        ("memory", "unknown" if largest is None else f"some {_size(largest)} a process, counted"),
        ("time", _time(recipe, stages, found, output)),
        ("disk", _disk(last, known, output)),
        ("begins", _begins(stages, output)),
        *(("missing", text) for text in lacking or ["nothing"]),
    ]
    return "\n".join(f"{name:<11} {line}" for name, line in lines)


def not_here(config: TrainConfig) -> str | None:
    """That a hub model's weights would be downloaded, or None where they are here."""
    if not HUB_ID.fullmatch(config.model) or Path(config.model).exists():
        return None
    names = ("transformer/diffusion_pytorch_model.safetensors.index.json",)
    names += ("transformer/diffusion_pytorch_model.safetensors",)
    if any(cached(config.model, name) for name in names):
        return None
    return (
        f"{config.model} is not on this machine: training would download it; "
        f"hf download {config.model} does so first"
    )


def _hardware(config: TrainConfig, memory: int | None) -> list[str]:
    """What this machine lacks for a run."""
    found: list[str] = []
    real = config.task in ADAPTER_TASKS and HUB_ID.fullmatch(config.model) is not None
    if not torch.cuda.is_available():
        if real:
            found.append("no CUDA GPU on this machine: on its processor this is for tests alone")
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        there = torch.cuda.mem_get_info()[1]
    if memory is not None and memory > there:
        found.append(
            f"memory: this machine has {_size(there)}; hold fewer samples at once "
            "(--set optim.micro_batch=1), or use more processes"
        )
    compilers = [shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")]
    if config.task == "generator" and config.generator.compiled and not any(compilers):
        found.append("a C++ compiler for torch.compile: --set generator.compiled=false")
    return found


def _trained(
    last: TrainConfig, stages: Mapping[str, TrainConfig], known: list[Estimate], start: str | None
) -> str:
    stage = last.task in ADAPTER_TASKS and last.task not in INSIDE_TASKS
    kind = last.couple.kind if stage else last.task
    size = f", {_count(known[-1].trained_parameters)} parameters" if known else ""
    rows = f", in stages {', '.join(stages)}" if len(stages) > 1 else ""
    begun = start or last.start
    return f"{WHAT[kind]}{size}{rows}" + (f", going on from {begun}" if begun else "")


def _data(config: TrainConfig) -> str:
    if config.data is not None:
        try:
            header = read_header(Path(config.data))
        except InputError:
            return f"{config.data}, which cannot be read"
        return (
            f"{config.data}: {header.records:,} clips, {header.num_frames} frames of "
            f"{header.height} x {header.width}"
        )
    if config.model != "embedded" and not (Path(config.model) / "pila.json").is_file():
        return "none yet"
    made = clip_maker(config.world).describe(config.world)
    return f"{made}, made when they are first wanted and kept in {cache_root()}"


def _time(
    recipe: str,
    stages: Mapping[str, TrainConfig],
    found: Mapping[str, Estimate | None],
    output: Path,
) -> str:
    """By what was measured: this run so far, the recipe as documented, a GPU's rate; else a bound.

    `hours` of an estimate is what its arithmetic takes at this machine's own matrix speed.
    """
    own = [_rate(output / name) for name in stages]
    if all(own):
        left = [
            rate["seconds_per_step"] * (config.optim.steps - rate["step"])
            for rate, config in zip(own, stages.values(), strict=True)
            if rate
        ]
        return f"{_span(sum(left))} left, as measured in this run on {own[-1]['machine']}"
    known = [e for e in found.values() if e is not None]
    measured = MEASURED.get(recipe) if _as_written(recipe, stages) else None
    if measured:
        return f"{measured}, as measured (docs/training.md)"
    if len(known) < len(found):
        return "unknown"
    config = list(stages.values())[-1]
    here = sum(e.hours for e in known) * 3600
    if HUB_ID.fullmatch(config.model) and not torch.cuda.is_available():
        work = sum(e.flops * c.optim.steps for e, c in zip(known, stages.values(), strict=True))
        gpus = f"{_span(work / COUPLING_FLOPS)} on one NVIDIA H100 at the rate measured there"
        return f"{gpus} (here {_span(here)})"
    return f"at least {_span(here)} on this machine, by its arithmetic alone"


def _as_written(recipe: str, stages: Mapping[str, TrainConfig]) -> bool:
    """Whether the steps and batches are the recipe's own."""
    from pila.recipes import RECIPES

    own = RECIPES[recipe]()
    own = own if isinstance(own, dict) else {"": own}
    return all(
        (own[n].optim.steps, own[n].optim.batch) == (c.optim.steps, c.optim.batch)
        for n, c in stages.items()
    )


def _rate(folder: Path) -> dict[str, Any]:
    """The last checkpoint's record where it says how long a step took; empty where none does."""
    for path in sorted((folder / "checkpoints").glob("step-*/record.json"), reverse=True):
        record = read_record(path.parent)
        return record if record.get("seconds_per_step") else {}
    return {}


def _disk(last: TrainConfig, known: list[Estimate], output: Path) -> str:
    place = next(p for p in (output.absolute(), *output.absolute().parents) if p.exists())
    free = f"{_size(shutil.disk_usage(place).free)} free"
    if not known:
        return free
    # Weights, two moments and averages of the last checkpoints and the best one; what is left.
    each = known[-1].trained_parameters * (16 if last.optim.ema else 12)
    total = (KEEP + 1) * each + 4 * known[-1].trained_parameters
    return f"some {_size(total)} in {output}; {free}"


def _begins(stages: Mapping[str, TrainConfig], output: Path) -> str:
    for name, config in stages.items():
        if name and (output / name / "adapter").is_dir():
            continue
        made = sorted((output / name / "checkpoints").glob("step-*"))
        done = int(made[-1].name.split("-")[1]) if made else 0
        if done or name != next(iter(stages)):
            return f"goes on at step {done:,} of {name or config.task} in {output}"
        return f"anew in {output}"
    return f"nothing: {output} is finished"


def _each(stages: Mapping[str, TrainConfig], say: Callable[[TrainConfig], str]) -> str:
    """A fact of all stages: once where it is the same in all."""
    said = {name: say(config) for name, config in stages.items()}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{name} {value}" for name, value in said.items())


def _batch(config: TrainConfig) -> str:
    held, batch = config.optim.held(_processes()), config.optim.batch
    return f"{batch}" if held * _processes() >= batch else f"{batch} ({held} in a forward)"


def _precision(config: TrainConfig) -> str:
    names = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
    return f"{names[config.optim.precision]}, {config.optim.optimizer}"


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _count(number: int) -> str:
    for unit, name in ((1e9, " billion"), (1e6, " million")):
        if number >= unit:
            return f"{number / unit:.1f}{name}"
    return f"{number:,}"


def _size(number: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number / 1e3:.0f} kB"


def _span(seconds: float) -> str:
    for unit, name in ((365 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} seconds"


def whole(stages: Mapping[str, TrainConfig], *, start: str | None, missing: Sequence[str]) -> Any:
    """The whole configuration of each stage, with its estimate and what is missing."""
    begun = {next(iter(stages)): {"start": start}}
    shown = {
        name: asdict(c) | begun.get(name, {}) | {"estimate": _said(c), "missing": list(missing)}
        for name, c in stages.items()
    }
    return shown.get("", shown)


def _said(config: TrainConfig) -> dict[str, Any] | str | None:
    """What a stage takes; a sentence where that cannot be known here."""
    try:
        found = estimate(config, processes=_processes())
    except InputError as error:
        return f"unknown: {error}"
    return None if found is None else asdict(found)
