"""Cached VAE latents of the simulated corpus: shards that are made once, on demand.

A shard holds `SHARD` clips: latents, normalised as the transformer sees them, and captions.
The folder's name carries the hashes of the VAE's weights and of the scenes' code, so a retrained
VAE or a mended scene starts a new cache.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pila.data.corpus import CorpusConfig
from pila.data.latents import normalise
from pila.errors import InputError
from pila.files import atomic_write, cache_root, clear_left_over
from pila.lab.world.corpus import (
    canvas_of,
    category_flags,
    check_corpus,
    item_of,
    make,
    scenes_of,
    sources_of,
)
from pila.progress import progress_bar
from pila.provenance import weights_hash
from pila.workers import workers

SHARD = 16


class LatentCache:
    """Latents [16, 9, size/8, size/8] and captions of a corpus, by index.

    Args:
        vae_folder: the VAE that encodes (a diffusers folder).
        world: which corpus.

    Raises:
        InputError: fewer clips than are made at once.
    """

    def __init__(self, vae_folder: Path, world: CorpusConfig) -> None:
        check_corpus(world)
        if world.clips < SHARD:
            raise InputError(
                f"corpus.clips is {world.clips}; clips are encoded {SHARD} at a time, take at "
                f"least {SHARD}"
            )
        self.vae_folder, self.world = vae_folder, world
        drawn = hashlib.sha256(f"{scenes_of(world)} {world.size}".encode()).hexdigest()[:8]
        key = f"{weights_hash(vae_folder)}-{world.violated:g}-{world.first_seed}-{drawn}"
        key = f"{key}-{sources_of(scenes_of(world))}"
        self.folder = cache_root() / "latents" / key
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_left_over(self.folder)
        self._shards: dict[int, tuple[Tensor, list[str], Tensor]] = {}

    def __len__(self) -> int:
        return self.world.clips // SHARD * SHARD

    def flags(self, index: int) -> np.ndarray:
        """Which categories are at work in a clip, bool [8] in `Category` order."""
        return category_flags(item_of(self.world, index))

    def plausible(self, index: int) -> bool:
        """Whether a clip breaks no law."""
        return not self.world.violated or item_of(self.world, index).violation is None

    def batch(self, indices: list[int]) -> tuple[Tensor, list[str], Tensor]:
        """Latents [b, 16, t, h, w] fp32, captions, and categories bool [b, 8]."""
        latents, captions, flags = [], [], []
        for index in indices:
            shard = self._shard(index // SHARD)
            latents.append(shard[0][index % SHARD].float())
            captions.append(shard[1][index % SHARD])
            flags.append(shard[2][index % SHARD])
        return torch.stack(latents), captions, torch.stack(flags)

    def prepare(self, processes: int | None = None) -> None:
        """Encode every missing shard, in as many processes as there are processors."""
        missing = [s for s in range(len(self) // SHARD) if not self._path(s).exists()]
        if not missing:
            return
        # Anew, not as copies: the process that trains may hold an accelerator by now.
        count = processes or os.cpu_count() or 1
        with workers(count, with_torch=True, fresh=torch.cuda.is_available()) as pool:
            jobs = ((self.vae_folder, self.world, s, self._path(s)) for s in missing)
            for _ in progress_bar(pool.map(_encode, jobs), total=len(missing), unit="shard"):
                pass

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.safetensors"

    def _shard(self, shard: int) -> tuple[Tensor, list[str], Tensor]:
        if shard not in self._shards:
            path = self._path(shard)
            if not path.exists():
                _encode((self.vae_folder, self.world, shard, path))
            with safe_open(path, framework="pt") as file:
                captions = json.loads(file.metadata()["captions"])
                latents = file.get_tensor("latents")
            flags = np.stack([self.flags(shard * SHARD + i) for i in range(SHARD)])
            self._shards[shard] = latents, captions, torch.from_numpy(flags)
        return self._shards[shard]


_vaes: dict[Path, Any] = {}
"""The VAE of this process; loading it once a shard would cost more than some encodings."""


@torch.no_grad()
def _encode(job: tuple[Path, CorpusConfig, int, Path]) -> None:
    from pila.pipelines.vae import load_vae

    folder, world, shard, path = job
    if folder not in _vaes:
        _vaes[folder] = load_vae(folder)
    vae = _vaes[folder]
    indices = range(shard * SHARD, (shard + 1) * SHARD)
    clips = [make(item_of(world, i), canvas_of(world)) for i in indices]
    x = torch.from_numpy(np.stack([clip.frames for clip in clips])).permute(0, 4, 1, 2, 3)
    z = vae.encode(x.float() / 127.5 - 1).latent_dist.mode()
    z = normalise(z, vae.config.latents_mean, vae.config.latents_std)
    captions = json.dumps([clip.caption for clip in clips])
    with atomic_write(path) as part:
        part.write_bytes(save({"latents": z.half().contiguous()}, metadata={"captions": captions}))
