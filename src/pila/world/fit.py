"""Fits and relative errors shared by the law measures."""

import numpy as np


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
