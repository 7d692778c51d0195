"""The page's own temporary folder: a folder per result, bounded in count and in age."""

import json
import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: killed servers' folders stay there
    fcntl = None

from pila.errors import InputError
from pila.files import LEFT_OVER, atomic_write
from pila.generate.generate import Report

logger = logging.getLogger(__name__)

CLIP = "pila.mp4"
REPORT = "report.json"
PREFIX = "pila-serve-"
LOCK = "lock"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Results:
    """Results by unguessable tokens, below a temporary folder that only this user can enter.

    A token is all it takes to fetch a result's files, so only the session that made one is told.
    The folders of servers that were killed are removed at the start.
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
        clear_left_over()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()  # mode 0700
        self._lock = _locked(self.root)
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

    def drop(self, token: str) -> None:
        """Remove what a request has left, finished or not."""
        shutil.rmtree(self.place(token), ignore_errors=True)

    def prune(self, *, room: int = 0) -> None:
        """Remove what is too old, and the oldest beyond the number kept, less `room`.

        However few are kept, the newest stays until it is too old: its user may be fetching it.
        """
        most = max(1, self._keep - room)
        kept = sorted(self.folder.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        oldest = self._clock() - self._seconds
        for index, place in enumerate(kept):
            if index >= most or place.stat().st_mtime < oldest:
                shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        """Remove all of it."""
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.root, ignore_errors=True)


def clear_left_over() -> None:
    """Remove the folders of this user's servers that run no longer."""
    if fcntl is None:
        return
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            found = root.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if (root / LOCK).exists():
                with (root / LOCK).open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif time.time() - found.st_mtime < LEFT_OVER:
                continue  # about to be locked
        except OSError:  # its server runs, or another one clears it as well
            continue
        logger.info("%s was left by a server that was killed; removed", root)
        shutil.rmtree(root, ignore_errors=True)


def _locked(root: Path) -> IO[bytes] | None:
    """A lock in a folder, which the system lets go when the process ends in any way."""
    if fcntl is None:
        return None
    part = root / f".{LOCK}"
    lock = part.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    part.replace(root / LOCK)  # never seen by others before it is held
    return lock
