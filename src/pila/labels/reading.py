"""The answer inside a reply: past thoughts, fences and remarks, in one pass over the text.

The templates ask for one JSON object and nothing else. So the answer is the object that the reply
begins with or that its one code fence holds; failing that, the one object on lines of its own, or
the one with which the reply ends. Where that leaves a choice, or where thoughts have no end, there
is no answer: a draft would pass for one.
"""

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

DEEPEST = 32
"""Brackets inside of one another; an answer has three."""
_STARTS = 16
"""Objects without an end that are passed over, so that time stays in proportion to length."""
_MOST = 64
"""Objects of a reply; an answer is one."""
_FENCE = "```"
_OPENED = re.compile(r"```[ \t]*\w*\s*\[?\s*$")
_TAG = "think|thinking|thought|thoughts|reason|reasoning|reflection|analysis|scratchpad|seed:think"
_MARK = re.compile(
    rf"(?P<close></(?:{_TAG})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<channel\|>"
    r"|<\|channel\|>\s*final[^<]{0,80}<\|message\|>)"
    rf"|(?P<open><(?:{_TAG})\s*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel>"
    r"|<\|channel\|>)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r'[{}\[\]]|"')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NOTHING = re.compile(r"(?:[\s.`*\"')\]]|<\|?/?[a-z_]{1,20}\|?>)*")
"""What may close a reply: fences, quotes, and tokens of a chat template that were left in."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a reply.

    Attributes:
        value: as JSON has it.
        others: further objects of the reply, in their order; examples, drafts or corrections.
        firm: it stands where it was asked for: at the beginning, in the one fence, or at the end.
    """

    value: dict[str, Any]
    others: tuple[dict[str, Any], ...] = ()
    firm: bool = True


def after_thoughts(text: str) -> str:
    """What a reply says after its thoughts, however a model marks them; the whole without marks.

    Raises:
        ValueError: the thoughts have no end, so that nothing was said yet.
    """
    last = next(iter(deque(_MARK.finditer(text), maxlen=1)), None)
    if last is None:
        return text
    if last["open"]:
        raise ValueError("its thoughts have no end")
    return text[last.end() :]


def find_object(text: str) -> Found:
    """The JSON object with which a reply answers.

    Raises:
        ValueError: there is none, thoughts have no end, or it cannot be told which one it is; the
            message tells the model why.
    """
    whole = _loaded(text.strip())
    if whole is not None:  # marks of thoughts inside of its texts mean nothing
        return Found(whole)
    try:
        said = after_thoughts(text).strip()
    except ValueError as error:
        raise ValueError(f"{error}, so that it holds no valid JSON object yet") from None
    spans = _spans(said)
    values = {span: value for span in spans if (value := _loaded(said[slice(*span)])) is not None}
    span, firm = _place(said, spans, list(values))
    if span not in values:
        if span is None and len(values) > 1:
            raise ValueError(
                f"it holds {len(values)} JSON objects, and which is the answer cannot be told"
            )
        raise ValueError("it holds no valid JSON object where the answer belongs")
    others = tuple(value for other, value in values.items() if other != span)
    return Found(values[span], others, firm)


Span = tuple[int, int]


def _place(said: str, spans: list[Span], valid: list[Span]) -> tuple[Span | None, bool]:
    """Where the answer is, and whether it was asked for there; no span where that is unclear."""
    if said.startswith("{"):
        return (spans[0] if spans and spans[0][0] == 0 else None), True
    fenced = [span for span in spans if _in_fence(said, span)]
    if fenced:
        return (fenced[0] if len(fenced) == 1 else None), True
    alone = [span for span in spans if _alone(said, span)]
    if alone:
        return (alone[0] if len(alone) == 1 else None), _ends(said, alone[0])
    if len(valid) == 1 and _ends(said, valid[0]):
        return valid[0], True
    return None, False


def _ends(said: str, span: Span) -> bool:
    """Whether nothing of weight follows."""
    return _NOTHING.fullmatch(said, span[1]) is not None


def _in_fence(said: str, span: Span) -> bool:
    """Whether an object is the first thing inside of a code fence."""
    before = said[max(0, span[0] - 40) : span[0]]
    return said.count(_FENCE, 0, span[0]) % 2 == 1 and _OPENED.search(before) is not None


def _alone(said: str, span: Span) -> bool:
    """Whether an object stands on lines of its own."""
    line = said[said.rfind("\n", 0, span[0]) + 1 : span[0]]
    end = said.find("\n", span[1])
    rest = said[span[1] : end if end >= 0 else len(said)]
    return not line.strip(" \t*>[") and _NOTHING.fullmatch(rest) is not None


def _spans(text: str) -> list[Span]:
    """Where outermost objects begin and end, by their brackets alone.

    Raises:
        ValueError: there are too many, or brackets lie inside of one another too deep.
    """
    spans: list[Span] = []
    start, failed = text.find("{"), 0
    while start >= 0:
        end = _end(text, start)
        if end is not None:
            spans.append((start, end))
            if len(spans) > _MOST:
                raise ValueError(f"it holds more than {_MOST} JSON objects; an answer is one")
            start = text.find("{", end)
            continue
        failed += 1
        if failed > _STARTS:
            break
        line = text.find("\n", start)  # a stray bracket: a further line may begin an object
        start = (text.find("\n{", line) + 1 or -1) if line >= 0 else -1
    return spans


def _end(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`; None where none does."""
    depth, position = 0, start
    while found := _TOKEN.search(text, position):
        position = found.end()
        if found[0] == '"':
            string = _STRING.match(text, found.start())
            if string is None:
                return None
            position = string.end()
        elif found[0] in "{[":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"it holds no valid JSON object: brackets lie over {DEEPEST} deep")
        else:
            depth -= 1
            if depth == 0:
                return position
    return None


def _loaded(text: str) -> dict[str, Any] | None:
    """An object out of JSON; None where it is none, is none alone, or nests without end."""
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # an integer of thousands of digits is a ValueError
        return None
    return value if isinstance(value, dict) else None
