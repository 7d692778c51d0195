"""Finds a lexicon's concepts in a text, and what they give points for.

Words are found by stem, the longest phrase first; negations and figures of speech are left out.
Concepts earn points alone, together in a sentence, or as a thing with its action. What the points
are for is the lexicon's own: categories (`lexicon.toml`, whose head tells the format), or scenes.
"""

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pila.physics.layout import Category

_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"[.!?;\n]+(?=\s|$)")
_CLAUSE = re.compile(r"[^\w\s'-]+(?=\s|$)|[(\n)]")
_BREAK = "|"
"""Stands between clauses where a whole prompt is read as one sentence."""
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
_SUBJECTS = 2
_SUBJECT_REACH = 8
_OBJECT_REACH = 6
"""Things that count as doing, or undergoing, an action: how many, and from how many words off."""
_ABSTRACT_REACH = 2
"""How many words lie at most between "heart" and the "melts" that is only said of it."""

Side = Literal["acts", "subject", "object"]
"""Where a rule seeks the thing: on both sides of the action, just before, or just after it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Points that concepts earn together; see the head of `lexicon.toml`."""

    everywhere: tuple[frozenset[str], ...]
    twice: frozenset[str]
    things: frozenset[str]
    actions: frozenset[str]
    side: Side
    absent: frozenset[str]
    gives: Mapping[str, float]


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
    gives: Mapping[str, Mapping[str, float]]
    things: frozenset[str]
    rules: tuple[Rule, ...]
    irregular: Mapping[str, str]
    whole: bool = False

    @classmethod
    def from_data(cls, data: Mapping[str, Any], names: Collection[str]) -> "Lexicon":
        """Builds a lexicon from the content of its TOML file.

        Args:
            data: tables `concept`, `rule` and `irregular` as the head of `lexicon.toml` tells;
                `whole = true` reads a prompt as one sentence; with `parts = true` a phrase also
                says what its parts say, but for those of a concept with `alone = true`.
            names: what points may be given for; "*" in the data stands for all of them.

        Raises:
            ValueError: the data give points for another name, or a rule names an unknown concept.
        """
        irregular = dict(data["irregular"])
        concepts: Mapping[str, Mapping[str, Any]] = data["concept"]
        terms: dict[tuple[str, ...], set[str]] = {}
        for name, concept in concepts.items():
            for term in concept["terms"].split(","):
                words = _TOKEN.findall(term.lower())
                if words:
                    key = tuple(stem(word, irregular) for word in words)
                    terms.setdefault(key, set()).add(name)
        things = frozenset(n for n, concept in concepts.items() if concept.get("thing"))
        if data.get("parts"):
            alone = {n for n, concept in concepts.items() if concept.get("alone")}
            _inherit_parts(terms, alone | {"idiom", "style"})
        else:
            _inherit(terms, things)
        known = set(concepts)
        return cls(
            terms={key: frozenset(found) for key, found in terms.items()},
            longest=max(map(len, terms)),
            gives={n: _points(concept.get("gives", {}), names) for n, concept in concepts.items()},
            things=things,
            rules=tuple(_rule(entry, known, names) for entry in data["rule"]),
            irregular=irregular,
            whole=bool(data.get("whole", False)),
        )

    def score(self, text: str) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
        """Points of each name that has any, and the words that gave them, in textual order.

        Every concept and every rule counts once a prompt, however often it occurs: a long prompt
        earns no points by repetition.
        """
        points: dict[str, float] = {}
        words: dict[str, list[str]] = {}

        def grant(gives: Mapping[str, float], matches: Iterable[Match]) -> None:
            for name, value in gives.items():
                points[name] = points.get(name, 0.0) + value
                if value > 0:
                    words.setdefault(name, []).extend(m.words for m in matches)

        sentences = self.sentences(text)
        concepts: set[str] = set()
        for match in (m for sentence in sentences for m in sentence):
            for concept in sorted(match.concepts - concepts):
                grant(self.gives[concept], [match])
            concepts |= match.concepts
        for rule in self.rules:
            for sentence in sentences:
                matches = self._fires(rule, sentence)
                if matches:
                    grant(rule.gives, matches)
                    break
        evidence = {name: tuple(dict.fromkeys(found)) for name, found in words.items()}
        return {n: p for n, p in points.items() if p > 0 and n in evidence}, evidence

    def _fires(self, rule: Rule, sentence: Sequence[Match]) -> list[Match]:
        """The matches on which a rule rests in this sentence; empty where it does not apply."""
        if any(match.concepts & rule.absent for match in sentence):
            return []
        found: list[Match] = []
        if rule.twice:
            found = [match for match in sentence if match.concepts & rule.twice][:2]
            if len(found) < 2:
                return []
        for wanted in rule.everywhere:
            match = next((m for m in sentence if m.concepts & wanted), None)
            if match is None:
                return []
            found.append(match)
        if rule.actions:
            pair = self._acting(rule, sentence)
            if pair is None:
                return []
            found.extend(pair)
        return found

    def _acting(self, rule: Rule, sentence: Sequence[Match]) -> tuple[Match, Match] | None:
        """A thing and its action: the nearest things before the action, or the next after it."""
        for action in (m for m in sentence if m.concepts & rule.actions):
            things = [m for m in sentence if m is not action and m.concepts & self.things]
            before = [m for m in things if 0 < action.first - m.last <= _SUBJECT_REACH]
            after = [m for m in things if 0 < m.first - action.last <= _OBJECT_REACH][:1]
            if before and "quantity" in before[-1].concepts:
                continue  # a temperature drops, a pressure rises: no body moves
            sides = {"subject": before[-1:], "object": after, "acts": before[-_SUBJECTS:] + after}
            for thing in sides[rule.side]:
                if thing.concepts & rule.things:
                    return thing, action
        return None

    def stems(self, words: Iterable[str]) -> list[str]:
        """The stem of each word, as terms hold them."""
        return [stem(word, self.irregular) for word in words]

    def sentences(self, text: str) -> list[list[Match]]:
        """The matches of every sentence, in the order of the text; figurative ones left out."""
        plain = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
        if self.whole:
            clauses = [_TOKEN.findall(part) for part in _CLAUSE.split(plain)]
            return [self._match([word for part in clauses for word in (*part, _BREAK)])]
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
        if _BREAK in before:
            before = before[len(before) - before[::-1].index(_BREAK) :]
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
    """Reads `lexicon.toml`, which gives points for categories, once."""
    text = (files("pila.labels") / "lexicon.toml").read_text(encoding="utf-8")
    return Lexicon.from_data(tomllib.loads(text), [str(category) for category in Category])


