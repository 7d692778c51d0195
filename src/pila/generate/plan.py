"""A request, checked in full before anything is loaded, and what follows from it."""

import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.labels.captions import CaptionBook, read_captions
from pila.labels.parser import check_prompt, parse_categories
from pila.options import check_options
from pila.physics.layout import Category
from pila.pipelines.attachments import check_attachments
from pila.pipelines.locate import (
    denoiser_configs,
    find_attachments,
    find_device,
    find_model,
)
from pila.pipelines.noise_shift import scheduler_config, shift_name
from pila.pipelines.repository import (
    check_wan_repository,
    model_config,
    own_settings,
    read_index,
)
from pila.pipelines.schemas import FPS_RANGE, MAX_STEPS

MAX_VALUES = 2**31
"""Pixels of a clip over all frames: twenty times those of the longest and largest of Wan's."""
MAX_SHIFT = 100.0
"""Of noise levels; Wan's authors take 3 to 12."""
MIN_LATENT_SIDE = 3
"""Cells that second-order differences need along each axis."""

WAN_SAMPLING: dict[str, Any] = {
    "height": 480,
    "width": 832,
    "num_frames": 81,
    "fps": 16,
    "steps": 50,
    "guidance_scale": 5.0,
    "max_sequence_length": 512,
}
"""What Wan 2.1's authors sample with; a model's own `pila.json` overrules it."""
TI2V_SAMPLING = WAN_SAMPLING | {"height": 704, "width": 1280, "num_frames": 121, "fps": 24}
"""What Wan 2.2's authors sample TI2V-5B with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling values in force: the request's, else the model's."""

    height: int
    width: int
    num_frames: int
    fps: float
    steps: int
    guidance_scale: float
    max_sequence_length: int

    @classmethod
    def of(cls, request: GenerateRequest, model: dict[str, Any]) -> "Sampling":
        """The request's values, then the model's, as `model_sampling` gives them."""
        chosen = {f.name: getattr(request, f.name, None) for f in fields(cls)}
        return cls(**model | {k: v for k, v in chosen.items() if v is not None})


