"""Holds the tensors of safetensors files against what a configuration builds; headers alone.

The library that loads a model fills in random numbers for what is not there, and leaves out what
has no place. Both give a clip, and no word. So names and shapes are compared before.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from safetensors import SafetensorError, safe_open

from pila.errors import InputError
from pila.json_files import COPY_AGAIN, Strict, read_object, reason_of

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_STEMS = ("diffusion_pytorch_model", "model")
"""What diffusers and transformers call a model's weights."""
_DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_HARMLESS = (r"(^|\.)position_ids$",)
"""Tensors that older versions of a library saved, and that are computed today."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's weight files, as the library that loads it chooses among those in its folder."""

    files: tuple[Path, ...]
    variant: str | None
    """`fp16`, `bf16`, ... where all there are is of such a variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """The tensors of a model: name to shape, other names of the same tensor, names to ignore."""

    shapes: Mapping[str, Shape]
    tied: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Of all names of the model inside a larger one; they may be there or not."""


class _ShardIndex(Strict):
    weight_map: Annotated[dict[str, str], Field(min_length=1)]


def check_weights(folder: Path, kind: str | None, config: Mapping[str, Any]) -> Weights:
    """Find a model's weights and hold them against its configuration.

    Args:
        folder: the model's, with `config.json`.
        kind: its class; of another than `build` knows, headers are only read.
        config: its configuration, which has passed its schema.

    Raises:
        InputError: weights that are pickled, missing, truncated, or not those that the
            configuration asks for.
    """
    found = find_weights(folder)
    held = {path: header(path) for path in found.files}
    if kind in BUILDERS and "quantization_config" not in config:
        _compare(held, _expected(kind, config, folder / "config.json"), folder / "config.json")
    return found


def tensor_shapes(kind: str, config: Mapping[str, Any]) -> Mapping[str, Shape]:
    """Name and shape of every tensor of a model.

    Args:
        kind: its class, one of `BUILDERS`.
        config: its configuration, which has passed its schema.

    Raises:
        InputError: nothing can be built from it.
    """
    return _expected(kind, config, "its configuration").shapes


def _expected(kind: str, config: Mapping[str, Any], place: object) -> _Expected:
    plain = {k: v for k, v in config.items() if k != "_name_or_path"}
    try:
        return _built(kind, json.dumps(plain, sort_keys=True))
    except Exception as error:  # whatever a constructor makes of a configuration
        raise InputError(
            f"no {kind} can be built from {place} ({reason_of(error)}); {COPY_AGAIN}"
        ) from error


def find_weights(folder: Path) -> Weights:
    """The weight files of a model's folder; of several variants, the one without a name first.

    Raises:
        InputError: there are none, they are pickled, or a shard is missing.
    """
    names = {path.name for path in folder.iterdir()}
    variants = {found[1] for n in names if (found := _VARIANT.fullmatch(n))}
    # fp32 and bf16 keep more of a weight's range than fp16.
    for variant in (None, *sorted(variants, key=lambda v: (v != "fp32", v != "bf16", v))):
        inset = f".{variant}" if variant else ""
        for stem in _STEMS:
            index = f"{stem}.safetensors.index{inset}.json"
            single = f"{stem}{inset}.safetensors"
            # diffusers prefers the index, transformers the single file.
            for name in (index, single) if stem == _STEMS[0] else (single, index):
                if name in names:
                    files = _shards(folder, name) if name == index else [folder / name]
                    return Weights(files=tuple(files), variant=variant)
    raise _no_weights(folder, names)


_VARIANT = re.compile(
    rf"(?:{'|'.join(_STEMS)})(?:\.safetensors\.index)?\.([A-Za-z0-9_]+)\.(?:safetensors|json)"
)


def _shards(folder: Path, index: str) -> list[Path]:
    remedy = "download or copy the folder again"
    named = read_object(folder / index, _ShardIndex, remedy=remedy)["weight_map"].values()
    shards = sorted(set(named))
    for name in shards:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{folder / index} names {name!r}, which is no file beside it")
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} lacks {name}, one of the {len(shards)} files that {index} names; "
                "download or copy it again"
            )
    return [folder / name for name in shards]


