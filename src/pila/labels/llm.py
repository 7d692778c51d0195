"""The parser that asks a language model, through any OpenAI-compatible server.

Two templates as in the paper (Figs. 8 and 9): `prompts/refine.md` turns the prompt into a
physics description, `prompts/label.md` maps that to categories. Temperature 0; an answer that
does not fit is refused once with the reason; answers are kept on disk.
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

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
from pila.labels.chat import (
    ChatFailed,
    ChatTransient,
    Message,
    chat_client,
    complete,
    shown_address,
)
from pila.labels.parser import AnswersUnfit, Parse, ParserUnavailable, check_prompt

if TYPE_CHECKING:
    from openai import OpenAI

OPENAI_URL = "https://api.openai.com/v1"
_REMEDY = "check the server, or use --parser offline"
_ATTEMPTS = 2
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmConfig:
    """Which server and model to ask, and how long to wait.

    Attributes:
        base_url: the server's address up to and including the version, ".../v1".
        model: the model's name there.
        api_key: sent as a bearer token; local servers ignore it.
        timeout: seconds that one request may take.
        cache_dir: folder of the kept answers; None for `default_cache_dir()`.
        cache: False neither reads nor writes kept answers.
    """

    base_url: str = field(repr=False)
    model: str
    api_key: str = field(default="not-needed", repr=False)
    timeout: float = 30.0
    cache_dir: Path | str | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise InputError(
                f"the language model's address is {shown_address(self.base_url)!r}; it must start "
                "with http:// or https://, e.g. http://localhost:8000/v1"
            )
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise InputError(f"the timeout is {self.timeout} s; it must be above 0, e.g. 30")

    @classmethod
    def resolve(
        cls, base_url: str | None, model: str | None, api_key: str | None, **options: Any
    ) -> Self:
        """Completes the arguments from the environment (`make_parser` lists the variables).

        OPENAI_API_KEY is only ever sent to OPENAI_BASE_URL or api.openai.com, not to a server
        that was named in another way.

        Raises:
            ParserUnavailable: no model is named, or OpenAI's own server lacks a key.
        """
        model = model or _environment("PILA_LLM_MODEL", "OPENAI_MODEL")
        if not model:
            raise ParserUnavailable(
                "no language model is named (0 of 1); set PILA_LLM_MODEL and, for a server of "
                "your own, PILA_LLM_BASE_URL, or use --parser offline"
            )
        key = api_key or _environment("PILA_LLM_API_KEY")
        url = base_url or _environment("PILA_LLM_BASE_URL")
        if not url:
            url = _environment("OPENAI_BASE_URL") or OPENAI_URL
            key = key or _environment("OPENAI_API_KEY")
            if not key and url == OPENAI_URL:
                raise ParserUnavailable(
                    f"no key for {OPENAI_URL}; set PILA_LLM_API_KEY or OPENAI_API_KEY, or "
                    "PILA_LLM_BASE_URL for a server of your own, or use --parser offline"
                )
        return cls(base_url=url, model=model, **({"api_key": key} if key else {}), **options)

    @staticmethod
    def half_configured(base_url: str | None, model: str | None) -> bool:
        """Whether someone meant to configure a model, so that its absence deserves a warning."""
        wanted = base_url or model or _environment("PILA_LLM_BASE_URL", "PILA_LLM_API_KEY")
        return bool(wanted or _environment("PILA_LLM_MODEL", "OPENAI_MODEL"))


class LlmParser:
    """Parses a prompt by asking a language model twice: refine, then label."""

    def __init__(self, config: LlmConfig) -> None:
        self.config = config

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
            answer = self._ask_both(text)
            if self.config.cache:
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
        key = json.dumps([prompt, templates, self.config.model, self.config.base_url])
        name = hashlib.sha256(key.encode()).hexdigest()
        folder = Path(self.config.cache_dir) if self.config.cache_dir else default_cache_dir()
        return folder / f"{name}.json"

    def _ask_both(self, prompt: str) -> KeptAnswer:
        config = self.config
        with chat_client(config.base_url, config.api_key, config.timeout) as client:
            refined = self._ask(client, "refine", prompt, RefineAnswer).refined_prompt
            labels = self._ask(client, "label", refined, LabelAnswer)
        return KeptAnswer(
            refined_prompt=refined, categories=labels.categories, evidence=labels.evidence
        )

    def _ask(self, client: "OpenAI", name: str, text: str, kind: type[T]) -> T:
        """One template's answer; the second attempt is told what was wrong with the first."""
        messages: list[Message] = [
            {"role": "system", "content": template(name)},
            {"role": "user", "content": text},
        ]
        fault, kind_of_fault = "", ParserUnavailable
        for _ in range(_ATTEMPTS):
            try:
                reply = self._complete(client, messages)
                return read_answer(kind, reply)
            except ChatTransient as error:
                fault, kind_of_fault = str(error), ParserUnavailable
            except ValueError as error:
                if isinstance(error, ParserUnavailable):
                    raise
                fault, kind_of_fault = f"the answer does not fit: {error}", AnswersUnfit
                messages = [
                    *messages[:2],
                    {"role": "assistant", "content": reply},
                    {
                        "role": "user",
                        "content": f"Your answer was refused: {error}. "
                        "Answer again with the JSON object alone.",
                    },
                ]
        raise kind_of_fault(self._said(f"{fault}, {_ATTEMPTS} times ({name})"))

    def _complete(self, client: "OpenAI", messages: list[Message]) -> str:
        try:
            return complete(
                client,
                messages,
                model=self.config.model,
                timeout=self.config.timeout,
                json_object=True,
            )
        except ChatFailed as error:
            raise ParserUnavailable(self._said(str(error))) from error

    def _said(self, fault: str) -> str:
        where = f"language model {self.config.model} at {shown_address(self.config.base_url)}"
        return f"{where}: {fault}; {_REMEDY}"


TEMPLATES = ("refine", "label")


def template(name: str) -> str:
    """The text of `prompts/<name>.md`, the system message of that step."""
    return (files("pila.labels") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def _environment(*names: str) -> str | None:
    """The first of these variables that is set to more than blanks."""
    values = (os.environ.get(name, "").strip() for name in names)
    return next((value for value in values if value), None)
