"""metrics.jsonl as a training writes it: a JSON object a line, whole lines alone."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pila.files import atomic_write, writing


class MetricsFile:
    """The file that lines are added to; a line that a kill has cut is taken out first.

    Args:
        path: of the file; None for processes other than the first, which write nothing.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> Self:
        if self._path is not None:
            _mend(self._path)
            with writing(self._path):
                # Unbuffered: what a full disk refuses must not be tried again when it is closed.
                self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._path is not None:
            self._file.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            InputError: the disk is full.
        """
        if self._path is None:
            return
        line = (json.dumps(row) + "\n").encode()
        with writing(self._path):
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _mend(path: Path) -> None:
    """Take out of a file what is no whole JSON object: a line that was being written."""
    there = path.read_bytes() if path.is_file() else b""
    whole = b"".join(line + b"\n" for line in there.split(b"\n") if _is_object(line))
    if whole != there:
        with atomic_write(path) as part:
            part.write_bytes(whole)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