def _no_weights(folder: Path, names: set[str]) -> InputError:
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if tensors:
        return InputError(
            f"{folder} holds {tensors[0]}, and no {' or '.join(f'{s}.safetensors' for s in _STEMS)}"
            "; give the file the name that save_pretrained gives it"
        )
    if pickles:
        return InputError(
            f"{folder} holds pickled weights ({pickles[0]}) and no safetensors; pickles can "
            "run code when opened and are never loaded: convert them to safetensors"
        )
    return InputError(f"{folder} has no *.safetensors weights; download or copy it again")


def header(path: Path) -> dict[str, tuple[Shape, str]]:
    """Shape and number format of every tensor in a safetensors file, which is not read itself.

    Raises:
        InputError: the header does not read, or does not agree with the file's length.
    """
    try:
        if not path.is_file():
            raise OSError("it is not a file")
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {n: (tuple(s.get_shape()), str(s.get_dtype())) for n, s in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise InputError(
            f"{path} is not a complete safetensors file ({size} bytes; {reason_of(error)}); "
            "download or copy it again"
        ) from error


def _compare(
    held: Mapping[Path, Mapping[str, tuple[Shape, str]]], expected: _Expected, config: Path
) -> None:
    """Refuse tensors that are missing, of another shape, or have no place."""

    def plain(name: str) -> str:
        for prefix in expected.prefixes:
            name = name.removeprefix(prefix)
        return name

    shapes = {plain(name): shape for name, shape in expected.shapes.items()}
    tied = {plain(alias): plain(name) for alias, name in expected.tied.items()}
    parts = {name.partition(".")[0] for name in shapes}
    seen: set[str] = set()
    for path, tensors in held.items():
        for name, (shape, dtype) in tensors.items():
            wanted = shapes.get(plain(name))
            if wanted is None:
                alien = plain(name).partition(".")[0] not in parts
                if not alien and not any(re.search(p, name) for p in expected.ignored):
                    raise InputError(
                        f"{path} holds {name} {list(shape)}, for which {config} has no place: it "
                        "is of a larger model; copy both files from the same folder"
                    )
            elif shape != wanted:
                raise InputError(
                    f"{name} in {path} has the shape {list(shape)}, and {config} asks for "
                    f"{list(wanted)}; copy both files from the same folder"
                )
            elif dtype not in _DTYPES:
                raise InputError(f"{name} in {path} has {dtype} numbers; save it as F32 or BF16")
            else:
                seen.add(plain(name))
    # Of tensors that are one and the same, one is enough.
    seen |= {name for alias, name in tied.items() if alias in seen}
    missing = [name for name in shapes if name not in seen and tied.get(name) not in seen]
    if missing:
        where = next(iter(held)) if len(held) == 1 else config.parent
        raise InputError(
            f"{where} lacks the tensor {missing[0]} {list(shapes[missing[0]])}, which {config} "
            f"asks for ({len(missing)} of {len(shapes)} are missing); download or copy it again"
        )


@lru_cache(maxsize=16)
def _built(kind: str, config: str) -> _Expected:
    """The tensors of a model, which is built without memory for them."""
    import torch

    with torch.device("meta"):
        model = build(kind, json.loads(config))
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    own = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    transformers = BUILDERS[kind] == "transformers"
    return _Expected(
        shapes={name: tuple(t.shape) for name, t in model.state_dict().items()},
        tied=dict(tied),
        ignored=(*_HARMLESS, *own),
        prefixes=(f"{model.base_model_prefix}.", "vision_model.") if transformers else (),
    )


BUILDERS = {
    "WanTransformer3DModel": "diffusers",
    "AutoencoderKLWan": "diffusers",
    "UMT5EncoderModel": "transformers",
    "T5EncoderModel": "transformers",
    "CLIPVisionModel": "transformers",
    "CLIPVisionModelWithProjection": "transformers",
    "PilaAdapter": "pila.adapter",
    "PlainAdapter": "pila.adapter",
    "ProPhyBranch": "pila.prophy",
}
"""Where the classes of models lie whose weights are held against their configuration."""


def model_class(kind: str) -> Any:
    """The class of that name."""
    from importlib import import_module

    return getattr(import_module(BUILDERS[kind]), kind)


def build(kind: str, config: Mapping[str, Any]) -> Any:
    """A model of random weights, of the class and configuration that a folder names."""
    cls = model_class(kind)
    if BUILDERS[kind] == "transformers":
        return cls(cls.config_class.from_dict(dict(config)))
    return cls.from_config({k: v for k, v in config.items() if k[0] != "_"})
