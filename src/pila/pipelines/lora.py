"""LoRA updates as their trainers write them: read, given diffusers' names, held against a model.

A file whose names match nothing is taken by the library without a word, and the clip is the frozen
one. So names are converted, counted and compared with the denoiser's own.
"""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pila.errors import InputError
from pila.json_files import Strict, checked, parse_json, read_object, reason_of
from pila.pipelines.schemas import Finite
from pila.pipelines.weights import Shape, header, tensor_shapes

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "`pip install -c constraints.txt '.[lora]'`"
DENOISERS = ("transformer", "transformer_2")
_WRAPPERS = ("base_model.model.", "module.", "_orig_mod.", "pipe.")
"""What peft, data parallelism, compilation and trainers put before a denoiser's own names."""
_ORIGINAL = ("diffusion_model.", "lora_unet_")
"""Prefixes of files with the names of Wan's own code, which diffusers converts."""
_OF_WAN = re.compile(
    r"^(blocks\.\d+\.(self_attn|cross_attn|ffn\.[02])\.|time_|text_emb|head\.|img_)"
)
_FORMS = {".lora_down.": ".lora_A.", ".lora_up.": ".lora_B."}
_FORMS |= {".lora.down.": ".lora_A.", ".lora.up.": ".lora_B.", ".default.": "."}
_UPDATE = re.compile(r"\.(lora_[A-Za-z_]+|lokr_\w+|dora_scale|alpha)(\.\w+)?$")


