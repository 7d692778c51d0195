"""Hours of a whole training on WISA-80K by number of GPUs, and what they wait for.

    python benchmarks/plan.py [--gpus 1 8 32 128] [--teraflops 400] [--cores-per-gpu 16]

Arithmetic is counted with torch's counter on tensors without data, at 81 frames of 480 x 832 (a
minute). Nothing is timed here: `--teraflops` is what one GPU sustains (`pila profile
wan2.1-1.3b --device cuda --training --caching` measures it), and reading, flow and bytes of a clip
are those of docs/latents.md, measured on a slow core.
"""

import argparse

import torch
from diffusers import AutoencoderKLWan
from torch.utils.flop_counter import FlopCounterMode

from pila.adapter import PilaAdapter
from pila.lab.profiling.models import Size, build_denoiser
from pila.recipes import RECIPES

CLIPS = 80_000
CORE_SECONDS, MEGABYTES = 10.7, 6.3
"""Of a clip: reading and flow, and its place in the cache (docs/latents.md)."""
SIZE = Size(height=480, width=832, frames=81)
META = torch.device("meta")


def teraflop(run) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e12


def counted() -> dict[str, float]:
    """TFLOP of a clip: the frozen forward, the adapter forward and backward, the VAE's encoder."""
    shape = SIZE.latents
    denoiser = build_denoiser("wan2.1-1.3b", device=META, dtype=torch.bfloat16)
    with META:
        adapter = PilaAdapter()
        vae = AutoencoderKLWan()
        x, text = torch.empty(shape, dtype=torch.bfloat16), torch.empty(1, 512, 4096).bfloat16()
        sigma, pooled = torch.empty(1), torch.empty(1, 4096)
        clip = torch.empty(1, 3, SIZE.frames, SIZE.height, SIZE.width)

        def frozen():
            with torch.no_grad():
                denoiser(x, sigma, text, return_dict=False)

        def correct():
            adapter(x.float(), x.float(), sigma, pooled).sum().backward()

        def encode():
            with torch.no_grad():
                vae.encode(clip)

        return {"frozen": teraflop(frozen), "adapter": teraflop(correct), "vae": teraflop(encode)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--teraflops", type=float, default=400.0)
    parser.add_argument("--cores-per-gpu", type=int, default=16)
    given = parser.parse_args()
    cost = counted()
    seen = sum(c.optim.steps * c.optim.batch for c in RECIPES["wan2.1-1.3b"]().values())
    print(", ".join(f"{name} {value:.1f} TFLOP" for name, value in cost.items()))
    print(f"adapter over frozen: {cost['adapter'] / cost['frozen']:.1%}; clips seen: {seen:,}\n")
    print("| GPUs | VAE, h | reading and flow, h | training, h | MB/s of the cache |")
    print("|---|---|---|---|---|")
    for gpus in given.gpus:
        rate = gpus * given.teraflops * 3600
        training = seen * (cost["frozen"] + cost["adapter"]) / rate
        flow = CLIPS * CORE_SECONDS / 3600 / (gpus * given.cores_per_gpu)
        bandwidth = seen * MEGABYTES / (3600 * training)
        vae = CLIPS * cost["vae"] / rate
        print(f"| {gpus} | {vae:.1f} | {flow:.1f} | {training:.1f} | {bandwidth:.0f} |")


if __name__ == "__main__":
    main()
