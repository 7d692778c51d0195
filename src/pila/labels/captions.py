"""Completes a free prompt to a caption of the scene that it is about.

A model that was trained on captions of a few scenes draws what is worded as they are. Its folder
carries them in `captions.json`: the forms of each scene's captions, what their gaps may say, other
words for that, and the lexicon by which a prompt's scene is recognised. What the prompt says is
kept, what it leaves open is drawn from the seed. It is the prompt refinement of the paper's router
(appendix A.2) for such a model, without a language model.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pila.errors import InputError
from pila.json_files import read_json
from pila.labels.lexicon import stem
from pila.labels.scene_lexicon import Recognised, SceneLexicon
from pila.labels.wording import fill_template
from pila.physics.layout import Category

FILE = "captions.json"
VERSION = 1
SIZE_LIMIT = 4_000_000
"""Bytes of a file that is read."""

_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_ARTICLES = frozenset(["the", "a", "an", "its", "his", "her", "your", "my", "one", "another"])
_OPPOSITE = {
    "left": "right",
    "right": "left",
    "top": "bottom",
    "bottom": "top",
    "up": "down",
    "down": "up",
}
_TOWARDS = frozenset(["to", "toward", "towards", "into", "going", "heading"])
_AT = frozenset(["on", "at", "in", "against"])
_HEAD_REACH = 4
"""Words that lie at most between "red" and the ball that is red."""

Sense = Literal["to", "from", "at"]


class Pairs(BaseModel):
    """Which options of a gap go with each option of another, `by`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    options: dict[str, tuple[str, ...]]


class SceneForms(BaseModel):
    """How the captions of one scene are worded, as a model's `captions.json` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    categories: tuple[Category, ...] = Field(max_length=len(Category))
    """The physical categories at work, the strongest first."""
    templates: tuple[str, ...] = Field(min_length=1, max_length=1_000)
    """Sentences with `{gaps}`."""
    gaps: dict[str, tuple[str, ...]]
    """What each gap may say."""
    words: dict[str, dict[str, str]] = {}
    """Other words for a gap's options, separated by commas."""
    things: str = ""
    """Names of the objects that attributes stand before."""
    distinct: tuple[str, ...] = ()
    """Gaps that differ from one another."""
    sense: dict[str, Sense] = {}
    """Gaps of directions: whether they say where something goes, comes from or is."""
    only: dict[str, Pairs] = {}
    """Options of a gap that go with an option of another."""

    @model_validator(mode="after")
    def _refer_to_gaps(self) -> Self:
        for template in self.templates:
            used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
            if used != set(self.gaps):
                raise ValueError(f"{template!r} has the gaps {sorted(used)}")
        named = {*self.words, *self.distinct, *self.sense, *self.only}
        named |= {pairs.by for pairs in self.only.values()}
        if named - set(self.gaps) or not all(self.gaps.values()):
            raise ValueError("it names gaps that are not there, or a gap has no options")
        if any(set(pairs.options) != set(self.gaps[pairs.by]) for pairs in self.only.values()):
            raise ValueError("`only` does not name every option of the gap that decides")
        return self


class CaptionData(BaseModel):
    """The content of `captions.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pila_captions: Literal[1]
    style: str
    settings: str
    options: dict[str, str]
    scenes: dict[str, SceneForms] = Field(min_length=1, max_length=10_000)
    lexicon: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What became of a prompt.

    Attributes:
        scene: the scene that it is about; None where it is about none of them.
        caption: the prompt completed to a caption of that scene, or None.
        categories: those of the scene.
        said: what the prompt says of the caption's gaps.
        examples: without a scene, captions of the nearest three.
    """

    scene: str | None
    caption: str | None
    said: Mapping[str, str]
    categories: tuple[Category, ...] = ()
    examples: tuple[str, ...] = ()


class CaptionBook:
    """The captions that a model knows.

    Args:
        data: the content of its `captions.json`.
    """

    def __init__(self, data: CaptionData) -> None:
        self.data = data
        self.scenes = {name: _Scene(forms, data) for name, forms in data.scenes.items()}
        self._lexicon = SceneLexicon(data.lexicon)

    def recognise(self, prompt: str) -> Recognised:
        """The scene that a prompt is about, if it is one of these."""
        return self._lexicon.recognise(prompt)

    def complete(self, prompt: str, seed: int) -> Completion:
        """Completes a prompt to a caption of its scene; the same seed completes it alike.

        A prompt that is a caption already stays as it is.
        """
        found = self.recognise(prompt)
        scene = self.scenes.get(found.scene or "")
        if found.scene is None or scene is None:
            near = [name for name in found.nearest if name in self.scenes]
            examples = tuple(self.scenes[name].fill({}, seed) for name in near[:3])
            return Completion(scene=None, caption=None, said={}, examples=examples)
        exact = scene.as_caption(prompt)
        said = scene.said(prompt) if exact is None else exact
        return Completion(
            scene=found.scene,
            caption=scene.fill(said, seed) if exact is None else prompt,
            said=said,
            categories=scene.forms.categories,
        )


