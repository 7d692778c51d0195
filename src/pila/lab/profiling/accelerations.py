"""What people put on a Wan denoiser beside an adapter, by the name that `--beside` takes.

Each takes a denoiser and gives the one to use. The adapter meets the scheduler after all of them,
so that its own time should not change; that is what the rows show.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from pila.errors import InputError

RANK = 16
"""Of the low-rank update, a usual one."""
THRESHOLD = 0.05
"""Relative change of the first block's output below which the others are not computed anew."""

Put = Callable[[Any, torch.device, torch.dtype], Any]


def compiled(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """torch.compile with its default backend."""
    denoiser.compile()
    return denoiser


def fp8(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Weights kept in 8-bit floats, and cast layer by layer when they are used."""
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    return denoiser


def first_block_cache(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Later blocks are taken from the step before where the first one's output hardly changes.

    A benchmark repeats one step, so that its frozen time is that of a step from the cache.
    """
    from diffusers import FirstBlockCacheConfig

    denoiser.enable_cache(FirstBlockCacheConfig(threshold=THRESHOLD))
    return denoiser


def lora(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Low-rank updates of the attentions' matrices, not fused."""
    from peft import LoraConfig

    torch.manual_seed(0)
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    denoiser.add_adapter(LoraConfig(r=RANK, target_modules=targets, init_lora_weights=False))
    return denoiser.requires_grad_(False)


def group_offload(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Weights in main memory, brought to the accelerator ahead of their layer."""
    denoiser.enable_group_offload(
        onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda"
    )
    return denoiser


def int8(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Weights of the blocks quantised to 8-bit integers by torchao."""
    from torchao.quantization import (  # pyright: ignore[reportMissingImports]
        Int8WeightOnlyConfig,
        quantize_,
    )

    quantize_(denoiser.blocks, Int8WeightOnlyConfig())
    return denoiser


def nf4(denoiser: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Weights quantised to 4 bits by bitsandbytes, as diffusers loads them."""
    from diffusers import BitsAndBytesConfig, WanTransformer3DModel

    config: Any = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    with tempfile.TemporaryDirectory() as folder:
        denoiser.save_pretrained(folder)
        loaded: Any = WanTransformer3DModel.from_pretrained(
            folder, quantization_config=config, torch_dtype=dtype, device_map={"": device}
        )
    return loaded.eval()


COMPANIONS: dict[str, Put] = {
    "compile": compiled,
    "fp8": fp8,
    "first-block-cache": first_block_cache,
    "lora": lora,
    "group-offload": group_offload,
    "int8": int8,
    "nf4": nf4,
}


PACKAGES = {"lora": "peft", "int8": "torchao", "nf4": "bitsandbytes"}
"""What those need that are not in diffusers alone."""
ON_ACCELERATORS = ("group-offload", "nf4")
"""What has no form on a CPU, or none in diffusers."""


def check(name: str, device: torch.device) -> None:
    """Refuse what cannot be put on a denoiser here.

    Raises:
        InputError: an unknown name, a package that is not installed, or no accelerator.
    """
    if name not in COMPANIONS:
        raise InputError(f"beside has {name!r}; choose from {', '.join(COMPANIONS)}")
    if name in ON_ACCELERATORS and device.type == "cpu":
        raise InputError(f"--beside {name} needs an accelerator; pass --device cuda")
    package = PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError(f"--beside {name} needs {package}; pip install {package}")


def put(name: str, denoiser: Any, *, device: torch.device, dtype: torch.dtype) -> Any:
    """The denoiser with that companion on it; `check` first.

    Raises:
        InputError: as `check`.
    """
    check(name, device)
    return COMPANIONS[name](denoiser, device, dtype)
