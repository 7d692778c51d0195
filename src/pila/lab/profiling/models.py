"""Denoisers at their real sizes, with random weights, and the latents that they are given."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from pila.adapter import PilaAdapter
from pila.errors import InputError
from pila.pipelines.known import KNOWN
from pila.pipelines.locate import EMBEDDED_ADAPTER, EMBEDDED_MODEL
from pila.pipelines.repository import own_config, read_json

DENOISERS: dict[str, dict[str, Any]] = {
    "wan2.1-1.3b": KNOWN["Wan-AI/Wan2.1-T2V-1.3B-Diffusers"].denoisers[0],
    "wan2.2-a14b": KNOWN["Wan-AI/Wan2.2-T2V-A14B-Diffusers"].denoisers[0],
}
"""Of A14B's two denoisers one runs at a time."""
MODELS = (*DENOISERS, "embedded")
TOKENS = 512
"""Of a prompt, padding among them: cross-attention sees it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of the clips.

    Attributes:
        height: pixels.
        width: pixels.
        frames: 4 n + 1.
        batch: clips at once.
    """

    height: int
    width: int
    frames: int
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) < 32 or getattr(self, name) % 16:
                raise InputError(
                    f"{name} is {getattr(self, name)}; use a multiple of 16, at least 32"
                )
        if self.frames < 9 or self.frames % 4 != 1:
            raise InputError(f"frames is {self.frames}; use 4 n + 1, at least 9")
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}; use at least 1")

    @classmethod
    def of(cls, resolution: str, *, frames: int, batch: int = 1) -> "Size":
        """From a resolution written as height x width, such as 480x832.

        Raises:
            InputError: not of that form, or sizes that no model takes.
        """
        height, cross, width = resolution.partition("x")
        if not (cross and height.isdigit() and width.isdigit()):
            raise InputError(f"resolution is {resolution!r}; write height x width, as 480x832")
        return cls(height=int(height), width=int(width), frames=frames, batch=batch)

    @property
    def latents(self) -> tuple[int, int, int, int, int]:
        """Shape [b, 16, t, h, w] of the latents: 8 times smaller in space, 4 times in time."""
        return self.batch, 16, (self.frames - 1) // 4 + 1, self.height // 8, self.width // 8

    @property
    def voxels(self) -> int:
        """Latent cells of the batch."""
        return math.prod(self.latents) // 16


def build_denoiser(
    model: str, *, device: torch.device, dtype: torch.dtype, layers: int | None = None
) -> WanTransformer3DModel:
    """A denoiser with random weights; `layers` instead of its own number of blocks.

    Raises:
        InputError: an unknown model, or a number of layers that it cannot have.
    """
    config = denoiser_config(model)
    if layers is not None:
        if not 1 <= layers <= config["num_layers"]:
            raise InputError(f"layers is {layers}; {model} has 1 to {config['num_layers']}")
        config["num_layers"] = layers
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            built: Any = WanTransformer3DModel.from_config(config)
    finally:
        torch.set_default_dtype(before)
    # As diffusers loads it: what is said to stay in float32 does.
    for name, module in built.named_modules():
        kept = getattr(built, "_keep_in_fp32_modules", None) or ()
        if any(part in name.split(".") for part in kept):
            module.float()
    for name, parameter in built.named_parameters():
        if name.endswith("scale_shift_table"):
            parameter.data = parameter.data.float()
    return built.eval().requires_grad_(False)


def denoiser_config(model: str) -> dict[str, Any]:
    """A copy of a model's `transformer/config.json`.

    Raises:
        InputError: an unknown model.
    """
    if model == "embedded":
        return read_json(EMBEDDED_MODEL / "transformer" / "config.json")
    if model not in DENOISERS:
        raise InputError(f"model is {model!r}; choose from {', '.join(MODELS)}")
    return dict(DENOISERS[model])


def build_adapter(
    model: str, *, device: torch.device, dtype: torch.dtype, conv: str = "factorised"
) -> PilaAdapter:
    """The adapter of a model's recipe, with a live last layer, as a trained one has."""
    if model == "embedded":
        known = own_config(EMBEDDED_ADAPTER)
    else:
        from pila.recipes import RECIPES

        adapter = RECIPES["wan2.1-1.3b"]()["couple"].couple.adapter
        known = {name: getattr(adapter, name) for name in adapter.__slots__}
        known["text_dim"] = DENOISERS["wan2.1-1.3b"]["text_dim"]
    torch.manual_seed(0)
    options: dict[str, Any] = known | {"conv": conv}
    built: Any = PilaAdapter(**options)
    nn.init.normal_(built.decoder.out.weight, std=0.02)
    return built.eval().requires_grad_(False).to(device=device, dtype=dtype)


def inputs(
    model: str, size: Size, *, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Random `latents` (float32), `text` [b, n, d] in the denoiser's precision, `sigma` [b]."""
    config = denoiser_config(model)
    rng = torch.Generator(device).manual_seed(1)
    tokens = 32 if model == "embedded" else TOKENS
    return {
        "latents": torch.randn(size.latents, generator=rng, device=device),
        "text": torch.randn(
            size.batch, tokens, config["text_dim"], generator=rng, device=device
        ).to(dtype),
        "sigma": torch.full((size.batch,), 0.5, device=device),
    }


def adapter_folder() -> Path:
    """Where the embedded adapter lies."""
    return EMBEDDED_ADAPTER