def read_captions(folder: Path) -> CaptionBook | None:
    """The captions that a model's folder carries; None where it carries none.

    Raises:
        InputError: the file is too large, is not JSON, or does not hold captions.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    stat = path.stat()
    return _read(path.resolve(), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> CaptionBook:
    """The captions in a file, read anew where it has changed."""
    remedy = "copy the model's folder again, or remove the file"
    try:
        content = read_json(path, limit=SIZE_LIMIT, remedy=remedy)
        return CaptionBook(CaptionData.model_validate(content))
    except InputError:
        raise
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"]) or "the content"
        raise InputError(f"{name} in {path}: {wrong['msg']}; {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the lexicon in {path} is not one ({error!r}); {remedy}") from error


@dataclass(frozen=True, slots=True)
class _Said:
    """Words `first` to `last` (inclusive) of a prompt name these options of gaps.

    `tier` is 0 where they are an option's own words, 1 where the scene takes them for it, and 2
    where they are words for it in general.
    """

    first: int
    last: int
    tier: int
    options: tuple[tuple[str, str], ...]


class _Scene:
    """One scene's captions, and what a prompt says of their gaps."""

    def __init__(self, forms: SceneForms, data: CaptionData) -> None:
        self.forms = forms
        self._phrases = dict(_phrases(forms, data))
        self._longest = max(map(len, self._phrases))
        own = set(_stems(" ".join(forms.templates)))
        self._settings = {s[0] for s in _listed(data.settings) if len(s) == 1} - own
        self._things = {s[-1] for s in _listed(forms.things)}
        self._groups = _role_groups(forms)

    def as_caption(self, prompt: str) -> dict[str, str] | None:
        """What the gaps say where the prompt is a caption of this scene, word for word."""
        plain = " ".join(prompt.split()).rstrip(".").lower()
        for template in self.forms.templates:
            match = re.fullmatch(_as_pattern(template, self.forms.gaps), plain)
            if match:
                return dict(match.groupdict())
        return None

    def said(self, prompt: str) -> dict[str, str]:
        """The options that a prompt names, by gap; a gap that it leaves open is not there."""
        words = _TOKEN.findall(prompt.lower().replace("’", "'"))
        stems = [stem(word, {}) for word in words]
        matches = list(self._matches(stems))
        covered = {i for m in matches for i in range(m.first, m.last + 1)}
        heads = self._heads(words, stems, covered)
        named: dict[str, list[tuple[_Said, str]]] = {}
        for match in matches:
            if not self._of_setting(match, stems, covered):
                for gap, option in match.options:
                    named.setdefault(gap, []).append((match, option))
        found: dict[str, str] = {}
        for gap, all_said in named.items():
            best = min(match.tier for match, _ in all_said)
            mine = [(match, option) for match, option in all_said if match.tier == best]
            group = self._groups.get(gap)
            if gap in self.forms.sense:
                # "the left one" and "from the left" before a bare "left".
                mine.sort(key=lambda said: not _is_pointed_at(said[0], words))
                turned = (self._direction(gap, option, match, words) for match, option in mine)
                first = next(filter(None, turned), None)
                if first is not None:
                    found[gap] = first
            elif group is None:
                found[gap] = mine[0][1]
            elif gap == group[0]:
                passive = len(heads) > 1 and "by" in words[heads[0] : heads[1]]
                order = group[::-1] if passive and len(group) == 2 else group
                found |= _by_object(mine, heads, order)
        return self._consistent(found)

    def _heads(self, words: Sequence[str], stems: Sequence[str], covered: set[int]) -> list[int]:
        """Places of the names of single objects; of names in a row, as "cue ball", the last."""
        names = [
            i
            for i, (word, s) in enumerate(zip(words, stems, strict=True))
            if s in self._things and i not in covered and not word.endswith("s")
        ]
        return [i for i in names if i + 1 not in names]

    def fill(self, said: Mapping[str, str], seed: int) -> str:
        """A caption that says this; template and open gaps are drawn from the seed."""
        draw = random.Random(f"{seed} {self.forms.templates[0]}")
        words = dict(said)
        for gap, options in self.forms.gaps.items():
            if gap not in words:
                words[gap] = draw.choice(self._allowed(gap, options, words))
        return fill_template(draw.choice(self.forms.templates), words)

    def _allowed(self, gap: str, options: Sequence[str], words: Mapping[str, str]) -> Sequence[str]:
        """Options of a gap that go with the words that are there already."""
        if gap in self.forms.distinct:
            others = {words[name] for name in self.forms.distinct if name in words}
            return [option for option in options if option not in others]
        for name, rule in self.forms.only.items():
            if gap == name and rule.by in words:
                return [option for option in options if option in rule.options[words[rule.by]]]
            if gap == rule.by and name in words:
                return [option for option in options if words[name] in rule.options[option]]
        return options

    def _consistent(self, found: dict[str, str]) -> dict[str, str]:
        """Without what the scene cannot show together: the first that is said is kept."""
        kept: dict[str, str] = {}
        for gap in self.forms.gaps:
            if gap in found and found[gap] in self._allowed(gap, self.forms.gaps[gap], kept):
                kept[gap] = found[gap]
        return kept

    def _matches(self, stems: Sequence[str]) -> Iterator[_Said]:
        position = 0
        while position < len(stems):
            for length in range(min(self._longest, len(stems) - position), 0, -1):
                named = self._phrases.get(tuple(stems[position : position + length]))
                if named is not None:
                    if named:  # style says nothing, and hides the words that it is made of
                        tier = min(tier for _, _, tier in named)
                        options = tuple((gap, option) for gap, option, t in named if t == tier)
                        yield _Said(position, position + length - 1, tier, options)
                    position += length
                    break
            else:
                position += 1

    def _of_setting(self, match: _Said, stems: Sequence[str], covered: set[int]) -> bool:
        """Whether it is said of the floor, the sky or the like, not of the scene's object."""
        after = match.last + 1
        while after in covered:
            after += 1
        return after < len(stems) and stems[after] in self._settings - self._things

    def _direction(self, gap: str, option: str, match: _Said, words: Sequence[str]) -> str | None:
        """The option of a gap of directions that "from the left", "leftwards" ... come to."""
        before = [w for w in words[max(0, match.first - 3) : match.first] if w not in _ARTICLES]
        after = [w for w in words[match.last + 1 : match.last + 3] if w not in _ARTICLES]
        last = before[-1] if before else ""
        wanted = said = self.forms.sense[gap]
        if words[match.first].endswith(("ward", "wards")) or last in _TOWARDS:
            said = "to"
        elif last == "from" or after[:1] == ["to"]:
            said = "from"
        elif last in _AT:
            said = "at"
        # What comes from the left goes to the right.
        turned = {wanted, said} == {"from", "to"}
        chosen = _OPPOSITE.get(option, option) if turned else option
        return chosen if chosen in self.forms.gaps[gap] else None


