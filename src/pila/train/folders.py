"""Folders that are there whole or not at all, whenever a process or the machine stops.

What is written lies in `.NAME.partial` beside its place. Where a folder is replaced, the one
before it rests as `.NAME.old` between the two renames, and nowhere else: a kill in that moment is
the only one that leaves no folder in its place, and `mend` finishes it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from pila.errors import InputError


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside `place` that takes its place if the block succeeds.

    It is on the disk, files and names, before it does. What was there stays until then.

    Raises:
        InputError: the disk is full, or the place cannot be written.
    """
    beside, old = _beside(place), _old(place)
    with writing(place):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            mend(place)
            beside.mkdir()
            yield beside
            _flush(beside)
            if place.exists():
                place.rename(old)
            beside.rename(place)
            _flush_names(place.parent)
        finally:
            with suppress(OSError):
                mend(place)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into one line.

    Raises:
        InputError: the block met such an error.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{place} could not be written ({error}): free space, or make {place.parent} "
            "writable, then run the same command again; what was there before is whole"
        ) from error


def mend(place: Path) -> None:
    """Finish or undo what a kill has cut while `place` was written; nothing where all is well."""
    beside, old = _beside(place), _old(place)
    if old.exists() and not place.exists():
        # Between the renames: the new folder was whole, or else the one before it would not rest.
        (beside if beside.exists() else old).rename(place)
    if beside.exists():
        shutil.rmtree(beside)
    if old.exists():
        discard(place, old)


def mend_all(folder: Path) -> None:
    """As `mend`, of every place in a folder."""
    for left in [*folder.glob(".*.old"), *folder.glob(".*.partial")]:
        mend(folder / left.name[1:].rpartition(".")[0])


def discard(place: Path, there: Path | None = None) -> None:
    """Remove a folder: at once under its own name, so that no one finds half of it.

    Args:
        place: the folder's place.
        there: where it is, if not there.
    """
    beside = _beside(place)
    (there or place).rename(beside)
    shutil.rmtree(beside)


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.partial")


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _flush(folder: Path) -> None:
    """Have a folder's files on the disk, and then their names."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        _flush_names(Path(parent))


def _flush_names(folder: Path) -> None:
    # Some systems open no folder; there a rename is as much as can be asked for.
    with suppress(PermissionError, IsADirectoryError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
