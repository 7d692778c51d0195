"""How well a scene's laws tell true clips from violated ones, raw and degraded."""

from functools import cache

import numpy as np
from tests.lab.world.degrade import degraded

from pila.lab.world.scene import Canvas, Scene

SEEDS = range(8)


@cache
def worst(kind: type[Scene], seed: int, violation: str | None, size: int) -> tuple[float, float]:
    """The worst law's error of one clip: raw, degraded."""
    scene = kind()
    frames = scene.simulate(seed, violation, Canvas(size=size), False).frames
    return max(scene.measure(frames).values()), max(scene.measure(degraded(frames, seed)).values())


def true_errors(kind: type[Scene], size: int) -> np.ndarray:
    """Worst errors of the true clips, [seed, raw or degraded]."""
    return np.array([worst(kind, seed, None, size) for seed in SEEDS])


def separation(kind: type[Scene], violation: str, size: int) -> np.ndarray:
    """Areas under the ROC curve of the worst law, raw and degraded."""
    broken = np.array([worst(kind, seed, violation, size) for seed in SEEDS])
    return (broken[:, None] > true_errors(kind, size)[None]).mean((0, 1))