def _is_pointed_at(match: _Said, words: Sequence[str]) -> bool:
    return match.first > 0 and words[match.first - 1] in _ARTICLES | _TOWARDS | _AT | {"from"}


def _by_object(
    said: Sequence[tuple[_Said, str]], heads: Sequence[int], gaps: Sequence[str]
) -> dict[str, str]:
    """Options by gap, for gaps of which each object has one: the first object's comes first."""
    taken: dict[int, str] = {}
    for match, option in said:
        place = _object_of(match, heads)
        while place in taken:
            place += 1
        taken[place] = option
    return {gaps[i]: option for i, option in taken.items() if i < len(gaps)}


def _object_of(match: _Said, heads: Sequence[int]) -> int:
    """The number of the object that a word is said of: the next one soon after, or the last."""
    for number, head in enumerate(heads):
        if match.last < head <= match.last + _HEAD_REACH:
            return number
    before = [number for number, head in enumerate(heads) if head < match.first]
    return before[-1] if before else 0


def _role_groups(forms: SceneForms) -> dict[str, tuple[str, ...]]:
    """Gaps with the same options, as `size` and `other_size`: which object has which is asked."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for gap, options in forms.gaps.items():
        if gap not in forms.sense:
            groups.setdefault(options, []).append(gap)
    return {gap: tuple(gaps) for gaps in groups.values() if len(gaps) > 1 for gap in gaps}


def _phrases(
    forms: SceneForms, data: CaptionData
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]]:
    """Each phrase, as stems, with gap, option and tier (`_Said`); without any where it is style."""
    named: dict[tuple[str, ...], dict[str, tuple[str, int]]] = {}
    for tier in range(3):
        for gap, options in forms.gaps.items():
            for option in options:
                others = (
                    option,
                    forms.words.get(gap, {}).get(option, ""),
                    data.options.get(option, ""),
                )
                phrases = list(_listed(others[tier]))
                if tier == 0 and gap in forms.sense:
                    phrases += [(stem(option + ending, {}),) for ending in ("ward", "wards")]
                for phrase in phrases:
                    named.setdefault(phrase, {}).setdefault(gap, (option, tier))
    style = {phrase: {} for phrase in _listed(data.style) if phrase not in named}
    for phrase, gaps in (style | named).items():
        yield phrase, tuple((gap, option, tier) for gap, (option, tier) in gaps.items())


def _listed(text: str) -> Iterator[tuple[str, ...]]:
    for part in text.split(","):
        found = tuple(_stems(part))
        if found:
            yield found


def _stems(text: str) -> Iterator[str]:
    return (stem(word, {}) for word in _TOKEN.findall(text.lower()))


def _as_pattern(template: str, gaps: Mapping[str, Sequence[str]]) -> str:
    """A regular expression of all captions of one form, in lower case."""
    pattern = re.escape(template.rstrip(".").lower()).replace(r"\ ", " ")
    pattern = re.sub(r"\ba\b(?= )", "an?", pattern)
    for gap, options in gaps.items():
        either = "|".join(re.escape(o) for o in options).replace(r"\ ", " ")
        pattern = pattern.replace(rf"\{{{gap}\}}", f"(?P<{gap}>{either})")
    return pattern
