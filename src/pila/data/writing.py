"""Makes a latent cache: many processes, whole files or none, the same call again goes on."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pila.data import shard_files as files
from pila.data.encoders import Encoders, ModelFacts
from pila.data.flow_targets import DisFlow, FlowEstimator, estimator_name
from pila.data.preparing import Job, Prepared, prepared
from pila.data.records import ClipError, Record, Source, View
from pila.data.shard_files import Excluded, Header, Row
from pila.errors import InputError
from pila.files import LOCK, atomic_write, sole_writer
from pila.progress import only_own_progress, progress_bar

SHARD_CLIPS = 64
PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a call of `write_shards` did, and what the whole cache then holds.

    Attributes:
        clips: in the cache.
        excluded: reasons, without their particulars, and how many clips each left out, be it of
            the source or in the making.
        bytes: of the shards on disk.
        made: clips that this process encoded in this call.
        seconds: that it took for them.
    """

    clips: int
    excluded: dict[str, int]
    bytes: int
    made: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a cache will cost, from its first clips.

    Attributes:
        records: clips of the data set.
        measured: clips that were measured.
        excluded: clips that could not be used among those tried.
        bytes_per_clip: on disk.
        seconds: a clip's reading or making, flow, encoding of the video, and of the caption.
        bytes: of all clips.
        hours: of all clips, with these processes.
    """

    records: int
    measured: int
    excluded: int
    bytes_per_clip: float
    seconds: dict[str, float]
    bytes: float
    hours: float


def write_shards(
    source: Source,
    out: Path,
    *,
    model: Path,
    view: View,
    shard_clips: int = SHARD_CLIPS,
    processes: int = 1,
    device: str = "auto",
    estimator: FlowEstimator | None = None,
    progress: bool = True,
) -> Written:
    """Fill a folder with a data set's latents, embeddings and targets; again, it goes on.

    Under torchrun or accelerate, process r of n makes every n-th shard; torch.distributed's gloo
    is used for waiting only. Each process encodes on its device, while `processes` more read
    clips and estimate flow. A finished shard is never made again; one that was under way when
    its process ended is.

    Args:
        source: the data set.
        out: the cache's folder.
        model: folder of the Wan repository whose VAE and text encoder are used.
        view: size, number and rate of frames.
        shard_clips: records in a shard.
        processes: that read ahead; with 0 all is done in this one.
        device: "cpu", "cuda", "cuda:1", ... or "auto" for the process's own accelerator.
        estimator: the optical flow; `DisFlow()` by default.
        progress: a bar on a terminal, of process 0's share.

    Raises:
        InputError: the folder holds another cache or cannot be written (a full disk), the view
            does not suit the model, processes see different data, or no clip at all can be used.
    """
    if not 1 <= shard_clips <= 1000:
        raise InputError(f"shard_clips is {shard_clips}; use 1 to 1000")
    if processes < 0:
        raise InputError(f"processes is {processes}; use 0 or more")
    flow = estimator or DisFlow()
    facts = ModelFacts.of(model)
    facts.latent_shape(view)  # refuses a view that the model does not take
    place = _device(device)
    records = _checked(source.records())
    start = time.perf_counter()
    with _launched() as launch, sole_writer(out) if launch.rank == 0 else nullcontext():
        if launch.rank == 0:
            counts = {"records": len(records), "shard_clips": shard_clips}
            _begin(out, _header(source, facts, view, flow, **counts))
        launch.meet()
        header = files.read_header(out)
        if (header.source, header.records) != (source.identity, len(records)):
            raise InputError(
                f"process {launch.rank} sees {len(records)} clips ({source.identity}), and the "
                f"cache is of {header.records} ({header.source}); give every machine the same data"
            )
        missing = [
            shard
            for shard in range(launch.rank, header.shards, launch.count)
            if not files.is_finished(out, shard)
        ]
        need_empty = launch.rank == 0 and not (out / "empty.safetensors").exists()
        made = 0
        if missing or need_empty:
            only_own_progress()
            encoders = Encoders(facts, place)
            if need_empty:
                _write_empty(out, encoders)
            jobs = {
                shard: [
                    Job(
                        record=record,
                        view=view,
                        spatial=facts.spatial,
                        temporal=facts.temporal,
                        estimator=flow,
                    )
                    for record in records[shard * shard_clips : (shard + 1) * shard_clips]
                ]
                for shard in missing
            }
            made = _make(out, jobs, encoders, processes, progress and launch.rank == 0)
        seconds = time.perf_counter() - start
        launch.meet()
        if launch.rank == 0:
            _finish(out, header, source)
        launch.meet()
    return _written(out, header, source, made, seconds)


def _header(
    source: Source, facts: ModelFacts, view: View, flow: FlowEstimator, **counts: int
) -> Header:
    hashes = facts.hashes()
    return Header(
        source=source.identity,
        vae=hashes["vae"],
        text_encoder=hashes["text_encoder"],
        flow=estimator_name(flow),
        height=view.height,
        width=view.width,
        num_frames=view.num_frames,
        fps=float(view.fps),
        latent_shape=facts.latent_shape(view),
        text_width=facts.text_width,
        max_tokens=facts.max_tokens,
        **counts,
    )


def estimate(
    source: Source,
    *,
    model: Path,
    view: View,
    processes: int = 1,
    device: str = "auto",
    estimator: FlowEstimator | None = None,
    clips: int = 4,
    seconds: float = 60.0,
) -> Estimate:
    """Measure the first clips, one after the other in this process, and write nothing.

    Under torchrun the time is that of all its processes together.

    Args:
        source: the data set.
        model: folder of the Wan repository.
        view: size, number and rate of frames.
        processes: as the cache will be made with.
        device: likewise.
        estimator: likewise.
        clips: measured at most, after one that warms up, and at least 1.
        seconds: begin no further clip after these.

    Raises:
        InputError: as `write_shards` has it.
    """
    facts, flow = ModelFacts.of(model), estimator or DisFlow()
    facts.latent_shape(view)
    records = _checked(source.records())
    only_own_progress()
    encoders = Encoders(facts, _device(device))
    times, sizes, excluded = [], [], 0
    begin = time.perf_counter()
    for record in records:
        if len(times) > clips or (len(times) > 1 and time.perf_counter() - begin > seconds):
            break
        job = Job(
            record=record,
            view=view,
            spatial=facts.spatial,
            temporal=facts.temporal,
            estimator=flow,
        )
        (ready,) = prepared([job], 0)
        if isinstance(ready, Prepared):
            try:
                tensors, spent = _encode(ready, encoders)
            except ClipError:
                excluded += 1
                continue
            times.append((*ready.seconds, *spent))
            sizes.append(sum(a.nbytes for a in tensors.values()))
        else:
            excluded += 1
    if not times:
        raise InputError(f"none of the {excluded} clips can be used; see why by making the cache")
    # The first clip compiles and warms up; it counts only where there is no other.
    read, flowed, encoded, said = np.mean(times[1:] or times, axis=0).tolist()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    ahead, here = read + flowed, encoded + said
    each = max(here, ahead / processes) if processes else here + ahead
    size = float(np.mean(sizes))
    return Estimate(
        records=len(records),
        measured=len(times),
        excluded=excluded,
        bytes_per_clip=size,
        seconds={"read": read, "flow": flowed, "video": encoded, "caption": said},
        bytes=size * len(records),
        hours=each * len(records) / ranks / 3600,
    )


def _make(
    out: Path, jobs: dict[int, list[Job]], encoders: Encoders, processes: int, progress: bool
) -> int:
    """Make shards, one after the other; returns how many clips they have."""
    made = 0
    order = [job for mine in jobs.values() for job in mine]
    clips = prepared(order, processes)
    with progress_bar(total=len(order), unit="clip", shown=progress) as bar:
        for shard, mine in jobs.items():
            tensors: list[dict[str, np.ndarray]] = []
            rows: list[Row] = []
            excluded: list[Excluded] = []
            for job in mine:
                ready = next(clips)
                bar.update()
                try:
                    if isinstance(ready, ClipError):
                        raise ready
                    packed, _ = _encode(ready, encoders)
                except ClipError as error:
                    excluded.append(Excluded(job.record.name, str(error)))
                    continue
                rows.append(_row(job.record, ready, packed, shard, len(rows)))
                tensors.append(packed)
            files.write_shard(out, shard, tensors, rows, excluded)
            made += len(rows)
    return made


def _encode(
    ready: Prepared, encoders: Encoders
) -> tuple[dict[str, np.ndarray], tuple[float, float]]:
    """A clip's tensors as they are stored, and seconds of its video and its caption."""
    start = time.perf_counter()
    latents = encoders.latents(ready.sample.frames).numpy()
    middle = time.perf_counter()
    text = encoders.text(ready.sample.caption).numpy()
    spent = middle - start, time.perf_counter() - middle
    tensors = files.pack(
        latents=latents,
        text=text,
        flow=ready.flow,
        confidence=ready.confidence,
        true=ready.sample.true,
    )
    return tensors, spent


