"""What can be put on a Wan model, by name: an adapter, a ProPhy branch, LoRA updates, or several.

Several are joined by "+", such as embedded+runs/prophy/adapter: they act together.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pila.errors import InputError
from pila.json_files import read_object
from pila.pipelines.backbone import check_fit
from pila.pipelines.loading import load_model
from pila.pipelines.lora import DENOISERS, attach_lora, read_lora
from pila.pipelines.repository import check_model_folder
from pila.pipelines.weights import header, model_class

logger = logging.getLogger(__name__)

Kind = Literal["adapter", "branch", "lora"]
ADAPTERS = ("PilaAdapter", "PlainAdapter")
BRANCH = "ProPhyBranch"
LORA_FILE = "pytorch_lora_weights.safetensors"
"""As diffusers' `save_lora_weights` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One thing to put on a model, found and looked at, not loaded."""

    kind: Kind
    folder: Path
    config: Mapping[str, Any]
    """Its `config.json`; empty for LoRA, which has none."""


def inspect_folder(folder: Path) -> Attachment:
    """What a folder holds.

    Raises:
        InputError: nothing that can be put on a model, or weights that cannot be read.
    """
    if (weights := lora_weights(folder)) is not None:
        header(weights)
        return Attachment(kind="lora", folder=folder, config={})
    config = check_model_folder(folder)
    name = config.get("_class_name")
    if name not in (*ADAPTERS, BRANCH):
        raise InputError(
            f"the config is of a {name}; pass an adapter ({' or '.join(ADAPTERS)}), a {BRANCH}, "
            f"or LoRA updates ({LORA_FILE})"
        )
    return Attachment(kind="branch" if name == BRANCH else "adapter", folder=folder, config=config)


def class_name(folder: Path) -> str | None:
    """The class that a folder's `config.json` names; None without one that can be read."""
    try:
        name = read_object(folder / "config.json").get("_class_name")
    except InputError:
        return None
    return name if isinstance(name, str) else None


def lora_weights(folder: Path) -> Path | None:
    """The LoRA updates in a folder: the file of diffusers' name, or the only safetensors there.

    Either stands alone: what has a `config.json` is a model.
    """
    if (folder / LORA_FILE).is_file():
        return folder / LORA_FILE
    files = list(folder.glob("*.safetensors")) if folder.is_dir() else []
    return files[0] if len(files) == 1 and not (folder / "config.json").is_file() else None


def check_attachments(
    attachments: list[Attachment], denoisers: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Refuse two of a kind, and what does not fit the model's denoisers, given by their configs.

    Returns:
        What is to be said of them: how many keys of LoRA updates match the model.

    Raises:
        InputError: with the values that differ.
    """
    for kind in ("adapter", "branch", "lora"):
        same = [str(a.folder) for a in attachments if a.kind == kind]
        if len(same) > 1:
            raise InputError(f"{' and '.join(same)} are both a {kind}; attach one of a kind")
    notes = []
    for attachment in attachments:
        if attachment.kind == "branch" and len(denoisers) > 1:
            raise InputError(
                f"{attachment.folder} is a branch for one denoiser, and the model has two; attach "
                "it yourself to the one it was trained in"
            )
        if attachment.kind == "lora":
            notes.append(str(read_lora(_weights_in(attachment.folder), denoisers)))
        for config in denoisers.values():
            if attachment.kind == "adapter":
                check_fit(dict(attachment.config), dict(config))
            elif attachment.kind == "branch":
                model_class(attachment.config["_class_name"]).check_fit(attachment.config, config)
    return notes


def attach_to(pipeline: Any, attachment: Attachment) -> None:
    """Attach a branch or LoRA updates to a pipeline's denoiser; an adapter is its component.

    Raises:
        InputError: weights that cannot be loaded, or peft is not installed.
    """
    denoiser, *_ = denoisers_of(pipeline)
    if attachment.kind == "branch":
        branch: Any = load_model(attachment.folder)
        # Weights offloaded layer by layer are nowhere ("meta"); a branch goes where latents are.
        placed = branch if denoiser.device.type == "meta" else branch.to(denoiser.device)
        placed.attach(denoiser)
    elif attachment.kind == "lora":
        path = _weights_in(attachment.folder)
        parts = {name: getattr(pipeline, name, None) for name in DENOISERS}
        configs = {n: dict(part.config) for n, part in parts.items() if part is not None}
        lora = read_lora(path, configs)
        logger.log(logging.WARNING if lora.left_out else logging.INFO, "%s: %s", path, lora)
        attach_lora(pipeline, path, lora)


def _weights_in(folder: Path) -> Path:
    weights = lora_weights(folder)
    if weights is None:
        raise InputError(f"{folder} holds no LoRA updates any more; copy it again")
    return weights


def branches_on(pipeline: Any) -> list[Any]:
    """The ProPhy branches that are attached to a pipeline's denoisers."""
    return [branch for d in denoisers_of(pipeline) if (branch := branch_on(d)) is not None]


def branch_on(transformer: Any) -> Any | None:
    """The ProPhy branch that is attached to a transformer, if any; its hooks name it."""
    for block in getattr(transformer, "blocks", ()):
        for hook in block._forward_hooks.values():
            if (branch := getattr(hook, "branch", None)) is not None:
                return branch
    return None


@contextmanager
def adapters_disabled(pipeline: Any) -> Iterator[None]:
    """The generator without branch and LoRA, while this lasts; adapters have a scale of their own.

    Args:
        pipeline: a Wan pipeline, whatever is attached to its denoisers.
    """
    with ExitStack() as stack:
        for branch in branches_on(pipeline):
            stack.enter_context(branch.disabled())
        for denoiser in denoisers_of(pipeline):
            if getattr(denoiser, "peft_config", None):
                denoiser.disable_lora()
                stack.callback(denoiser.enable_lora)
        yield


def describe_attached(pipeline: Any, *, adapter_scale: float = 1.0) -> str:
    """What acts on a pipeline, for people: "PILA", "PILA + ProPhy", ...; empty for nothing."""
    names = []
    if pipeline.adapter is not None and adapter_scale != 0:
        kind = type(pipeline.adapter).__name__
        names.append("plain adapter" if kind == "PlainAdapter" else "PILA")
    if branches_on(pipeline):
        names.append("ProPhy")
    if any(getattr(d, "peft_config", None) for d in denoisers_of(pipeline)):
        names.append("LoRA")
    return " + ".join(names)


def denoisers_of(pipeline: Any) -> list[Any]:
    """The one or two denoisers of a pipeline, or of a modular one; that for high noise first."""
    both = (getattr(pipeline, name, None) for name in ("transformer", "transformer_2"))
    return [denoiser for denoiser in both if denoiser is not None]
