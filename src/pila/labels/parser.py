"""What a prompt parser is: prompt in, refined description and physical categories out.

The refined description conditions the router, the categories become its label prior (Eqs. 4,
21-24; paper, Figs. 8 and 9). Two parsers share the protocol: `pila.labels.llm` asks a language
model, `pila.labels.keywords` works from a lexicon without any network.
"""

import difflib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from pila.errors import InputError
from pila.physics.layout import Category

PROMPT_LIMIT = 10_000
"""A prompt has fewer characters than this. UMT5 reads 512 tokens, about 2,000 characters."""

FAILURES, PAUSE = 3, 60.0
"""A server that failed so often in a row is not asked for so many seconds."""
FALLBACK = "fallback: "
"""What the note of an answer begins with that another parser gave in a model's place."""

ParserName = Literal["auto", "offline", "llm"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """What a parser made of a prompt.

    Attributes:
        refined_prompt: the prompt as a concise physics description.
        categories: the strongest first; one to three, or none where no mechanism is shown.
        evidence: for each category the words that decided.
        parser: who answered: "offline", "llm", "captions" (a model that knows its scenes), or
            "given" by the user.
        note: the model's name, or why `auto` fell back; may be empty.
    """

    refined_prompt: str
    categories: tuple[Category, ...]
    evidence: Mapping[Category, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    parser: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, under the same names."""
        return {
            "refined_prompt": self.refined_prompt,
            "categories": [str(category) for category in self.categories],
            "evidence": {str(key): list(words) for key, words in self.evidence.items()},
            "parser": self.parser,
            "note": self.note,
        }


class Parser(Protocol):
    """Anything that maps a prompt to a `Parse`; raises `InputError` for an unusable prompt."""

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt."""
        ...


class ParserUnavailable(InputError):
    """The language model gave no usable answer; the message names the cause and the remedy."""


class AnswersUnfit(ParserUnavailable):
    """The language model answered, with nothing that fits; it may do better at another prompt."""


def check_prompt(prompt: str) -> str:
    """Returns the prompt without surrounding blanks.

    Raises:
        InputError: the prompt is no text, is empty, or has `PROMPT_LIMIT` characters or more.
    """
    if not isinstance(prompt, str):
        raise InputError(f"the prompt is {type(prompt).__name__}, not text; pass one string")
    if len(prompt) >= PROMPT_LIMIT:
        raise InputError(
            f"the prompt has {len(prompt):,} characters; it must have fewer than "
            f"{PROMPT_LIMIT:,}: shorten it (the text encoder reads about 2,000)"
        )
    stripped = prompt.strip()
    if not stripped:
        raise InputError(
            f"the prompt is empty (0 visible characters, at least 1 is needed): "
            f"describe the scene, not {prompt[:20]!r}"
        )
    return stripped


def parse_category(name: str) -> Category:
    """Reads one category name; case, blanks and hyphens are forgiven.

    Raises:
        InputError: no category has this name; the message suggests the nearest ones.
    """
    key = "_".join(str(name).strip().lower().replace("-", " ").replace("_", " ").split())
    names = [str(category) for category in Category]
    if key in names:
        return Category(key)
    near = difflib.get_close_matches(key, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    shown = str(name).strip()
    shown = shown if len(shown) <= 40 else shown[:40] + "..."
    raise InputError(
        f"unknown category {shown!r}; {hint}the {len(names)} categories are {', '.join(names)}"
    )


def parse_categories(text: str) -> tuple[Category, ...]:
    """Reads a comma-separated list such as "rigid_body,collision", without repeats.

    Raises:
        InputError: a name is unknown, or there is none.
    """
    names = [part for part in text.split(",") if part.strip()]
    if not names:
        raise InputError(
            f"the list of categories {text!r} names none; give at least 1 of "
            f"{', '.join(Category)}, or leave the option away to have the prompt parsed"
        )
    return tuple(dict.fromkeys(parse_category(name) for name in names))


class Patience:
    """Whether to ask a server that has failed: not for a while after `FAILURES` in a row.

    Threads may share it. A copy in another process begins anew, since clocks differ.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures, self._until = 0, -float("inf")

    def __reduce__(self) -> Any:
        return Patience, (self._clock,)

    def may_ask(self) -> bool:
        """Whether to ask now; after a pause one caller may, and is waited for by no other."""
        with self._lock:
            now = self._clock()
            if now < self._until:
                return False
            if self._failures >= FAILURES:
                self._until = now + PAUSE
            return True

    def answered(self) -> None:
        """The server is there."""
        with self._lock:
            self._failures, self._until = 0, -float("inf")

    def failed(self) -> bool:
        """The server is not there, once more; whether a pause begins."""
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES:
                return False
            self._until = self._clock() + PAUSE
            return True


@dataclass(frozen=True, slots=True)
class AutoParser:
    """Asks the language model, and answers offline, saying so, when it cannot.

    A server that fails again and again is left alone for a while (`Patience`): one that hangs
    would hold up each prompt by all of its time-outs.
    """

    llm: Parser
    offline: Parser
    patience: Patience = field(default_factory=Patience, repr=False, compare=False)

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt; raises `InputError` only for the prompt's own faults."""
        check_prompt(prompt)
        if not self.patience.may_ask():
            fault = f"the language model failed {FAILURES} times in a row and has a pause"
            return self._answer_offline(prompt, fault)
        try:
            parse = self.llm(prompt)
        except ParserUnavailable as error:
            logger.warning("label parser: %s; the offline parser answers instead", error)
            if isinstance(error, AnswersUnfit):
                self.patience.answered()
            elif self.patience.failed():
                logger.warning(
                    "label parser: %d failures in a row; the offline parser answers for %.0f s",
                    FAILURES,
                    PAUSE,
                )
            return self._answer_offline(prompt, str(error))
        self.patience.answered()
        return parse

    def _answer_offline(self, prompt: str, fault: str) -> Parse:
        return replace(self.offline(prompt), note=f"{FALLBACK}{fault}")


def make_parser(
    name: str = "auto",
    *,
    base_url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    timeout: float = 30.0,
    cache_dir: Path | str | None = None,
    cache: bool = True,
) -> Parser:
    """Builds a parser by name.

    `offline` never touches the network. `llm` asks an OpenAI-compatible server. `auto` asks one
    if a model is configured, and answers offline otherwise or when the server fails, with a
    logged warning and a note in the `Parse`; a server that fails three times in a row is not asked
    for a minute.

    Args:
        name: "auto", "offline" or "llm".
        base_url: server, e.g. "http://localhost:8000/v1"; else the environment's
            PILA_LLM_BASE_URL or OPENAI_BASE_URL; else api.openai.com.
        model: model name; else PILA_LLM_MODEL or OPENAI_MODEL. Naming a model is what
            configures the language model: without one `auto` stays offline.
        api_key: else PILA_LLM_API_KEY or OPENAI_API_KEY; local servers need none.
        timeout: seconds that one request may take.
        cache_dir: where answers are kept; else pila/labels in the user's cache folder.
        cache: False neither reads nor writes kept answers.

    Raises:
        InputError: unknown name or timeout; for `llm` also a missing model or key.
    """
    if name not in ("auto", "offline", "llm"):
        raise InputError(f"unknown parser {name!r}; it is one of auto, offline, llm")
    from pila.labels.keywords import OfflineParser

    if name == "offline":
        return OfflineParser()
    from pila.labels.llm import LlmConfig, LlmParser

    options = {"timeout": timeout, "cache_dir": cache_dir, "cache": cache}
    if name == "llm":
        return LlmParser(LlmConfig.resolve(base_url, model, api_key, **options))
    try:
        config = LlmConfig.resolve(base_url, model, api_key, **options)
    except ParserUnavailable as error:
        if LlmConfig.half_configured(base_url, model):
            logger.warning("label parser: %s; the offline parser is used", error)
        return OfflineParser()
    return AutoParser(LlmParser(config), OfflineParser())
