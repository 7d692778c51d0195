"""Which parser answers: one by name, or the language model and in its place the offline one."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pila import plugins
from pila.errors import InputError
from pila.labels.keywords import OfflineParser
from pila.labels.parse import (
    PROMPT_LIMIT,
    InvalidAnswer,
    Parse,
    Parser,
    ParserUnavailable,
    check_prompt,
    parse_categories,
    parse_category,
)
from pila.network import NetworkUnusable

__all__ = [
    "FAILURES",
    "FALLBACK",
    "PAUSE",
    "PROMPT_LIMIT",
    "AutoParser",
    "CircuitBreaker",
    "InvalidAnswer",
    "Noted",
    "Parse",
    "Parser",
    "ParserUnavailable",
    "check_prompt",
    "make_parser",
    "parse_categories",
    "parse_category",
]

FAILURES, PAUSE = 3, 60.0
"""A server that failed so often in a row is not asked for so many seconds."""
FALLBACK = "fallback: "
"""What the note of an answer begins with that another parser gave in a model's place."""

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Whether to ask a server that has failed: not for a while after `FAILURES` in a row.

    Threads may share it. A copy in another process begins anew, since clocks differ.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures, self._until = 0, -float("inf")

    def __reduce__(self) -> Any:
        return CircuitBreaker, (self._clock,)

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

    A server that fails again and again is left alone for a while (`CircuitBreaker`): one that hangs
    would hold up each prompt by all of its time-outs.
    """

    llm: Parser
    offline: Parser
    patience: CircuitBreaker = field(default_factory=CircuitBreaker, repr=False, compare=False)

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
            if isinstance(error, InvalidAnswer):
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
        return Noted(self.offline, f"{FALLBACK}{fault}")(prompt)


@dataclass(frozen=True, slots=True)
class Noted:
    """A parser whose answers say why it answers and no other."""

    parser: Parser
    note: str

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt; raises `InputError` for the prompt's own faults."""
        return replace(self.parser(prompt), note=self.note)


def make_parser(
    name: str = "auto",
    *,
    base_url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    timeout: float | None = None,
    cache_dir: Path | str | None = None,
    cache: bool = True,
) -> Parser:
    """Builds a parser by name.

    `offline` never touches the network. `llm` asks an OpenAI-compatible server. `auto` asks one
    if a model is configured, and answers offline otherwise or when the server fails, with a
    logged warning and a note in the `Parse`; a server that fails three times in a row is not asked
    for a minute.

    Args:
        name: "auto", "offline", "llm", or one that a package lists in `pila.label_parsers`: then
            what it lists is called without arguments.
        base_url: server, e.g. "http://localhost:8000/v1"; else the environment's
            PILA_LLM_BASE_URL or OPENAI_BASE_URL; else api.openai.com.
        model: model name; else PILA_LLM_MODEL or OPENAI_MODEL. Naming a model is what
            configures the language model: without one `auto` stays offline.
        api_key: else PILA_LLM_API_KEY or OPENAI_API_KEY; local servers need none.
        timeout: seconds that a prompt may take, all tries together; else PILA_LLM_TIMEOUT, else
            120.
        cache_dir: where answers are kept; else pila/labels in the user's cache folder.
        cache: False neither reads nor writes kept answers.

    Raises:
        InputError: unknown name or timeout; for `llm` also a missing model or key, or an address
            or variable that cannot be used.
    """
    if name in plugins.names("pila.label_parsers"):
        return plugins.load("pila.label_parsers", name)()
    if name not in ("auto", "offline", "llm"):
        raise InputError(f"unknown parser {name!r}; it is one of auto, offline, llm")
    if name == "offline":
        return OfflineParser()
    from pila.labels.llm import LlmConfig, LlmParser  # pydantic and templates, for who asks one

    options = {"timeout": timeout, "cache_dir": cache_dir, "cache": cache}
    if name == "llm":
        return LlmParser(LlmConfig.resolve(base_url, model, api_key, **options))
    try:
        config = LlmConfig.resolve(base_url, model, api_key, **options)
    except (ParserUnavailable, NetworkUnusable) as error:
        if not LlmConfig.half_configured(base_url, model):
            return OfflineParser()
        logger.warning("label parser: %s; the offline parser is used", error)
        return Noted(OfflineParser(), f"{FALLBACK}{error}")
    return AutoParser(LlmParser(config), OfflineParser())