def _row(
    record: Record, ready: Prepared, tensors: dict[str, np.ndarray], shard: int, row: int
) -> Row:
    sample = ready.sample
    return Row(
        name=record.name,
        shard=shard,
        row=row,
        caption=sample.caption,
        categories=tuple(map(str, record.categories)),
        violation=sample.violation,
        num_frames=len(sample.frames),
        latent_shape=tensors["latents"].shape,
        tokens=len(tensors["text"]),
        motion=round(float(np.hypot(*ready.flow).mean()), 5),
        slots=tuple(map(str, sample.true.fields)) if sample.true else (),
        sha256=files.digest(tensors),
    )


def _checked(records: Sequence[Record]) -> Sequence[Record]:
    if not records:
        raise InputError("the data set has no usable clip; see what its source leaves out, and why")
    return records


def _begin(out: Path, header: Header) -> None:
    """Check the folder, or begin it."""
    if (out / "cache.json").is_file():
        files.check_same(out, header)
    elif out.is_dir() and any(p.name != LOCK for p in out.iterdir()):
        raise InputError(f"{out} is not empty and holds no cache; {files.FRESH}")
    else:
        files.write_header(out, header)


def _write_empty(out: Path, encoders: Encoders) -> None:
    import safetensors.numpy

    text = np.ascontiguousarray(encoders.text("").numpy(), np.float16)
    with atomic_write(out / "empty.safetensors") as part:
        part.write_bytes(safetensors.numpy.save({"text": text}))


