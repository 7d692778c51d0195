"""How far optical-flow targets are from the true velocity, scene by scene.

    python benchmarks/flow_targets.py CACHE

CACHE is a latent cache of the simulated world (`pila data cache world --out CACHE`), whose clips
have both. True clips alone are read. An end-point error is |flow - true u| in cells per latent
frame, over cells where the true field is defined and faster than 0.05; once over all of them, and
once weighted by the flow's own confidence, as training weights it.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch

from pila.data.shards import Shards
from pila.train.observe import MOVING

BATCH = 32


def main(folder: Path) -> None:
    """Print a Markdown table, the scenes with the smallest error first."""
    shards = Shards(folder)
    rows = [
        i for i, row in enumerate(shards.rows) if row.violation is None and "velocity" in row.slots
    ]
    sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(6, dtype=torch.float64))
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        batch = shards.batch(chosen, true=True)
        true, flow = batch["true.velocity"], batch["flow"]
        speed = true.norm(dim=1, keepdim=True)
        counted = ((speed > MOVING) & (batch["mask.velocity"] > 0)).double()
        trusted = counted * batch["confidence"]
        error = (flow - true).norm(dim=1, keepdim=True).double()
        each = [counted, counted * error, counted * speed, trusted, trusted * error]
        totals = torch.stack([x.sum((1, 2, 3, 4)) for x in each], dim=1)
        for i, total in zip(chosen, totals, strict=True):
            scene = shards.rows[i].name.split("-")[1]
            sums[scene] += torch.cat([total, torch.ones(1, dtype=torch.float64)])
    lines = {}
    for scene, (count, error, speed, trust, trusted, clips) in sums.items():
        if count > 0:
            weighted = trusted / trust if trust > 0 else torch.tensor(float("nan"))
            lines[scene] = (error / speed, error / count, weighted, speed / count, clips)
    print("| scene | clips | true speed | error | error over speed | error, by confidence |")
    print("|---|---|---|---|---|---|")
    for scene, (share, error, weighted, speed, clips) in sorted(
        lines.items(), key=lambda item: float(item[1][0])
    ):
        print(
            f"| {scene} | {int(clips)} | {speed:.2f} | {error:.2f} | {share:.2f} | {weighted:.2f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cache", type=Path)
    main(parser.parse_args().cache)