class _PeftConfig(Strict):
    """What of peft's own record of a LoRA decides how strong it is."""

    lora_alpha: Finite | None = None
    use_rslora: bool = False
    alpha_pattern: Annotated[dict[str, Finite], Field(max_length=100_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Updates by denoiser (`transformer`, `transformer_2`), under diffusers' names in it."""

    states: Mapping[str, Mapping[str, "Tensor"]]
    matched: int
    """Keys of the file, as diffusers names them, that belong to a layer of the model."""
    total: int
    left_out: tuple[str, ...]
    """The other keys."""

    def __str__(self) -> str:
        rest = f"; left out: {self.left_out[0]}, ..." if self.left_out else ""
        return f"{self.matched} of {self.total} LoRA keys match the model{rest}"


def read_lora(path: Path, denoisers: Mapping[str, Mapping[str, Any]]) -> Lora:
    """The updates in a file that a model takes.

    Args:
        path: safetensors, with names of diffusers, of peft, or of Wan's own code.
        denoisers: the configurations of the model's denoisers by component.

    Raises:
        InputError: the file is damaged, or its names match no layer of the model, or the layers
            are of other sizes, or it is not said for which of two denoisers it is.
    """
    if importlib.util.find_spec("peft") is None:
        raise InputError(f"LoRA updates such as {path} take peft; install it with {INSTALL}")
    names = header(path)
    split: dict[str, dict[str, Tensor]] = {}
    for name, tensor in _tensors(path).items():
        denoiser, rest = _denoiser_of(name)
        split.setdefault(denoiser, {})[rest] = tensor
    first = next(iter(denoisers))
    if len(denoisers) > 1 and "transformer_2" not in split:
        raise InputError(
            f"{path} is a lora for one denoiser, and the model has two; let its keys begin with "
            "transformer. or transformer_2., after the one that it was trained in"
        )
    scales = _scales(path)
    states: dict[str, dict[str, Tensor]] = {}
    left_out: list[str] = []
    total = 0
    for denoiser, tensors in split.items():
        renamed = _renamed(path, tensors, scales)
        total += len(renamed)
        # A model's only denoiser may be its second: diffusers fills either place.
        place = first if denoiser == DENOISERS[0] else denoiser
        shapes = (
            tensor_shapes("WanTransformer3DModel", denoisers[place]) if place in denoisers else {}
        )
        fitting = {n: t for n, t in renamed.items() if f"{_layer(n)}.weight" in shapes}
        left_out += [n for n in renamed if n not in fitting]
        if fitting:
            _check_shapes(path, fitting, shapes)
            states[place] = fitting
    if not states:
        raise _nothing_matches(path, list(names), tuple(denoisers))
    return Lora(
        states=states,
        matched=sum(map(len, states.values())),
        total=total,
        left_out=tuple(left_out),
    )


def attach_lora(pipeline: Any, path: Path, lora: Lora) -> None:
    """Attach updates to a pipeline's denoisers.

    Raises:
        InputError: peft cannot take them.
    """
    for name, state in lora.states.items():
        try:
            pipeline.load_lora_into_transformer(
                {f"transformer.{key}": tensor for key, tensor in state.items()},
                transformer=getattr(pipeline, name),
                _pipeline=pipeline,
            )
        except Exception as error:  # whatever diffusers and peft make of it
            raise InputError(
                f"no LoRA updates can be loaded from {path} ({reason_of(error)}); they take peft "
                f"({INSTALL}) and the model that they were trained in"
            ) from error


def _tensors(path: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    return load_file(path)


def _denoiser_of(name: str) -> tuple[str, str]:
    """The denoiser that a key is of, and the key without what leads to it."""
    while wrapper := next((w for w in _WRAPPERS if name.startswith(w)), None):
        name = name.removeprefix(wrapper)
    for denoiser in DENOISERS:
        if name.startswith(f"{denoiser}."):
            inner = name.removeprefix(f"{denoiser}.")
            return denoiser, _denoiser_of(inner)[1] if inner.startswith(_WRAPPERS) else inner
    return DENOISERS[0], name


def _renamed(
    path: Path, tensors: "Mapping[str, Tensor]", scales: "_PeftConfig"
) -> "dict[str, Tensor]":
    """Updates under diffusers' names, so scaled that a factor of 1 is left."""
    tensors = {_form(name): tensor for name, tensor in tensors.items()}
    if any(name.startswith(_ORIGINAL) or _OF_WAN.match(name) for name in tensors):
        tensors = _from_wans_names(path, tensors)
    alphas = {n.removesuffix(".alpha"): t for n, t in tensors.items() if n.endswith(".alpha")}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(".alpha"):
            continue
        if name.endswith(".lora_A.weight"):
            layer, rank = _layer(name), max(1, tensor.shape[0])
            alpha = float(alphas[layer]) if layer in alphas else _alpha_of(layer, scales)
            factor = 1.0 if alpha is None else alpha / (rank**0.5 if scales.use_rslora else rank)
            tensor = tensor if factor == 1 else tensor * factor
        found[name] = tensor
    return found


def _form(name: str) -> str:
    for old, new in _FORMS.items():
        name = name.replace(old, new)
    return name


def _from_wans_names(path: Path, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """diffusers' conversion of the names of Wan's own code."""
    from diffusers import WanPipeline

    musubi = any(name.startswith("lora_unet_") for name in tensors)
    given = dict(tensors)
    if musubi:  # its converter knows the older names alone
        given = {
            n.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up."): t
            for n, t in given.items()
        }
    else:
        given = {
            f"diffusion_model.{n.removeprefix('diffusion_model.')}": t for n, t in given.items()
        }
    try:
        converted: Any = WanPipeline.lora_state_dict(given)
    except Exception as error:  # KeyError, IndexError, ... of names that it does not expect
        raise InputError(
            f"no LoRA updates can be loaded from {path}: diffusers cannot convert its names "
            f"({reason_of(error)}); save it with the names of diffusers or peft"
        ) from error
    return {name.removeprefix("transformer."): tensor for name, tensor in converted.items()}


def _scales(path: Path) -> _PeftConfig:
    """How strong the updates are: by the file's own record, or by peft's beside it."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        kept = (file.metadata() or {}).get("lora_adapter_metadata")
    beside = path.with_name("adapter_config.json")
    if kept is not None:
        said = parse_json(kept, f"lora_adapter_metadata in {path}")
        said = said if isinstance(said, dict) else {}
        said = {name.removeprefix("transformer."): value for name, value in said.items()}
        return checked(_PeftConfig, said, f"lora_adapter_metadata in {path}")
    if beside.is_file():
        return checked(_PeftConfig, read_object(beside), beside)
    return _PeftConfig()


def _alpha_of(layer: str, scales: _PeftConfig) -> float | None:
    for pattern, alpha in (scales.alpha_pattern or {}).items():
        if f".{layer}".endswith(f".{pattern.removeprefix('^')}"):
            return alpha
    return scales.lora_alpha


def _layer(name: str) -> str:
    """The layer that an update is of."""
    return _UPDATE.sub("", name)


def _check_shapes(path: Path, updates: "Mapping[str, Tensor]", shapes: Mapping[str, Shape]) -> None:
    """Refuse updates of layers of other sizes, and halves of updates, which would do nothing."""
    for name, tensor in updates.items():
        layer = _layer(name)
        out, *inner = shapes[f"{layer}.weight"]
        end, wanted = name.removeprefix(layer), None
        if end == ".lora_A.weight":
            wanted = [tensor.shape[0] if tensor.ndim else 1, *inner]
        elif end == ".lora_B.weight":
            wanted = [out, tensor.shape[1] if tensor.ndim > 1 else 1, *[1] * (len(inner) - 1)]
        if wanted is not None and list(tensor.shape) != wanted:
            raise InputError(
                f"no LoRA updates can be loaded from {path}: {name} has the shape "
                f"{list(tensor.shape)}, and the model's layer takes {wanted}; use the model that "
                "they were trained in"
            )
        other = {".lora_A.weight": ".lora_B.weight", ".lora_B.weight": ".lora_A.weight"}.get(end)
        if other and f"{layer}{other}" not in updates:
            raise InputError(
                f"{path} has {name} and no {layer}{other}, so it would do nothing there; "
                "save it again"
            )


def _nothing_matches(path: Path, names: list[str], denoisers: tuple[str, ...]) -> InputError:
    begun = sorted({re.split(r"blocks[._]\d", name)[0] or "blocks." for name in names})
    shown = ", ".join(repr(p if len(p) <= 60 else f"{p[:60]}...") for p in begun[:4])
    return InputError(
        f"none of the {len(names)} LoRA keys in {path} matches a layer of the model's "
        f"{' or '.join(denoisers)}: they begin with {shown or 'nothing'}; taken are blocks.N. as "
        "it is, or after transformer., transformer_2. (the second denoiser of Wan 2.2), "
        "base_model.model., diffusion_model. and lora_unet_"
    )
