"""Times the embedded VAE on one clip, with and without the taps that look at the past.

    python benchmarks/vae_cpu.py [--size 96] [--repeats 5]

The embedded VAE's block convolutions have past taps of zero; `pila.pipelines.vae` skips them.
Prints the best of some repeats in milliseconds, and how far both results lie apart. Run it on an
idle machine.
"""

import argparse
import time
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pila.pipelines.locate import EMBEDDED_MODEL
from pila.pipelines.vae import load_vae


@torch.no_grad()
def main(size: int, repeats: int) -> None:
    """Print times of both ways."""
    folder = EMBEDDED_MODEL / "vae"
    x = torch.rand(1, 3, 33, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    clips = []
    plain: Any = AutoencoderKLWan.from_pretrained(folder).eval()
    for name, vae in (("all taps", plain), ("skipping", load_vae(folder))):
        times: dict[str, list[float]] = {"encode": [], "decode": []}
        for _ in range(repeats):
            start = time.perf_counter()
            z = vae.encode(x).latent_dist.mode()
            times["encode"].append(time.perf_counter() - start)
            start = time.perf_counter()
            clip = vae.decode(z).sample
            times["decode"].append(time.perf_counter() - start)
        clips.append(clip)
        print(name, *(f"{k} {1e3 * min(v):.0f} ms" for k, v in times.items()))
    print(f"largest difference {(clips[0] - clips[1]).abs().max():.1e} of a range of 2")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    main(given.size, given.repeats)
