"""Whether anything moves in a film at all, whatever noise and compression do to a still one.

Noise and compression change a still picture, too, by up to tens of grey levels, but by fits and
starts and everywhere. What moves changes places bit by bit, or some far more than the rest. The
limits are from stills of constant colour and of textures, with noise of up to 40 grey levels, at
x264's rates 12 to 51 and in MPEG-4, and from the simulated world's clips at full speed and at a
quarter of it (docs/evaluation.md).
"""

import cv2
import numpy as np

SIDE, CELLS = 64, 8
"""Pictures are looked at in 64 x 64 pixels, in 8 x 8 cells of them: noise is averaged away."""
SMOOTHED = 4
"""Frames of a running mean; a latent frame holds as many."""
SLIGHT, GRADUAL = 2.5, 0.3
"""Least change of a cell in grey levels, if no step between two frames has more than this share."""
LARGE, ALONE = 20.0, 8.0
"""Least change of a cell, however sudden, if it is this many times the median cell's."""
PLAIN = 40.0
"""A change of a cell that is motion, whatever the others do."""


def moves(frames: np.ndarray) -> bool:
    """Whether anything but noise and compression changes.

    Args:
        frames: [t, h, w, 3] uint8, at least five of them.
    """
    cell = SIDE // CELLS
    small = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])
    split = small.reshape(len(frames), CELLS, cell, CELLS, cell, 3)
    means = split.mean((2, 4), dtype=np.float32).reshape(len(frames), -1)
    smooth = np.lib.stride_tricks.sliding_window_view(means, SMOOTHED, axis=0).mean(-1)
    change = smooth.max(0) - smooth.min(0)
    largest = float(change.max())
    if largest < SLIGHT:
        return False
    step = np.abs(np.diff(means, axis=0)).max(0)
    # The cells that change most say how: the fourth power leaves the others out.
    weight = (change / largest) ** 4
    sudden = float((weight * step / np.maximum(change, 1e-6)).sum() / weight.sum())
    alone = largest >= max(LARGE, ALONE * float(np.median(change)))
    return sudden <= GRADUAL or alone or largest >= PLAIN
