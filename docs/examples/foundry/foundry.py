"""A package of its own that adds a parser, a judge and a recipe to pila."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any


class FoundryParser:
    """Quenching is thermal; what it does not know, the offline parser answers."""

    def __call__(self, prompt: str) -> Any:
        """Parses one prompt."""
        from pila.labels import make_parser
        from pila.physics import Category

        parse = make_parser("offline")(prompt)
        if "quench" not in prompt:
            return parse
        return replace(parse, categories=(Category.THERMAL,), parser="foundry")


class MotionJudge:
    """Says yes where the frames change."""

    def describe(self) -> dict[str, Any]:
        """What decides the answers."""
        return {"judge": "any change"}

    def reply(self, frames: Any, text: str, turns: Sequence[Any], choices: Sequence[str]) -> str:
        """The answer to one question on frames [n, h, w, 3] uint8."""
        return choices[0] if (frames != frames[0]).any() else choices[-1]


def foundry_short() -> Any:
    """Stage C of the embedded model in 100 steps."""
    from pila.recipes import RECIPES

    recipe = RECIPES["embedded-couple"]()
    return replace(recipe, optim=replace(recipe.optim, steps=100))
