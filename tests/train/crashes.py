"""Ends a process, or makes the system refuse, at one file operation after another."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.copyfile"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DONE, SURVIVED, SAID = 0, 4, 3
KILLED = 9


def ended_at(point: int, act: Callable[[], Any], *, refuse: bool = False) -> int:
    """Run `act` in a copy of this process that meets its end at the so-manieth file operation.

    Operations are those that Python reports to audit hooks, and `os.fsync`. The hook cannot be
    taken back, and need not be: the copy ends.

    Args:
        point: counted from 0.
        act: what is done.
        refuse: raise "No space left on device" there, instead of ending the process.

    Returns:
        KILLED, SAID (an InputError of one line), SURVIVED (refused, and done all the same), or DONE
        where there are fewer operations.
    """
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 1
    try:
        reached = [0]
        _hook(point, reached, refuse=refuse)
        code = _outcome(act)
        if code == DONE and reached[0] > point:
            code = SURVIVED
    finally:
        os._exit(code)


def _outcome(act: Callable[[], Any]) -> int:
    from pila.errors import InputError

    try:
        act()
    except InputError as error:
        text = str(error)
        return SAID if "\n" not in text and "No space left on device" in text else 1
    return DONE


def _hook(point: int, reached: list[int], *, refuse: bool) -> None:
    def meet() -> None:
        reached[0] += 1
        if reached[0] == point + 1:
            if not refuse:
                os._exit(KILLED)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and (args[2] or 0) & WRITES):
            meet()

    flush = os.fsync

    def fsync(place: int) -> None:
        meet()
        flush(place)

    os.fsync = fsync
    sys.addaudithook(hook)
