"""Named runs: a recipe is a function that returns a whole TrainConfig, or several in a row."""

from collections.abc import Callable
from typing import Any

from pila.recipes import ablations, embedded, prophy, wan


def _name(function: Callable) -> str:
    return function.__name__.replace("_", "-")


# Each gives a TrainConfig or Stages; which one, its name tells, not its type.
RECIPES: dict[str, Callable[[], Any]] = (
    {_name(function): function for function in (*embedded.RECIPES, *prophy.EMBEDDED)}
    | {
        f"ablation-{_name(function)}": function
        for function in (*ablations.ABLATIONS, *prophy.ABLATIONS)
    }
    | wan.RECIPES
    | prophy.RECIPES
)