def model_sampling(folder: Path) -> dict[str, Any]:
    """What a model samples with unless told otherwise: its `pila.json`, then its authors' values.

    Args:
        folder: a Wan repository.

    Raises:
        InputError: a file of it that is not readable or not a JSON object.
    """
    index = folder / "model_index.json"
    # Of Wan's models only TI2V-5B gives given frames a noise level of their own.
    ti2v = index.is_file() and read_index(folder).get("expand_timesteps")
    authors = TI2V_SAMPLING if ti2v else WAN_SAMPLING
    own = own_settings(folder)
    return authors | {name: own[name] for name in authors if name in own}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a model's configs say about the sizes that it takes; Wan 2.1's by default."""

    spatial: int = 8
    temporal: int = 4
    patch: tuple[int, int, int] = (1, 2, 2)
    max_positions: int = 1024

    @classmethod
    def of(cls, vae: dict[str, Any], transformer: dict[str, Any]) -> "Grid":
        """From the `config.json` of a Wan VAE and a Wan transformer."""
        patch_t, patch_h, patch_w = transformer.get("patch_size") or cls().patch
        return cls(
            spatial=vae.get("scale_factor_spatial") or cls().spatial,
            temporal=vae.get("scale_factor_temporal") or cls().temporal,
            patch=(patch_t, patch_h, patch_w),
            max_positions=transformer.get("rope_max_seq_len") or cls().max_positions,
        )

    @classmethod
    def of_folder(cls, folder: Path) -> "Grid":
        """From a Wan repository."""
        denoiser = "transformer" if (folder / "transformer").is_dir() else "transformer_2"
        return cls.of(
            model_config(folder / "vae", "AutoencoderKLWan"),
            model_config(folder / denoiser, "WanTransformer3DModel"),
        )

    @property
    def units(self) -> tuple[int, int]:
        """Pixels of which height and width must be multiples."""
        # 16: diffusers' Wan pipelines insist on it.
        height, width = (math.lcm(self.spatial * patch, 16) for patch in self.patch[1:])
        return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where results go; None where nothing is written."""

    output: Path
    settings: Path
    frozen: Path | None
    comparison: Path | None
    explain: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that has passed every check."""

    request: GenerateRequest
    prompt: str
    folder: Path
    sampling: Sampling
    window: tuple[int, int] | None
    categories: tuple[Category, ...] | None
    """What the user named; None leaves it to the parser."""
    files: Files
    scenes: tuple[str, ...]
    """Scenes of the simulated world that the model was trained on; none for other models."""
    captions: CaptionBook | None
    """The captions that the model knows; None for models that carry none."""
    attached: tuple[str, ...] = ()
    """What is to be said of what is put on the model: how many LoRA keys match it."""


def prepare(request: GenerateRequest) -> Plan:
    """Check all of a request that can be checked without loading a model.

    Raises:
        InputError: names the value, its bound and a remedy.
    """
    check_options(request)
    prompt = check_prompt(request.prompt)
    if request.refined_prompt is not None:
        check_prompt(request.refined_prompt)
    check_numbers(request)
    categories = None if request.categories is None else check_categories(request.categories)
    files = plan_files(request)

    find_device(request.device)
    found = find_attachments(request.adapter)
    if request.invert_experts and "branch" not in {a.kind for a in found}:
        raise InputError(
            f"--invert-experts turns ProPhy's routers round, but --adapter is {request.adapter}; "
            "name the folder of a ProPhy branch"
        )
    # Of a hub model the configs alone, until all that they tell is checked.
    folder = find_model(request.model, configs_only=True)
    index = read_index(folder)
    if "ImageToVideo" in index["_class_name"]:
        raise InputError(
            f"{request.model} is an image-to-video model, and this command takes a prompt alone; "
            "use pila.PilaWanImageToVideoPipeline, or a text-to-video model"
        )
    _check_model_takes(request, folder, index)
    sampling = Sampling.of(request, model_sampling(folder))
    check_sizes(sampling, Grid.of_folder(folder))
    window = check_window(request.step_window, steps=sampling.steps)
    notes = check_attachments(found, denoiser_configs(folder, index))
    folder = find_model(request.model)
    check_wan_repository(folder)
    return Plan(
        request=request,
        prompt=prompt,
        folder=folder,
        sampling=sampling,
        window=window,
        categories=categories,
        files=files,
        scenes=tuple(own_settings(folder).get("scenes", ())),
        captions=read_captions(folder),
        attached=tuple(notes),
    )


def _check_model_takes(request: GenerateRequest, folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse options of sampling that this model has no use for."""
    two = (index.get("transformer_2") or [None])[0] is not None and index.get("boundary_ratio")
    if request.guidance_scale_2 is not None and not two:
        raise InputError(
            f"guidance_scale_2 is {request.guidance_scale_2}, but {request.model} has one "
            "denoiser; use --guidance-scale"
        )
    if request.flow_shift is not None and shift_name(scheduler_config(folder)) is None:
        raise InputError(
            f"flow_shift is {request.flow_shift}, but the scheduler of {request.model} has no "
            "shift; leave it out"
        )


def check_categories(categories: str) -> tuple[Category, ...]:
    """Categories from a comma-separated list; `none` is the empty tuple, for no prior.

    Raises:
        InputError: an unknown category, with the nearest known one.
    """
    return () if categories.strip().lower() == "none" else parse_categories(categories)


def check_window(window: str | None, *, steps: int) -> tuple[int, int] | None:
    """First and last step of a window written as 1-50.

    Raises:
        InputError: not of that form, or outside 1..steps.
    """
    if window is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,6})\s*-\s*(\d{1,6})\s*", window)
    if not found:
        raise InputError(f"step_window is {window!r}; write first-last, such as 1-{steps}")
    first, last = int(found[1]), int(found[2])
    if not 1 <= first <= last <= steps:
        raise InputError(
            f"step_window is {first}-{last}, but the steps run from 1 to {steps}; "
            f"use first <= last within 1-{steps}"
        )
    return first, last


