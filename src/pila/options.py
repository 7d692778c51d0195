"""Bounds that every option has, whichever command it is of: one mechanism, before any work.

A command's own bounds are tighter and checked where they are known. These keep a slip of the hand
from filling the memory, running for a year, or failing when the result is to be written.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pila import plugins
from pila.errors import InputError
from pila.json_files import short

MOST = 10**9
"""Of a whole number that has no bound of its own below."""
_MOST = {
    "archives": 10_000,
    "batch": 65_536,
    "clips": 10_000_000,
    "frames": 65_536,
    "height": 65_536,
    "layers": 1_024,
    "noise_seeds": 100_000,
    "num_frames": 65_536,
    "port": 65_535,
    "processes": 1_024,
    "prompts": 1_000_000,
    "retries": 1_000,
    "seed": 2**63 - 1,
    "seeds": 2**63 - 1,
    "shard_clips": 10_000_000,
    "size": 4_096,
    "threads": 1_024,
    "tile": 65_536,
    "vae_clips": 10_000_000,
    "width": 65_536,
}
_NAMED: dict[str, tuple[tuple[str, ...], plugins.Group]] = {
    "parser": (("auto", "offline", "llm"), "pila.label_parsers"),
    "judge": (("server", "local"), "pila.judges"),
}
"""Options that name one of pila's own, or one that a package lists in a group."""
NAME_BYTES = 255
"""Of a file's name where the file system does not say."""
PATH_BYTES = 4_096
ROOM = 48
"""Bytes that a name grows by while a file is written: `-settings.json`, a process, `.part`."""


def check_options(options: Any) -> None:
    """Refuse values that no command could take.

    Args:
        options: a command, or any dataclass of options, nested or not.

    Raises:
        InputError: a number beyond its bound or NaN, a text that is not Unicode, a name or a path
            that no file can have.
    """
    for name, value in _values(options):
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, str):
            check_text(value, option)
            if name in _NAMED:
                check_name(value, option, *_NAMED[name])
        elif isinstance(value, Path):
            check_path(value, option)
        elif isinstance(value, float) and math.isnan(value):
            raise InputError(f"{option} is nan; give a number")
        elif isinstance(value, int) and not isinstance(value, bool):
            most = _MOST.get(name, MOST)
            if abs(value) > most:
                raise InputError(f"{option} is {short(value)}; at most {most:,} is taken")


def check_name(value: str, what: str, own: Sequence[str], group: plugins.Group) -> None:
    """Refuse a name that is neither pila's own nor listed by an installed package.

    Raises:
        InputError: with the names that there are.
    """
    known = [*own, *plugins.names(group)]
    if value not in known:
        raise InputError(
            f"{what} is {short(value)}; choose from {', '.join(known)}, or install the "
            f"package that lists it in {group}"
        )


def check_text(text: str, what: str) -> None:
    """Refuse half characters, which can be neither encoded nor written, and zero bytes.

    Raises:
        InputError: with the place.
    """
    at = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff" or c == "\0"), None)
    if at is not None:
        raise InputError(
            f"{what} is not Unicode text: character {at + 1} is {text[at]!a}, half a "
            "character or none; type or copy it again"
        )


def check_path(path: Path, what: str) -> None:
    """Refuse a path that no file can have, or beside which no part of a file can be written.

    Raises:
        InputError: with the length and its bound.
    """
    check_text(str(path), what)
    whole = path.absolute()
    length = len(os.fsencode(whole))
    if length > PATH_BYTES - ROOM:
        raise InputError(
            f"{what} is a path of {length:,} bytes; at most {PATH_BYTES - ROOM:,} leave room for "
            "the files beside it: choose a shorter one"
        )
    for part in whole.parts:
        name = len(os.fsencode(part))
        # Of what is there already nothing is asked but that it is there.
        most = NAME_BYTES if part != whole.name or exists(whole) else NAME_BYTES - ROOM
        if name > most:
            raise InputError(
                f"{what} has a name of {name} bytes ({part[:20]}...); at most {most} can be "
                "written: choose a shorter one"
            )


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; false for what can be no path at all."""
    with suppress(OSError, ValueError, RuntimeError):
        return path.expanduser().exists()
    return False


def _values(options: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of nested options, with the option's own name."""
    if is_dataclass(options):
        for field in fields(options):
            yield from _values(getattr(options, field.name), field.name)
    elif isinstance(options, list | tuple | set | frozenset):
        for value in options:
            yield from _values(value, name)
    elif isinstance(options, dict):
        for key, value in options.items():
            yield from _values(value, name)
            yield from _values(key, name)
    else:
        yield name, options
