"""The clips that adapters are trained on, from a latent cache or made of the simulated world."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pila.data.latents import LatentCache, cache_root
from pila.data.records import View
from pila.data.shards import Shards, write_shards
from pila.data.simulated import WorldSource
from pila.provenance import weights_hash
from pila.train.config import TrainConfig
from pila.train.frozen import module_hash
from pila.train.text import CaptionEncoder, vary
from pila.world.scene import FRAME_RATE, NUM_FRAMES


class Clips(Protocol):
    """Encoded clips by index, as `pila.data.shards.Shards` has them."""

    def __len__(self) -> int: ...

    @property
    def plausible(self) -> Tensor:
        """Which clips break no law, bool [n]."""
        ...

    @property
    def empty(self) -> Tensor:
        """The empty caption's embedding [n_max, d]."""
        ...

    def batch(self, indices: Sequence[int], *, true: bool = False) -> dict[str, Tensor]:
        """`latents`, `text`, `flags` and, where the source has them, the targets."""
        ...

    def prompts(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`text` and `flags` alone."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Of all clips, for messages."""
        ...

    @property
    def identity(self) -> str:
        """Changes with the latents and embeddings of the clips."""
        ...


class WorldClips:
    """Simulated clips whose latents are made when they are first wanted; without targets."""

    def __init__(self, model: Path, config: TrainConfig) -> None:
        self.cache = LatentCache(model / "vae", config.world)
        self.encoder = CaptionEncoder(model)
        self.empty = self.encoder([""])[0]
        plausible = [self.cache.plausible(i) for i in range(len(self.cache))]
        self.plausible = torch.tensor(plausible, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.cache)

    def batch(self, indices: Sequence[int], *, true: bool = False) -> dict[str, Tensor]:
        """As `Clips`; captions come with or without a capital and a full stop, by their index."""
        if true:
            raise AssertionError("clips that are made when wanted have no targets")
        latents, captions, flags = self.cache.batch(list(indices))
        said = [vary(c, np.random.default_rng(i)) for c, i in zip(captions, indices, strict=True)]
        return {"latents": latents, "text": self.encoder(said), "flags": flags}

    def prompts(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """As `Clips`; captions lie with the latents, which stay in memory."""
        return {name: x for name, x in self.batch(indices).items() if name != "latents"}

    @property
    def names(self) -> list[str]:
        """Scene, seed and violation of each clip."""
        items = map(self.cache.world.item, range(len(self.cache)))
        return [f"{i.scene} {i.seed} ({i.violation or 'true'})" for i in items]

    @property
    def identity(self) -> str:
        """Of the corpus, the VAE and the text encoder."""
        return f"{self.cache.folder.name}-{len(self)}-{module_hash(self.encoder.encoder)[:16]}"


def open_clips(config: TrainConfig, model: Path, *, targets: bool) -> Clips:
    """The clips that a recipe names: a latent cache, or else the simulated world.

    Args:
        config: the run; `data` is the cache's folder.
        model: the repository whose VAE and text encoder encode simulated clips.
        targets: whether flow and true fields are wanted; the world's are made first, once.

    Raises:
        InputError: a cache that cannot be read.
    """
    if config.data is not None:
        return Shards(Path(config.data))
    if not targets:
        return WorldClips(model, config)
    # Targets are costly: stages A and B see a part of the corpus.
    world = replace(config.world, clips=min(config.world.clips, config.observe.clips))
    source = WorldSource(world)
    name = f"{source.identity}-{config.world.size}-{weights_hash(model / 'vae')}"
    folder = cache_root() / "shards" / name
    size = config.world.size
    view = View(height=size, width=size, num_frames=NUM_FRAMES, fps=FRAME_RATE)
    write_shards(source, folder, model=model, view=view)
    return Shards(folder)
