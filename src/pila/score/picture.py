"""Where and when a video's relations break, as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from pila.files import atomic_write

ROWS, COLUMNS = 2, 3
LONGEST = 60
"""Letters of a title, which is as wide as the picture."""


def draw(report: Any, worst: tuple[float, np.ndarray, np.ndarray], path: Path) -> Path:
    """Write scores over time above, and the worst window's frames with residuals laid over.

    Args:
        report: the video's: `file`, `labels`, `fps`, `times` [s] and `by_frame` by category.
        worst: of the window where residuals peak: seconds, residual map [t, h, w] on the latent
            grid, frames [n, H, W, 3] uint8.
        path: the PNG file.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    start, residual, frames = worst
    # Narrow, with few frames in a row: on a phone it is still read.
    figure = Figure(figsize=(5.6, 7.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    above, below = parts
    axis = above.subplots()
    for name, values in report.by_frame.items():
        counted = not report.labels or name in report.labels
        axis.plot(
            report.times, values, label=name.replace("_", " "), alpha=1.0 if counted else 0.25
        )
    for first, last in ((0, 1), (-2, -1)):
        axis.axvspan(report.times[first], report.times[last], color="0.92", zorder=0)
    axis.set_xlabel("seconds (grey: the ends, where derivatives are one-sided)")
    axis.set_ylabel("relative residual")
    axis.set_ylim(bottom=0)
    above.legend(fontsize=9, ncols=3, loc="outside lower center")
    # A file's name is no formula, whatever stands between its dollars.
    axis.set_title(_drawable(Path(report.file).name), fontsize=10, parse_math=False)
    picks = sorted({*np.linspace(0, len(residual) - 1, ROWS * COLUMNS).round().astype(int)})
    height, width = frames.shape[1:3]
    top = float(residual[1:-1].max()) or 1.0
    cells = below.subplots(ROWS, COLUMNS, squeeze=False).ravel()
    for cell in cells:
        cell.set_axis_off()
    for cell, index in zip(cells, picks, strict=False):
        cell.imshow(frames[4 * int(index)], extent=(0, width, height, 0))
        shown = cell.imshow(
            residual[index],
            extent=(0, width, height, 0),
            cmap="inferno",
            alpha=np.clip(residual[index] / top, 0.05, 0.75),  # what balances stays visible
            vmin=0,
            vmax=top,
            interpolation="bilinear",
        )
        cell.set_title(f"{start + 4 * index / report.fps:.2f} s", fontsize=9)
    below.colorbar(shown, ax=cells.tolist(), label="residual", shrink=0.8)
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=130)
    return path


def _drawable(name: str) -> str:
    """A name without letters that the font does not have, no longer than the picture is wide."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    letters = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(
        letter if ord(letter) in letters else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 8]} ... {shown[-3:]}"
