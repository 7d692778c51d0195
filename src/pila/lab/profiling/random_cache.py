"""A latent cache of random numbers, for benchmarks that need clips of a size alone."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from pila.data import shard_files as files
from pila.data.records import View
from pila.physics.layout import Category

SHARD = 64


def write_random_cache(
    folder: Path,
    clips: int,
    *,
    view: View,
    channels: int,
    text_width: int,
    tokens: int,
    padded: int = 512,
) -> int:
    """Fill a folder with clips of that view, latents 8 x 8 x 4 times smaller; returns bytes."""
    rng = np.random.default_rng(0)
    grid = (1 + (view.num_frames - 1) // 4, view.height // 8, view.width // 8)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    def clip() -> dict[str, np.ndarray]:
        return files.pack(
            latents=draw(channels, *grid),
            text=draw(tokens, text_width),
            flow=draw(2, *grid),
            confidence=np.ones((1, *grid), np.float32),
            true=None,
        )

    files.write_header(
        folder,
        files.Header(
            source="random",
            records=clips,
            shard_clips=SHARD,
            vae="",
            text_encoder="",
            flow="",
            height=view.height,
            width=view.width,
            num_frames=view.num_frames,
            fps=view.fps,
            latent_shape=(channels, *grid),
            text_width=text_width,
            max_tokens=padded,
        ),
    )
    rows, size = [], 0
    for shard in range(-(-clips // SHARD)):
        count = min(SHARD, clips - shard * SHARD)
        mine = [
            files.Row(
                name=f"{shard}-{i}",
                shard=shard,
                row=i,
                caption="",
                categories=(list(Category)[i % len(Category)].value,),
                violation=None,
                num_frames=view.num_frames,
                latent_shape=(channels, *grid),
                tokens=tokens,
                motion=0.0,
                sha256="",
            )
            for i in range(count)
        ]
        size += files.write_shard(folder, shard, [clip() for _ in range(count)], mine, [])
        rows += mine
    files.write_index(folder, rows, [])
    empty = safetensors.numpy.save({"text": draw(1, text_width).astype(np.float16)})
    (folder / "empty.safetensors").write_bytes(empty)
    return size
