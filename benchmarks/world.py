"""What the simulated world costs, and that it gives the same clips twice.

    python benchmarks/world.py time [--size 128] [--clips 20]
    python benchmarks/world.py memory [--size 32] [--clips 10000]
    python benchmarks/world.py same [--size 32] [--clips 1000]
    python benchmarks/world.py open [--size 64] [--clips 10]

`time` prints CPU milliseconds a clip for each scene (one thread, kernels compiled before), `memory`
the process's peak memory as clips of all scenes, half of them violated, go by, `same` makes such
clips in two separate runs of two processes and compares their frames' hashes, and `open` prints
what captions leave open: the share of the variance of colour (over pixels, frames and seeds) that
is left between clips of the same words. Run `time` on an idle machine.
"""

import argparse
import hashlib
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from pila.lab.world import SCENES, Canvas, simulate
from pila.lab.world.corpus import CorpusConfig, make
from pila.workers import workers


def time_scenes(size: int, clips: int) -> None:
    """Print the mean CPU time of true clips and of all violations, by scene."""
    canvas, totals = Canvas(size=size), []
    for name, scene in SCENES.items():
        kinds = (None, *scene.violations)
        for kind in kinds:
            simulate(name, 0, kind, canvas=canvas)
        start = time.process_time()
        for seed in range(clips):
            simulate(name, seed, kinds[seed % len(kinds)], canvas=canvas)
        totals.append((time.process_time() - start) / clips)
        print(f"{name:18s} {1e3 * totals[-1]:6.0f} ms")
    print(f"{'mean':18s} {1e3 * sum(totals) / len(totals):6.0f} ms at {size} px")


def watch_memory(size: int, clips: int) -> None:
    """Print the peak of resident memory after every tenth of the clips."""
    world = CorpusConfig(clips=clips, size=size)
    for i in tqdm(range(clips), unit="clip", disable=None):
        make(world.item(i), world.canvas)
        if (i + 1) % (clips // 10) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{i + 1:6d} clips: peak {peak:.0f} MiB", flush=True)


def compare_runs(size: int, clips: int) -> None:
    """Print one hash of all clips for each of two runs; they must be the same."""
    world = CorpusConfig(clips=clips, size=size)
    found = set()
    for run in ("first", "second"):
        total = hashlib.sha256()
        with workers(2) as pool:
            for one in pool.map(partial(_hash, world), range(clips), chunksize=8):
                total.update(one)
        found.add(total.hexdigest())
        print(f"{run} run: {clips} clips, sha256 {total.hexdigest()}", flush=True)
    if len(found) > 1:
        raise SystemExit("the runs differ")


def show_what_is_open(size: int, clips: int) -> None:
    """Print the share of variance that a scene's first words leave open, by scene."""
    canvas, shares = Canvas(size=size), []
    for name, scene in SCENES.items():
        module = sys.modules[type(scene).__module__]
        with patch.object(module, "choose", _first, create=True):
            drawn = [simulate(name, seed, canvas=canvas).frames[::8] for seed in range(clips)]
        colour = np.ptp(np.stack(drawn).astype(float), axis=-1)
        left = colour.var(0).mean()
        shares.append(left / (left + colour.mean(0).var()))
        print(f"{name:18s} {shares[-1]:.2f}")
    print(f"{'mean':18s} {np.mean(shares):.2f}")


def _first(draw: np.random.Generator, options: Sequence[str]) -> str:
    """The first option; the generator goes on as in `captions.choose`."""
    draw.integers(len(options))
    return options[0]


def _hash(world: CorpusConfig, index: int) -> bytes:
    clip = make(world.item(index), world.canvas)
    return hashlib.sha256(clip.frames.tobytes() + clip.caption.encode()).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("time", "memory", "same", "open"))
    parser.add_argument("--size", type=int)
    parser.add_argument("--clips", type=int)
    given = parser.parse_args()
    run, size, clips = {
        "time": (time_scenes, 128, 20),
        "memory": (watch_memory, 32, 10_000),
        "same": (compare_runs, 32, 1000),
        "open": (show_what_is_open, 64, 10),
    }[given.what]
    run(given.size or size, given.clips or clips)
