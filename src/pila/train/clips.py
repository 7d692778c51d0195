"""The clips that adapters are trained on, from a latent cache or from whoever makes them."""

from dataclasses import replace
from pathlib import Path

from pila.data.shards import Clips, Shards
from pila.data.sources import clip_maker
from pila.train.config import TrainConfig


def open_clips(config: TrainConfig, model: Path, *, targets: bool) -> Clips:
    """The clips that a recipe names: a latent cache, or else those that its `world` makes.

    Args:
        config: the run; `data` is the cache's folder.
        model: the repository whose VAE and text encoder encode clips that are made.
        targets: whether flow and true fields are wanted; they are made first, once.

    Raises:
        InputError: a cache that cannot be read, or a corpus that cannot be made.
    """
    if config.data is not None:
        return Shards(Path(config.data))
    maker = clip_maker(config.world)
    if not targets:
        return maker.latents(config.world, model)
    # Targets are costly: stages A and B see a part of the corpus.
    part = replace(config.world, clips=min(config.world.clips, config.observe.clips))
    return Shards(maker.with_targets(part, model))
