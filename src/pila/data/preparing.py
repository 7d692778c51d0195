"""What a clip needs before its encoding, done ahead in other processes: reading and flow.

A clip that cannot be used is a ClipError in its place. That holds for a file whose decoding ends
the process that reads it, too: the clips of a pool that broke are tried again one by one.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2
import numpy as np

from pila.data.flow_targets import FlowEstimator, TrueTargets, flow_targets
from pila.data.reading import read_clip
from pila.data.records import ClipError, Record, Sample, VideoRecord, View
from pila.errors import InputError
from pila.workers import workers

AHEAD = 2
"""Clips that wait or are worked on, per process; each may hold 100 MB of frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip and how it is to be seen."""

    record: Record
    view: View
    spatial: int
    temporal: int
    estimator: FlowEstimator


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A clip that is ready for the VAE.

    Attributes:
        sample: frames, caption and, of a simulated clip, the truth.
        flow: [2, t', h', w'] float32; see `flow_targets`.
        confidence: [1, t', h', w'] float32.
        seconds: spent on reading or making, and on flow.
    """

    sample: Sample
    flow: np.ndarray
    confidence: np.ndarray
    seconds: tuple[float, float]


def prepare(job: Job) -> Prepared | ClipError:
    """Read or make a clip and estimate its flow.

    Raises:
        InputError: the view does not suit a made clip, or a made clip the view; a file that was
            listed is gone, or its disk does not answer.
    """
    cv2.setNumThreads(1)  # as many processes as are wanted, each of one thread
    record, view = job.record, job.view
    start = time.perf_counter()
    try:
        if isinstance(record, VideoRecord):
            sample = Sample(frames=read_clip(record, view), caption=record.caption)
        else:
            sample = record.make(view)
            _check_made(record.name, sample, view)
        if sample.true is not None:
            _check_finite(sample.true)
    except ClipError as error:
        return error
    middle = time.perf_counter()
    flow, confidence = flow_targets(
        sample.frames, spatial=job.spatial, temporal=job.temporal, estimator=job.estimator
    )
    if not (np.isfinite(flow).all() and np.isfinite(confidence).all()):
        return ClipError("not finite: its optical flow")
    seconds = middle - start, time.perf_counter() - middle
    return Prepared(sample=sample, flow=flow, confidence=confidence, seconds=seconds)


def prepared(jobs: Sequence[Job], processes: int) -> Iterator[Prepared | ClipError]:
    """All clips in order, worked on ahead in `processes` processes; in this one where it is 0."""
    if not processes:
        yield from map(prepare, jobs)
        return
    todo = iter(jobs)
    broken = True
    while broken:
        broken = False
        pool = workers(processes)
        waiting: deque[Job] = deque()
        futures: deque[Future[Prepared | ClipError]] = deque()
        try:
            for job in todo:
                waiting.append(job)
                futures.append(pool.submit(prepare, job))
                if len(waiting) > AHEAD * processes:
                    yield futures.popleft().result()
                    waiting.popleft()
            while waiting:
                yield futures.popleft().result()
                waiting.popleft()
        except BrokenProcessPool:
            broken = True
        finally:
            pool.shutdown(cancel_futures=True)
        for job in waiting:  # none unless it broke
            yield _alone(job)


def _alone(job: Job) -> Prepared | ClipError:
    """A clip in a process of its own, which it may end."""
    with workers(1) as pool:
        try:
            return pool.submit(prepare, job).result()
        except BrokenProcessPool:
            return ClipError("fatal: its reading ended the process")


def _check_made(name: str, sample: Sample, view: View) -> None:
    wanted = (view.num_frames, view.height, view.width, 3)
    if sample.frames.shape != wanted:
        raise InputError(
            f"the clip {name} was made as {list(sample.frames.shape)}; the view asks for "
            f"{list(wanted)}"
        )


def _check_finite(true: TrueTargets) -> None:
    for slot, field in true.fields.items():
        if not np.isfinite(field).all():
            raise ClipError(f"not finite: its true field {slot}")
