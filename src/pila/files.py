"""Files and folders that are there whole or not at all, whenever a process or the machine stops.

A file is written as `.NAME.HOST-PID.part` beside its place, a folder as `.NAME.partial`. Content
and names are on the disk before they take it. Where a folder is replaced, the one before it rests
as `.NAME.old` between the two renames, and nowhere else: a kill in that moment is the only one that
leaves no folder in its place, and `mend` finishes it.
"""

import errno
import hashlib
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from pila.errors import InputError

LOCK = ".pila.lock"
"""In a folder that a process writes to; the system lets go of it when the process ends."""
LEFT_OVER = 3600.0
"""Seconds after which a part is taken for left over, even where its process cannot be asked for."""
_CLOCK = 2.0
"""Seconds by which the clocks of files and of processes may differ."""
_TEARDOWN = 2.0
"""Seconds that a killed process may take to let go of its lock."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EBADF}
_HOST = re.sub(r"\W+", "_", platform.node(), flags=re.ASCII)[:32] or "host"
_PART = re.compile(r"\..+\.(?:(?P<host>\w+)-)?(?P<pid>\d+)\.part", flags=re.ASCII | re.DOTALL)
_LONGEST = 255
"""Bytes of a name that file systems take."""

logger = logging.getLogger(__name__)


def cache_root() -> Path:
    """Where caches lie: $PILA_CACHE, or the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(os.environ.get("PILA_CACHE", f"{base}/pila"))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block succeeds.

    It is on the disk, content and name, when this returns. What was there stays until then.

    Raises:
        InputError: the place cannot be written (missing rights, full disk).
    """
    part = _part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush_file(part)
        part.replace(path)
        _flush_names(path.parent)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} could not be written: {_said(error)}; free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # what is said of the write itself is worth more
            part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    """A name for a file that this process is writing, no longer than a name may be."""
    ending = f".{_HOST}-{os.getpid()}.part"
    name = path.name
    if len(os.fsencode(name)) + len(ending) + 1 > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{ending}")


def clear_left_over(folder: Path) -> None:
    """Remove the parts that killed processes have left in a folder; no other files.

    A part goes once the process that wrote it is gone. Parts of other machines, whose processes
    cannot be asked for, go once they are `LEFT_OVER` old.
    """
    with suppress(OSError):
        for left in folder.glob(".*.part"):
            match = _PART.fullmatch(left.name)
            with suppress(OSError):
                if match and _is_stale(left, match["host"], int(match["pid"])):
                    left.unlink()


def _is_stale(part: Path, host: str | None, pid: int) -> bool:
    written = part.stat().st_mtime
    if host == _HOST and not _is_writer(pid, written):
        return True
    return time.time() - written > LEFT_OVER


def _is_writer(pid: int, written: float) -> bool:
    """Whether a process runs that may have written something then; numbers are used again."""
    import psutil

    try:
        process = psutil.Process(pid)
        # One that nobody has waited for still has its number; it writes nothing any more.
        runs = process.status() != psutil.STATUS_ZOMBIE
        return runs and process.create_time() < written + _CLOCK
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return False
    except psutil.Error:  # the system does not say
        return True


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone, and clear what killed ones have left there.

    The system lets go of it when the process ends, however it ends. A folder that was made for this
    and is still empty afterwards is removed.

    Raises:
        InputError: another process writes there, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK, timeout=_TEARDOWN)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"another process writes to {folder}; wait until it is done, or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(
                f"{folder} cannot be written ({_said(error)}); choose another folder"
            ) from error
        logger.warning(
            "%s cannot be locked (%s); see that no other process writes there", folder, _said(error)
        )
    try:
        clear_left_over(folder)
        yield
    finally:
        with suppress(OSError):
            # Under the lock: one that waits sees that its file is gone, and makes another.
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for place in made:
                place.rmdir()


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
            _flush_file(Path(parent) / name)
        _flush_names(Path(parent))


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_names(folder: Path) -> None:
    try:
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
    except OSError as error:
        # Some systems open or flush no folder; there a rename is as much as can be asked for.
        if error.errno not in _NO_FLUSH:
            raise


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
