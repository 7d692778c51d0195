"""Who makes the simulated world's clips for training; an entry point of `pila.clip_sources`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pila.data.corpus import CorpusConfig
from pila.data.encoders import ModelFacts
from pila.data.records import View
from pila.data.shards import write_shards
from pila.files import cache_root
from pila.lab.embedded.latent_cache import LatentCache
from pila.lab.embedded.text import CaptionEncoder, vary
from pila.lab.world.activity_maps import ActiveMaps
from pila.lab.world.clip_source import WorldSource, check_view
from pila.lab.world.corpus import check_corpus, item_of, scenes_of
from pila.lab.world.scene import FRAME_RATE, NUM_FRAMES
from pila.provenance import weights_hash
from pila.train.frozen import module_hash


class WorldClips:
    """Simulated clips whose latents are made when they are first wanted; without targets."""

    def __init__(self, corpus: CorpusConfig, model: Path) -> None:
        self.cache = LatentCache(model / "vae", corpus)
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
        items = (item_of(self.cache.world, i) for i in range(len(self.cache)))
        return [f"{i.scene} {i.seed} ({i.violation or 'true'})" for i in items]

    @property
    def identity(self) -> str:
        """Of the corpus, the VAE and the text encoder."""
        return f"{self.cache.folder.name}-{len(self)}-{module_hash(self.encoder.encoder)[:16]}"


class WorldMaker:
    """Implements `pila.data.sources.ClipMaker`."""

    def check(self, corpus: CorpusConfig) -> None:
        """As `check_corpus`."""
        check_corpus(corpus)

    def describe(self, corpus: CorpusConfig) -> str:
        """How many clips of how many scenes, in which size."""
        return (
            f"simulated world: {corpus.clips:,} clips of {len(scenes_of(corpus))} scenes, "
            f"{corpus.size} x {corpus.size}"
        )

    def source(self, corpus: CorpusConfig, *, facts: ModelFacts, view: View) -> WorldSource:
        """The corpus as a data set, in the view's size."""
        check_view(view)
        return WorldSource(corpus, spatial=facts.spatial, temporal=facts.temporal)

    def latents(self, corpus: CorpusConfig, model: Path) -> WorldClips:
        """Latents that are made when they are first wanted."""
        return WorldClips(corpus, model)

    def with_targets(self, corpus: CorpusConfig, model: Path) -> Path:
        """A latent cache with optical flow and true fields."""
        source, size = WorldSource(corpus), corpus.size
        name = f"{source.identity}-{size}-{weights_hash(model / 'vae')}"
        folder = cache_root() / "shards" / name
        view = View(height=size, width=size, num_frames=NUM_FRAMES, fps=FRAME_RATE)
        write_shards(source, folder, model=model, view=view)
        return folder

    def activity_maps(self) -> ActiveMaps:
        """From true fields."""
        return ActiveMaps()


MAKER = WorldMaker()
