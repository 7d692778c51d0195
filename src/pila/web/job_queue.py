"""The work behind a page: a bounded queue, one loaded pipeline, one clip at a time."""

import ctypes
import gc
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pila.errors import InputError
from pila.generate.generate import Report, generate, load
from pila.generate.plan import prepare
from pila.generate.request import GenerateRequest
from pila.labels.parser import FALLBACK, Parser, ParserUnavailable
from pila.web.results import Results

logger = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")
MAX_QUEUE = 1_000
PRUNE_EVERY = 60.0
"""Seconds between looks at old results while nothing is asked for."""
SILENT = "the language model gave no answer; the server's log says why"
"""What users of the page are told: the whole reason names a server that is not theirs."""


class QueueFull(InputError):
    """As many requests wait as may."""


class Cancelled(Exception):
    """The user does not want the clip any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is.

    Attributes:
        state: see `State`.
        ahead: jobs before it, while it waits.
        doing: in words, for people.
        step: denoising steps done, over both clips.
        steps: denoising steps in all; 0 until they are known.
        error: why it failed.
    """

    state: State = "waiting"
    ahead: int = 0
    doing: str = ""
    step: int = 0
    steps: int = 0
    error: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One request on its way; only the queue's worker and `cancel` write to it."""

    token: str
    session: str
    client: str | None
    request: GenerateRequest
    progress: Progress = Progress()
    report: Report | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def finished(self) -> bool:
        """Nothing more will happen."""
        return self.progress.state in FINISHED


