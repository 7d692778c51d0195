"""Which simulated scene a prompt is about, by a lexicon of concepts; offline and deterministic.

The lexicon is data, so that a model can carry the one of its own scenes with it. Its format is
that of `lexicon.toml`, with points for scenes; in addition, `scene.NAME.says` tells in one sentence
what is seen, `scene.NAME.needs` which concepts it takes, `frame.words` lists words that name no
thing, and `ordinary.words` words that are no misspelling of the lexicon's.

A scene takes its thing and what it does: without one of its needs, a scene keeps less than half
of its points.
A thing that the lexicon does not know (a foreign one, such as a pillow) takes points from all
scenes, most of all where the prompt begins with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pila.labels.lexicon import Lexicon
from pila.labels.noun_phrases import FUNCTION_WORDS, noun_phrases
from pila.labels.spelling import Speller

THRESHOLD = 1.0
"""Points from which a prompt is about a scene."""
MARGIN = 0.15
"""Points by which the best scene leads, or else plain closeness decides between the nearest."""
NEAREST = 3
UNMET = 0.45
"""Share of its points that a scene keeps without one of its needs."""
FOREIGN_SUBJECT = 0.4
"""Points that a prompt loses whose first thing is foreign to the scenes..."""
FOREIGN_OTHER = 0.25
"""... and for each other foreign thing, ..."""
FOREIGN_MOST = 3
"""... up to this number of them."""
_WORD = re.compile(r"[a-z]+")
_LETTERS = 3
_NO_THINGS = frozenset(["idiom", "style", "life"])
"""Concepts that stand for what is no scene."""


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
        self._needs = {
            name: tuple(frozenset(need.split("|")) for need in scene.get("needs", ()))
            for name, scene in data["scene"].items()
        }
        named = frozenset().union(*(need for needs in self._needs.values() for need in needs))
        if named - set(data["concept"]):
            raise ValueError(
                f"a scene needs unknown concepts {sorted(named - set(data['concept']))}"
            )
        self._frame = frozenset(_WORD.findall(data["frame"]["words"]))

    @property
    def scenes(self) -> tuple[str, ...]:
        """The names that can be recognised."""
        return tuple(self._says)

    def points(self, prompt: str) -> dict[str, float]:
        """Points of each scene that has any."""
        return self._score(self._speller.mend(prompt))[0]

    def recognise(self, prompt: str) -> Recognised:
        """Finds the scene with the most points, where these are enough."""
        text = self._speller.mend(prompt)
        points, words = self._score(text)
        close = self._closeness(text)
        ranked = sorted(self._says, key=lambda n: (-points.get(n, 0.0), -close[n], n))
        scene = self._decide(ranked, points, close)
        return Recognised(
            scene=scene,
            points=points,
            words=words[scene] if scene else (),
            nearest=tuple(ranked[:NEAREST]),
        )

    def _score(self, text: str) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
        points, words = self._lexicon.score(text)
        concepts = {c for s in self._lexicon.sentences(text) for match in s for c in match.concepts}
        loss = self._loss(text)
        for name in points:
            if not all(need & concepts for need in self._needs[name]):
                points[name] *= UNMET
            points[name] -= loss
        return {name: value for name, value in points.items() if value > 0}, words

    def _loss(self, text: str) -> float:
        """Points that things foreign to the scenes take from all of them."""
        named = [p for p in noun_phrases(text, self._known) if p[-1] not in self._frame]
        foreign = [self._foreign(phrase) for phrase in named]
        if not any(foreign):
            return 0.0
        others = min(sum(foreign[1:]), FOREIGN_MOST)
        return FOREIGN_SUBJECT * foreign[0] + FOREIGN_OTHER * others

    def _foreign(self, phrase: tuple[str, ...]) -> bool:
        """Whether a phrase names another thing: unknown, someone's, or a figure of speech."""
        terms = self._lexicon.terms
        stems = tuple(self._lexicon.stems(phrase))
        if not self._known(phrase[-1]):
            return True
        owners = {(s,) for s, word in zip(stems, phrase, strict=True) if word.endswith("'s")}
        if any("life" in terms.get(owner, ()) for owner in owners):
            return True
        return any("idiom" in terms.get(stems[i:], ()) for i in range(len(stems)))

    def _known(self, word: str) -> bool:
        own = self._lexicon.terms.get(tuple(self._lexicon.stems([word])), frozenset())
        return bool(own - _NO_THINGS) or word in self._frame or len(word) == 1

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

    def _closeness(self, text: str) -> dict[str, float]:
        """Share of words and of letter triples in common with what each scene says.

        For what the lexicon does not decide.
        """
        stems, triples = self._stems(text), _triples(text)
        return {
            name: _common(stems, own) + _common(triples, letters)
            for name, (own, letters) in self._said.items()
        }

    @cached_property
    def _said(self) -> dict[str, tuple[set[str], set[str]]]:
        """Of each scene the stems and letter triples of its sentence."""
        return {name: (self._stems(says), _triples(says)) for name, says in self._says.items()}

    def _stems(self, text: str) -> set[str]:
        return set(self._lexicon.stems(word for word in _WORD.findall(text) if len(word) > 3))


def make_speller(data: Mapping[str, Any]) -> Speller:
    """Mends towards the lexicon's words of five letters or more, but for what means no scene."""
    targets: set[str] = set()
    right = {
        *_WORD.findall(data["ordinary"]["words"]),
        *_WORD.findall(data["frame"]["words"]),
        *FUNCTION_WORDS,
        *data["irregular"],
    }
    for name, concept in data["concept"].items():
        for term in concept["terms"].lower().split(","):
            words = _WORD.findall(term)
            right.update(words)
            if name not in _NO_THINGS:
                targets.update(word for word in words if len(word) > _LETTERS + 1)
    return Speller(targets, right)


def _common(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1.0, (len(one) * len(other)) ** 0.5)


def _triples(text: str) -> set[str]:
    joined = f" {' '.join(_WORD.findall(text))} "
    return {joined[i : i + _LETTERS] for i in range(len(joined) - _LETTERS + 1)}
