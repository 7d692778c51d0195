"""How long work is shown: one bar on a terminal, lines in the log elsewhere, nothing if quiet."""

import logging
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Self

log = logging.getLogger(__name__)
# Lines stand for the bar, which commands show that say nothing else: the package's own level, which
# is above `INFO` there, does not hold for them. `--quiet` is looked at below.
log.setLevel(logging.INFO)

EVERY = 30.0
"""Seconds between lines."""
RECENT = 6
"""Lines over which the rate is taken: the first steps often wait for what later ones find made."""


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> Any:
    """A tqdm bar on stderr, over `items` or updated by hand; without a terminal lines in the log.

    Args:
        items: what is iterated over; None for a bar that `update` advances.
        shown: False for processes other than the first.
        **options: tqdm's own: `total`, `initial`, `unit` and `desc`.
    """
    from tqdm import tqdm

    # Where `--quiet` silences the logger, both are silent.
    wanted = shown and logging.getLogger("pila").isEnabledFor(logging.WARNING)
    if wanted and not sys.stderr.isatty():
        return _Lines(items, **options)
    return tqdm(items, disable=not wanted, **options)


class _Lines:
    """What a bar would show, as a line in the log every `EVERY` seconds; used as tqdm's bar is.

    A thread writes them, so that a job of minutes does not look like a program that hangs.
    """

    disable = True
    """As tqdm has it: no bar is drawn."""

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        *,
        total: int | None = None,
        initial: int = 0,
        unit: str = "it",
        desc: str | None = None,
    ) -> None:
        self._items = items
        size = getattr(items, "__len__", None)
        self.total = size() if total is None and size is not None else total
        self.n = initial
        self._unit, self._desc, self._figures = unit, desc, ""
        self._points = deque([(time.monotonic(), initial)], maxlen=RECENT)
        self._closed = threading.Event()
        # It knows this object only while others do: an iteration that was dropped ends it, too.
        writer = threading.Thread(
            target=_write, args=(weakref.ref(self), self._closed, EVERY), daemon=True
        )
        writer.start()

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self._items or ():
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self.n += n

    def set_postfix(self, *, refresh: bool = True, **figures: object) -> None:
        """Figures to show from now on."""
        self._figures = "".join(f", {name} {value}" for name, value in figures.items())

    def close(self) -> None:
        """Write no more."""
        self._closed.set()

    def line(self) -> str:
        """What is done, the figures, the recent rate, and the time left at that rate."""
        from tqdm import tqdm

        now, n = time.monotonic(), self.n
        then, before = self._points[0]
        self._points.append((now, n))
        many = f"{self._unit}s" if self.total is None else f"of {self.total} {self._unit}s"
        text = f"{self._desc}: " if self._desc else ""
        text += f"{n} {many}{self._figures}"
        if n == before:
            return text
        pace = (now - then) / (n - before)
        slow, fast = f"{pace:.1f} s a {self._unit}", f"{1 / pace:.1f} {self._unit}s a second"
        text += f", {slow if pace >= 1 else fast}"
        if self.total is None or n >= self.total:
            return text
        return f"{text}, {tqdm.format_interval(pace * (self.total - n))} left"


def _write(which: "weakref.ref[_Lines]", closed: threading.Event, every: float) -> None:
    while not closed.wait(every):
        bar = which()
        if bar is None:
            return
        log.info(bar.line())
        del bar


def only_own_progress() -> None:
    """Silence the libraries' bars of loading, and their notes on expected things.

    Not where `--verbose` asks for all of them.
    """
    if logging.getLogger("pila").isEnabledFor(logging.DEBUG):
        return
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
