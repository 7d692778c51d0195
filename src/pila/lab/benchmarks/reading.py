"""Official CSV and JSON files, read as they are; what is wrong with them is listed by name."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.json_files import parse_json

SHOWN = 20
"""Names in a message; the rest is counted."""


def listed(names: Iterable[Any]) -> str:
    """Names separated by semicolons, `SHOWN` of them at most, and how many more there are."""
    every = [str(name) for name in names]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(every[:SHOWN]) + more


def repeated(names: Iterable[str]) -> list[str]:
    """Names that come more than once, each once."""
    return [name for name, count in Counter(names).items() if count > 1]


def own_names(paths: Iterable[str]) -> dict[str, str]:
    """Of each path the file's own name, by which methods are paired; itself where two are alike."""
    names = {path: Path(path).name for path in paths}
    return {path: path for path in names} if repeated(names.values()) else names


def refuse(faults: Sequence[str], where: Any, remedy: str) -> None:
    """Raise where there are faults.

    Raises:
        InputError: names the place, every fault and the remedy.
    """
    if faults:
        raise InputError(f"{where}: {listed(faults)}; {remedy}")


def read_text(path: Path) -> str:
    """A text file's content.

    Raises:
        InputError: no such file, an empty one, or one that is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({why}); give an existing text file") from error
    if not text.strip():
        raise InputError(f"{path} is empty (0 entries); write it again, or give another file")
    return text


def read_entries(path: Path, kind: type = list) -> Any:
    """A JSON list (or an object, with `kind=dict`).

    Raises:
        InputError: no such file, or it holds something else.
    """
    value = parse_json(read_text(path), path, remedy="give the official file")
    if not isinstance(value, kind):
        expected = "object" if kind is dict else "list"
        raise InputError(f"{path} holds a JSON {type(value).__name__}, not an {expected}")
    if kind is list and not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"{path} must be a list of objects; give the official file")
    return value


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, further columns included.

    Raises:
        InputError: no such file, no rows, a column that is missing, or a row that is cut short.
    """
    lines = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = [name.strip() for name in lines.fieldnames or []]
        lines.fieldnames = names
        rows = list(lines)
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({error}); write it again") from error
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)} (it has {', '.join(names)}); give the "
            f"judge's output with the columns {', '.join(columns)}"
        )
    if not rows:
        raise InputError(f"{path} has a header and 0 rows; judge the videos again")
    short = [str(i + 2) for i, row in enumerate(rows) if any(row[n] is None for n in columns)]
    refuse([f"line {n} is cut short" for n in short], path, "write the file again")
    return rows


def whole_number(value: Any, allowed: Iterable[int]) -> int | None:
    """The value as one of the whole numbers allowed (4, 4.0, "4.0"), or None."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number in set(allowed) else None


def group_counts(groups: Iterable[str], expected: Mapping[str, int]) -> list[str]:
    """What is wrong with how many entries each group has: "mechanics has 39 of 40"."""
    found = Counter(groups)
    return [f"{g} has {found[g]} of {n}" for g, n in expected.items() if found[g] != n]
