"""Finds a model and an adapter by name, checks both, and builds the corrected pipeline.

The embedded model is a small Wan repository that ships with the package, so that everything runs
without a download.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pila.errors import InputError
from pila.files import cache_root
from pila.json_files import without_marks
from pila.options import exists
from pila.pipelines.attachments import (
    ADAPTERS,
    BRANCH,
    LORA_FILE,
    Attachment,
    attach_to,
    check_attachments,
    class_name,
    inspect_folder,
)
from pila.pipelines.backbone import check_fit
from pila.pipelines.loading import load_model, load_parts, named
from pila.pipelines.repository import (
    check_wan_repository,
    model_config,
    read_index,
)
from pila.snapshots import download

if TYPE_CHECKING:
    import torch

    from pila.pipelines.wan import PilaWanPipeline
    from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
EMBEDDED_MODEL = _ASSETS / "embedded"
"""Folder of the embedded diffusers Wan repository."""
EMBEDDED_ADAPTER = _ASSETS / "adapter"
"""Folder of the adapter that was trained for it."""

Offload = Literal["none", "model", "sequential", "group"]
OFFLOADS: tuple[Offload, ...] = ("none", "model", "sequential", "group")
MOST_NAMED = 3
"""Adapters below runs/ that a message names."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def load_pipeline(
    model: str | Path = "embedded",
    adapter: "str | Path | torch.nn.Module | None" = "embedded",
    *,
    device: str = "cpu",
    dtype: "torch.dtype | None" = None,
    offload: Offload = "none",
    revision: str | None = None,
) -> "PilaWanPipeline | PilaWanImageToVideoPipeline":
    """Load a Wan model with an adapter, ready to be called.

    Everything that can be wrong is looked at before anything is loaded. Only safetensors are read,
    and no code from a repository is ever run.

    Args:
        model: "embedded", the folder of a diffusers Wan repository, or its hub id.
        adapter: "embedded", the folder of a saved adapter, its hub id, an adapter, or None or
            "none" for the frozen model alone. The folder of a ProPhy branch or of LoRA updates
            too, and several of different kinds joined by "+".
        device: "cpu", "cuda", "cuda:1", "mps", ... or "auto" for the first accelerator.
        dtype: of the weights; None is float32 on the CPU and bfloat16 elsewhere. The VAE and the
            adapter stay in float32: both are small and their rounding is visible.
        offload: "model", "sequential" or "group" keep weights in CPU memory and bring them to
            `device` when they are used: whole components, single layers, or layers ahead of time.
        revision: branch, tag or commit of hub repositories.

    Returns:
        The text-to-video or image-to-video pipeline that the repository is of.

    Raises:
        InputError: a name cannot be resolved, weights are missing, pickled, truncated or
            unreadable, the adapter does not fit the model, or the device is not there.
    """
    place = find_device(device)
    if offload not in OFFLOADS:
        raise InputError(f"offload is {offload!r}; use one of {', '.join(OFFLOADS)}")
    if offload != "none" and place.type == "cpu":
        raise InputError(f"offload={offload} needs an accelerator, but the device is {place}")
    folder = find_model(model, revision=revision, configs_only=True)
    index = read_index(folder)
    found: list[Attachment] = []
    own: Any = adapter
    if adapter is None or isinstance(adapter, str | Path):
        found = find_attachments(adapter, revision=revision)
        own = None
    denoisers = denoiser_configs(folder, index)
    check_attachments(found, denoisers)
    if own is not None:
        for config in denoisers.values():
            check_fit(own, config)
    folder = find_model(model, revision=revision)
    check_wan_repository(folder)

    import torch

    from pila.pipelines.vae import skip_past_taps

    if dtype is None:
        dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    for attachment in found:
        if attachment.kind == "adapter":
            own = load_adapter(attachment.folder)
    if isinstance(own, torch.nn.Module):
        own.eval()
    parts = load_parts(folder, index, dtype=dtype)
    with named(folder):
        pipeline = _pipeline_class(index["_class_name"]).from_pretrained(
            folder, adapter=own, **parts
        )
    skip_past_taps(pipeline.vae)
    _place(pipeline, place, offload)
    for attachment in found:
        attach_to(pipeline, attachment)
    return pipeline