def _inherit(terms: dict[tuple[str, ...], set[str]], things: frozenset[str]) -> None:
    """A compound is also what its head is (an iron rod a rod); a phrasal verb also its verb."""
    for key, names in terms.items():
        if len(key) < 2 or names & {"idiom", "style"}:
            continue
        if names & things:
            names |= terms.get(key[-1:], set()) & things
        elif len(key) == 2 and key[1] in _PARTICLES:
            names |= terms.get(key[:1], set()) - things


def _inherit_parts(terms: dict[tuple[str, ...], set[str]], alone: Collection[str]) -> None:
    """A phrase is also what each part of it is (a hot plate is hot, and a plate)."""
    single = {key: frozenset(names) for key, names in terms.items()}
    for key, names in terms.items():
        if names & set(alone):
            continue
        for first in range(len(key)):
            for last in range(first + 1, len(key) + 1):
                found = single.get(key[first:last], frozenset())
                names |= found - {"idiom", "style", "camera", "abstract"}


def _points(raw: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    points = {name: float(raw["*"]) for name in names} if "*" in raw else {}
    points |= {name: float(value) for name, value in raw.items() if name != "*"}
    if unknown := sorted(set(points) - set(names)):
        raise ValueError(f"the lexicon gives points for {unknown}; choose from {sorted(names)}")
    return points


def _rule(entry: Mapping[str, Any], known: set[str], names: Collection[str]) -> Rule:
    everywhere = tuple(frozenset(text.split("|")) for text in entry.get("all", ()))
    side: Side = "subject" if "subject" in entry else "object" if "object" in entry else "acts"
    things, actions = (frozenset(text.split("|")) for text in entry.get(side, ("", "")))
    rule = Rule(
        everywhere=everywhere,
        twice=frozenset(entry.get("twice", "").split("|")) - {""},
        things=things - {""},
        actions=actions - {""},
        side=side,
        absent=frozenset(entry.get("none", ())),
        gives=_points(entry["gives"], names),
    )
    named = frozenset().union(*rule.everywhere, rule.twice, rule.things, rule.actions, rule.absent)
    if named - known:
        raise ValueError(f"a rule of the lexicon names unknown concepts {sorted(named - known)}")
    return rule
