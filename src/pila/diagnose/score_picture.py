"""Where and when a video's relations break, as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from pila.video import written_whole

COLUMNS = 6
LONGEST = 90
"""Letters of a title, which is as wide as the picture."""


def draw(report: Any, worst: tuple[float, np.ndarray, np.ndarray], path: Path) -> Path:
    """Write scores over time above, and the worst window's frames with residuals laid over.

    Args:
        report: the video's: `file`, `labels`, `times` [s] and `by_frame` by category.
        worst: of the window where residuals peak: seconds, residual map [t, h, w] on the latent
            grid, frames [n, H, W, 3] uint8.
        path: the PNG file.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    start, residual, frames = worst
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.4, 1))
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
    axis.legend(fontsize=7, ncols=4)
    # A file's name is no formula, whatever stands between its dollars.
    axis.set_title(_drawable(Path(report.file).name), fontsize=10, parse_math=False)
    picks = np.linspace(0, len(residual) - 1, COLUMNS).round().astype(int)
    height, width = frames.shape[1:3]
    for cell, index in zip(below.subplots(1, COLUMNS), picks, strict=True):
        frame = 4 * int(index)
        cell.imshow(frames[frame], extent=(0, width, height, 0))
        shown = cell.imshow(
            residual[index],
            extent=(0, width, height, 0),
            cmap="inferno",
            alpha=0.55,
            vmin=0,
            vmax=float(residual[1:-1].max()) or 1.0,
            interpolation="bilinear",
        )
        cell.set_xticks([])
        cell.set_yticks([])
        cell.set_xlabel(f"{start + index * 4 / _rate(report):.2f} s", fontsize=7)
    below.colorbar(shown, ax=below.axes, label="residual", shrink=0.8)
    with written_whole(path) as part:
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


def _rate(report: Any) -> float:
    """Frames per second, off the times of two latent frames."""
    return 4 / (report.times[1] - report.times[0]) if len(report.times) > 1 else 4.0
