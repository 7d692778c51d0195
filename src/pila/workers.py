"""Processes for independent jobs, which end when the one that started them does."""

import logging
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process
from threading import Thread


def workers(count: int, *, with_torch: bool = False, fresh: bool = False) -> ProcessPoolExecutor:
    """A pool of that many processes, each of one thread.

    The standard pool leaves its processes waiting for ever where their parent is killed; these
    end with it, so that the same command can start again at once. Signals end them without a word:
    what there is to say, the process that started them says. Its log is theirs, too.

    Args:
        count: processes.
        with_torch: hold PyTorch to one thread in each, too.
        fresh: start each from nothing rather than as a copy of this one, which an accelerator
            needs that this process may have touched.
    """
    context = get_context("spawn") if fresh else None
    opencv = sys.modules.get("cv2")
    if opencv is not None and not fresh:
        # A copy has no threads, but a pool that waits for them: OpenCV must have none by then.
        opencv.setNumThreads(1)
    handlers = logging.getLogger().handlers
    level = logging.getLogger("pila").getEffectiveLevel()
    said = (level, handlers[0].formatter) if handlers else None
    return ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(with_torch, said)
    )


def _begin(with_torch: bool, said: tuple[int, logging.Formatter | None] | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if said is not None and not logging.getLogger().handlers:  # started from nothing
        level, formatter = said
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
        logging.getLogger().addHandler(handler)
        logging.getLogger("pila").setLevel(level)
    Thread(target=_end_with_parent, daemon=True).start()
    if with_torch:
        import torch

        torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
