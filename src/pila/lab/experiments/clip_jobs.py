"""Jobs in which a method sees some true clips of a scene, and their rows in one list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pila.lab.experiments.pairs import FIRST_SEED
from pila.lab.experiments.sampling import Method, Protocol, method_key, protocol_key
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.world.corpus import source_of

BLOCK = 4
"""Seeds of one job; more seeds are more jobs, and those seen before are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipJob:
    """Some true clips of a scene, by their seeds, as one method sees them."""

    protocol: Protocol
    method: Method
    scene: str
    seeds: tuple[int, ...]


def blocks(clips: int) -> list[tuple[int, ...]]:
    """Seeds of that many clips, in jobs."""
    seeds = range(FIRST_SEED, FIRST_SEED + clips)
    return [tuple(seeds[i : i + BLOCK]) for i in range(0, clips, BLOCK)]


def clip_jobs(
    methods: Sequence[Method],
    protocol: Protocol,
    seeds: Sequence[tuple[int, ...]],
    *,
    adapters_only: bool = False,
) -> list[ClipJob]:
    """A job for each method, scene and block of seeds; with `adapters_only` not the frozen."""
    return [
        ClipJob(protocol=protocol, method=method, scene=scene, seeds=some)
        for method in methods
        if method.adapter is not None or not adapters_only
        for scene in protocol.scenes
        for some in seeds
    ]


def gathered(
    jobs: Sequence[ClipJob],
    see: Callable[[ClipJob], Rows],
    *,
    name: str,
    version: Sequence[Any],
    processes: int,
) -> list[dict[str, Any]]:
    """The rows of all jobs, each with its method, training seed and scene.

    Args:
        jobs: of one protocol at least.
        see: a module's own function from a job to its rows.
        name: the measure's folder below the cache.
        version: whatever else decides a row: its version, levels, ...
        processes: jobs at once.
    """
    fresh = any(not job.protocol.device.startswith("cpu") for job in jobs)
    key = partial(_key, version=tuple(version))
    made = rows_of(jobs, see, key, name=name, processes=processes, fresh=fresh)
    return [
        {
            "method": job.method.name,
            "training_seed": job.method.training_seed,
            "scene": job.scene,
            **row,
        }
        for job, rows in zip(jobs, made, strict=True)
        for row in rows
    ]


def _key(job: ClipJob, *, version: tuple[Any, ...]) -> list[Any]:
    return [
        *version,
        protocol_key(job.protocol),
        method_key(job.method),
        job.scene,
        source_of(job.scene),
        job.seeds,
    ]