def check_numbers(request: GenerateRequest) -> None:
    """Refuse numbers that no model could take.

    Raises:
        InputError: names the value, its bound and a remedy.
    """
    if request.top_k is not None and not 0 <= request.top_k <= len(Category):
        raise InputError(f"top_k is {request.top_k}; there are 8 experts, so use 0 to 8")
    if not 0 <= request.seed < 2**63:
        raise InputError(f"seed is {request.seed}; use 0 to 2**63 - 1")
    if not math.isfinite(request.adapter_scale):
        raise InputError(f"adapter_scale is {request.adapter_scale}; use a finite number")
    least, most = FPS_RANGE
    if request.fps is not None and not least <= request.fps <= most:  # nan is in no range
        raise InputError(f"fps is {request.fps}; use {least:g} to {most:g} frames per second")
    check_sampling(steps=request.steps, guidance_scale=request.guidance_scale)
    check_sampling(steps=None, guidance_scale=request.guidance_scale_2, name="guidance_scale_2")
    shift = request.flow_shift
    if shift is not None and not 0 < shift <= MAX_SHIFT:
        raise InputError(f"flow_shift is {shift}; use more than 0, at most {MAX_SHIFT:g}")
    if request.adapter == "none" and (request.compare or request.explain):
        option = "--compare" if request.compare else "--explain"
        raise InputError(f"{option} needs a correction, but --adapter is none; name an adapter")


def check_sampling(
    *, steps: int | None, guidance_scale: float | None, name: str = "guidance_scale"
) -> None:
    """Refuse steps and guidance that no model could take; None is the model's own.

    Raises:
        InputError: names the value, its bound and a remedy.
    """
    if guidance_scale is not None and not (math.isfinite(guidance_scale) and guidance_scale >= 0):
        raise InputError(f"{name} is {guidance_scale}; use 0 or more (1 is no guidance)")
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise InputError(f"steps is {steps}; use 1 to {MAX_STEPS}")


def check_sizes(sampling: Sampling, grid: Grid) -> None:
    """Refuse sizes that the VAE and the transformer's patches do not divide, or cannot reach.

    Raises:
        InputError: names the value, its bound and the nearest value that fits.
    """
    for name, side, patch, unit in (
        ("height", sampling.height, grid.patch[1], grid.units[0]),
        ("width", sampling.width, grid.patch[2], grid.units[1]),
    ):
        least = unit * math.ceil(MIN_LATENT_SIDE * grid.spatial / unit)
        most = unit * (grid.max_positions * patch * grid.spatial // unit)
        if side % unit or not least <= side <= most:
            near = min(max(least, round(side / unit) * unit), most)
            raise InputError(
                f"{name} is {side}; it must be a multiple of {unit} (VAE {grid.spatial}x, "
                f"patch {patch}) from {least} to {most}: try {near}"
            )
    unit = grid.temporal
    least = unit * (MIN_LATENT_SIDE - 1) + 1
    most = unit * (grid.max_positions * grid.patch[0] - 1) + 1
    frames = sampling.num_frames
    if frames % unit != 1 % unit or not least <= frames <= most:
        near = min(max(least, (frames - 1) // unit * unit + 1), most)
        raise InputError(
            f"num_frames is {frames}; it must be {unit} n + 1 from {least} to {most}: try {near}"
        )
    pixels = frames * sampling.height * sampling.width
    if pixels > MAX_VALUES:
        raise InputError(
            f"num_frames {frames} x height {sampling.height} x width {sampling.width} is "
            f"{pixels:,} pixels; at most {MAX_VALUES:,} are made: make the clip shorter or smaller"
        )


def plan_files(request: GenerateRequest) -> Files:
    """Every path that the request will write, after a trial that each place can be written.

    Raises:
        InputError: an extension that is not written, or a place that cannot be.
    """
    output = request.output
    if output.suffix.lower() != ".mp4":
        ending = f"ends in {output.suffix!r}" if output.suffix else "has no ending"
        raise InputError(f"--output {output} {ending}; clips are written as .mp4")
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; name a file in it, such as out.mp4")
    check_writable(output.parent)
    if request.explain is not None:
        check_writable(request.explain)
    beside = request.compare
    return Files(
        output=output,
        settings=output.with_name(f"{output.stem}-settings.json"),
        frozen=output.with_stem(f"{output.stem}-frozen") if beside else None,
        comparison=output.with_stem(f"{output.stem}-compare") if beside else None,
        explain=request.explain,
    )


def check_writable(folder: Path) -> None:
    """Refuse a folder in which, or in whose nearest existing parent, no file can be made.

    Raises:
        InputError: names the place and the reason.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{folder} cannot be written: {place} is a file; choose another folder")
    try:
        handle, trial = tempfile.mkstemp(prefix=".pila-trial-", dir=place)
        os.close(handle)
        Path(trial).unlink()
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror} in {place}); choose another folder"
        ) from error
