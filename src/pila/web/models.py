"""What a page offers: models and adapters named at the start, each with the limits on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pila.errors import InputError
from pila.generate.plan import MAX_STEPS, Grid, Sampling, model_sampling
from pila.generate.request import GenerateRequest
from pila.pipelines.attachments import check_attachments
from pila.pipelines.locate import (
    denoiser_configs,
    find_adapter,
    find_attachments,
    find_model,
    split_places,
)
from pila.pipelines.repository import check_wan_repository

EMBEDDED = "embedded"
LEAST_SIDE, LEAST_FRAMES = 16, 9
"""The smallest bounds that leave anything to ask for; see `pila.generate.plan.check_sizes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one request may ask for; None is the model's own size."""

    steps: int = 50
    side: int | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MAX_STEPS:
            raise InputError(f"max_steps is {self.steps}; use 1 to {MAX_STEPS}")
        for name, value, least in (
            ("max_side", self.side, LEAST_SIDE),
            ("max_frames", self.frames, LEAST_FRAMES),
        ):
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; use at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model on offer.

    Attributes:
        place: embedded or a folder; a hub id was resolved to its folder.
        own: what the model samples with unless asked otherwise, within the limits.
        limits: with nothing left open.
        adapters: name on the page -> place, of those that fit; hub ids resolved as well.
        grid: the sizes that the model takes.
    """

    place: str
    own: Sampling
    limits: Limits
    adapters: dict[str, str]
    grid: Grid


def served_models(
    models: Sequence[str], adapters: Sequence[str], limits: Limits | None = None
) -> dict[str, ServedModel]:
    """Every model by its name on the page, in the order given, the embedded one at the end.

    The hub is asked here alone: a page that asked it at each request would wait for it.

    Raises:
        InputError: a name cannot be resolved, two have one name, a model is not text-to-video, or
            an adapter fits no model, or the other way round.
    """
    limits = limits or Limits()
    places = _named([*models, EMBEDDED], "model")
    wanted = _named([*adapters, EMBEDDED], "adapter")
    adapters_here = {name: _here(place, find_adapter) for name, place in wanted.items()}
    served = {name: _look_at(place, adapters_here, limits) for name, place in places.items()}
    for name, model in served.items():
        if not model.adapters:
            raise InputError(
                f"no adapter fits model {places[name]}; name one that was trained for it with "
                f"--adapter, or leave {name} out"
            )
    for name, place in wanted.items():
        if not any(name in model.adapters for model in served.values()):
            raise InputError(
                f"adapter {place} fits none of the models {', '.join(places)}; name its model "
                "with --model"
            )
    return served


def _look_at(place: str, adapters: dict[str, str], limits: Limits) -> ServedModel:
    here = _here(place, find_model)
    folder = find_model(here)
    index = check_wan_repository(folder)
    if "ImageToVideo" in index["_class_name"]:
        raise InputError(f"{place} is an image-to-video model; the page takes text-to-video ones")
    sampling = Sampling.of(GenerateRequest(model=place), model_sampling(folder))
    limits = replace(
        limits,
        side=limits.side or max(sampling.height, sampling.width),
        frames=limits.frames or sampling.num_frames,
    )
    assert limits.side is not None
    assert limits.frames is not None
    if max(sampling.height, sampling.width) > limits.side or sampling.num_frames > limits.frames:
        raise InputError(
            f"{place} makes {sampling.num_frames} frames of {sampling.width} x {sampling.height} "
            f"by itself, but the limits are {limits.frames} frames and {limits.side} pixels a "
            "side; raise --max-frames and --max-side"
        )
    denoisers = denoiser_configs(folder, index)
    return ServedModel(
        place=here,
        own=replace(sampling, steps=min(sampling.steps, limits.steps)),
        limits=limits,
        adapters={name: where for name, where in adapters.items() if _fits(where, denoisers)},
        grid=Grid.of_folder(folder),
    )


def _fits(adapter: str, denoisers: dict[str, dict]) -> bool:
    found = find_attachments(adapter)
    try:
        check_attachments(found, denoisers)
    except InputError:
        return False
    return bool(found)  # "none" has nothing to compare


def _here(place: str, find: Callable[[str], Path | None]) -> str:
    """A place, or several joined by "+", with the folders of hub ids in their place."""
    return "+".join(
        name if name in (EMBEDDED, "none") or Path(name).expanduser().exists() else str(find(name))
        for name in split_places(place)
    )


def _named(places: Sequence[str], what: str) -> dict[str, str]:
    """Short names for places: the last part of a folder's path, a hub id as it is."""
    named: dict[str, str] = {}
    for place in dict.fromkeys(places):
        path = Path(place).expanduser()
        name = path.resolve().name if place != EMBEDDED and path.exists() else place
        if name in named:
            raise InputError(
                f"{what}s {named[name]} and {place} would both be called {name} on the page; "
                "rename a folder, or link to it by another name"
            )
        named[name] = place
    return named
