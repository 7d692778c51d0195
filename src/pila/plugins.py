"""What packages add to pila by name, found through their entry points.

A package lists what it adds under `[project.entry-points."GROUP"]` in its `pyproject.toml`; pila's
own laboratory does the same. Nothing is imported until it is asked for.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pila.errors import InputError

Group = Literal[
    "pila.recipes",
    "pila.training_tasks",
    "pila.clip_sources",
    "pila.law_measures",
    "pila.label_parsers",
    "pila.judges",
]
"""`recipes`: functions that return a TrainConfig or Stages, or a mapping of such by name.
`training_tasks`: classes as `pila.train.loop.Task`. `clip_sources`: see
`pila.data.sources.ClipMaker`. `law_measures`: (scene, frames) -> errors by law. `label_parsers`:
prompt -> `pila.labels.parse.Parse`. `judges`: see `pila.lab.benchmarks.judges.base.Judge`."""


@cache
def _found(group: Group) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def names(group: Group) -> list[str]:
    """Names that installed packages list in a group, without importing them."""
    return sorted(_found(group))


def load(group: Group, name: str) -> Any:
    """What a package lists under a name.

    Raises:
        InputError: no installed package lists it, or the one that does cannot be imported.
    """
    entry = _found(group).get(name)
    if entry is None:
        raise InputError(
            f"{name!r} is not in {group}; choose from {', '.join(names(group)) or 'none'}, or "
            "install the package that lists it"
        )
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        extra = "pip install 'pila[lab]'" if entry.module.startswith("pila.") else "install it"
        raise InputError(
            f"{name!r} of {group} needs {error.name}, which is not installed: {extra}"
        ) from error


def load_all(group: Group) -> dict[str, Any]:
    """Everything that packages list in a group, by name; what cannot be imported is left out."""
    found = {}
    for name in names(group):
        try:
            found[name] = load(group, name)
        except InputError:
            continue
    return found
