"""What a language model must answer, and the answers that are kept on disk.

Both come from outside and are checked by pydantic before anything else reads them.
"""

import logging
import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError

from pila.errors import InputError
from pila.files import atomic_write
from pila.labels.parse import parse_category
from pila.labels.reading import find_object
from pila.network import one_line
from pila.physics.layout import Category

logger = logging.getLogger(__name__)
T = TypeVar("T", bound=BaseModel)


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


def read_answer(kind: type[T], text: str) -> tuple[T, bool]:
    """Reads the JSON object with which a reply answers, past thoughts, code fences and remarks.

    Returns:
        the answer, and whether it is beyond doubt: it stands where the template asks for it, and
        no other object of the reply would be an answer, too, and another one.

    Raises:
        ValueError: there is no such object, or it does not fit; the message tells the model why.
    """
    if not text.strip():
        raise ValueError("it is empty and holds no valid JSON object")
    try:
        found = find_object(text)
    except ValueError as error:
        raise ValueError(f"{error}: {one_line(text, 80)!r}") from None
    try:
        answer = kind.model_validate(found.value)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError(one_line("; ".join(faults), 400)) from None
    rivals = (_fitting(kind, other) for other in found.others)
    return answer, found.firm and all(rival in (None, answer) for rival in rivals)


def _fitting(kind: type[T], value: Any) -> T | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


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
        with atomic_write(path) as part:
            part.write_text(answer.model_dump_json(indent=2), encoding="utf-8")
    except InputError as error:
        logger.warning("label cache: the answer could not be kept: %s", error)
