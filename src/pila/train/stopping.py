"""How a training is interrupted, and how much a kill may cost: signals, and checkpoints by time.

A step is never cut: a signal is kept until the step is done and its checkpoint is written. All
processes stop behind the same step, whichever of them was told.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 1.0
"""Seconds in which a signal is still the first one: `timeout` and terminals send it twice, to the
process and to its group."""
FIRST = 0.1
"""Share of the longest interval after which the first checkpoint comes."""
WRITING = 0.05
"""Most of the time that may go into checkpoints by time."""


class Stopped(KeyboardInterrupt):
    """A signal has ended a training; the same call goes on from there.

    Args:
        number: the signal's.
        step: steps that are done and kept; None between the steps of two stages.
    """

    def __init__(self, number: int, step: int | None = None) -> None:
        super().__init__(number, step)
        self.number, self.step = number, step

    @property
    def code(self) -> int:
        """The exit code, as a shell has it for this signal."""
        return 128 + self.number

    def __str__(self) -> str:
        where = "before the first step" if self.step is None else f"at step {self.step}"
        return f"stopped {where}; the same command resumes"


class StopSignals:
    """Keeps SIGINT and SIGTERM until they are asked for, while it is entered.

    A second signal ends the process at once. Only in the main thread, which alone may have
    handlers; elsewhere nothing changes. Those from before come back.

    Args:
        at_once: raise `Stopped` where the signal finds the process, instead of keeping it.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._before: dict[int, Any] = {}
        self._since = 0.0
        self._says = False
        self.number = 0
        """The signal that has come; 0 is none."""
        self.step: int | None = None
        """Steps that are kept by now."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            wanted = logging.getLogger("pila").isEnabledFor(logging.WARNING)
            self._says = wanted and os.environ.get("RANK", "0") == "0"
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None is a handler that was not set from Python, and cannot be set from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        if self.number and error is None:
            raise Stopped(self.number, self.step)  # it came too late to be asked for

    def _note(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if not self.number:
            self.number, self._since = number, now
            if self._at_once:
                raise Stopped(number)
            if self._says:
                # Straight to the descriptor: a handler must not meet a half-written log line.
                with suppress(OSError):
                    os.write(2, b"\nsaving after this step; again ends at once\n")
        elif now - self._since > SAME:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class CheckpointClock:
    """When a checkpoint is due by time.

    The first comes after a tenth of the interval, and each later one when the training has gone on
    as long as until the one before it: so a kill costs half of the time at most, and never more
    than the interval. Where writing takes long, it takes a twentieth of the time at most.

    Args:
        minutes: the interval; 0 is never.
        now: seconds that only grow.
    """

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._now = 60 * minutes, now
        self._begun = self._last = now()
        self._took = 0.0

    def is_due(self) -> bool:
        """Whether so much time has passed since the last checkpoint."""
        if not self._interval:
            return False
        gone_on = max(FIRST * self._interval, self._last - self._begun)
        gap = max(min(self._interval, gone_on), self._took / WRITING)
        return self._now() - self._last >= gap

    def saved(self, since: float) -> None:
        """Note a checkpoint that has been written since then."""
        self._last = self._now()
        self._took = self._last - since
