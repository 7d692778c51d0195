"""What a latent cache costs, in time and on disk, and what that comes to for 80,000 clips.

    python -m benchmarks.latent_cache write [--clips 12]
    python -m benchmarks.latent_cache read [--clips 256] [--reads 500]
    python -m benchmarks.latent_cache wan [--height 192 --width 192 --num-frames 9] [--device cpu]

`write` makes clips of the simulated world at the embedded model's size, one after the other in
one process, and prints seconds by stage. `read` writes a cache of random tensors of Wan 2.1's
size at 81 frames of 832 x 480 (4.9 MB a clip) and reads it in random order, from wherever the
system then has it. `wan` decodes a video and estimates its flow at 832 x 480, encodes one clip
with the real Wan 2.1 VAE's config and random weights at the size that is given, counts its
arithmetic, and states what 80,000 clips of the full size come to. On a GPU give the full size:
--height 480 --width 832 --num-frames 81 --device cuda.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pila.data.flow_targets import flow_targets
from pila.data.reading import read_clip
from pila.data.records import VideoRecord, View
from pila.data.shards import Shards, estimate
from pila.lab.profiling.random_cache import write_random_cache
from pila.lab.world import simulate
from pila.lab.world.clip_source import WorldSource
from pila.lab.world.corpus import CorpusConfig
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.video import write_video

CLIPS = 80_000
FULL = View(height=480, width=832, num_frames=81, fps=16)
CHANNELS, TEXT_WIDTH, TOKENS = 16, 4096, 160
"""Wan 2.1's latents and embeddings; tokens of a caption are a guess for WISA-80K's long ones."""
THROUGHPUT = {"A100, bf16 at half its peak": 150e12, "H100, bf16 at half its peak": 450e12}
"""Operations a second that a VAE might reach; to be measured on the machine itself."""


def write(clips: int) -> None:
    """Print seconds and bytes of a clip of the simulated world at the embedded model's size."""
    view = View(height=96, width=96, num_frames=33, fps=16)
    source = WorldSource(CorpusConfig(clips=max(clips + 1, 24), size=96))
    cost = estimate(source, model=EMBEDDED_MODEL, view=view, device="cpu", clips=clips, seconds=600)
    each = sum(cost.seconds.values())
    for stage, seconds in cost.seconds.items():
        print(f"{stage:8s} {1e3 * seconds:7.0f} ms")
    print(f"{'a clip':8s} {1e3 * each:7.0f} ms: {1 / each:.2f} clips a second in one process")
    print(f"{cost.bytes_per_clip:,.0f} bytes a clip, true fields among them")
    total = CLIPS * each / 3600
    print(f"{CLIPS} clips: {CLIPS * cost.bytes_per_clip / 1e9:.1f} GB, {total:.0f} process hours")


def read(clips: int, reads: int) -> None:
    """Print random reads a second of a cache of Wan 2.1's size."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = Path(place)
        start = time.perf_counter()
        size = write_random_cache(
            folder, clips, view=FULL, channels=CHANNELS, text_width=TEXT_WIDTH, tokens=TOKENS
        )
        spent = time.perf_counter() - start
        print(f"{clips} clips, {size / clips / 1e6:.2f} MB each, written in {spent:.0f} s")
        shards_read = Shards(folder)
        order = rng.integers(clips, size=reads)
        start = time.perf_counter()
        for index in order:
            shards_read.batch([int(index)])
        rate = reads / (time.perf_counter() - start)
        print(f"{rate:.0f} random reads a second, {rate * size / clips / 1e6:.0f} MB/s")
        print(f"{CLIPS} clips: {CLIPS * size / clips / 1e9:.0f} GB")


def wan(view: View, device: str) -> None:
    """Print what a clip of the full size costs, stage by stage."""
    from diffusers import AutoencoderKLWan

    clip = simulate("ball_collision", 0).frames
    wide = np.stack([cv2.resize(f, (1280, 720), interpolation=cv2.INTER_CUBIC) for f in clip])
    long = np.concatenate([wide, wide[::-1], wide])[: FULL.num_frames + 3]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "clip.mp4"
        write_video(path, long, fps=FULL.fps)
        record = VideoRecord(name="clip", caption="", categories=(), path=path)
        start = time.process_time()
        frames = read_clip(record, FULL)
        decoded = time.process_time() - start
    cv2.setNumThreads(1)
    start = time.process_time()
    flow_targets(frames)
    flowed = time.process_time() - start
    print(f"read     {decoded:6.2f} CPU s: 81 frames, 1280 x 720 to 832 x 480")
    print(f"flow     {flowed:6.2f} CPU s")

    torch.manual_seed(0)
    vae: Any = AutoencoderKLWan()
    vae = vae.eval().requires_grad_(False).to(torch.device(device))
    x = torch.zeros(1, 3, view.num_frames, view.height, view.width, device=device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad():
        if device != "cpu":
            vae.encode(x)  # warms up
            torch.accelerator.synchronize()
        start = time.perf_counter(), time.process_time()
        with counter:
            vae.encode(x)
        if device != "cpu":
            torch.accelerator.synchronize()
    spent = time.perf_counter() - start[0]
    busy = time.process_time() - start[1]
    flops = counter.get_total_flops()
    pixels = view.num_frames * view.height * view.width
    share = pixels / (FULL.num_frames * FULL.height * FULL.width)
    full = flops / share
    print(
        f"encode   {spent:6.2f} s ({busy:.2f} CPU s) on {device}: {view.num_frames} frames of "
        f"{view.width} x {view.height}, {flops / 1e12:.2f} TFLOP, float32"
    )
    print(f"         {full / 1e12:.0f} TFLOP, {spent / share:.1f} s at the full size, at this pace")
    print(f"{CLIPS} clips, on one accelerator or core:")
    print(f"  read and flow  {CLIPS * (decoded + flowed) / 3600:8.0f} core hours")
    print(f"  encode         {CLIPS * spent / share / 3600:8.0f} h on this {device}")
    for name, rate in THROUGHPUT.items():
        print(f"  encode         {CLIPS * full / rate / 3600:8.0f} h on one {name} (not measured)")
    with tempfile.TemporaryDirectory() as place:
        size = write_random_cache(
            Path(place), 1, view=FULL, channels=CHANNELS, text_width=TEXT_WIDTH, tokens=TOKENS
        )
    print(f"  on disk        {CLIPS * size / 1e9:8.0f} GB, captions of {TOKENS} tokens")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("write", "read", "wan"))
    parser.add_argument("--clips", type=int)
    parser.add_argument("--reads", type=int, default=500)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--num-frames", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.what == "write":
        write(given.clips or 12)
    elif given.what == "read":
        read(given.clips or 256, given.reads)
    else:
        size = View(height=given.height, width=given.width, num_frames=given.num_frames, fps=16)
        wan(size, given.device)
