"""How much of the motion in clean latents brightness constancy tells without any weights.

    python benchmarks/motion_cues.py CACHE [--clips 240]

CACHE is a latent cache with flow targets. True clips alone are read. Printed are, over confident
moving cells, the end-point error over the flow's speed (1 is what rest gives) and R^2 against flow
after one factor for all clips, of the adapter's cues at full and at half resolution.
"""

import argparse
from pathlib import Path

import torch

from pila.adapter.motion import motion_cues
from pila.data.shards import Shards
from pila.train.observe import MOVING


def main(folder: Path, clips: int) -> None:
    """Print two lines."""
    shards = Shards(folder)
    chosen = [i for i, row in enumerate(shards.rows) if row.violation is None][:clips]
    batch = shards.batch(chosen)
    flow = batch["flow"]
    weight = (flow.norm(dim=1, keepdim=True) > MOVING) * batch["confidence"]
    cues = motion_cues(batch["latents"])
    print(f"{len(chosen)} true clips")
    for name, u in (("full", cues[:, :2]), ("half", cues[:, 2:4])):
        far = ((u - flow).norm(dim=1, keepdim=True) * weight).sum()
        speed = (flow.norm(dim=1, keepdim=True) * weight).sum()
        factor = (u * flow * weight).sum() / (u.square() * weight).sum()
        left = ((factor * u - flow).square() * weight).sum() / (flow.square() * weight).sum()
        print(f"{name} resolution: error over speed {far / speed:.3f}, R^2 {1 - left:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--clips", type=int, default=240)
    given = parser.parse_args()
    torch.set_num_threads(1)
    main(given.cache, given.clips)
