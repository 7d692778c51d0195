"""From a judge's text to a value, strictly: what cannot be read for certain is asked again.

Every parser reads the answer alone ("4", "Yes."), a JSON object with `answer`, or a sentence in
which exactly one value is named in so many words. Thoughts are skipped, and thoughts without an
end are no answer. The official parsers take the first digit or a "yes" anywhere, so that a refusal
becomes a score; they are here too, by name, for those who must match published numbers.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pila.labels.reading import after_thoughts
from pila.network import one_line

_OBJECT = re.compile(r"\{[^{}]*\}")
_FRINGE = " \t\r\n.,:;!?*_`'\"()[]#"
_WORDS = {"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}


@dataclass(frozen=True, slots=True)
class Parser:
    """How answers of one kind are read.

    Attributes:
        name: stated in results; it changes when the reading does.
        choices: the answers that fit.
        read: text to value; ValueError says why it does not fit.
        form: what the question asks for at its end.
    """

    name: str
    choices: tuple[str, ...]
    read: Callable[[str], int]
    form: str


def read_choice(text: str, choices: Sequence[str]) -> str:
    """The one choice that an answer names.

    Raises:
        ValueError: none, or more than one.
    """
    try:
        said = " ".join(after_thoughts(text).split())
    except ValueError as error:
        named = f"no answer of {', '.join(choices)}: {one_line(text, 80)!r}"
        raise ValueError(f"{error}, so that it names {named}") from None
    objects = dict.fromkeys(_answers_in(said))
    if len(objects) > 1:
        raise ValueError(f"its objects name more than one answer: {one_line(text, 80)!r}")
    said = next(iter(objects), said)
    plain = said.strip(_FRINGE).lower()
    plain = _WORDS.get(plain, plain)
    names = {choice.lower(): choice for choice in choices}
    if plain in names:
        return names[plain]
    marked = re.findall(
        r"(?:answer|score|rating|choice|rate (?:it|this|the video))\b(?:\s+(?:is|as|of|at|with|a))*"
        r"\s*[:=]?\s*[\"'*(]*\b(\w+)\b(?!\s+or\b)",
        said.lower(),
    )
    scale = re.findall(r"(?<!\d)(\d+)\s*(?:/|out of)\s*\d+", said.lower())
    first = re.match(r"[\"'*(\s]*(yes|no)\b", said.lower())
    opening = str(first[1]) if first else ""
    hits = {str(_WORDS.get(m, m)) for m in [*marked, *scale]} & set(names)
    if not hits and opening in names and len(set(re.findall(r"\b(yes|no)\b", said.lower()))) == 1:
        hits = {opening}
    if len(hits) == 1:
        return names[hits.pop()]
    what = "no" if not hits else "more than one"
    raise ValueError(f"it names {what} answer of {', '.join(choices)}: {one_line(text, 80)!r}")


def _answers_in(said: str) -> Iterator[str]:
    """What objects with `answer` hold."""
    for found in _OBJECT.findall(said):
        try:
            value: Any = json.loads(found)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and "answer" in value:
            yield str(value["answer"])


def _strict(name: str, choices: Sequence[str], values: Sequence[int]) -> Parser:
    by_choice = dict(zip(choices, values, strict=True))
    form = f'Answer with a JSON object alone: {{"answer": X}}, X one of {", ".join(choices)}.'
    return Parser(name, tuple(choices), lambda text: by_choice[read_choice(text, choices)], form)


def _official_number(text: str) -> int:
    """VideoPhy-2's reading: the first of zero to five, then 0 to 5, that is anywhere in it."""
    plain = text.lower().strip()
    for word, digit in [*_WORDS.items(), *((d, d) for d in _WORDS.values())]:
        if word in plain:
            return int(digit)
    raise ValueError(f"it holds no number of 0 to 5: {one_line(text, 80)!r}")


def _official_yes(text: str) -> int:
    """VBench-2.0's reading: a "yes" anywhere."""
    return int("yes" in text.lower())


_PLAIN = "Please give the answer alone, without any further words."
PARSERS = {
    "score": _strict("strict-score-2", "12345", range(1, 6)),
    "rule": _strict("strict-rule-2", "012", range(3)),
    "yes": _strict("strict-yes-2", ("yes", "no"), (1, 0)),
    "description": _strict("strict-letter-2", "ABCD", range(4)),
    "official score": Parser("videophy2-official", tuple("12345"), _official_number, _PLAIN),
    "official rule": Parser("videophy2-official", tuple("012"), _official_number, _PLAIN),
    "official yes": Parser("vbench2-official", ("yes", "no"), _official_yes, _PLAIN),
}
