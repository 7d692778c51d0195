"""Clips for a benchmark: every method from the same noise, under the official names.

What exists is kept, so the same command goes on; torchrun spreads it over processes, each of which
makes every n-th clip on its own device. `generation.json` beside the clips holds all settings,
seeds and hashes; clips of other settings are never mixed in.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.files import clear_left_over
from pila.lab.benchmarks.prompt_list import Item, PromptList, damage
from pila.lab.benchmarks.reading import read_entries
from pila.lab.benchmarks.records import digest_of, versions, write_json
from pila.lab.experiments.sampling import weights_of
from pila.labels.parser import make_parser
from pila.progress import progress_bar
from pila.provenance import weights_hash
from pila.video import write_video

logger = logging.getLogger(__name__)
FILE = "generation.json"
LABELS = "labels.json"
SEED_RULE = "first 63 bits of sha256('seed|sample|prompt')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What clips of all compared methods share."""

    height: int
    width: int
    num_frames: int
    fps: float
    steps: int
    guidance_scale: float
    max_sequence_length: int
    negative_prompt: str | None
    seed: int
    seed_rule: str = SEED_RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A generator with or without an adapter, and how it is called."""

    name: str
    model: str
    adapter: str | None = None
    adapter_scale: float = 1.0
    step_window: tuple[int, int] | None = None
    top_k: int | None = None
    velocity_source: str = "cond"
    parser: str = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a call did in this process.

    Attributes:
        made: clips made now.
        kept: clips of this process that were there.
        total: clips of the whole list.
        folder: where they are.
    """

    made: int
    kept: int
    total: int
    folder: str


