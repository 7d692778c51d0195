"""Loads the parts of a checked Wan repository, and names the folder of what does not load."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pila.errors import InputError
from pila.json_files import COPY_AGAIN, reason_of
from pila.pipelines.repository import check_model_folder
from pila.pipelines.weights import BUILDERS, find_weights, model_class

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

MODELS = ("text_encoder", "image_encoder", "transformer", "transformer_2", "vae")
_SMALL = {"tokenizer": "transformers", "image_processor": "transformers", "scheduler": "diffusers"}
"""Parts without weights, and the library of their classes."""


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """What diffusers and transformers raise while they load from a folder, as one InputError.

    They raise whatever a file leads them to: AttributeError, KeyError, NotImplementedError, ...
    A device's lack of memory is none of the folder's faults and passes.
    """
    import torch

    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InputError(f"{folder} cannot be loaded ({reason_of(error)}); {COPY_AGAIN}") from error


def load_model(folder: Path, kind: str | None = None, *, dtype: "torch.dtype | None" = None) -> Any:
    """One model with weights, on the CPU, in evaluation mode.

    Args:
        folder: its `config.json` and weights; of an fp16 or bf16 variant if there are no others.
        kind: its class; the one that the config names by default.
        dtype: of the weights; float32 by default.

    Raises:
        InputError: as `check_model_folder`, or the library cannot load it.
    """
    import torch

    config = check_model_folder(folder, kind)
    kind = kind or str(config.get("_class_name"))
    variant = find_weights(folder).variant
    if variant is not None:
        logger.info("%s has %s weights alone, which are read", folder, variant)
    name = "dtype" if BUILDERS[kind] == "transformers" else "torch_dtype"
    options: Any = {name: dtype or torch.float32, "variant": variant, "use_safetensors": True}
    with named(folder):
        return model_class(kind).from_pretrained(folder, **options).eval()


def load_parts(folder: Path, index: Mapping[str, Any], *, dtype: "torch.dtype") -> dict[str, Any]:
    """The parts of a checked Wan repository by name, but for an adapter.

    The VAE is in float32, whose rounding would be visible otherwise.

    Args:
        folder: the repository.
        index: its `model_index.json`.
        dtype: of the other models' weights.

    Raises:
        InputError: a part that the library cannot load, or that does not fit the others.
    """
    import torch

    parts: dict[str, Any] = {}
    for name, value in index.items():
        if name not in (*MODELS, *_SMALL) or value[0] is None:
            continue
        _, kind = value
        if name in MODELS:
            precision = torch.float32 if name == "vae" else dtype
            parts[name] = load_model(folder / name, kind, dtype=precision)
        else:
            parts[name] = load_small(folder / name, kind)
    tokens, known = len(parts["tokenizer"]), parts["text_encoder"].config.vocab_size
    if tokens > known:
        raise InputError(
            f"{folder / 'tokenizer'} has {tokens} tokens, and the text encoder knows {known}; "
            "copy both from the same folder"
        )
    return parts


def load_small(folder: Path, kind: str) -> Any:
    """A tokenizer, a scheduler or an image processor, by the folder's name.

    Raises:
        InputError: there is no such class, or the library cannot load it.
    """
    from importlib import import_module

    with named(folder):
        cls = getattr(import_module(_SMALL[folder.name]), kind)
        made = cls.from_pretrained(folder)
        if folder.name == "scheduler":
            _try_out(made)
        return made


def _try_out(scheduler: Any) -> None:
    """Two steps on nothing: what a scheduler's settings do not go with, it says at work alone."""
    import torch

    trial = type(scheduler).from_config(scheduler.config)
    trial.set_timesteps(2)
    x = torch.zeros(1, 1)
    for t in trial.timesteps:
        x = trial.step(x, t, x).prev_sample
