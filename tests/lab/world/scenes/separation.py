"""How far a scene's measure keeps true clips and broken ones apart."""

import numpy as np
from tests.lab.world.degrade import degraded

from pila.lab.world.scene import Canvas, Scene


def worst_laws(
    scene: Scene, violation: str | None, canvas: Canvas, seeds: range
) -> dict[str, np.ndarray]:
    """The worst law's error per seed, of the clip as drawn and after a stand-in for the VAE."""
    worst: dict[str, list[float]] = {"raw": [], "degraded": []}
    for seed in seeds:
        frames = scene.simulate(seed, violation, canvas, False).frames
        worst["raw"].append(max(scene.measure(frames).values()))
        worst["degraded"].append(max(scene.measure(degraded(frames, seed)).values()))
    return {state: np.array(errors) for state, errors in worst.items()}


def auc(true: np.ndarray, broken: np.ndarray) -> float:
    """Chance that a broken clip's error is above a true one's; ties count half."""
    above = broken[:, None] > true[None]
    return float((above + 0.5 * (broken[:, None] == true[None])).mean())