class JobQueue:
    """Runs jobs one after another in a thread of its own.

    Args:
        results: where clips go.
        queue_size: jobs that may wait besides the one that runs.
        parser: finds categories, in several threads; made for each request by default.
    """

    def __init__(
        self, results: Results, *, queue_size: int = 8, parser: Parser | None = None
    ) -> None:
        if not 1 <= queue_size <= MAX_QUEUE:
            raise InputError(f"queue is {queue_size}; use 1 to {MAX_QUEUE} waiting requests")
        self.results, self.parser = results, parser
        self._queue_size = queue_size
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._pipeline: Any = None
        self._loaded: tuple[str, ...] | None = None
        self._thread = threading.Thread(target=self._work, name="pila-queue", daemon=True)
        self._thread.start()

    def submit(
        self, session: str, ask: Callable[[str], GenerateRequest], *, client: str | None = None
    ) -> Job:
        """Check a request and let it wait its turn.

        Args:
            session: whose it is, for `cancel_session`.
            ask: makes the request, given the token of its result.
            client: who may fill half of the queue; None may fill it all.

        Raises:
            InputError: something about the request is wrong.
            QueueFull: too many wait.
        """
        token = self.results.new_token()
        request = ask(token)
        steps = prepare(request).sampling.steps * (1 + request.compare)
        job = Job(token=token, session=session, client=client, request=request)
        with self._changed:
            if len(self._waiting) >= self._queue_size:
                raise QueueFull(
                    f"the queue is full: {self._queue_size} requests wait already; try again "
                    "in a while"
                )
            share = (self._queue_size + 1) // 2
            mine = sum(job.client == client for job in self._waiting)
            if client is not None and mine >= share:
                raise QueueFull(
                    f"{mine} of your requests wait already, and one user may have {share} in "
                    f"this queue of {self._queue_size}; try again in a while, or cancel one"
                )
            ahead = len(self._waiting) + (self._running is not None)
            job.progress = Progress(ahead=ahead, steps=steps)
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def cancel(self, job: Job) -> None:
        """Take a job from the queue, or stop it after the denoising step that it is in."""
        with self._changed:
            job.stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                job.progress = Progress(state="cancelled", doing="cancelled while it waited")
                self._tell_places()

    def cancel_session(self, session: str) -> int:
        """Cancel all that a session has asked for; how many jobs that were."""
        with self._changed:
            jobs = [job for job in (*self._waiting, self._running) if job is not None]
        mine = [job for job in jobs if job.session == session]
        for job in mine:
            self.cancel(job)
        return len(mine)

    def is_busy_for(self, session: str) -> bool:
        """Whether anything that a session has asked for waits or runs."""
        with self._changed:
            jobs = [job for job in (*self._waiting, self._running) if job is not None]
            return any(job.session == session and not job.finished for job in jobs)

    def warm_up(self, request: GenerateRequest) -> None:
        """Load what a request needs before anyone asks.

        Raises:
            InputError: the model or the adapter cannot be loaded.
        """
        with self._changed:
            self._ready(request)

    def close(self) -> None:
        """Stop at the next step and take no more; the results are the caller's to remove."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, self._running):
                if job is not None:
                    job.stop.set()
            self._changed.notify_all()
        self._thread.join(timeout=60)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._closed:
                    self._changed.wait(timeout=PRUNE_EVERY)
                if self._closed:
                    return
                self._running = job = self._waiting.popleft() if self._waiting else None
                self._tell_places()
            try:
                self.results.prune(room=job is not None)
            except OSError as error:  # someone else tidies the temporary folder, too
                logger.warning("old results could not be removed: %s", error)
            if job is not None:
                self._run(job)
                del job
                with self._changed:
                    self._running = None
                    self._tell_places()
                _give_memory_back()

    def _run(self, job: Job) -> None:
        steps, done = job.progress.steps, 0

        def on_step(clip: str, step: int, of: int) -> None:
            nonlocal done
            _stop_if_asked(job)
            done += 1
            doing = f"{clip}: step {step} of {of}" if done < steps else "measuring and drawing"
            job.progress = Progress(state="running", doing=doing, step=done, steps=steps)

        job.progress = Progress(state="running", doing="preparing", steps=steps)
        logger.info("%s: begins", job.token[:8])
        try:
            pipeline = self._ready(job.request)
            _stop_if_asked(job)
            report = generate(job.request, pipeline=pipeline, parser=self.parser, on_step=on_step)
            _stop_if_asked(job)
            report = replace(report, note=told(report.note))
            self.results.save(job.token, report)
        except Cancelled:
            end = Progress(state="cancelled", doing=f"cancelled after {done} of {steps} steps")
        except ParserUnavailable as error:
            logger.warning("%s: %s", job.token[:8], error)
            end = Progress(state="failed", error=SILENT)
        except (InputError, FloatingPointError) as error:
            end = Progress(state="failed", error=" ".join(str(error).split()))
        except Exception:
            logger.exception("%s: failed", job.token[:8])
            end = Progress(
                state="failed", error="something went wrong in the server; its log says what"
            )
        else:
            job.report = report
            end = Progress(state="done", doing="done", step=steps, steps=steps)
        if end.state != "done":
            self.results.drop(job.token)
        logger.info("%s: %s", job.token[:8], end.error or end.doing)
        job.progress = end

    def _ready(self, request: GenerateRequest) -> Any:
        """The pipeline of a request: the one at hand, or another in its place."""
        wanted = (request.model, request.adapter, request.device, request.dtype, request.offload)
        if self._loaded != wanted:
            self._pipeline = self._loaded = None  # two of Wan's size would rarely fit
            gc.collect()
            _free_device_memory()
            self._pipeline = load(request)
            self._loaded = wanted
        return self._pipeline

    def _tell_places(self) -> None:
        running = self._running is not None
        for place, job in enumerate(self._waiting):
            job.progress = Progress(ahead=place + running, steps=job.progress.steps)


def told(note: str) -> str:
    """A parser's note as users of the page see it."""
    return FALLBACK + SILENT if note.startswith(FALLBACK) else note


def _stop_if_asked(job: Job) -> None:
    if job.stop.is_set():
        raise Cancelled


def _give_memory_back() -> None:
    """What a clip has taken goes now: pictures are cycles, and glibc keeps what is freed in a
    heap for each thread."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)


def _free_device_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
