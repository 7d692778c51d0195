"""Separate blobs of colour found in each frame and followed from frame to frame."""

from dataclasses import dataclass

import numpy as np
from numba import njit

EDGE = 0.15
"""Least share of a pixel that joins a blob; the soft rim counts by its share."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob's path: frames [n], areas [n] in pixels, centres [n, 2] as (column, row)."""

    frames: np.ndarray
    area: np.ndarray
    centre: np.ndarray


def follow_blobs(weight: np.ndarray, least_area: float, reach: float) -> list[Blob]:
    """Paths of the blobs in soft masks [t, h, w].

    Args:
        weight: share of each pixel under blobs, 0..1.
        least_area: smaller blobs are overlooked [px].
        reach: farthest that a blob's centre moves in one frame [px].
    """
    found = _components(np.ascontiguousarray(weight, np.float32), EDGE, least_area)
    paths: list[list[np.ndarray]] = []
    for frame in range(len(weight)):
        free = list(found[found[:, 0] == frame])
        for path in paths:
            if path[-1][0] != frame - 1 or not free:
                continue
            gaps = [np.hypot(*(blob[2:] - path[-1][2:])) for blob in free]
            nearest = int(np.argmin(gaps))
            if gaps[nearest] <= reach:
                path.append(free.pop(nearest))
        paths += [[blob] for blob in free]
    rows = [np.stack(path) for path in paths]
    return [Blob(r[:, 0].astype(int), r[:, 1], r[:, 2:]) for r in rows]


@njit(cache=True)
def _components(weight, edge, least_area):
    """Frame, area, column and row of each 4-connected component above `edge`, [k, 4]."""
    num_frames, height, width = weight.shape
    found = []
    stack = np.empty((height * width, 2), np.int64)
    for f in range(num_frames):
        seen = weight[f] < edge
        for i in range(height):
            for j in range(width):
                if seen[i, j]:
                    continue
                area, column, row = 0.0, 0.0, 0.0
                stack[0, 0], stack[0, 1] = i, j
                seen[i, j] = True
                top = 1
                while top > 0:
                    top -= 1
                    a, b = stack[top]
                    w = weight[f, a, b]
                    area += w
                    column += w * b
                    row += w * a
                    for da, db in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                        p, q = a + da, b + db
                        if 0 <= p < height and 0 <= q < width and not seen[p, q]:
                            seen[p, q] = True
                            stack[top, 0], stack[top, 1] = p, q
                            top += 1
                if area >= least_area:
                    found.append((float(f), area, column / area + 0.5, row / area + 0.5))
    out = np.empty((len(found), 4))
    for k in range(len(found)):
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = found[k]
    return out
