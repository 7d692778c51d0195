"""Fits and relative errors shared by the law measures."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Bend:
    """Where straight tracks bend, all at one moment."""

    time: float
    """[s]"""
    before: np.ndarray
    """Velocities [n, d] in metres per second."""
    after: np.ndarray
    misfit: float
    """Root mean square of a track's distance from its two lines [m]."""


def best_bend(t: np.ndarray, *tracks: np.ndarray, least: int = 4) -> Bend | None:
    """The best two straight pieces that join at one moment, the same for all tracks.

    That moment is found by trying every quarter frame.

    Args:
        t: times [t] in seconds.
        tracks: places [t, d] in metres.
        least: frames that a piece has.

    Returns:
        None where too few frames show it.
    """
    if len(t) <= 2 * least:
        return None
    moments = np.arange(t[least - 1], t[-least], (t[1] - t[0]) / 4)
    late = t - moments[:, None]
    basis = np.stack([np.ones_like(late), np.clip(late, None, 0), np.clip(late, 0, None)], axis=-1)
    places = np.concatenate(tracks, axis=1)
    lines = np.linalg.pinv(basis) @ places
    misfits = np.sqrt(((places - basis @ lines) ** 2).sum(-1).mean(-1) / len(tracks))
    best = int(np.argmin(misfits))
    before, after = lines[best, 1:].reshape(2, len(tracks), -1)
    return Bend(float(moments[best]), before, after, float(misfits[best]))


def polynomial_fit(t: np.ndarray, y: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coefficients (constant first) and residuals of y(t)."""
    basis = np.vander(t, degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(basis, y, rcond=None)
    return coefficients, y - basis @ coefficients


def relative(deviation: float, scale: float) -> float:
    """deviation / scale, at most 1: an error of 1 means that the law says nothing of the clip.

    A scale of zero (nothing moves, nothing is there) gives 1, so that a frozen clip never wins.
    """
    if not np.isfinite(deviation) or not np.isfinite(scale) or scale <= 1e-9:
        return 1.0
    return float(min(deviation / scale, 1.0))
