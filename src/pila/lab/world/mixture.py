"""Reading two saturated colours back from pixels, also where they mix with grey and each other."""

import numpy as np

Colour = tuple[int, int, int]

TO_PLANE = np.array([[1, 1], [-1, 1], [0, -2]]) / np.sqrt([2, 6])
"""Takes rgb to two differences of channels, in which every grey is 0."""


def unmix(
    frames: np.ndarray, pairs: tuple[tuple[Colour, Colour], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of two colours in each pixel of frames [t, h, w, 3], two of [t, h, w] in 0..1.

    A pixel is a mixture of the two and any grey, solved for exactly: texture and shade add grey,
    edges mix. The pair is the one of `pairs` whose hues the clip's coloured pixels have; its
    colours are then taken from the clip itself. Both shares are 0 where nothing is coloured.
    """
    # A quarter of the pixels tells the colours as well as all of them.
    some = frames[:, ::2, ::2].reshape(-1, 3) @ TO_PLANE
    some = some[np.hypot(*some.T) > 45]
    if len(some) < 16:
        return np.zeros(frames.shape[:3]), np.zeros(frames.shape[:3])
    choices = [np.array(pair, float) @ TO_PLANE for pair in pairs]
    likeness = [_cosines(some, two) for two in choices]
    best = int(np.argmax([alike.max(1).mean() for alike in likeness]))
    two, alike = choices[best], likeness[best]
    for i in (0, 1):
        # Pixels that are surely of one colour: near its hue, far from the other's.
        sure = (alike[:, i] > 0.9) & (alike[:, 1 - i] < 0.75)
        if sure.mean() > 0.02:
            two[i] = np.median(some[sure], axis=0)
    solve = (TO_PLANE @ np.linalg.inv(two)).astype(np.float32)
    shares = np.clip(frames.reshape(-1, 3).astype(np.float32) @ solve, 0, 1)
    first, second = shares.T.reshape(2, *frames.shape[:3])
    # Soft thresholds rid the ground, and either colour of the other, of noise; they leave the
    # area under an edge as it is.
    total = first + second
    cover = np.clip((total - 0.25) / 0.5, 0, 1)
    share = np.clip((second / np.maximum(total, 1e-6) - 0.25) / 0.5, 0, 1)
    return cover * (1 - share), cover * share


def _cosines(colours: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Cosine of the hue angle between colours [n, 2] and each of two, [n, 2]."""
    lengths = np.hypot(*colours.T)[:, None] * np.hypot(*two.T)
    return (colours @ two.T) / lengths
