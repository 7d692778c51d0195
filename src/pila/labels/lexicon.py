"""Finds the lexicon's concepts in a text: stemming, longest match, negation, figures of speech."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from pila.physics.layout import Category

_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"[.!?;\n]+(?=\s|$)")
_VOWEL = re.compile(r"[aeiouy]")
_NEGATIONS = frozenset(
    ["no", "not", "never", "without", "neither", "nor", "nothing", "cannot", "hardly"]
)
_NEGATION_REACH = 3
_FILLERS = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "his",
        "her",
        "its",
        "their",
        "very",
        "some",
        "this",
        "that",
        "these",
        "those",
    ]
)
_NEAR = 4
"""How many matches before and after a match can make it a figure of speech."""
_PARTICLES = frozenset(["into", "onto", "on", "off", "over", "down", "up", "away", "out"])
_ABSTRACT_REACH = 2
"""How many words lie at most between "heart" and the "melts" that is only said of it."""

Side = Literal["acts", "subject", "object"]
"""Where a rule seeks the thing: on both sides of the action, just before, or just after it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Points that concepts earn together; see the head of `lexicon.toml`."""

    everywhere: tuple[frozenset[str], ...]
    things: frozenset[str]
    actions: frozenset[str]
    side: Side
    absent: frozenset[str]
    gives: Mapping[Category, float]


@dataclass(frozen=True, slots=True)
class Match:
    """Words `first` to `last` (inclusive) of a sentence, and the concepts they name."""

    first: int
    last: int
    concepts: frozenset[str]
    words: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The lexicon, ready for matching."""

    terms: Mapping[tuple[str, ...], frozenset[str]]
    longest: int
    gives: Mapping[str, Mapping[Category, float]]
    things: frozenset[str]
    rules: tuple[Rule, ...]
    irregular: Mapping[str, str]

    def sentences(self, text: str) -> list[list[Match]]:
        """The matches of every sentence, in the order of the text; figurative ones left out."""
        plain = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
        return [self._match(_TOKEN.findall(part)) for part in _SENTENCE.split(plain)]

    def _match(self, words: Sequence[str]) -> list[Match]:
        stems = [stem(word, self.irregular) for word in words]
        matches: list[Match] = []
        position = 0
        while position < len(words):
            for length in range(min(self.longest, len(words) - position), 0, -1):
                concepts = self.terms.get(tuple(stems[position : position + length]))
                if concepts:
                    last = position + length - 1
                    text = " ".join(words[position : last + 1])
                    matches.append(Match(position, last, concepts, text))
                    position = last
                    break
            position += 1
        return [
            match
            for index, match in enumerate(matches)
            if not self._void(match, matches[max(0, index - _NEAR) : index + _NEAR + 1], words)
        ]

    def _void(self, match: Match, near: Sequence[Match], words: Sequence[str]) -> bool:
        """Whether a match says nothing about the scene's physics."""
        if match.concepts & {"idiom", "style"}:
            return True
        before = words[max(0, match.first - _NEGATION_REACH) : match.first]
        if any(word in _NEGATIONS or word.endswith("n't") for word in before):
            return True
        for other in near:
            if other is match:
                continue
            if "camera" in other.concepts and 0 < match.first - other.last <= 2:
                return not match.concepts & self.things  # the camera moves, not the scene
            if "abstract" in other.concepts:
                gap = match.first - other.last - 1
                if 0 <= gap < _ABSTRACT_REACH and not match.concepts & self.things:
                    between = words[other.last + 1 : match.first]
                    if all(word in _FILLERS or word in ("is", "are", "was") for word in between):
                        return True  # "her heart melts"
                if match.last + 1 < len(words) and words[match.last + 1] == "of":
                    between = words[match.last + 2 : other.first]
                    if other.first > match.last and all(word in _FILLERS for word in between):
                        return True  # "an explosion of flavors"
        return False


def stem(word: str, irregular: Mapping[str, str]) -> str:
    """Cuts inflection (-s, -es, -ed, -ing, 's) off an English word, and a final e.

    It is no full stemmer on purpose: "molten" and "melting" are different evidence.
    """
    word = word.split("'")[0]
    if word in irregular:
        word = irregular[word]
    elif len(word) > 3:
        if word.endswith(("ies", "ied")):
            word = word[:-3] + "y"
        elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
            word = word[:-2]
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
        for ending in ("ing", "ed"):
            root = word.removesuffix(ending)
            if root != word and len(root) >= 3 and _VOWEL.search(root):
                doubled = root[-1] == root[-2] and root[-1] not in "lsz"
                word = root[:-1] if doubled else root
                break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


@cache
def load_lexicon() -> Lexicon:
    """Reads `lexicon.toml` once.

    Raises:
        ValueError: the file names an unknown category or concept.
    """
    text = (files("pila.labels") / "lexicon.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    irregular = raw["irregular"]
    terms: dict[tuple[str, ...], set[str]] = {}
    for name, concept in raw["concept"].items():
        for term in concept["terms"].split(","):
            words = _TOKEN.findall(term.lower())
            if words:
                key = tuple(stem(word, irregular) for word in words)
                terms.setdefault(key, set()).add(name)
    things = frozenset(n for n, concept in raw["concept"].items() if concept.get("thing"))
    _inherit(terms, things)
    known = set(raw["concept"])
    rules = tuple(_rule(entry, known) for entry in raw["rule"])
    return Lexicon(
        terms={key: frozenset(names) for key, names in terms.items()},
        longest=max(map(len, terms)),
        gives={name: _points(concept.get("gives", {})) for name, concept in raw["concept"].items()},
        things=things,
        rules=rules,
        irregular=irregular,
    )


def _inherit(terms: dict[tuple[str, ...], set[str]], things: frozenset[str]) -> None:
    """A compound is also what its head is (an iron rod a rod); a phrasal verb also its verb."""
    for key, names in terms.items():
        if len(key) < 2 or names & {"idiom", "style"}:
            continue
        if names & things:
            names |= terms.get(key[-1:], set()) & things
        elif len(key) == 2 and key[1] in _PARTICLES:
            names |= terms.get(key[:1], set()) - things


def _points(raw: Mapping[str, float]) -> dict[Category, float]:
    return {Category(name): float(points) for name, points in raw.items()}


def _rule(entry: Mapping, known: set[str]) -> Rule:
    everywhere = tuple(frozenset(text.split("|")) for text in entry.get("all", ()))
    side: Side = "subject" if "subject" in entry else "object" if "object" in entry else "acts"
    things, actions = (frozenset(text.split("|")) for text in entry.get(side, ("", "")))
    rule = Rule(
        everywhere=everywhere,
        things=things - {""},
        actions=actions - {""},
        side=side,
        absent=frozenset(entry.get("none", ())),
        gives=_points(entry["gives"]),
    )
    named = frozenset().union(*rule.everywhere, rule.things, rule.actions, rule.absent)
    if named - known:
        raise ValueError(f"lexicon.toml: a rule names unknown concepts {sorted(named - known)}")
    return rule
