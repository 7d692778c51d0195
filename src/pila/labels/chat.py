"""One chat completion from any OpenAI-compatible server, and what can go wrong with it.

The label parser and the benchmark judges both ask through here. Servers differ in what they take:
a field that one refuses is left out, and a system message becomes part of the user's where there
is no such role.
"""

import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pila.exchange import NoConnection, NoReply, Reply, TooSlow, post
from pila.network import one_line, shown_address

Message = dict[str, Any]
logger = logging.getLogger(__name__)

LARGEST = 1_000_000
"""Bytes of a reply; answers have some hundreds."""
ECHO = 4_000
"""Characters of a refused answer that the model is shown again."""
_SYSTEM = "the system role"
_DROPPED = ("response_format", _SYSTEM, "max_tokens", "temperature")
"""What a request may go without, in the order in which it is left out if a refusal names none."""
_REFUSALS = (400, 422, 500, 501)
_PASSING = (408, 409, 425, 429)
_LOADING = re.compile(r"\b(loading|warming|starting|initiali[sz]ing|not ready|not loaded)\b", re.I)
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a server is asked again that says it loads its model; the last one repeats."""
_ROLES = re.compile(r"\bsystem\b|\broles?\b")


class ChatFailed(Exception):
    """No text came back, and asking again would not help; the message is the fault alone."""


class ChatTransient(Exception):
    """A failure that a second attempt may not meet; the message is the fault alone."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an answer must be there, however many requests it takes.

    Attributes:
        seconds: that there were at first, for messages.
        end: on the clock `time.monotonic`.
    """

    seconds: float
    end: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """So many seconds from now."""
        return cls(seconds, time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds from now; 0 or less when it is over."""
        return self.end - time.monotonic()


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's text.

    Attributes:
        text: what it wrote; may be empty.
        cut: the server says that its limit of length ended it.
    """

    text: str
    cut: bool = False


class Chat:
    """A model of a server, and which parts of a request it has refused. Threads may share it.

    Args:
        base_url: the server's address up to and including the version.
        model: the model's name there.
        api_key: sent as a bearer token.
    """

    def __init__(self, base_url: str, model: str, api_key: str) -> None:
        self.base_url, self.model, self._api_key = base_url, model, api_key
        self._without: frozenset[str] = frozenset()
        self._worked: frozenset[str] = frozenset(_DROPPED)  # anything may be what helps, at first

    def complete(
        self, messages: Sequence[Message], *, deadline: Deadline, json_object: bool, **options: Any
    ) -> Answer:
        """One answer at temperature 0, or at the server's own where it takes no other.

        Args:
            messages: as the protocol has them.
            deadline: for all requests and reads together.
            json_object: ask for JSON mode.
            options: further fields of the request.

        Raises:
            NetworkUnusable: a variable of the environment keeps any request from being sent.
            ChatTransient: too slow or too long, an overload, a model that is still loading when
                the time is over, or a reply that is no completion.
            ChatFailed: no connection, or the request was refused.
        """
        body = {"model": self.model, "temperature": 0, **options}
        if json_object:
            body["response_format"] = {"type": "json_object"}
        without, sure = set(self._without), set(self._without)
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                reply = self._send(body, messages, without, deadline)
            except NoConnection as error:
                raise ChatFailed(str(error)) from error
            except TooSlow as error:
                raise ChatTransient(f"no answer within {deadline.seconds:g} s") from error
            except NoReply as error:
                raise ChatTransient(str(error)) from error
            if _is_loading(reply):
                if (pause := next(pauses)) < deadline.left():
                    time.sleep(pause)
                    continue
                raise ChatTransient(f"{_refusal(reply)}; no answer within {deadline.seconds:g} s")
            if reply.status // 100 == 2:
                answer = _read(reply)
                self._learn(sure, without)
                return answer
            spare = _spare(body, messages, without)
            part = self._refused(reply, spare)
            if part is None:
                raise _refusal(reply)
            without.add(part)
            if reply.status < 500 or part in _named(reply, spare):
                sure.add(part)

    def _send(
        self,
        body: dict[str, Any],
        messages: Sequence[Message],
        without: set[str],
        deadline: Deadline,
    ) -> Reply:
        sent = {key: value for key, value in body.items() if key not in without}
        sent["messages"] = _folded(messages) if _SYSTEM in without else list(messages)
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        content = json.dumps(sent).encode()
        address = _completions(self.base_url)
        return post(address, content, headers, seconds=deadline.left(), most=LARGEST)

    def _refused(self, reply: Reply, spare: Sequence[str]) -> str | None:
        """The part of a request to leave out next; None where the refusal is of another kind.

        Where the refusal names none, the parts go one after the other until the server answers;
        after that only those that it has answered without, since it means something else.
        """
        if reply.status not in _REFUSALS:
            return None
        named = _named(reply, spare)
        return next(iter(named or [part for part in spare if part in self._worked]), None)

    def _learn(self, sure: set[str], without: set[str]) -> None:
        """Keeps what a server has surely refused, and the last form that it has answered."""
        self._worked = frozenset(without)
        if "temperature" in sure - self._without:
            logger.warning(
                "%s at %s takes no temperature of 0; its answers may differ from time to time",
                self.model,
                shown_address(self.base_url),
            )
        self._without |= sure


def again(messages: Sequence[Message], reply: str, told: str) -> list[Message]:
    """The messages of a further attempt, in which the model is told what was wrong.

    Servers refuse an empty message, so that an empty answer is told of and not shown.
    """
    if reply.strip():
        shown = reply if len(reply) <= ECHO else f"{reply[:ECHO]}..."
        said = {"role": "assistant", "content": shown}
        return [*messages, said, {"role": "user", "content": told}]
    *before, last = messages
    return [*before, {**last, "content": _joined(last["content"], told)}]


def _joined(first: Any, second: Any) -> Any:
    """Two contents in one, each a text or a list of parts."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in (first, second)]
    return [*parts[0], *parts[1]]


