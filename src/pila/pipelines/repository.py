"""Looks at a model folder before anything of it is loaded: complete, safe, readable.

All of it reads directory listings, JSON and safetensors headers only, so it is cheap for models of
any size. Tensors are held against what the configurations build (`weights.py`). Pickled weights are
refused, since unpickling runs whatever code the file holds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.json_files import checked, read_object, short
from pila.pipelines.schemas import (
    CONFIGS,
    WAN_PIPELINES,
    OwnSettings,
    PipelineIndex,
    SchedulerConfig,
    TokenizerConfig,
)
from pila.pipelines.weights import PICKLES, check_weights

REQUIRED = ("tokenizer", "text_encoder", "vae", "scheduler")
_WITHOUT_WEIGHTS = ("tokenizer", "scheduler", "image_processor")


def check_wan_repository(folder: Path) -> dict[str, Any]:
    """Check a local diffusers Wan repository and return its model_index.json.

    Raises:
        InputError: it is no Wan repository, a component is missing, a configuration is not one,
            or weights are unreadable, truncated, pickled or not those of the configuration.
    """
    index = read_index(folder)
    for component in sorted(_components(index)):
        if not (folder / component).is_dir():
            raise InputError(
                f"{folder} lacks the folder {component}/ that its model_index.json names; "
                "download or copy it again"
            )
        if component not in _WITHOUT_WEIGHTS:
            check_model_folder(folder / component, index[component][1])
    settings = folder / "scheduler" / "scheduler_config.json"
    if not settings.is_file():
        raise InputError(f"there is no file {settings}; download or copy the folder again")
    read_object(settings, SchedulerConfig)
    words = folder / "tokenizer" / "tokenizer_config.json"
    if words.exists():
        read_object(words, TokenizerConfig)
    own_settings(folder)
    return index


def read_index(folder: Path, *, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """The model_index.json of a Wan repository, of which nothing else need be there.

    Args:
        folder: the repository.
        required: the components that it must name besides a transformer; none where the denoiser
            alone is used.

    Raises:
        InputError: it is none of a whole Wan pipeline.
    """
    if not folder.is_dir():
        _refuse_single_file(folder, expected="a diffusers Wan repository")
        raise InputError(f"there is no folder {folder}; pass a diffusers Wan repository")
    if not (folder / "model_index.json").exists():
        raise InputError(
            f"{folder} has no model_index.json, so it is not a diffusers repository; pass the "
            "folder that holds vae/, transformer/ and model_index.json"
        )
    index = read_object(folder / "model_index.json")
    name = index.get("_class_name")
    if name not in WAN_PIPELINES:
        named = name if isinstance(name, str) else short(name)
        raise InputError(
            f"{folder} holds a {named}, not a Wan pipeline; pass a repository of one of "
            f"{', '.join(WAN_PIPELINES)}"
        )
    checked(PipelineIndex, index, folder / "model_index.json")
    components = _components(index)
    missing = [key for key in required if key not in components]
    if not components & {"transformer", "transformer_2"}:
        missing.append("transformer")
    if missing:
        raise InputError(
            f"{folder}/model_index.json names no {', '.join(missing)}; pass a complete repository"
        )
    return index


def _components(index: dict[str, Any]) -> set[str]:
    return {k for k, value in index.items() if isinstance(value, list) and value[0] is not None}


def check_model_folder(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Check one model's folder (config.json, safetensors weights) and return its config.

    Args:
        folder: the model's.
        kind: its class; the one that the config names by default. Of classes that are not known
            here the weights' headers alone are read.

    Raises:
        InputError: the folder or its config is missing or wrong, or weights are unreadable,
            truncated, pickled, or not those that the config asks for.
    """
    config = model_config(folder, kind)
    check_weights(folder, kind or _named_class(config), config)
    return config


def model_config(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The config.json of one model's folder, whose weights need not be there.

    Raises:
        InputError: the folder or its config is missing or unreadable, or the config is none of
            the class `kind`, or of the class that it names.
    """
    if not folder.is_dir():
        _refuse_single_file(folder, expected="a folder with config.json and *.safetensors")
        raise InputError(
            f"there is no folder {folder}; pass a folder with config.json and *.safetensors"
        )
    path = folder / "config.json"
    if not path.exists():
        raise InputError(
            f"{folder} has no config.json; pass a folder that save_pretrained has written"
        )
    config = read_object(path)
    named = _named_class(config)
    if kind is not None and named is not None and named != kind:
        raise InputError(f"{path} is of a {named}, and a {kind} is asked for; copy it again")
    schema = CONFIGS.get(kind or named or "")
    if schema is not None:
        checked(schema, config, path)
    return config


def _named_class(config: dict[str, Any]) -> str | None:
    """The class that diffusers wrote into a config; transformers writes none of this kind."""
    name = config.get("_class_name")
    return name if isinstance(name, str) else None


def own_settings(folder: Path) -> dict[str, Any]:
    """What a model says of itself in `pila.json` (sizes, steps, scenes); nothing where it has none.

    Raises:
        InputError: the file is not readable or an entry is out of its bounds.
    """
    path = folder / "pila.json"
    remedy = "correct the entry, or copy the model's folder again"
    return read_object(path, OwnSettings, remedy=remedy) if path.exists() else {}


def own_config(folder: Path) -> dict[str, Any]:
    """What a component was built with: its `config.json` without diffusers' own entries.

    Raises:
        InputError: the file is not readable or not what its class is built with.
    """
    return {k: v for k, v in model_config(folder).items() if k[:1] != "_"}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is not readable or not a JSON object.
    """
    return read_object(path)


def _refuse_single_file(path: Path, *, expected: str) -> None:
    if path.suffix in PICKLES:
        raise InputError(
            f"{path} is a pickle; pickles can run code when opened and are never loaded: pass "
            f"{expected}"
        )
    if path.is_file():
        raise InputError(f"{path} is a file; pass {expected}")
