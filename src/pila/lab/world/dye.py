"""Coloured liquids, dye and smoke: mixed linearly into grey, so that amounts can be read back.

A pixel is grey + c (colour - grey) with c the amount in [0, 1]. Its deviation from grey is c
times that of the colour, whatever the grey behind it.
"""

import numpy as np

DYES = {
    "red": (215, 35, 45),
    "green": (25, 160, 65),
    "blue": (35, 75, 220),
    "orange": (235, 120, 20),
    "purple": (145, 45, 195),
}
"""Colours [0, 255]: saturated, so that colour alone tells dye from ground."""

PRESENT = 25.0
"""Least deviation from grey [levels] at which a pixel is taken to be coloured."""


def mix(image: np.ndarray, amount: np.ndarray, colour: np.ndarray) -> None:
    """Mix `amount` [t, h, w] of a colour [3] or [..., 3] into `image` [t, h, w, 3] in place."""
    image += amount[..., None] * (colour - image)


def read_dye(frames: np.ndarray) -> np.ndarray:
    """Signed strength of the clip's leading hue in each pixel [levels], [t, h, w].

    The hue is the leading direction of the coloured pixels' deviations from grey. The projection
    on it is linear in the amount of dye, and noise averages out where there is none.
    """
    rgb = frames.astype(np.float32)
    deviation = rgb - rgb.mean(-1, keepdims=True)
    coloured = deviation[(deviation**2).sum(-1) > PRESENT**2].astype(np.float64)
    if not len(coloured):
        return np.zeros(frames.shape[:3])
    _, directions = np.linalg.eigh(coloured.T @ coloured)
    hue = directions[:, -1]
    hue = hue * (1.0 if (coloured @ hue).mean() > 0 else -1.0)
    return (deviation @ hue.astype(np.float32)).astype(np.float64)


def full_strength(strength: np.ndarray) -> float:
    """Strength of undiluted dye [levels]: the median over the clearly coloured pixels."""
    coloured = strength[strength > PRESENT]
    if not len(coloured):
        return PRESENT
    return float(np.median(coloured[coloured > 0.5 * np.quantile(coloured, 0.9)]))
