"""What every latent adapter shares: checks of inputs and values, weights as safetensors only."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from safetensors import SafetensorError
from torch import Tensor

from pila.adapter.router import NUM_EXPERTS
from pila.errors import InputError

MIN_FRAMES, MIN_CELLS = 3, 4
"""Second differences in time need 3 frames; one-sided second-order ones in space, 4 cells."""


def require_finite(places: Mapping[str, Tensor | None]) -> None:
    """FloatingPointError naming the first place with a NaN or an infinity; None is passed over.

    It waits for the device once. Call it where a wait is affordable, not inside a compiled step.
    """
    given = {name: x for name, x in places.items() if x is not None}
    flags = torch.stack([torch.isfinite(x).all() for x in given.values()]).tolist()
    for (name, x), finite in zip(given.items(), flags, strict=True):
        if not finite:
            count = int((~torch.isfinite(x)).sum())
            raise FloatingPointError(
                f"{name}: {count} of {x.numel()} values are not finite (shape {tuple(x.shape)})"
            )


class SafetensorsModel(ModelMixin, ConfigMixin):
    """A diffusers model that is written and read as safetensors and JSON alone, and whole."""

    # Small beside the generator: fp8 storage would cost accuracy and save nothing.
    _skip_layerwise_casting_patterns = (".",)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, but the weights are always safetensors."""
        if not kwargs.setdefault("safe_serialization", True):
            raise InputError("safe_serialization is False; weights are written as safetensors only")
        super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in diffusers, but safetensors only, and every weight must be there and fit.

        Raises InputError for a folder, a hub name or a weight file that cannot be used.
        """
        place = pretrained_model_name_or_path
        wants_info = kwargs.pop("output_loading_info", False)
        if kwargs.setdefault("use_safetensors", True) is False:
            raise InputError("use_safetensors is False; a pickle can run code and is not read")
        try:
            loaded: Any = super().from_pretrained(place, output_loading_info=True, **kwargs)
        except (OSError, SafetensorError, ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(unreadable(place, kwargs.get("subfolder"), error)) from error
        model, info = loaded
        for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if names := info[fault]:
                raise InputError(
                    f"{place} does not hold a whole {cls.__name__}: {len(names)} "
                    f"{fault.replace('_', ' ')}, first {sorted(map(str, names))[0]}; save it again"
                )
        return (model, info) if wants_info else model


class LatentAdapter(SafetensorsModel):
    """A network that maps (x_t, v, sigma, text, category_mask) to a gated correction dv."""

    def check_inputs(
        self, x_t: Tensor, v: Tensor, sigma: Tensor, text: Tensor, category_mask: Tensor | None
    ) -> None:
        """InputError if the inputs do not fit this adapter or one another. Reads shapes only."""
        channels, text_dim = self.config["latent_channels"], self.config["text_dim"]
        if x_t.ndim != 5 or x_t.shape[1] != channels:
            raise InputError(
                f"x_t has shape {tuple(x_t.shape)}; this adapter takes [b, {channels}, t, h, w]"
            )
        if v.shape != x_t.shape:
            raise InputError(f"v has shape {tuple(v.shape)}; x_t has {tuple(x_t.shape)}")
        b, _, t, h, w = x_t.shape
        if t < MIN_FRAMES or h < MIN_CELLS or w < MIN_CELLS:
            raise InputError(
                f"latents are {t} frames of {h}x{w} cells; "
                f"at least {MIN_FRAMES} of {MIN_CELLS}x{MIN_CELLS} are needed"
            )
        if sigma.shape != (b,):
            raise InputError(f"sigma has shape {tuple(sigma.shape)}; a batch of {b} needs ({b},)")
        if text.shape != (b, text_dim):
            raise InputError(
                f"text has shape {tuple(text.shape)}; this adapter takes ({b}, {text_dim}): "
                f"pool prompt embeddings with pila.adapter.pool_text"
            )
        if category_mask is not None and category_mask.shape != (b, NUM_EXPERTS):
            raise InputError(
                f"category_mask has shape {tuple(category_mask.shape)}; a flag per category needs "
                f"({b}, {NUM_EXPERTS})"
            )

    @property
    def default_scale(self) -> float:
        """Factor on dv wherever a generator is sampled with this adapter, beside the caller's own.

        Training knows nothing of it.
        """
        return self.config["default_scale"]

    def num_parameters_total(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


def check_sampling_scale(scale: float) -> None:
    """Refuse a factor that is no finite number above 0.

    Raises:
        InputError: naming it.
    """
    if not 0 < scale < math.inf:
        raise InputError(f"default_scale is {scale}; use a finite number above 0, such as 1.0")


def unreadable(place: Any, subfolder: str | None, error: Exception) -> str:
    """One line on why nothing could be loaded from `place`."""
    folder = Path(place, subfolder or "")
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        if "config.json" not in names:
            return f"{folder} has no config.json; give a folder that save_pretrained wrote"
        if not any(name.endswith(".safetensors") for name in names):
            return f"{folder} has no .safetensors weights; pickled weights are not read"
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"no adapter can be loaded from {place}: {first_line}"