def _folded(messages: Sequence[Message]) -> list[Message]:
    """The system message as the beginning of the user's."""
    system, *rest = messages
    if system["role"] != "system" or not rest:
        return list(messages)
    content = _joined(system["content"], rest[0]["content"])
    return [{**rest[0], "content": content}, *rest[1:]]


def _completions(base_url: str) -> str:
    parts = urlsplit(base_url)
    netloc = parts.netloc.rpartition("@")[2]  # the key is sent as a header, and nothing else
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return urlunsplit((parts.scheme, netloc, path, parts.query, ""))


def _spare(body: dict[str, Any], messages: Sequence[Message], without: set[str]) -> list[str]:
    """What is still in a request and may be left out."""
    there = {*body, *([_SYSTEM] if messages[0]["role"] == "system" else [])}
    return [part for part in _DROPPED if part in there and part not in without]


def _named(reply: Reply, spare: Sequence[str]) -> list[str]:
    """Which parts of a request a refusal speaks of."""
    words = reply.content.decode("utf-8", "replace").lower()
    return [p for p in spare if (_ROLES.search(words) if p == _SYSTEM else p in words)]


def _is_loading(reply: Reply) -> bool:
    """Whether a server says that its model is not there yet; some say so under status 200."""
    passed = reply.status // 100 == 2
    if not (passed or reply.status in (425, 429, 503)) or (
        passed and b'"choices"' in reply.content
    ):
        return False
    return _LOADING.search(_words(reply)) is not None


def _refusal(reply: Reply) -> Exception:
    said = f"HTTP status {reply.status}"
    if 300 <= reply.status < 400:
        moved = one_line(reply.where, 200) or "no address"
        return ChatFailed(f"{said}, which sends to {moved}; give the server's own address")
    words = _words(reply)
    said = f"{said}: {words}" if words else said
    passing = reply.status >= 500 or reply.status in _PASSING
    return (ChatTransient if passing else ChatFailed)(said)


def _words(reply: Reply) -> str:
    """What a server says in an error, short; its form differs from server to server."""
    text = reply.content.decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return one_line(re.sub(r"<[^<>]*>", " ", text[:10_000]), 200)
    for _ in range(4):
        if not isinstance(found, dict):
            break
        keys = ("error", "message", "detail", "msg", "error_message")
        found = next((found[key] for key in keys if found.get(key)), json.dumps(found))
    return one_line(found if isinstance(found, str) else json.dumps(found), 200)


def _read(reply: Reply) -> Answer:
    """The text in a reply that should be a chat completion."""
    try:
        body: Any = json.loads(reply.content)
    except (ValueError, RecursionError) as error:
        raise ChatTransient(f"the reply is no chat completion: {_words(reply)!r}") from error
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ChatTransient(f"the reply is no chat completion: {_words(reply)!r}")
    content = message.get("content")
    if isinstance(content, list):
        content = _text_of(content)
    if content is None and isinstance(message.get("refusal"), str):
        content = message["refusal"]  # an answer, if none that fits
    if not isinstance(content, str):
        raise ChatTransient("the reply holds no text")
    return Answer(content, cut=choice.get("finish_reason") in ("length", "max_tokens"))


def _text_of(parts: Sequence[Any]) -> str:
    """The text of a content in parts, without thoughts and whatever else is no text."""
    texts = [
        part.get("text") if isinstance(part, dict) else part
        for part in parts
        if not isinstance(part, dict) or part.get("type", "text") in ("text", "output_text")
    ]
    return "".join(text for text in texts if isinstance(text, str))
