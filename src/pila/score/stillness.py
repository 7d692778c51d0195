"""Whether anything moves in a film at all, whatever noise and compression do to a still one.

Noise and compression change a still picture, too, by up to tens of grey levels, but by fits and
starts and everywhere. What moves changes places bit by bit, or some far more than the rest. The
limits are from stills of constant colour and of textures, with noise of up to 40 grey levels, at
x264's rates 12 to 51 and in MPEG-4, and from the simulated world's clips at full speed and at a
quarter of it (docs/evaluation.md).
"""

import cv2
import numpy as np

SIDE, COARSE, FINE = 64, 8, 2
"""Pictures are looked at in 64 x 64 pixels, in cells of 8 x 8 of them, where noise is averaged
away, and of 2 x 2, where a small body is not."""
SMOOTHED = 4
"""Frames of a running mean; a latent frame holds as many."""
SLIGHT, GRADUAL = 2.5, 0.3
"""Least change of a coarse cell in grey levels, if no step between two frames has more than this
share of it."""
SHIPPED_ADAPTER, ALONE = 50.0, 12.0
"""Least change of a fine cell, however sudden, if it is this many times the median cell's."""
PLAIN = 40.0
"""A change of a coarse cell that is motion, whatever the others do."""


def moves(frames: np.ndarray) -> bool:
    """Whether anything but noise and compression changes.

    Args:
        frames: [t, h, w, 3] uint8, at least five of them.
    """
    small = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])
    coarse, change = _cells(small, COARSE)
    largest = float(change.max())
    if largest >= PLAIN:
        return True
    _, fine = _cells(small, FINE)
    if fine.max() >= max(SHIPPED_ADAPTER, ALONE * float(np.median(fine))):
        return True
    if largest < SLIGHT:
        return False
    step = np.abs(np.diff(coarse, axis=0)).max(0)
    # The cells that change most say how: the fourth power leaves the others out.
    weight = (change / largest) ** 4
    sudden = (weight * step / np.maximum(change, 1e-6)).sum() / weight.sum()
    return bool(sudden <= GRADUAL)


def _cells(small: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Means [t, n] of the cells of each channel, and how much each of them changes, smoothed."""
    count = SIDE // side
    split = small.reshape(len(small), count, side, count, side, 3)
    means = split.mean((2, 4), dtype=np.float32).reshape(len(small), -1)
    smooth = np.lib.stride_tricks.sliding_window_view(means, SMOOTHED, axis=0).mean(-1)
    return means, smooth.max(0) - smooth.min(0)
