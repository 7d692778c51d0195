"""Times `pila generate`'s sampling on a machine that has other things to do, too.

    python benchmarks/busy.py [--competitors 0 1 2 4] [--clips 3] [--output FILE]

Beside 0, 1, 2 and 4 processes whose PyTorch has threads of its own and spins as it does by default,
a fresh process samples clips of the embedded model in each of these ways: as `pila generate` does
(`pila`), with PyTorch's own defaults (`default`), with threads that sleep (`passive`), and with one
thread (`one`). Prints the median of the clips' seconds, and over the best of the four. It measures
wall time: run nothing else beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CLEAN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
WAYS = {
    "pila": {},
    "default": {"GOMP_SPINCOUNT": "300000"},  # GNU's own, which keeps pila from setting another
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(os.cpu_count())},
    "one": {"OMP_NUM_THREADS": "1"},
}
COMPETITOR = """
import torch
x = torch.randn(300, 300)
print("ready", flush=True)
while True:
    x = (x @ x) / x.norm()
    torch.relu(x) + 1
"""
JOB = """
import sys, time
from contextlib import nullcontext
from pila.threads import sampling_threads
from pila.pipelines.locate import load_pipeline
pipeline = load_pipeline("embedded", "embedded")
pipeline.set_progress_bar_config(disable=True)
size = {"height": 64, "width": 64, "num_frames": 33}
chosen = sampling_threads(pipeline, **size) if sys.argv[1] == "pila" else nullcontext()
with chosen:
    for clip in range(1 + int(sys.argv[2])):
        start = time.perf_counter()
        pipeline("a small red ball is thrown high and fast to the left", num_inference_steps=8,
                 guidance_scale=2.0, max_sequence_length=32, **size)
        if clip:
            print(time.perf_counter() - start, flush=True)
"""


def seconds(way: str, competitors: int, clips: int) -> float:
    """Median seconds of a clip sampled in that way beside so many competitors."""
    clean = {k: v for k, v in os.environ.items() if k not in CLEAN}
    others = [
        subprocess.Popen([sys.executable, "-c", COMPETITOR], env=clean, stdout=subprocess.PIPE)
        for _ in range(competitors)
    ]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        command = [sys.executable, "-W", "ignore", "-c", JOB, way, str(clips)]
        done = subprocess.run(
            command, env=clean | WAYS[way], capture_output=True, text=True, check=True
        )
    finally:
        for other in others:
            other.kill()
            other.wait()
    return statistics.median(map(float, done.stdout.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sampling on a busy machine.")
    parser.add_argument("--competitors", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{os.cpu_count()} cores\n{'competitors':>12}" + "".join(f"{w:>10}" for w in WAYS))
    for competitors in options.competitors:
        took = {way: seconds(way, competitors, options.clips) for way in WAYS}
        rows.append({"competitors": competitors, "seconds": took})
        over = took["pila"] / min(took.values())
        line = "".join(f"{took[way]:>10.2f}" for way in WAYS)
        print(f"{competitors:>12}{line}   pila over the best: {over:.2f}", flush=True)
    if options.output:
        record = {"cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
        options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
