"""How a clip looks, whatever its physics: sharpness, grain, motion, colours asked for.

No judge and no download. Each figure is held against the true clip of the same prompt, so that a
picture that is meant to be smooth is not called blurred:

| figure | of a clip |
|---|---|
| motion | mean absolute change from frame to frame [grey levels]; a frozen clip must not win |
| sharpness | mean absolute difference between neighbouring pixels [grey levels] |
| grain | Immerkaer's estimate of the noise's standard deviation [grey levels] (1996) |
| colours | overlap of the hue histograms with the true clip's, 0 to 1 |
| quality | exp(-(abs ln s + abs ln g) / 2), s, g ratios of sharpness and grain; 1 as true clips |
| found | 1 where any law can be measured at all: the scene asked for can be followed |
| adherence | found times colours |

`frechet` compares whole sets: the Frechet distance between Gaussians of the latents' channel means
and deviations, 0 for true clips (after Heusel et al. 2017, with the VAE as the feature network).
"""

from collections.abc import Mapping

import cv2
import numpy as np

FLOOR = 0.5
"""Grey levels added to both sides of a ratio: eight-bit pixels tell no less."""
HUES = 24
"""Bins of the hue histogram, 15 degrees each."""
CHROMA = 40.0
"""Difference of channels [grey levels] from which on a pixel counts as coloured."""
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def looks(frames: np.ndarray, true_frames: np.ndarray) -> dict[str, float]:
    """Motion, sharpness and grain of a clip and of the true one, colours, quality.

    Args:
        frames: [t, h, w, 3] uint8.
        true_frames: the true clip of the same prompt, of the same form.
    """
    figures = {"motion": motion, "sharpness": sharpness, "grain": grain}
    mine = {name: figure(frames) for name, figure in figures.items()}
    true = {f"true_{name}": figure(true_frames) for name, figure in figures.items()}
    found = mine | true
    ratios = [
        (found[name] + FLOOR) / (found[f"true_{name}"] + FLOOR) for name in ("sharpness", "grain")
    ]
    quality = np.exp(-np.abs(np.log(ratios)).sum() / 2)
    return found | {"colours": colours(frames, true_frames), "quality": float(quality)}


def adherence(laws: Mapping[str, float], colours: float) -> float:
    """Whether the scene is found (any law below 1), times the colours' overlap."""
    return float(min(laws.values()) < 1.0) * colours


def motion(frames: np.ndarray) -> float:
    """Mean absolute change from frame to frame [grey levels]."""
    return float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean())


def sharpness(frames: np.ndarray) -> float:
    """Mean absolute difference between neighbouring pixels [grey levels]."""
    f = frames.astype(np.float32)
    return float(np.abs(np.diff(f, axis=1)).mean() + np.abs(np.diff(f, axis=2)).mean())


def grain(frames: np.ndarray) -> float:
    """Immerkaer's estimate of the noise's standard deviation [grey levels], mean over frames."""
    rest = [
        np.abs(cv2.filter2D(frame.astype(np.float32), -1, _NOISE)[1:-1, 1:-1]).mean()
        for frame in frames
    ]
    return float(np.sqrt(np.pi / 2) / 6 * np.mean(rest))


def colours(frames: np.ndarray, true_frames: np.ndarray) -> float:
    """Overlap of two clips' hue histograms, 0 to 1; of two clips without colour 1."""
    mine, true = _hues(frames), _hues(true_frames)
    if not mine.any() and not true.any():
        return 1.0
    return float(np.minimum(mine, true).sum())


def _hues(frames: np.ndarray) -> np.ndarray:
    """Histogram [HUES] of the hues of coloured pixels, blurred by half a bin; its sum is 1 or 0."""
    flat = frames[::2].reshape(-1, 1, 3)
    coloured = np.ptp(flat.astype(np.int16), axis=-1)[:, 0] >= CHROMA
    if coloured.mean() < 1e-3:
        return np.zeros(HUES)
    hue = cv2.cvtColor(flat[coloured], cv2.COLOR_RGB2HSV)[..., 0].ravel().astype(float)  # 0..179
    place = hue / 180 * HUES
    low = np.floor(place).astype(int)
    share = place - low
    counts = np.bincount(low % HUES, 1 - share, HUES) + np.bincount((low + 1) % HUES, share, HUES)
    return counts / counts.sum()


def frechet(features: np.ndarray, true_features: np.ndarray) -> float | None:
    """Frechet distance between Gaussians of two sets of features [n, d]; None of too few clips."""
    if min(len(features), len(true_features)) < 2:
        return None
    means = [f.mean(0) for f in (features, true_features)]
    one, other = (np.cov(f, rowvar=False) for f in (features, true_features))
    # The trace of the root of a product of covariances: the sum of the roots of its eigenvalues.
    roots = np.sqrt(np.clip(np.linalg.eigvals(one @ other).real, 0, None)).sum()
    distance = np.square(means[0] - means[1]).sum() + np.trace(one) + np.trace(other) - 2 * roots
    return float(max(distance, 0.0))


def features(latents: np.ndarray) -> list[float]:
    """Mean and standard deviation of each latent channel [c, t, h, w]: 2 c numbers."""
    return [*latents.mean((1, 2, 3)).tolist(), *latents.std((1, 2, 3)).tolist()]
