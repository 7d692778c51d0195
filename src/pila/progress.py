"""The one progress bar: on a terminal alone, and not where `--quiet` silences the logger."""

import logging
import sys
from collections.abc import Iterable
from typing import Any


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> Any:
    """A tqdm bar on stderr, over `items` or updated by hand.

    Args:
        items: what is iterated over; None for a bar that `update` advances.
        shown: False for processes other than the first.
        **options: tqdm's own, such as `total`, `unit` and `desc`.
    """
    from tqdm import tqdm

    wanted = logging.getLogger("pila").isEnabledFor(logging.WARNING)
    return tqdm(items, disable=not (shown and wanted and sys.stderr.isatty()), **options)


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