def clip_seed(seed: int, sample: int, prompt: str) -> int:
    """The seed of a clip's noise: of the prompt and sample, whatever the order and the method."""
    digest = hashlib.sha256(f"{seed}|{sample}|{prompt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def share() -> tuple[int, int]:
    """(rank, number) of this process among those that torchrun started; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def read_sampling(folder: Path) -> dict[str, Any] | None:
    """Settings of the clips in a folder, None where they were made elsewhere."""
    path = folder / FILE
    if not path.is_file():
        return None
    content = read_entries(path, dict)
    return {name: content[name] for name in ("shared", "method", "weights", "prompts", "labels")}


def generate(
    prompts: PromptList,
    folder: Path,
    method: Method,
    shared: Shared,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: Any = "none",
) -> Made:
    """Make this process's share of a method's missing clips.

    Args:
        prompts: the benchmark's list.
        folder: of this method's clips.
        method: who makes them.
        shared: sizes, steps and the seed, the same for all methods.
        device: as `load_pipeline` takes it; under torchrun each process takes its own accelerator.
        dtype: of the denoiser; auto is the device's own.
        offload: as `load_pipeline` takes it.

    Raises:
        InputError: the folder holds clips of other settings, or nothing can be loaded or written.
        FloatingPointError: an output is not finite.
    """
    rank, number = share()
    parser = make_parser(method.parser)
    corrects = method.adapter is not None
    mine = [(item, i) for item in prompts.items for i in range(len(item.files))][rank::number]
    wanted = prompts.items if rank == 0 else list({i.key: i for i, _ in mine}.values())
    labels = {i.key: parser(i.prompt).to_dict() for i in wanted} if corrects else {}
    if rank == 0:
        clear_left_over(folder)
        _begin(prompts, folder, method, shared, labels, {"device": device, "dtype": dtype})
    else:
        _follow(folder, _asked(prompts, method, shared))
    missing = [(item, i) for item, i in mine if not _there(folder / item.files[i])]
    if missing:
        pipeline = _load(method, device, dtype, offload)
        bar = progress_bar(missing, desc=method.name, unit="clip", shown=rank == 0)
        for item, sample in bar:
            chosen = labels[item.key]["categories"] if corrects else None
            frames = _sample(pipeline, item, sample, method, shared, chosen)
            write_video(folder / item.files[sample], frames, fps=shared.fps)
    return Made(
        made=len(missing),
        kept=len(mine) - len(missing),
        total=len(prompts.files),
        folder=str(folder),
    )


def _begin(
    prompts: PromptList,
    folder: Path,
    method: Method,
    shared: Shared,
    labels: dict[str, Any],
    where: dict[str, str],
) -> None:
    """Write what the clips are made with, or refuse a folder with clips of other settings."""
    chosen = {key: parse["categories"] for key, parse in labels.items()}
    asked = _asked(prompts, method, shared)
    _refuse_other(folder, asked)  # before the weights are hashed, which takes minutes for 14B
    asked |= {"weights": _weights(method), "labels": digest_of(chosen)}
    path = folder / FILE
    if path.is_file():
        _refuse_other(folder, asked)
        return
    if any((folder / name).exists() for name in prompts.files):
        raise InputError(
            f"{folder} holds clips without {FILE}, so how they were made is not known; give "
            "another --output"
        )
    if labels:
        write_json(folder / LABELS, labels)
    write_json(path, {**asked, **where, "versions": versions()})


def _follow(folder: Path, asked: dict[str, Any]) -> None:
    """Wait until the first process has checked the folder, and check it, too.

    The launcher ends those who wait where the first one fails.
    """
    while not (folder / FILE).is_file():
        time.sleep(0.2)
    _refuse_other(folder, asked)
    # All weights are hashed by the first process, as that takes minutes; an adapter's are few.
    kept = read_entries(folder / FILE, dict)["weights"].get("adapter")
    if kept != weights_of(asked["method"]["adapter"]):
        raise InputError(f"{folder} holds clips of another adapter; give another --output")


def _asked(prompts: PromptList, method: Method, shared: Shared) -> dict[str, Any]:
    return {
        "benchmark": prompts.benchmark,
        "prompts": prompts.digest,
        "method": asdict(method),
        "shared": asdict(shared),
    }


def _refuse_other(folder: Path, asked: dict[str, Any]) -> None:
    path = folder / FILE
    if not path.is_file():
        return
    found = read_entries(path, dict)
    plain = json.loads(json.dumps(asked))
    other = [name for name, value in plain.items() if found.get(name) != value]
    if other:
        raise InputError(
            f"{folder} holds clips of another {' and '.join(other)}; give another --output, or "
            "delete the folder to make them anew"
        )


def _weights(method: Method) -> dict[str, Any]:
    from pila.pipelines.locate import find_model

    model = find_model(method.model)
    parts = ("vae", "text_encoder", "transformer", "transformer_2")
    hashes = {part: weights_hash(model / part) for part in parts if (model / part).is_dir()}
    adapter = weights_of(method.adapter)
    return hashes if adapter is None else {**hashes, "adapter": adapter}


def _there(path: Path) -> bool:
    """Whether a clip is made; a damaged one is made again."""
    if not path.is_file():
        return False
    why = damage(path)
    if why:
        logger.warning("generate: %s %s and is made again", path, why)
    return why is None


def _load(method: Method, device: str, dtype: str, offload: Any) -> Any:
    import torch

    from pila.pipelines.locate import find_device, load_pipeline

    place = find_device(device)
    if place.type != "cpu" and place.index is None and "LOCAL_RANK" in os.environ:
        count = max(1, torch.accelerator.device_count())
        place = torch.device(place.type, int(os.environ["LOCAL_RANK"]) % count)
    pipeline = load_pipeline(
        method.model,
        method.adapter,
        device=str(place),
        dtype=None if dtype == "auto" else getattr(torch, dtype),
        offload=offload,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _sample(
    pipeline: Any,
    item: Item,
    sample: int,
    method: Method,
    shared: Shared,
    labels: Sequence[str] | None,
) -> np.ndarray:
    """Frames [t, h, w, 3] uint8 of one clip."""
    import torch

    extra: dict[str, Any] = {}
    if labels is not None:
        extra = {
            "categories": list(labels) or None,
            "adapter_scale": method.adapter_scale,
            "step_window": method.step_window,
            "top_k": method.top_k,
            "velocity_source": method.velocity_source,
        }
    noise = torch.Generator("cpu").manual_seed(clip_seed(shared.seed, sample, item.prompt))
    try:
        frames = pipeline(
            prompt=item.prompt,
            negative_prompt=shared.negative_prompt,
            height=shared.height,
            width=shared.width,
            num_frames=shared.num_frames,
            num_inference_steps=shared.steps,
            guidance_scale=shared.guidance_scale,
            max_sequence_length=shared.max_sequence_length,
            generator=noise,
            output_type="np",
            **extra,
        ).frames[0]
    except torch.OutOfMemoryError:
        raise InputError(
            f"the device's memory is too small for {shared.num_frames} frames of {shared.width} x "
            f"{shared.height}; try --offload model, or a smaller clip"
        ) from None
    if not np.isfinite(frames).all():
        raise FloatingPointError(f"{method.name}: the clip of {item.key} is not finite")
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)
