"""Which simulated scene a prompt is about, by a lexicon of concepts; offline and deterministic.

The lexicon is data, so that a model can carry the one of its own scenes with it. Its format is
that of `lexicon.toml`, with points for scenes; in addition, `scene.NAME.says` tells in one sentence
what is seen, and `ordinary.words` lists words that are no misspelling of the lexicon's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pila.labels.lexicon import Lexicon, stem
from pila.labels.spelling import Speller

THRESHOLD = 1.0
"""Points from which a prompt is about a scene."""
MARGIN = 0.15
"""Points by which the best scene leads, or else plain closeness decides between the nearest."""
NEAREST = 3
_WORD = re.compile(r"[a-z]+")
_LETTERS = 3


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a prompt is about.

    Attributes:
        scene: a scene's name, or None where the prompt is about none of them.
        points: of each scene that has any.
        words: what decided for the scene, as understood (misspellings mended); none without one.
        nearest: the three scenes with the most points, filled by plain closeness.
    """

    scene: str | None
    points: Mapping[str, float]
    words: tuple[str, ...]
    nearest: tuple[str, ...]


class SceneLexicon:
    """Recognises scenes in prompts.

    Args:
        data: the content of the lexicon's TOML file, or of the same in JSON.

    Raises:
        ValueError: the data contradict themselves (`Lexicon.from_data`).
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._lexicon = Lexicon.from_data(data, list(data["scene"]))
        self._speller = make_speller(data)
        self._says = {name: scene["says"] for name, scene in data["scene"].items()}

    @property
    def scenes(self) -> tuple[str, ...]:
        """The names that can be recognised."""
        return tuple(self._says)

    def points(self, prompt: str) -> dict[str, float]:
        """Points of each scene that has any."""
        return self._lexicon.score(self._speller.mend(prompt))[0]

    def recognise(self, prompt: str) -> Recognised:
        """Finds the scene with the most points, where these are enough."""
        text = self._speller.mend(prompt)
        points, words = self._lexicon.score(text)
        close = {name: self._closeness(text, says) for name, says in self._says.items()}
        ranked = sorted(self._says, key=lambda n: (-points.get(n, 0.0), -close[n], n))
        scene = self._decide(ranked, points, close)
        return Recognised(
            scene=scene,
            points=points,
            words=words[scene] if scene else (),
            nearest=tuple(ranked[:NEAREST]),
        )

    def _decide(
        self, ranked: list[str], points: Mapping[str, float], close: Mapping[str, float]
    ) -> str | None:
        best = points.get(ranked[0], 0.0)
        if best < THRESHOLD:
            return None
        tied = [n for n in ranked if points.get(n, 0.0) > best - MARGIN]
        tied.sort(key=lambda n: -close[n])
        if len(tied) > 1 and close[tied[0]] == close[tied[1]]:
            return None
        return tied[0]

    def _closeness(self, text: str, says: str) -> float:
        """Share of words and of letter triples in common, for what the lexicon does not decide."""
        parts = []
        for one, other in (
            (self._stems(text), self._stems(says)),
            (_triples(text), _triples(says)),
        ):
            parts.append(len(one & other) / max(1.0, (len(one) * len(other)) ** 0.5))
        return sum(parts)

    def _stems(self, text: str) -> set[str]:
        return {
            stem(word, self._lexicon.irregular) for word in _WORD.findall(text) if len(word) > 3
        }


def make_speller(data: Mapping[str, Any]) -> Speller:
    """Mends towards the lexicon's words of five letters or more, but for what means no scene."""
    targets: set[str] = set()
    right = {*_WORD.findall(data["ordinary"]["words"]), *data["irregular"]}
    for name, concept in data["concept"].items():
        for term in concept["terms"].lower().split(","):
            words = _WORD.findall(term)
            right.update(words)
            if name not in ("idiom", "style", "life"):
                targets.update(word for word in words if len(word) > _LETTERS + 1)
    return Speller(targets, right)


def _triples(text: str) -> set[str]:
    joined = f" {' '.join(_WORD.findall(text))} "
    return {joined[i : i + _LETTERS] for i in range(len(joined) - _LETTERS + 1)}
