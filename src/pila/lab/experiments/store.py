"""Results kept on disk by everything that decides them, so that a stopped benchmark goes on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pila.files import atomic_write, cache_root, clear_left_over
from pila.json_files import read_json
from pila.progress import only_own_progress, progress_bar
from pila.workers import workers

Job = TypeVar("Job")
Rows = list[dict[str, Any]]


def rows_of(
    jobs: Sequence[Job],
    make: Callable[[Job], Rows],
    key: Callable[[Job], Any],
    *,
    name: str,
    processes: int,
    fresh: bool = False,
) -> list[Rows]:
    """The rows of each job, in order; jobs whose rows are not kept yet are made first.

    Args:
        jobs: what is made; each is pickled for its process.
        make: a module's own function from a job to its rows.
        key: everything that decides a job's rows, as JSON takes it.
        name: the benchmark's folder below the cache.
        processes: jobs made at once, one thread each.
        fresh: in processes that an accelerator can be used in, see `pila.workers`.
    """
    folder = cache_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    clear_left_over(folder)
    paths = [folder / f"{_digest(key(job))}.json" for job in jobs]
    tasks = [(make, job, path) for job, path in zip(jobs, paths, strict=True)]
    missing = [task for task in tasks if not task[-1].exists()]
    if missing:
        with workers(min(processes, len(missing)), with_torch=True, fresh=fresh) as pool:
            for _ in progress_bar(pool.map(_keep, missing), total=len(missing), unit="job"):
                pass
    return [read_json(path, remedy="delete it: it is made again") for path in paths]


def _keep(task: tuple[Callable[[Any], Rows], Any, Path]) -> None:
    make, job, path = task
    only_own_progress()
    rows = make(job)
    with atomic_write(path) as part:
        part.write_text(json.dumps(rows))


def _digest(key: Any) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
