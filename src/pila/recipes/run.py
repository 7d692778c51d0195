"""A recipe by its name, checked and trained stage by stage."""

import json as json_module
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pila.errors import InputError

if TYPE_CHECKING:
    from torch.nn import Module

    from pila.train.config import TrainConfig

log = logging.getLogger(__name__)

GROWN_TASKS = ("generator", "vae")
"""Tasks that may go on from a finished model, of which they then train a part."""


def run(
    recipe: str,
    output: Path,
    *,
    steps: int | Sequence[int] | None = None,
    max_steps: int | None = None,
    checkpoint_every: int = 500,
    checkpoint_minutes: float = 5.0,
    seed: int = 0,
    model: str | None = None,
    data: Path | None = None,
    start: str | None = None,
    changes: Mapping[str, Any] | None = None,
    backbone: "Module | None" = None,
    dry_run: bool = False,
    json: bool = False,
    progress: bool = True,
) -> Path | None:
    """Train a recipe; running it again resumes it.

    Args:
        recipe: a name in `pila.recipes.RECIPES`.
        output: the run's folder (config, metrics, checkpoints, the finished module).
        steps: the length of each stage's schedule, at whose end the adapter is written: one number
            for all stages, or one for each; the recipe's own by default.
        max_steps: stop after this many steps of the schedule, with a checkpoint.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: minutes between further checkpoints, of which the first comes after a
            tenth of that; 0 writes none by time.
        seed: start and order of the training.
        model: the generator (a folder or a hub id) instead of the recipe's; one of the simulated
            world brings its own scenes and size.
        data: a latent cache of that model instead of the recipe's clips.
        start: the adapter (a folder or a hub id) that the first stage goes on from; the model
            (`embedded`, or a folder) that a generator or a VAE does.
        changes: other values for options of the recipe's stages, such as `{"optim.batch": 32}`.
        backbone: a `pila.pipelines.backbone.Backbone` of that model's latents and embeddings,
            frozen in place of its denoiser; stages A to C only.
        dry_run: print what would be trained, on what, in which time, and what is missing, and train
            nothing; where the log is verbose, the whole configuration, too.
        json: print that configuration alone, as one JSON object.
        progress: show a bar of steps.

    Returns:
        Where the finished module lies, or None when it is not finished.

    Raises:
        InputError: unknown recipe, numbers out of bounds, or a model, cache or adapter that is not
            there or does not fit; a full disk.
        Stopped: SIGINT or SIGTERM has ended it; what it had done is kept.
    """
    lengths = (steps,) if isinstance(steps, int) else tuple(steps or ())
    for name, value in (
        *(("steps", length) for length in lengths),
        ("max-steps", max_steps),
        ("checkpoint-every", checkpoint_every),
    ):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if not 0 <= checkpoint_minutes < math.inf:
        raise InputError(
            f"checkpoint-minutes is {checkpoint_minutes}; it must be 0 (none by time) or more"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    stages = configs(recipe, steps=lengths, seed=seed, model=model, data=data, changes=changes)
    missing = _check_given(recipe, stages, start=start, dry_run=dry_run)
    if model is not None and data is None:
        stages = _in_world_of(model, stages)
    from pila.train.config import STAGE_TASKS

    if backbone is not None and (odd := {c.task for c in stages.values()} - set(STAGE_TASKS)):
        raise InputError(
            f"a backbone is given, but {recipe} trains {', '.join(sorted(odd))}; only stages "
            f"{', '.join(STAGE_TASKS)} take one"
        )
    if dry_run:
        from pila.recipes.preview import summary, whole

        # What would be trained is this call's result and goes to the user as it is, not to a log.
        if not json:
            print(summary(recipe, stages, output, start=start, missing=missing))  # noqa: T201
        if json or log.isEnabledFor(logging.DEBUG):
            shown = whole(stages, start=start, missing=missing)
            print(json_module.dumps(shown, indent=None if json else 2))  # noqa: T201
        return None
    from pila.files import sole_writer
    from pila.train.stopping import StopSignals

    options: dict[str, Any] = {
        "max_steps": max_steps,
        "checkpoint_every": checkpoint_every,
        "checkpoint_minutes": checkpoint_minutes,
        "progress": progress,
    }
    first = os.environ.get("RANK", "0") == "0"  # of several processes one alone writes
    with StopSignals(at_once=True), sole_writer(output) if first else nullcontext():
        from torch import distributed

        from pila.train.loop import leave_group

        given = distributed.is_available() and distributed.is_initialized()
        finished = _train(stages, output, start, backbone, options)
        if not given:
            leave_group()
        return finished


def _train(
    stages: "dict[str, TrainConfig]",
    output: Path,
    start: str | None,
    backbone: "Module | None",
    options: dict[str, Any],
) -> Path | None:
    """The stages in a row, each from what the one before it has left; as `run`."""
    from accelerate import PartialState

    from pila.files import whole_folder
    from pila.train.loop import fit, make_accelerator
    from pila.train.tasks import build_task

    left: Path | str | None = start
    finished: Path | None = None
    for name, config in stages.items():
        folder = output / name
        # A stage that is done leaves what the next one begins with, and is not begun again.
        if name and (folder / "adapter").is_dir():
            _check_same(folder, config)
            left = finished = folder / "adapter"
            continue
        if left is not None:
            config = replace(config, start=str(left))
        accelerator = make_accelerator(config.optim)
        left = finished = fit(
            build_task(config, accelerator.device, backbone),
            config,
            folder,
            accelerator=accelerator,
            **options,
        )
        if finished is None:
            return None
    if finished is not None and "" not in stages:
        processes = PartialState()
        if processes.is_main_process:
            with whole_folder(output / "adapter") as beside:
                shutil.copytree(finished, beside, dirs_exist_ok=True)
        processes.wait_for_everyone()
        finished = output / "adapter"
    return finished


def configs(
    recipe: str,
    *,
    steps: Sequence[int] = (),
    seed: int = 0,
    model: str | None = None,
    data: Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> "dict[str, TrainConfig]":
    """A recipe's configurations by stage, or one without a name, with what `run` was asked.

    Raises:
        InputError: an unknown recipe or option, a value that does not fit it, or another number of
            steps than the recipe has stages.
    """
    from pila.pipelines.locate import whole_path
    from pila.recipes import RECIPES
    from pila.train.config import changed

    if recipe not in RECIPES:
        raise InputError(f"recipe is {recipe!r}; choose from {', '.join(RECIPES)}")
    chosen = RECIPES[recipe]()
    stages = chosen if isinstance(chosen, dict) else {"": chosen}
    given: dict[str, Any] = {"seed": seed}
    # A folder as it was given may look like a hub id, and says nothing anywhere else.
    given |= {"model": whole_path(model)} if model is not None else {}
    given |= {"data": str(data)} if data is not None else {}
    stages = {name: replace(changed(c, changes or {}), **given) for name, c in stages.items()}
    if steps:
        stages = _with_steps(recipe, stages, steps)
    return stages


def _with_steps(
    recipe: str, stages: "Mapping[str, TrainConfig]", steps: Sequence[int]
) -> "dict[str, TrainConfig]":
    """The stages with these lengths: one for all, or one for each."""
    if len(steps) not in (1, len(stages)):
        count = f"stages ({', '.join(stages)})" if len(stages) > 1 else "stage"
        raise InputError(
            f"steps has {len(steps)} numbers, but {recipe} has {len(stages)} {count}; give one "
            "number for all, or one for each"
        )
    each = list(steps) * (len(stages) if len(steps) == 1 else 1)
    return {
        name: replace(config, optim=replace(config.optim, steps=length))
        for (name, config), length in zip(stages.items(), each, strict=True)
    }


def _check_given(
    recipe: str, stages: Mapping[str, "TrainConfig"], *, start: str | None, dry_run: bool
) -> list[str]:
    """Refuse what a recipe cannot use, before anything is loaded or downloaded.

    Returns:
        What is not there; of a dry run alone, all others are refused.
    """
    from pila.recipes import RECIPES
    from pila.train.config import ADAPTER_TASKS

    own = RECIPES[recipe]()
    missing: dict[str, None] = {}
    begun = start
    for name, config in stages.items():
        was = own[name] if isinstance(own, dict) else own
        if config.task not in ADAPTER_TASKS:
            _refuse_unused(recipe, config, was, start)
        for look in _looks(recipe, config, begun, dry_run=dry_run):
            try:
                said = look()
            except InputError as error:
                if not dry_run:
                    raise
                said = str(error)
            if isinstance(said, str):
                missing[said] = None
        begun = None
    return list(missing)


def _refuse_unused(
    recipe: str, config: "TrainConfig", was: "TrainConfig", start: str | None
) -> None:
    """Refuse what is given to a recipe that trains no adapter and has no use for it."""
    given = {"data": config.data}
    if config.task not in GROWN_TASKS:
        given["start"] = start
    given["model"] = None if config.model == was.model else config.model
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} is {value}, but {recipe} trains no adapter; leave it out")


def _looks(
    recipe: str, config: "TrainConfig", start: str | None, *, dry_run: bool
) -> "Iterator[Callable[[], object]]":
    """Looks at what a stage needs: each raises InputError, or says what is not there yet."""
    from pila.data.shard_files import read_header
    from pila.pipelines.locate import HUB_ID, find_adapter, find_model
    from pila.train.config import ADAPTER_TASKS

    adapts = config.task in ADAPTER_TASKS
    if start is not None and not (dry_run and HUB_ID.fullmatch(start)):  # a download
        yield partial(find_adapter if adapts else find_model, start)
    if not adapts:
        return
    if not HUB_ID.fullmatch(config.model):
        yield partial(find_model, config.model)
    elif dry_run:
        from pila.recipes.preview import not_here

        yield partial(not_here, config)
    if config.data is not None:
        yield partial(read_header, Path(config.data))
    elif not _knows_world(config.model):
        yield partial(_no_clips, recipe, config.model)


def _no_clips(recipe: str, model: str) -> None:
    raise InputError(
        f"{recipe} has no clips for {model}; make a latent cache "
        f"(pila data cache SOURCE --model {model} --out CACHE) and pass --data CACHE"
    )


def _knows_world(model: str) -> bool:
    """Whether a model is one of the simulated world, whose clips are made when wanted."""
    return model == "embedded" or (Path(model) / "pila.json").is_file()


def _in_world_of(model: str, stages: "dict[str, TrainConfig]") -> "dict[str, TrainConfig]":
    """A recipe on the clips that its generator knows: their size and scenes, where it names any."""
    from pila.pipelines.repository import own_settings

    own = own_settings(Path(model)) if model != "embedded" else {}
    if not own.get("scenes"):
        return stages
    known: Any = {"size": own["height"], "scenes": tuple(own["scenes"])}
    return {name: replace(c, world=replace(c.world, **known)) for name, c in stages.items()}


def _check_same(folder: Path, config: "TrainConfig") -> None:
    """Refuse a finished stage of another configuration: its adapter is not what was asked for."""
    from pila.train.config import config_diff

    # What a stage begins with is what the one before it has left, which is looked at by itself.
    others = config_diff(folder, config) - {"start"}
    if others:
        raise InputError(
            f"{folder} holds a finished stage of another config ({', '.join(sorted(others))} "
            f"differ); choose another --output, or delete {folder.parent}"
        )
