"""What a prompt parser is: prompt in, refined description and physical categories out.

The refined description conditions the router, the categories become its label prior (Eqs. 4,
21-24; paper, Figs. 8 and 9). Two parsers share the protocol: `pila.labels.llm` asks a language
model, `pila.labels.keywords` works from a lexicon without any network.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from pila.errors import InputError
from pila.options import check_text
from pila.physics.layout import Category

PROMPT_LIMIT = 10_000
"""A prompt has fewer characters than this. UMT5 reads 512 tokens, about 2,000 characters."""


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


class InvalidAnswer(ParserUnavailable):
    """The language model answered, with nothing that fits; it may do better at another prompt."""


def check_prompt(prompt: str) -> str:
    """Returns the prompt without surrounding blanks.

    Raises:
        InputError: the prompt is no text, holds half characters, is empty, or has `PROMPT_LIMIT`
            characters or more.
    """
    if not isinstance(prompt, str):
        raise InputError(f"the prompt is {type(prompt).__name__}, not text; pass one string")
    if len(prompt) >= PROMPT_LIMIT:
        raise InputError(
            f"the prompt has {len(prompt):,} characters; it must have fewer than "
            f"{PROMPT_LIMIT:,}: shorten it (the text encoder reads about 2,000)"
        )
    check_text(prompt, "the prompt")
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
