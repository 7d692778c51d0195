"""Named runs: a recipe is a function that returns a complete TrainConfig."""

from collections.abc import Callable

from pila.recipes import embedded
from pila.train.config import TrainConfig

RECIPES: dict[str, Callable[[], TrainConfig]] = {
    function.__name__.replace("_", "-"): function for function in embedded.RECIPES
}