def _finish(out: Path, header: Header, source: Source) -> None:
    """Write index and list of excluded clips from the shards' sidecars."""
    rows, excluded = _gather(out, header, source)
    if not rows:
        first = excluded[0]
        raise InputError(
            f"none of the {header.records} clips can be used; the first, {first.name}: "
            f"{first.reason}"
        )
    files.write_index(out, rows, excluded)


def _gather(out: Path, header: Header, source: Source) -> tuple[list[Row], list[Excluded]]:
    rows: list[Row] = []
    excluded = [Excluded(name, reason) for name, reason in source.excluded.items()]
    for shard in range(header.shards):
        mine, left_out = files.read_sidecar(out, shard)
        rows += mine
        excluded += left_out
    return rows, excluded


def _written(out: Path, header: Header, source: Source, made: int, seconds: float) -> Written:
    rows, excluded = _gather(out, header, source)
    reasons = Counter(e.reason.partition(":")[0] for e in excluded)
    return Written(
        clips=len(rows),
        excluded=dict(reasons.most_common()),
        bytes=sum(files.shard_path(out, s).stat().st_size for s in range(header.shards)),
        made=made,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class _Launch:
    """This process among those that a launcher started."""

    rank: int
    count: int
    group: Any

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.group is not None:
            torch.distributed.barrier(group=self.group)


@contextmanager
def _launched() -> Iterator[_Launch]:
    """The launcher's processes, and a group in which they may wait for each other for days."""
    from torch import distributed

    began = False
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=PATIENCE)
        began = True
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        yield _Launch(0, 1, None)
        return
    group: Any = distributed.group.WORLD if began else distributed.new_group(None, PATIENCE, "gloo")
    try:
        yield _Launch(distributed.get_rank(), distributed.get_world_size(), group)
    finally:
        if began:
            distributed.destroy_process_group()
        else:
            distributed.destroy_process_group(group)


def _device(name: str) -> torch.device:
    """The device of this process: of several on a machine, each has an accelerator of its own."""
    from pila.pipelines.locate import find_device

    device = find_device(name)
    if device.type != "cpu" and device.index is None and "LOCAL_RANK" in os.environ:
        count = max(1, torch.accelerator.device_count())
        return torch.device(device.type, int(os.environ["LOCAL_RANK"]) % count)
    return device
