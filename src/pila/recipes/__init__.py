"""Named runs: a recipe is a function that returns a whole TrainConfig, or several in a row.

Those of other packages, the laboratory's among them, are found through their entry points.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pila import plugins
from pila.recipes import prophy, wan

RECIPES: dict[str, Callable[[], Any]] = {}
for _name, _listed in plugins.load_all("pila.recipes").items():
    RECIPES |= _listed if isinstance(_listed, Mapping) else {_name: _listed}
RECIPES |= wan.RECIPES | prophy.RECIPES
