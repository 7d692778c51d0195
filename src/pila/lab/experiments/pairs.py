"""Held-out true clips and their broken twins as latents, encoded once for all methods."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pila.files import atomic_write, cache_root
from pila.lab.experiments import measures
from pila.lab.experiments.round_trip import encoded
from pila.lab.experiments.sampling import Protocol
from pila.lab.world import SCENES, Canvas, simulate
from pila.lab.world.corpus import source_of
from pila.pipelines.locate import find_model
from pila.provenance import weights_hash

FIRST_SEED = 560_000
"""First seed of the pairs; law prompts begin at 500,000, the bank's clips at 550,000."""
LEVELS = tuple((i + 0.5) / 10 for i in range(10))
"""Ten noise levels, uniform in (0, 1)."""
TRUE = measures.TRUE


def pairs(
    protocol: Protocol, scene: str, seeds: Sequence[int], vae: Any, *, twins: bool = True
) -> list[dict[str, Any]]:
    """Of each seed the true clip, each violation and each control, as latents by kind.

    Args:
        protocol: model and size.
        scene: a name in `SCENES`.
        seeds: of the clips.
        vae: the model's, loaded; it is used where nothing is kept.
        twins: violations and controls, too; otherwise true clips alone.

    Returns:
        {"seed", "caption", "latents": {kind: [c, t, h, w] float32}} for each seed.
    """
    settings = protocol.settings
    canvas = Canvas(size=settings["height"], num_frames=settings["num_frames"])
    found = []
    for seed in seeds:
        clip = simulate(scene, seed, canvas=canvas, held_out=True)
        latents = _kept(protocol, scene, seed, vae, TRUE, lambda c=clip: {TRUE: c.frames})
        if twins:
            latents |= _kept(
                protocol,
                scene,
                seed,
                vae,
                "twins",
                lambda s=seed, c=clip: dict(_twins(scene, s, c.frames, canvas)),
            )
        found.append({"seed": seed, "caption": clip.caption, "latents": latents})
    return found


def kinds_of(scene: str) -> tuple[str, ...]:
    """What a scene's true clips are paired with; a violation may go by a control's name."""
    return tuple(dict.fromkeys((*SCENES[scene].violations, *measures.CONTROLS)))


def noise(shape: tuple[int, ...], seed: int, level: int) -> Any:
    """Noise of a clip at one of `LEVELS`, the same for all kinds and methods."""
    import torch

    generator = torch.Generator().manual_seed(1000 * seed + level)
    return torch.randn(shape, generator=generator)


def _twins(
    scene: str, seed: int, frames: np.ndarray, canvas: Canvas
) -> Iterator[tuple[str, np.ndarray]]:
    controls = measures.controls(frames)
    for kind in kinds_of(scene):
        if kind in SCENES[scene].violations:
            yield kind, simulate(scene, seed, kind, canvas=canvas, held_out=True).frames
        else:
            yield kind, controls[kind]


def _kept(
    protocol: Protocol,
    scene: str,
    seed: int,
    vae: Any,
    group: str,
    make: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Latents by kind, from disk where they are kept; else of the frames that `make` gives."""
    settings = protocol.settings
    key = [
        2,
        weights_hash(find_model(protocol.model) / "vae"),
        scene,
        source_of(scene),
        seed,
        group,
        settings["height"],
        settings["num_frames"],
    ]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    path = cache_root() / "pairs" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        latents = {kind: encoded(vae, f)[0].half().numpy() for kind, f in make().items()}
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **latents)
    with np.load(path) as kept:
        return {kind: kept[kind].astype(np.float32) for kind in kept.files}
