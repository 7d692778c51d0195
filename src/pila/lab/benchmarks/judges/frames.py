"""Which frames of a clip a judge sees."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from pila.errors import InputError
from pila.video import video_frames

View = Literal[
    "all", "first half", "last", "first and middle", "middle and last", "first, middle and last"
]
VIEWS: tuple[View, ...] = get_args(View)


def sampled(path: Path, count: int) -> np.ndarray:
    """Frames [count, h, w, 3] uint8, evenly spread over a clip with both ends; short clips repeat.

    Indices are linspace(0, length - 1, count) rounded down, as the official judges take them.

    Raises:
        InputError: the count is below 1, or the file does not read as video.
    """
    if count < 1:
        raise InputError(f"frames is {count}; sample at least 1")
    # Once for their number, once for the few that are seen: a film may not fit into memory.
    length = sum(1 for _ in video_frames(path))
    indices = np.linspace(0, length - 1, count).astype(int)
    wanted = set(indices.tolist())
    chosen = {i: frame for i, frame in enumerate(video_frames(path)) if i in wanted}
    return np.stack([chosen[i] for i in indices.tolist()])


def viewed(frames: np.ndarray, view: View) -> np.ndarray:
    """The frames [n, h, w, 3] of a view, in the order of time."""
    middle = len(frames) // 2
    chosen = {
        "all": list(range(len(frames))),
        "first half": list(range(max(1, middle))),
        "last": [-1],
        "first and middle": [0, middle],
        "middle and last": [middle, -1],
        "first, middle and last": [0, middle, -1],
    }[view]
    return frames[chosen]
