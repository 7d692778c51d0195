"""Seeded faults of a JSON file: what editors, downloads, other programs and slips leave behind."""

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pila.errors import InputError

VALUES: list[Any] = [
    None,
    True,
    "text",
    "",
    "\ud800",
    [],
    {},
    [None],
    {"a": 1},
    0,
    -1,
    3.5,
    10**9,
    -(10**9),
    10**30,
    1e308,
    float("nan"),
    float("inf"),
]


def nested(depth: int) -> list[Any]:
    """A list in a list in a list ..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every entry of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for key, child in inner:
        found.append((*path, key))
        if isinstance(child, dict | list):
            found += places(child, (*path, key))
    return found


def mutate(path: Path, good: bytes, draw: random.Random) -> str:
    """Put a faulty file in a good one's place; returns what the fault is."""
    if path.is_dir():
        path.rmdir()
    whole: dict[str, bytes] = {
        "empty": b"",
        "truncated": good[: draw.randrange(1, max(2, len(good) - 1))],
        "byte order mark": b"\xef\xbb\xbf" + good,
        "utf-16": good.decode().encode("utf-16"),
        "latin-1": b'{"caf\xe9": 1}',
        "deep": b"[" * 100_000,
        "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "list": b"[]",
        "null": b"null",
        "number": b"9" * 5_000,
        "zeros": b"\0" * 100,
        "more behind": good + b"}",
    }
    kind = draw.choice([*whole, "folder", "drop", "drop", "drop", *["replace"] * 24])
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return kind
    if kind in whole:
        path.write_bytes(whole[kind])
        return kind
    value = copy.deepcopy(json.loads(good))
    *way, last = draw.choice(places(value))
    holder = value
    for key in way:
        holder = holder[key]
    if kind == "drop":
        del holder[last]
    else:
        holder[last] = draw.choice([*VALUES, nested(200)])
    said = json.dumps(holder[last] if kind == "replace" else None)[:60]
    path.write_text(json.dumps(value))
    return f"{kind} {'.'.join(map(str, [*way, last]))} {said}"


def bad_ones(path: Path, read: Callable[[], Any], *, count: int, seed: int = 0) -> list[str]:
    """Mutations of a file after which `read` raises anything but an InputError of one line.

    The file is as it was afterwards.
    """
    good, draw, bad = path.read_bytes(), random.Random(f"{seed} {path.name}"), []
    try:
        for _ in range(count):
            what = mutate(path, good, draw)
            try:
                read()
            except InputError as error:
                if "\n" in str(error) or len(str(error)) > 1_500:
                    bad.append(f"{what}: {len(str(error))} characters: {str(error)[:200]!r}")
            except Exception as error:
                bad.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(good)
    return bad
