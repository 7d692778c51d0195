"""Text and JSON that others wrote: read within bounds, checked by a schema, refused in a line."""

import codecs
import hashlib
import json
import reprlib
import stat
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pila.errors import InputError
from pila.files import whole_folder

JSON_LIMIT = 64_000_000
"""Bytes of a JSON file that is read: the largest models' vocabularies have fewer."""
COPY_AGAIN = "download or copy it again"

Schema = TypeVar("Schema")


class Strict(BaseModel):
    """What a JSON object must be: of JSON's own types, finite, and of more keys if it has more."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


def read_text(path: Path, *, limit: int = JSON_LIMIT, remedy: str = COPY_AGAIN) -> str:
    """A file's text in UTF-8, with or without a byte order mark.

    Args:
        path: a regular file: devices and pipes may have no end.
        limit: the most bytes that are read.
        remedy: what the message tells the user to do.

    Raises:
        InputError: there is no such file, it is too large, or it is not UTF-8.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
            raise InputError(f"{path} is {what}, not a file; {remedy}")
        if found.st_size > limit:
            raise InputError(
                f"{path} has {found.st_size:,} bytes, and at most {limit:,} are read; {remedy}"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}); {remedy}") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {remedy}") from error


def read_json(path: Path, *, limit: int = JSON_LIMIT, remedy: str = COPY_AGAIN) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: as `read_text`, or it is not JSON.
    """
    return parse_json(read_text(path, limit=limit, remedy=remedy), path, remedy=remedy)


def parse_json(text: str, place: object, *, remedy: str = COPY_AGAIN) -> Any:
    """The value that a text is in JSON; `place` says in the message where it stands.

    Raises:
        InputError: it is not JSON, nests too deep, or has a number with thousands of digits.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not readable JSON ({reason_of(error)}); {remedy}") from error


def read_object(
    path: Path,
    schema: type | None = None,
    *,
    limit: int = JSON_LIMIT,
    remedy: str = COPY_AGAIN,
) -> dict[str, Any]:
    """The object in a JSON file as it stands there, once it has been held against a schema.

    Raises:
        InputError: as `read_json`, it is no object, or an entry is not what the schema asks for.
    """
    value = read_json(path, limit=limit, remedy=remedy)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, not an object; {remedy}")
    if schema is not None:
        checked(schema, value, path, remedy=remedy)
    return value


def checked(schema: type[Schema], value: Any, place: object, *, remedy: str = COPY_AGAIN) -> Schema:
    """A value as its schema reads it.

    Args:
        schema: a `Strict` model; or a dataclass of JSON's types, whose tuples are JSON's lists.
        value: as JSON has it.
        place: where it stands, for the message.
        remedy: what the message tells the user to do.

    Raises:
        InputError: with the first entry that is not what it must be, and what that is.
    """
    try:
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            return _adapter(schema).validate_python(value)
        return _adapter(schema).validate_json(json.dumps(value), strict=True)
    except RecursionError:
        raise InputError(f"{place} nests too deep; {remedy}") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"]) or "the content"
        if wrong["type"] == "missing":
            raise InputError(f"{place} has no {name}; {remedy}") from None
        says = wrong["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{name} in {place} is {short(wrong['input'])}: {says}; {remedy}"
        ) from None


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def without_marks(folder: Path, kept: Path) -> Path:
    """A folder whose JSON files other libraries can read: they refuse a byte order mark.

    Args:
        folder: with files, and folders of files.
        kept: where a copy is made if a JSON file begins with a mark; all others are linked to.

    Returns:
        The folder itself where no file has a mark.

    Raises:
        InputError: a file cannot be read, or the copy not be written.
    """
    marked = {p for p in folder.rglob("*.json") if _has_mark(p)}
    if not marked:
        return folder
    said = "\n".join(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in sorted(marked))
    copy = kept / hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if not copy.is_dir():
        with whole_folder(copy) as beside:
            for source in folder.rglob("*"):
                place = beside / source.relative_to(folder)
                if source in marked:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(read_text(source), encoding="utf-8")
                elif source.is_file():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.symlink_to(source.absolute())
    return copy


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(3) == codecs.BOM_UTF8
    except OSError:
        return False  # who reads it says what is wrong


def short(value: object) -> str:
    """A value for a message: its beginning, however long or deep it is."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of more than {int(value.bit_length() * 0.30103)} digits"
    return reprlib.repr(value)


def reason_of(error: BaseException) -> str:
    """What an error says, on one line of bounded length."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = " ".join(str(said).split())
    return line if len(line) <= 300 else f"{line[:300]} ..."
