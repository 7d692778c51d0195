"""The parser that asks a language model, through any OpenAI-compatible server.

Two templates as in the paper (Figs. 8 and 9): `prompts/refine.md` turns the prompt into a
physics description, `prompts/label.md` maps that to categories. Temperature 0; an answer that
does not fit is refused once with the reason; answers are kept on disk.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from pila.errors import InputError
from pila.labels.answers import (
    KeptAnswer,
    LabelAnswer,
    RefineAnswer,
    default_cache_dir,
    keep,
    load_kept,
    read_answer,
)
from pila.labels.chat import Chat, ChatFailed, ChatTransient, Deadline, Message, again
from pila.labels.parse import InvalidAnswer, Parse, ParserUnavailable, check_prompt
from pila.network import NetworkUnusable, check_address, one_line, shown_address

TIMEOUT, LONGEST = 120.0, 86_400.0
"""Seconds that a prompt may take by default, since a server may load its model first; and most."""
OPENAI_URL = "https://api.openai.com/v1"
_REMEDY, _OTHERWISE = "check the server, or use --parser offline", "or use --parser offline"
_READING = 2
"""Grows when answers are read in another way, so that what was kept before is asked anew."""
_ATTEMPTS = 2
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmConfig:
    """Which server and model to ask, and how long to wait.

    Attributes:
        base_url: the server's address up to and including the version, ".../v1".
        model: the model's name there.
        api_key: sent as a bearer token; local servers ignore it.
        timeout: seconds that a prompt may take, both of its answers and all tries together.
        cache_dir: folder of the kept answers; None for `default_cache_dir()`.
        cache: False neither reads nor writes kept answers.
    """

    base_url: str = field(repr=False)
    model: str
    api_key: str = field(default="not-needed", repr=False)
    timeout: float = TIMEOUT
    cache_dir: Path | str | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        check_address(self.base_url, "the language model's address")
        if not (0 < self.timeout <= LONGEST):
            raise InputError(
                f"the timeout is {self.timeout} s; it must be above 0 and at most {LONGEST:,.0f}, "
                f"e.g. {TIMEOUT:g}"
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ParserUnavailable(
                "the language model's key holds characters that no key has, such as a line break; "
                "set PILA_LLM_API_KEY again, or use --parser offline"
            )

    @classmethod
    def resolve(
        cls,
        base_url: str | None,
        model: str | None,
        api_key: str | None,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> Self:
        """Completes the arguments from the environment (`make_parser` lists the variables).

        OPENAI_API_KEY is only ever sent to OPENAI_BASE_URL or api.openai.com, not to a server
        that was named in another way.

        Raises:
            ParserUnavailable: no model is named, OpenAI's own server lacks a key, or a variable
                holds what cannot be used.
            NetworkUnusable: the address cannot be.
            InputError: the timeout is out of its bounds.
        """
        model = model or _environment("PILA_LLM_MODEL", "OPENAI_MODEL")
        if not model:
            raise ParserUnavailable(
                "no language model is named (0 of 1); set PILA_LLM_MODEL and, for a server of "
                "your own, PILA_LLM_BASE_URL, or use --parser offline"
            )
        key = api_key or _environment("PILA_LLM_API_KEY")
        url, named = base_url, "the language model's address"
        if not url:
            url, named = _environment("PILA_LLM_BASE_URL"), "PILA_LLM_BASE_URL"
        if not url:
            url, named = _environment("OPENAI_BASE_URL") or OPENAI_URL, "OPENAI_BASE_URL"
            key = key or _environment("OPENAI_API_KEY")
            if not key and url == OPENAI_URL:
                raise ParserUnavailable(
                    f"no key for {OPENAI_URL}; set PILA_LLM_API_KEY or OPENAI_API_KEY, or "
                    "PILA_LLM_BASE_URL for a server of your own, or use --parser offline"
                )
        check_address(url, named)
        timeout = _timeout() if timeout is None else timeout
        known: dict[str, Any] = {"base_url": url, "model": model, "timeout": timeout, **options}
        if key:
            known["api_key"] = key
        return cls(**known)

    @staticmethod
    def half_configured(base_url: str | None, model: str | None) -> bool:
        """Whether someone meant to configure a model, so that its absence deserves a warning."""
        wanted = base_url or model or _environment("PILA_LLM_BASE_URL", "PILA_LLM_API_KEY")
        return bool(wanted or _environment("PILA_LLM_MODEL", "OPENAI_MODEL"))


class LlmParser:
    """Parses a prompt by asking a language model twice: refine, then label."""

    def __init__(self, config: LlmConfig) -> None:
        self.config = config
        self._chat = Chat(config.base_url, config.model, config.api_key)

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt.

        Raises:
            InputError: the prompt is empty or too long (`check_prompt`).
            ParserUnavailable: the server failed, hung, or twice answered what does not fit.
        """
        text = check_prompt(prompt)
        path = self.cache_path(text)
        answer = load_kept(path) if self.config.cache else None
        if answer is None:
            answer, sure = self._ask_both(text)
            if self.config.cache and sure:
                keep(path, answer)
        return Parse(
            refined_prompt=answer.refined_prompt,
            categories=answer.chosen(),
            evidence=answer.words(),
            parser="llm",
            note=self.config.model,
        )

    def cache_path(self, prompt: str) -> Path:
        """Where the answer to a prompt is kept: one file for prompt, templates, model, server."""
        templates = [hashlib.sha256(template(name).encode()).hexdigest() for name in TEMPLATES]
        key = json.dumps([_READING, prompt, templates, self.config.model, self.config.base_url])
        name = hashlib.sha256(key.encode()).hexdigest()
        folder = Path(self.config.cache_dir) if self.config.cache_dir else default_cache_dir()
        return folder / f"{name}.json"

    def _ask_both(self, prompt: str) -> tuple[KeptAnswer, bool]:
        """Both answers, and whether they are beyond doubt."""
        deadline = Deadline.after(self.config.timeout)
        try:
            refined, firm = self._ask("refine", prompt, RefineAnswer, deadline)
            labels, sure = self._ask("label", refined.refined_prompt, LabelAnswer, deadline)
        except ChatFailed as error:
            raise ParserUnavailable(self._said(str(error))) from error
        except NetworkUnusable as error:
            raise ParserUnavailable(self._said(str(error), _OTHERWISE)) from error
        both = KeptAnswer(
            refined_prompt=refined.refined_prompt,
            categories=labels.categories,
            evidence=labels.evidence,
        )
        return both, firm and sure

    def _ask(self, name: str, text: str, kind: type[T], deadline: Deadline) -> tuple[T, bool]:
        """One template's answer; the second attempt is told what was wrong with the first."""
        first: list[Message] = [
            {"role": "system", "content": template(name)},
            {"role": "user", "content": text},
        ]
        messages, attempt = first, 0
        fault, kind_of_fault = "", ParserUnavailable
        while attempt < _ATTEMPTS and (attempt == 0 or deadline.left() > 0):
            attempt += 1
            try:
                answer = self._chat.complete(messages, deadline=deadline, json_object=True)
            except ChatTransient as error:
                fault, kind_of_fault = str(error), ParserUnavailable
                continue
            try:
                if answer.cut:
                    raise ValueError("it was cut off at the server's limit of length")
                return read_answer(kind, answer.text)
            except ValueError as error:
                fault, kind_of_fault = f"the answer does not fit: {error}", InvalidAnswer
                told = f"Your answer was refused: {error}. Answer again with the JSON object alone."
                messages = again(first, answer.text, told)
        times = f"{attempt} times" if attempt > 1 else "once"
        raise kind_of_fault(self._said(f"{fault}, {times} ({name})"))

    def _said(self, fault: str, remedy: str = _REMEDY) -> str:
        where = f"language model {one_line(self.config.model, 100)} at "
        return f"{where}{shown_address(self.config.base_url)}: {fault}; {remedy}"


TEMPLATES = ("refine", "label")


def template(name: str) -> str:
    """The text of `prompts/<name>.md`, the system message of that step."""
    return (files("pila.labels") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def _environment(*names: str) -> str | None:
    """The first of these variables that is set to more than blanks."""
    values = (os.environ.get(name, "").strip() for name in names)
    return next((value for value in values if value), None)


def _timeout() -> float:
    """PILA_LLM_TIMEOUT in seconds, or the default."""
    value = _environment("PILA_LLM_TIMEOUT")
    if value is None:
        return TIMEOUT
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not (0 < seconds <= LONGEST):
        raise ParserUnavailable(
            f"PILA_LLM_TIMEOUT is {one_line(value, 40)}; it must be seconds above 0 and at most "
            f"{LONGEST:,.0f}, e.g. {TIMEOUT:g}; or use --parser offline"
        )
    return seconds
