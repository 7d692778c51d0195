"""What a run will take, before it begins: parameters, memory, arithmetic and time.

Parameters, saved activations and arithmetic are counted on PyTorch's meta device, where nothing is
computed; only the speed of this machine is measured, for a fifth of a second.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pila import plugins
from pila.data.corpus import CorpusConfig
from pila.data.shard_files import read_header
from pila.errors import InputError
from pila.pipelines.known import KNOWN
from pila.pipelines.locate import HUB_ID, denoiser_configs, find_model
from pila.pipelines.repository import own_settings, read_json
from pila.train.config import (
    ADAPTER_TASKS,
    INSIDE_TASKS,
    CoupleConfig,
    ObserveConfig,
    OptimConfig,
    RecoverConfig,
    TrainConfig,
)

MODEL = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
"""At whose size a clip is counted where nothing else says what it is."""
WAN_TOKENS = 512
"""Of a caption, padding among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of one process. Bytes and operations are counted, time is a lower bound.

    Attributes:
        trained_parameters: of what the run trains; stages A and B train a part of it.
        frozen_parameters: of the generator under an adapter.
        latents: shape of one clip's latents.
        memory_bytes: weights, gradients, optimizer and averages, and saved activations.
        flops: of one step, forward and backward.
        seconds_per_step: those operations at this machine's matrix speed.
        hours: of the whole run at that speed.
    """

    trained_parameters: int
    frozen_parameters: int
    latents: tuple[int, ...]
    memory_bytes: int
    flops: int
    seconds_per_step: float
    hours: float


def estimate(config: TrainConfig, *, processes: int = 1) -> Estimate | None:
    """Count what a generator or a stage of an adapter takes; None for other tasks.

    Args:
        config: the run.
        processes: that share the batch.

    Raises:
        InputError: the recipe's model is neither on this machine nor one of Wan's published ones
            (nothing is downloaded for this).
    """
    if config.task not in ("generator", *ADAPTER_TASKS):
        return None
    # Models that come with pila, or are known without a folder, do not change meanwhile.
    fixed = config.data is None and (config.model == "embedded" or _folder(config.model) is None)
    count = _count if fixed else _count.__wrapped__
    counted = count(_what_counts(config), processes)
    return replace(counted, hours=counted.seconds_per_step * config.optim.steps / 3600)


def _what_counts(config: TrainConfig) -> TrainConfig:
    """The same with all that changes no size left at its default."""
    optim, couple = config.optim, config.couple
    return replace(
        config,
        seed=0,
        start=None,
        world=CorpusConfig(size=config.world.size),
        optim=OptimConfig(
            batch=optim.batch,
            micro_batch=optim.micro_batch,
            precision=optim.precision,
            ema=optim.ema,
        ),
        observe=ObserveConfig(),
        recover=RecoverConfig(),
        couple=CoupleConfig(kind=couple.kind, adapter=couple.adapter),
    )


@cache
def _count(config: TrainConfig, processes: int) -> Estimate:
    denoisers, text_dim, tokens = _model(config)
    latents = _latents(config)
    own = config.couple.adapter.latent_channels
    if config.task in ADAPTER_TASKS and config.task not in INSIDE_TASKS and own != latents[0]:
        raise InputError(
            f"couple.adapter.latent_channels is {own}, but latents of {config.model} have "
            f"{latents[0]}: pass --set couple.adapter.latent_channels={latents[0]}"
        )
    batch = config.optim.batch // processes
    micro = min(config.optim.micro_batch or batch, batch)
    with torch.device("meta"):
        trained, frozen = _modules(config, denoisers, text_dim)
        x = torch.empty(micro, *latents)
        sigma, text = torch.empty(micro), torch.empty(micro, tokens, text_dim)
        saved: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[id(storage)] = storage.nbytes()
            return tensor

        with FlopCounterMode(display=False) as counter:
            inside = config.task in INSIDE_TASKS
            if not inside:
                for part in frozen[:1]:  # of two denoisers each sample passes one
                    with torch.no_grad():
                        part(x, sigma, text, return_dict=False)
            with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
                if config.task == "generator":
                    out = trained(x, sigma, text, return_dict=False)[0]
                elif inside:  # the graph goes through the generator
                    out = frozen[0](x, sigma, text, return_dict=False)[0]
                else:
                    out = trained(x, x, sigma, text[:, 0])
                out.sum().backward()
    mine = {id(p) for p in trained.parameters()}
    own = sum(p.numel() for p in trained.parameters())
    under = sum(p.numel() for part in frozen for p in part.parameters() if id(p) not in mine)
    half = (config.backbone_precision or config.optim.precision) == "bf16"
    flops = counter.get_total_flops() * batch // micro
    seconds = flops / _matrix_speed(half and torch.cuda.is_available())
    each = 20 if config.optim.ema else 16
    return Estimate(
        trained_parameters=own,
        frozen_parameters=under,
        latents=latents,
        # Weights, gradients, two moments and the average in float32.
        memory_bytes=each * own + (2 if half else 4) * under + sum(saved.values()),
        flops=flops,
        seconds_per_step=seconds,
        hours=0.0,
    )


def _modules(
    config: TrainConfig, denoisers: Sequence[dict[str, Any]], text_dim: int
) -> tuple[Any, list[WanTransformer3DModel]]:
    """What is trained and what is frozen, without values."""
    if config.task not in ADAPTER_TASKS:
        return plugins.load("pila.training_tasks", config.task).untrained(config, text_dim), []
    from pila.train.adapter_task import build_adapter

    if not denoisers:
        raise InputError(f"{config.model} has no transformer")
    frozen: list[Any] = [WanTransformer3DModel.from_config(dict(each)) for each in denoisers]
    if config.task in INSIDE_TASKS:
        from pila.train.in_generator import add_trainable

        inside = add_trainable(frozen[0].requires_grad_(False), config)
        return inside.requires_grad_(True), frozen[:1]
    adapter: nn.Module = build_adapter(config, text_dim)
    return adapter, frozen


def _latents(config: TrainConfig) -> tuple[int, ...]:
    if config.data is not None:
        return tuple(read_header(Path(config.data)).latent_shape)
    if _folder(config.model) is None:
        return KNOWN[config.model].latents
    if config.model != "embedded" and not (Path(config.model) / "pila.json").is_file():
        return KNOWN[MODEL].latents
    side = config.world.size // 8
    return 16, 9, side, side


def _model(config: TrainConfig) -> tuple[list[dict[str, Any]], int, int]:
    """Configurations of a model's denoisers, numbers in a token's embedding, tokens of a caption.

    From its folder or the hub's cache, or else from what is known of Wan's published ones.
    """
    folder = _folder(config.model)
    if folder is None and config.model in KNOWN:
        known = [dict(each) for each in KNOWN[config.model].denoisers]
        return known, known[0]["text_dim"], WAN_TOKENS
    if folder is None:
        raise InputError(
            f"{config.model} is neither on this machine nor one of {', '.join(KNOWN)}; download it "
            f"first (hf download {config.model}) or name its folder with --model"
        )
    tokens = int(own_settings(folder).get("max_sequence_length", WAN_TOKENS))
    if config.task == "generator":
        return [], int(read_json(folder / "text_encoder" / "config.json")["d_model"]), tokens
    denoisers = list(denoiser_configs(folder, read_json(folder / "model_index.json")).values())
    return denoisers, int(denoisers[0]["text_dim"]) if denoisers else 0, tokens


def _folder(model: str) -> Path | None:
    """Where a model lies on this machine, be it in the hub's cache; None where it does not."""
    if model == "embedded" or not HUB_ID.fullmatch(model) or Path(model).exists():
        return find_model(model)
    return cached(model)


def cached(hub_id: str, file: str = "model_index.json") -> Path | None:
    """A hub repository's folder in the cache, if that file of it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, file)
    return Path(found).parents[file.count("/")] if isinstance(found, str) else None


def _matrix_speed(half: bool) -> float:
    """Operations per second of a large matrix product here."""
    device, dtype = ("cuda", torch.bfloat16) if half else ("cpu", torch.float32)
    if torch.cuda.is_available():
        device = "cuda"
    a = torch.randn(1024 if device == "cpu" else 8192, 1024, device=device, dtype=dtype)
    b = torch.randn(1024, 1024, device=device, dtype=dtype)
    torch.mm(a, b)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.2:
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        count += 1
    return 2 * a.shape[0] * 1024 * 1024 * count / (time.perf_counter() - start)
