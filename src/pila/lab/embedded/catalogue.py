"""All recipes of the embedded model by name, as `pila.recipes` lists them."""

from collections.abc import Callable
from typing import Any

from pila.lab.embedded import ablations, prophy_recipes, recipes


def _name(function: Callable) -> str:
    return function.__name__.replace("_", "-")


# Each gives a TrainConfig or Stages; which one, its name tells, not its type.
RECIPES: dict[str, Callable[[], Any]] = {
    _name(function): function for function in (*recipes.RECIPES, *prophy_recipes.RECIPES)
} | {
    f"ablation-{_name(function)}": function
    for function in (*ablations.ABLATIONS, *prophy_recipes.ABLATIONS)
}
