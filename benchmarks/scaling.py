"""What the adapter's cost follows: latent voxels, experts, batch, and tiles.

    python benchmarks/scaling.py [--repeats 3] [--out FOLDER] [--picture docs/scaling.png]
    python benchmarks/scaling.py --rows FILE    # draw what was measured before

The adapter has the size that Wan takes (16 channels, width 128, text of 4,096), in float32 on one
thread. Each point runs in a process of its own: its time is the median of the processor time of
the repeats, which other processes lengthen little, its memory what the process held at its peak
above what it held before. Straight lines through the origin are expected; the table gives the
ratio to the first point over the ratio of the sizes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIRST = {"frames": 21, "height": 30, "width": 52, "batch": 1, "top_k": 4, "tile": 0}
"""A quarter of 81 frames of 480 x 832."""


def points() -> list[dict[str, Any]]:
    made = [
        {"kind": "voxels", "x": x} | FIRST | {"height": h, "width": w}
        for x, h, w in ((1, 30, 52), (2, 60, 52), (4, 60, 104), (8, 120, 104))
    ]
    made += [{"kind": "experts", "x": k} | FIRST | {"top_k": k} for k in range(9)]
    made += [{"kind": "batch", "x": b} | FIRST | {"batch": b} for b in (1, 2, 4)]
    whole = FIRST | {"height": 60, "width": 104}
    made += [{"kind": "tiles", "x": t} | whole | {"tile": t} for t in (0, 52, 32, 16)]
    return made


def measure(point: dict[str, Any], repeats: int) -> dict[str, Any]:
    """In this process: seconds of one thread, and MiB above what was held before."""
    import torch

    from pila.adapter import PilaAdapter

    torch.set_num_threads(1)
    torch.manual_seed(0)
    adapter = PilaAdapter(latent_channels=16, text_dim=4096).eval()
    if point["tile"]:
        adapter.enable_tiling(height=point["tile"], width=point["tile"])
    size = [point[name] for name in ("frames", "height", "width")]
    x, v = torch.randn(2, point["batch"], 16, *size)
    sigma, text = torch.full((point["batch"],), 0.5), torch.randn(point["batch"], 4096)
    before = peak_mib()
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.process_time()
            adapter(x, v, sigma, text, top_k=point["top_k"])
            times.append(time.process_time() - start)
    return point | {"seconds": statistics.median(times), "mib": peak_mib() - before}


def peak_mib() -> float:
    """The most this process has ever held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | x | seconds | over the straight line | MiB |", "|---" * 5 + "|"]
    for row in rows:
        first = next(r for r in rows if r["kind"] == row["kind"])
        straight = ""
        if row["kind"] in ("voxels", "batch"):
            straight = f"{row['seconds'] / first['seconds'] / (row['x'] / first['x']):.2f}"
        lines.append(
            f"| {row['kind']} | {row['x']} | {row['seconds']:.2f} | {straight} | {row['mib']:.0f} |"
        )
    return "\n".join(lines)


TIME, MEMORY = "#005b96", "#b34700"
"""Told apart with any colour vision; memory's lines are dashed, too."""


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    titles = {
        "voxels": ("latent voxels", "times 32,760"),
        "experts": ("experts", "K"),
        "batch": ("batch", "clips"),
        "tiles": ("tiles of 131,040 voxels", "cells to each side"),
    }
    # Two by two and large letters: it is read on telephones, too.
    figure = Figure(figsize=(6, 5), layout="constrained")
    panels = figure.subplots(2, 2).flat
    for axis, (kind, (title, label)) in zip(panels, titles.items(), strict=True):
        mine = [row for row in rows if row["kind"] == kind]
        xs = [row["x"] for row in mine]
        if kind == "tiles":  # from the whole clip to ever smaller tiles
            xs = [str(x or "whole") for x in xs]
        else:
            axis.xaxis.get_major_locator().set_params(integer=True)
        axis.plot(xs, [row["seconds"] for row in mine], "o-", color=TIME)
        axis.set_title(title)
        axis.set_xlabel(label)
        axis.set_ylabel("seconds, one thread", color=TIME)
        axis.set_ylim(bottom=0)
        memory = axis.twinx()
        memory.plot(xs, [row["mib"] for row in mine], "s--", color=MEMORY, markersize=3)
        memory.set_ylabel("MiB", color=MEMORY)
        memory.set_ylim(bottom=0)
    figure.savefig(path, dpi=170)


def described() -> dict[str, Any]:
    import torch

    from pila.lab.profiling.profile import describe

    torch.set_num_threads(1)
    return describe(torch.device("cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--picture", type=Path, default=Path("docs/scaling.png"))
    parser.add_argument("--rows", type=Path, help="measure nothing, and draw this file's rows")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        print(json.dumps(measure(json.loads(given.point), given.repeats)))
        return
    if given.rows:
        draw(json.loads(given.rows.read_text())["rows"], given.picture)
        return
    rows = []
    for point in points():
        command = [sys.executable, __file__, "--repeats", str(given.repeats)]
        command += ["--point", json.dumps(point)]
        # glibc otherwise keeps what is freed in one arena a thread, and peaks tell nothing.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        rows.append(json.loads(done.stdout))
        print(f"{point['kind']} {point['x']}: {rows[-1]['seconds']:.2f} s", file=sys.stderr)
    print(table(rows))
    path = given.out / f"scaling-{datetime.now(UTC).date()}.json"
    path.write_text(json.dumps({**described(), "rows": rows}, indent=1) + "\n")
    draw(rows, given.picture)


if __name__ == "__main__":
    main()
