"""The page's own temporary folder: a folder per result, bounded in count and in age."""

import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.files import atomic_write
from pila.generate import Report

CLIP = "pila.mp4"
REPORT = "report.json"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Results:
    """Results by unguessable tokens, below a temporary folder that only this user can enter.

    A token is all it takes to fetch a result's files, so only the session that made one is told.
    """

    def __init__(
        self,
        *,
        keep: int = 50,
        keep_hours: float = 24.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if keep < 1:
            raise InputError(f"keep is {keep}; use at least 1 result")
        if not keep_hours > 0:
            raise InputError(f"keep_hours is {keep_hours}; use more than 0")
        self.root = Path(tempfile.mkdtemp(prefix="pila-serve-")).resolve()  # mode 0700
        self.folder = self.root / "results"
        self.folder.mkdir()
        self._keep, self._seconds, self._clock = keep, keep_hours * 3600, clock

    def new_token(self) -> str:
        """A name that no one can guess."""
        return secrets.token_hex(16)

    def place(self, token: str) -> Path:
        """The folder of a result, there or not.

        Raises:
            InputError: not a token.
        """
        if not _TOKEN.fullmatch(token):
            raise InputError("this is not the token of a result; choose one from the gallery")
        return self.folder / token

    def save(self, token: str, report: Report) -> None:
        """Keep a finished result's report beside its files."""
        with atomic_write(self.place(token) / REPORT) as part:
            part.write_text(json.dumps(asdict(report)), encoding="utf-8")

    def read(self, token: str) -> dict[str, Any]:
        """A finished result's report.

        Raises:
            InputError: it was cleaned up, or never was.
        """
        try:
            return json.loads((self.place(token) / REPORT).read_text(encoding="utf-8"))
        except OSError:
            raise InputError(
                f"this result is no longer kept (the newest {self._keep} are, for "
                f"{self._seconds / 3600:g} h); generate it again"
            ) from None

    def has(self, token: str) -> bool:
        """Whether a result is still kept."""
        return (self.place(token) / REPORT).is_file()

    def drop(self, token: str) -> None:
        """Remove what a request has left, finished or not."""
        shutil.rmtree(self.place(token), ignore_errors=True)

    def prune(self, *, room: int = 0) -> None:
        """Remove what is too old, and the oldest beyond the number kept, less `room`."""
        kept = sorted(self.folder.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        oldest = self._clock() - self._seconds
        for index, place in enumerate(kept):
            if index >= self._keep - room or place.stat().st_mtime < oldest:
                shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.root, ignore_errors=True)
