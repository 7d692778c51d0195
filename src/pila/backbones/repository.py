"""Looks at a model folder before anything of it is loaded: complete, safe, readable.

All of it reads directory listings, JSON and safetensors headers only, so it is cheap for models of
any size. Pickled weights are refused, since unpickling runs whatever code the file holds.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pila.errors import InputError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WAN_PIPELINES = (
    "WanPipeline",
    "WanImageToVideoPipeline",
    "PilaWanPipeline",
    "PilaWanImageToVideoPipeline",
)
REQUIRED = ("tokenizer", "text_encoder", "vae", "scheduler")
_WITHOUT_WEIGHTS = ("tokenizer", "scheduler", "image_processor")


def check_wan_repository(folder: Path) -> dict[str, Any]:
    """Check a local diffusers Wan repository and return its model_index.json.

    Raises:
        InputError: it is no Wan repository, a component is missing, or weights are unreadable,
            truncated or pickled.
    """
    index = read_index(folder)
    for component in sorted(_components(index)):
        if not (folder / component).is_dir():
            raise InputError(
                f"{folder} lacks the folder {component}/ that its model_index.json names; "
                "download or copy it again"
            )
        if component not in _WITHOUT_WEIGHTS:
            check_model_folder(folder / component)
    return index


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a Wan repository, of which nothing else need be there.

    Raises:
        InputError: it is none of a whole Wan pipeline.
    """
    if not folder.is_dir():
        _refuse_single_file(folder, expected="a diffusers Wan repository")
        raise InputError(f"there is no folder {folder}; pass a diffusers Wan repository")
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"{folder} has no model_index.json, so it is not a diffusers repository; pass the "
            "folder that holds vae/, transformer/ and model_index.json"
        )
    index = read_json(folder / "model_index.json")
    name = index.get("_class_name")
    if name not in WAN_PIPELINES:
        raise InputError(
            f"{folder} holds a {name}, not a Wan pipeline; pass a repository of one of "
            f"{', '.join(WAN_PIPELINES)}"
        )
    components = _components(index)
    missing = [key for key in REQUIRED if key not in components]
    if not components & {"transformer", "transformer_2"}:
        missing.append("transformer")
    if missing:
        raise InputError(
            f"{folder}/model_index.json names no {', '.join(missing)}; pass a complete repository"
        )
    return index


def _components(index: dict[str, Any]) -> set[str]:
    return {k for k, value in index.items() if isinstance(value, list) and value[0] is not None}


def check_model_folder(folder: Path) -> dict[str, Any]:
    """Check one model's folder (config.json, safetensors weights) and return its config.

    Raises:
        InputError: the folder or its config is missing, or weights are unreadable, truncated or
            pickled.
    """
    config = model_config(folder)
    _check_weights(folder)
    return config


def model_config(folder: Path) -> dict[str, Any]:
    """The config.json of one model's folder, whose weights need not be there.

    Raises:
        InputError: the folder or its config is missing or unreadable.
    """
    if not folder.is_dir():
        _refuse_single_file(folder, expected="a folder with config.json and *.safetensors")
        raise InputError(
            f"there is no folder {folder}; pass a folder with config.json and *.safetensors"
        )
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json; pass a folder that save_pretrained has written"
        )
    return read_json(folder / "config.json")


def _check_weights(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise InputError(
                f"{folder} holds pickled weights ({pickles[0]}) and no safetensors; pickles can "
                "run code when opened and are never loaded: convert them to safetensors"
            )
        raise InputError(f"{folder} has no *.safetensors weights; download or copy it again")
    for path in files:
        check_safetensors(path)
    for path in folder.glob("*.safetensors.index.json"):
        shards = set(read_json(path).get("weight_map", {}).values())
        absent = sorted(shards - {file.name for file in files})
        if absent:
            raise InputError(
                f"{folder} lacks {absent[0]}, one of the {len(shards)} files that {path.name} "
                "names; download or copy it again"
            )


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file's header is readable and agrees with the file's length.

    Raises:
        InputError: otherwise.
    """
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise InputError(
            f"{path} is not a complete safetensors file ({size} bytes; {_one_line(error)}); "
            "download or copy it again"
        ) from error


def own_settings(folder: Path) -> dict[str, Any]:
    """What a model says of itself in `pila.json` (sizes, steps, scenes); nothing where it has none.

    Raises:
        InputError: the file is not readable or not a JSON object.
    """
    path = folder / "pila.json"
    return read_json(path) if path.is_file() else {}


def own_config(folder: Path) -> dict[str, Any]:
    """What a component was built with: its `config.json` without diffusers' own entries.

    Raises:
        InputError: the file is not readable or not a JSON object.
    """
    return {k: v for k, v in read_json(folder / "config.json").items() if k[0] != "_"}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is not readable or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({_one_line(error)})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def _refuse_single_file(path: Path, *, expected: str) -> None:
    if path.suffix in PICKLES:
        raise InputError(
            f"{path} is a pickle; pickles can run code when opened and are never loaded: pass "
            f"{expected}"
        )
    if path.is_file():
        raise InputError(f"{path} is a file; pass {expected}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