def denoiser_configs(folder: Path, index: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configs of a Wan repository's one or two denoisers, by component; no weights are read.

    Raises:
        InputError: a config that is not there or unreadable.
    """
    return {
        name: model_config(folder / name, "WanTransformer3DModel")
        for name in ("transformer", "transformer_2")
        if (index.get(name) or [None])[0] is not None
    }


def find_model(
    name: str | Path,
    *,
    revision: str | None = None,
    parts: Sequence[str] = (),
    configs_only: bool = False,
) -> Path:
    """Local folder of a Wan repository: the embedded one, a path, or a downloaded hub snapshot.

    Args:
        name: "embedded", a folder, or a hub id.
        revision: branch, tag or commit of a hub repository.
        parts: the components (`transformer`, ...) that are wanted; all by default. Only a download
            is spared by it.
        configs_only: of a hub repository, what says what it is and no weights: enough to refuse
            what does not fit it before gigabytes are fetched.

    Raises:
        InputError: there is no such folder, and the hub does not have or cannot give it.
    """
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    if configs_only:
        patterns = ["model_index.json", "pila.json", "*/config.json"]
    elif parts:
        patterns = ["model_index.json", "pila.json"]
        patterns += [f"{part}/*.{kind}" for part in parts for kind in ("json", "safetensors")]
    return _find(name, EMBEDDED_MODEL, what="model", revision=revision, patterns=patterns)


def whole_path(name: str) -> str:
    """A local folder by its whole path, which no one takes for a hub id; other names as they are.

    Args:
        name: of a model or an adapter, as `find_model` takes it.
    """
    if name in ("embedded", "none") or not exists(Path(name)):
        return name
    return str(Path(name).expanduser().absolute())


def find_adapter(name: str | Path | None, *, revision: str | None = None) -> Path | None:
    """Local folder of a saved adapter, found as in `find_model`; None for None and "none".

    Raises:
        InputError: there is no such folder, and the hub does not have or cannot give it.
    """
    if name is None or str(name) == "none":
        return None
    found = _find(name, EMBEDDED_ADAPTER, what="adapter", revision=revision)
    # The folder of a finished run, or of a pipeline that was saved with its adapter.
    inside = found / "adapter"
    return inside if (inside / "config.json").is_file() else found


def find_attachments(name: str | Path | None, *, revision: str | None = None) -> list[Attachment]:
    """What is to be put on a model: each of "place+place+...", found as in `find_adapter`.

    Raises:
        InputError: as `find_adapter`, or a folder that holds nothing of the kind.
    """
    places = split_places("none" if name is None else str(name))
    folders = [find_adapter(place, revision=revision) for place in places]
    return [inspect_folder(folder) for folder in folders if folder is not None]


def split_places(text: str) -> list[str]:
    """The places in "place+place+..."; a path that exists is one, whatever its name."""
    return [text] if exists(Path(text)) else text.split("+")


def _pipeline_class(name: str) -> Any:
    if name.endswith("ImageToVideoPipeline"):
        from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline

        return PilaWanImageToVideoPipeline
    from pila.pipelines.wan import PilaWanPipeline

    return PilaWanPipeline


def load_adapter(folder: Path) -> Any:
    """The `PilaAdapter` or `PlainAdapter` that a folder holds, in float32 on the CPU.

    Raises:
        InputError: it holds something else, or weights that cannot be read.
    """
    found = inspect_folder(folder)
    if found.kind != "adapter":
        raise InputError(
            f"{folder} holds a {found.kind}, not an adapter; pass the folder of one "
            f"({' or '.join(ADAPTERS)})"
        )
    return load_model(folder)


def _find(
    name: str | Path,
    embedded: Path,
    *,
    what: str,
    revision: str | None,
    patterns: Sequence[str] = ("*.json", "*.safetensors"),
) -> Path:
    if str(name) == "embedded":
        if not embedded.is_dir():
            raise InputError(
                f"the embedded {what} is not in this installation ({embedded}); train it with "
                "`pila train`, or pass a path or a hub id"
            )
        return embedded
    if exists(Path(name)):
        path = Path(name).expanduser()
        _check_kind(path, what)
        return without_marks(path, cache_root() / "without-marks")
    if isinstance(name, str) and HUB_ID.fullmatch(name):
        return _download(name, what=what, revision=revision, patterns=patterns)
    raise InputError(f"there is no {what} {str(name)[:300]}; pass {_choices(what)}")


def _choices(what: str) -> str:
    """What may be given for a model or an adapter, of that kind and as it is here."""
    if what == "model":
        return (
            "'embedded', the folder of a diffusers Wan repository, or a hub id such as "
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
        )
    trained = sorted(str(found.parent) for found in Path("runs").glob("*/adapter/config.json"))
    such = f" such as {', '.join(trained[:MOST_NAMED])}" if trained else ""
    return f"'embedded', 'none', the folder of a trained adapter{such}, or an adapter's hub id"


def _check_kind(path: Path, what: str) -> None:
    """Refuse a model where an adapter is wanted, and the other way round."""
    is_model = (path / "model_index.json").is_file()
    inside = path / "adapter" if (path / "adapter" / "config.json").is_file() else path
    is_attachment = (inside / LORA_FILE).is_file() or class_name(inside) in (*ADAPTERS, BRANCH)
    if what == "adapter" and is_model and not is_attachment:
        raise InputError(f"{path} is a model, not an adapter; pass {_choices(what)}")
    if what == "model" and is_attachment and not is_model:
        raise InputError(
            f"{path} is an adapter, not a model (--adapter takes it); pass {_choices(what)}"
        )


def _download(hub_id: str, *, what: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Snapshot of a hub repository, without pickles; from the cache where it is complete there."""
    remedy = f"pass a local folder, or use --{what} embedded"
    return download(hub_id, what=what, remedy=remedy, revision=revision, patterns=patterns)


def find_device(name: str) -> "torch.device":
    """The device of that name; "auto" is the first accelerator, or the CPU without one.

    Raises:
        InputError: no such device here.
    """
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; use cpu, cuda, cuda:N, mps or auto") from error
    if device.type == "cpu":
        return device
    found = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if found is not None else 0
    if found is None or found.type != device.type or (device.index or 0) >= count:
        available = "cpu only" if found is None else f"cpu and {count} x {found.type}"
        raise InputError(f"device {name} is not available here ({available}); use cpu or auto")
    return device


def _place(pipeline: Any, device: "torch.device", offload: Offload) -> None:
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif offload == "group":
        pipeline.enable_group_offload(
            onload_device=device,
            offload_type="leaf_level",
            # Layers are brought ahead of time by a stream of their own, which CUDA has.
            use_stream=device.type == "cuda",
            exclude_modules=["adapter"],
        )
        if pipeline.adapter is not None:
            pipeline.adapter.to(device)
    else:
        pipeline.to(device)
