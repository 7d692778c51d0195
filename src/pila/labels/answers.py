"""What a language model must answer, and the answers that are kept on disk.

Both come from outside and are checked by pydantic before anything else reads them.
"""

import json
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError

from pila.labels.parser import parse_category
from pila.physics.layout import Category

logger = logging.getLogger(__name__)
T = TypeVar("T", bound=BaseModel)
_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


def _category(name: Any) -> Category:
    if not isinstance(name, str):
        raise ValueError(f"a category is a name, not {name!r}")
    return parse_category(name)


def _evidence(raw: Any) -> dict[str, list[str]]:
    """Evidence explains and decides nothing, so an odd form is no reason to refuse an answer."""
    if not isinstance(raw, dict):
        return {}
    lists = {str(key): value if isinstance(value, list) else [value] for key, value in raw.items()}
    return {key: [word for word in value if isinstance(word, str)] for key, value in lists.items()}


class RefineAnswer(BaseModel):
    """Answer to `prompts/refine.md`."""

    refined_prompt: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)
    ]


class LabelAnswer(BaseModel):
    """Answer to `prompts/label.md`: three known categories at most, without repeats."""

    categories: Annotated[
        list[Annotated[Category, BeforeValidator(_category)]], Field(max_length=3)
    ]
    evidence: Annotated[dict[str, list[str]], BeforeValidator(_evidence)] = {}

    def chosen(self) -> tuple[Category, ...]:
        """The categories without repeats, in the order of the answer."""
        return tuple(dict.fromkeys(self.categories))

    def words(self) -> dict[Category, tuple[str, ...]]:
        """Evidence of the chosen categories; a category without any has an empty tuple."""
        found: dict[Category, tuple[str, ...]] = {}
        for name, words in self.evidence.items():
            try:
                found[parse_category(name)] = tuple(words)
            except ValueError:
                continue
        return {category: found.get(category, ()) for category in self.chosen()}


class KeptAnswer(RefineAnswer, LabelAnswer):
    """Both answers together, as the cache keeps them."""


def read_answer(kind: type[T], text: str) -> T:
    """Reads the last JSON object in a reply, past thoughts, code fences and remarks.

    Raises:
        ValueError: there is no JSON object, or it does not fit; the message tells the model why.
    """
    decoder = json.JSONDecoder()
    rest = _THINKING.sub("", text)
    found: Any = None
    position = rest.find("{")
    while position >= 0:
        try:
            found, end = decoder.raw_decode(rest, position)
        except (json.JSONDecodeError, RecursionError):
            end = position + 1
        position = rest.find("{", end)
    if found is None:
        raise ValueError(f"it holds no valid JSON object: {_short(text)!r}")
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise ValueError("; ".join(faults)) from None


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else flat[:80] + "..."


def default_cache_dir() -> Path:
    """`pila/labels` under $XDG_CACHE_HOME, if that is an absolute path, or else under ~/.cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "pila" / "labels"


def load_kept(path: Path) -> KeptAnswer | None:
    """The answer kept at a path; None where there is none, or none that can be read."""
    try:
        return KeptAnswer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("label cache: %s is unreadable and will be replaced (%s)", path, error)
        return None


def keep(path: Path, answer: KeptAnswer) -> None:
    """Writes an answer in one step, so that no reader ever sees a half; a full disk only warns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(answer.model_dump_json(indent=2))
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        logger.warning("label cache: the answer could not be kept at %s (%s)", path, error)
