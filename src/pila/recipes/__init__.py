"""Named runs: a recipe is a function that returns a whole TrainConfig, or several in a row."""

from collections.abc import Callable

from pila.recipes import ablations, embedded, wan
from pila.train.config import Stages, TrainConfig


def _name(function: Callable) -> str:
    return function.__name__.replace("_", "-")


RECIPES: dict[str, Callable[[], TrainConfig | Stages]] = (
    {_name(function): function for function in embedded.RECIPES}
    | {f"ablation-{_name(function)}": function for function in ablations.ABLATIONS}
    | wan.RECIPES
)
