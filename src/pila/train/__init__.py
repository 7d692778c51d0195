"""Training: one loop, a task for each thing that is trained, recipes in `pila.recipes`."""

import json as json_module
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pila.errors import InputError

if TYPE_CHECKING:
    from pila.train.config import TrainConfig

log = logging.getLogger(__name__)


def run(
    recipe: str,
    output: Path,
    *,
    max_steps: int | None = None,
    checkpoint_every: int = 500,
    seed: int = 0,
    dry_run: bool = False,
    json: bool = False,
) -> Path | None:
    """Train a recipe; running it again resumes it.

    Args:
        recipe: a name in `pila.recipes.RECIPES`.
        output: the run's folder (config, metrics, checkpoints, the finished module).
        max_steps: stop after this many steps of the schedule, with a checkpoint.
        checkpoint_every: steps between checkpoints.
        seed: start and order of the training.
        dry_run: print the whole config and an estimate of size and time, and train nothing.
        json: print that config as JSON.

    Returns:
        Where the finished module lies, or None when it is not finished.

    Raises:
        InputError: unknown recipe, or numbers out of bounds.
    """
    from pila.recipes import RECIPES

    if recipe not in RECIPES:
        raise InputError(f"recipe is {recipe!r}; choose from {', '.join(RECIPES)}")
    for name, value in (("max-steps", max_steps), ("checkpoint-every", checkpoint_every)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    chosen = RECIPES[recipe]()
    stages = chosen if isinstance(chosen, dict) else {"": chosen}
    stages = {name: replace(config, seed=seed) for name, config in stages.items()}
    if dry_run:
        shown = {name: asdict(c) | {"estimate": _estimate(c)} for name, c in stages.items()}
        text = json_module.dumps(shown.get("", shown), indent=None if json else 2)
        # The configuration is this call's result and goes to the user as it is, not to a log.
        print(text)  # noqa: T201
        return None
    from pila.train.loop import fit, make_accelerator
    from pila.train.tasks import build_task

    left: Path | None = None
    for name, config in stages.items():
        folder = output / name
        # A stage that is done leaves what the next one begins with, and is not begun again.
        if name and (folder / "adapter").is_dir():
            left = folder / "adapter"
            continue
        if left is not None:
            config = replace(config, start=str(left))
        accelerator = make_accelerator(config.optim)
        left = fit(
            build_task(config, accelerator.device),
            config,
            folder,
            accelerator=accelerator,
            max_steps=max_steps,
            checkpoint_every=checkpoint_every,
        )
        if left is None:
            return None
    if left is not None and "" not in stages:
        left = _put_in_place(left, output / "adapter")
    return left


def _estimate(config: "TrainConfig") -> dict[str, Any] | str | None:
    """What the run will take; a sentence where that cannot be known here."""
    from pila.train.estimate import estimate

    try:
        found = estimate(config)
    except InputError as error:
        return f"unknown: {error}"
    return None if found is None else asdict(found)


def _put_in_place(made: Path, place: Path) -> Path:
    """A copy of a finished adapter under the run's own name, whole or not at all."""
    beside = place.with_name(f".{place.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(made, beside)
    shutil.rmtree(place, ignore_errors=True)
    return beside.rename(place)
