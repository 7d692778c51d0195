"""Maps over time beside the frames that they are of, for the figures that show clips."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pila.diagnose.style import GRID, NOWHERE, bare, dense

COLUMNS = 5
"""Latent frames that are drawn of a clip."""


def picks(count: int, columns: int = COLUMNS) -> list[int]:
    """Some of `count` latent frames, evenly spread, the first and the last among them."""
    return [int(t) for t in np.linspace(0, count - 1, min(count, columns)).round()]


def frame_of(latent_frame: int) -> int:
    """The video frame that a latent frame ends with: 0, 4, 8, ..."""
    return 4 * latent_frame


def show_frames(row: Sequence[Any], frames: np.ndarray, times: Sequence[int]) -> None:
    """Video frames [t, h, w, 3] at latent times, one in each of a row of axes."""
    for axes, t in zip(row, times, strict=False):
        axes.imshow(frames[frame_of(t)], interpolation="bilinear")


def show_maps(
    row: Sequence[Any],
    field: np.ndarray,
    times: Sequence[int],
    *,
    cmap: str,
    low: float,
    high: float,
    mask: np.ndarray | None = None,
) -> None:
    """A field [t, h, w] at latent times, grey where it is not defined.

    Args:
        row: of axes.
        field: the values.
        times: of the columns.
        cmap, low, high: the colours and the values at their ends.
        mask: where the field is defined, [t, h, w]; None is everywhere.
    """
    from matplotlib import colormaps

    colours = colormaps[cmap].with_extremes(bad=NOWHERE)
    for axes, t in zip(row, times, strict=False):
        values = field[t] if mask is None else np.where(mask[t] > 0, field[t], np.nan)
        # A flat map has no range of its own.
        axes.imshow(values, cmap=colours, vmin=low, vmax=high if high > low else low + 1)


def clear(figure: Any, axes: np.ndarray) -> None:
    """No ticks anywhere, thin frames around what is drawn, nothing where nothing is."""
    dense(figure)
    for one in axes.flat:
        bare(one)
        if one.images:
            for spine in one.spines.values():
                spine.set_visible(True)
                spine.set_color(GRID)
        elif not one.texts:
            one.axis("off")


def name_row(axes: Any, text: str, *, right: bool = False, size: float = 6.5) -> None:
    """A label beside the first (or last) axes of a row."""
    place = (1, 0.5) if right else (0, 0.5)
    axes.annotate(
        text,
        place,
        xycoords="axes fraction",
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=size,
    )
