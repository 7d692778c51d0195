"""Maps over time beside the frames that they are of, for the figures that show clips."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pila.lab.diagnose.style import AMOUNT, GRID, NOWHERE, PAGE, QUIET, new_figure

LEFT, RIGHT, TOP = 1.05, 0.62, 0.24
"""Inches beside and above the maps, for words."""
SPACE, HEAD, HALVES = 0.05, 0.13, 0.15
"""Inches between maps, above a row with times, between the halves of a sheet."""
COLUMNS = 9
"""Latent frames that `beside_truth` draws of a clip, at most."""


def picks(count: int, columns: int) -> list[int]:
    """Some of `count` latent frames, evenly spread, the first and the last among them."""
    return [int(t) for t in np.linspace(0, count - 1, min(count, columns)).round()]


class Sheet:
    """Rows of small maps on one page, with words around them; measures are inches.

    All lie in one pair of axes: with a pair for each map, drawing would take a minute.

    Args:
        rows: of maps.
        columns: of maps.
        title: above all of them.
        heads: rows with words above them.
        halves: whether there is a gap in the middle.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        title: str,
        heads: Collection[int] = (),
        halves: bool = False,
    ) -> None:
        free = PAGE - LEFT - RIGHT - (HALVES if halves else 0) - SPACE * (columns - 1)
        self.cell = free / columns
        self._middle = columns // 2 if halves else columns
        above = [HEAD * sum(head <= row for head in heads) for row in range(rows)]
        self._tops = [TOP + row * (self.cell + SPACE) + above[row] for row in range(rows)]
        height = self._tops[-1] + self.cell + 0.05
        self.figure = new_figure(height=height)
        self.figure.set_layout_engine("none")
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.axis("off")
        self._text(PAGE / 2, TOP / 2, title, colour=QUIET)
        self._limits = (0, PAGE), (height, 0)

    def _left(self, column: int) -> float:
        gap = HALVES if column >= self._middle else 0
        return LEFT + column * (self.cell + SPACE) + gap

    def image(self, row: int, column: int, values: np.ndarray, **options: Any) -> None:
        """One picture or map; options go to `imshow`."""
        from matplotlib.patches import Rectangle

        x, y = self._left(column), self._tops[row]
        extent = (x, x + self.cell, y + self.cell, y)
        self._axes.imshow(values, extent=extent, **options)
        frame = Rectangle((x, y), self.cell, self.cell, fill=False, edgecolor=GRID, linewidth=0.5)
        self._axes.add_patch(frame)
        # An image sets the limits to its own.
        self._axes.set(xlim=self._limits[0], ylim=self._limits[1], aspect="auto")

    def frames(self, row: int, frames: np.ndarray, times: Sequence[int], *, start: int = 0) -> None:
        """Video frames [t, h, w, 3] at latent times: latent frame i ends with frame 4 i."""
        for column, t in enumerate(times, start):
            self.image(row, column, frames[4 * t], interpolation="bilinear")

    def maps(
        self,
        row: int,
        field: np.ndarray,
        times: Sequence[int],
        *,
        cmap: str,
        low: float,
        high: float,
        mask: np.ndarray | None = None,
        start: int = 0,
    ) -> None:
        """A field [t, h, w] at latent times, grey where `mask` [t, h, w] is 0.

        Args:
            row: of the sheet.
            field: the values.
            times: of the columns.
            cmap, low, high: the colours, and the values at their ends.
            mask: where the field is defined; None is everywhere.
            start: the first column.
        """
        from matplotlib import colormaps

        colours = colormaps[cmap].with_extremes(bad=NOWHERE)
        # A flat map has no range of its own.
        scale = {"cmap": colours, "vmin": low, "vmax": high if high > low else low + 1}
        for column, t in enumerate(times, start):
            values = field[t] if mask is None else np.where(mask[t] > 0, field[t], np.nan)
            self.image(row, column, values, interpolation="nearest", **scale)

    def before(self, row: int, text: str) -> None:
        """Words left of a row."""
        self._text(LEFT - 0.06, self._tops[row] + self.cell / 2, text, side="right")

    def behind(self, row: int, text: str, *, columns: int) -> None:
        """Words right of a row of that many columns."""
        x = self._left(columns - 1) + self.cell + 0.06
        self._text(x, self._tops[row] + self.cell / 2, text, side="left", size=6)

    def times(self, row: int, times: Sequence[int], *, start: int = 0) -> None:
        """The latent times above a row."""
        for column, t in enumerate(times, start):
            x = self._left(column) + self.cell / 2
            self._text(x, self._tops[row] - HEAD / 2, f"t = {t}", size=6)

    def note(self, row: int, column: int, text: str) -> None:
        """Words in the middle of a place without a map."""
        x = self._left(column) + self.cell / 2
        self._text(x, self._tops[row] + self.cell / 2, text)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        side: str = "center",
        size: float = 6.5,
        colour: str = "black",
    ) -> None:
        self._axes.text(x, y, text, ha=side, va="center", fontsize=size, color=colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A clip, what is truly active in it, and a map to be seen beside that.

    Attributes:
        frames: of the clip.
        truth: [t, h, w], 0 to 1.
        seen: [t, h, w].
        low: where the colours of `seen` begin.
        names: of the clip, the truth and the map.
        said: behind the map; empty for nothing.
    """

    frames: np.ndarray
    truth: np.ndarray
    seen: np.ndarray
    low: float
    names: tuple[str, str, str]
    said: str


def beside_truth(clips: Sequence[Beside], *, title: str) -> Any:
    """A figure with three rows for each clip: frames, true activity, the map; times above each."""
    rows = range(0, 3 * len(clips), 3)
    columns = min(COLUMNS, max(len(clip.truth) for clip in clips))
    sheet = Sheet(3 * len(clips), columns, heads=rows, title=title)
    for row, clip in zip(rows, clips, strict=True):
        times = picks(len(clip.truth), columns)
        sheet.times(row, times)
        sheet.frames(row, clip.frames, times)
        sheet.maps(row + 1, clip.truth, times, cmap=AMOUNT, low=0, high=1)
        high = float(clip.seen.max())
        sheet.maps(row + 2, clip.seen, times, cmap=AMOUNT, low=clip.low, high=high)
        for below, name in enumerate(clip.names):
            sheet.before(row + below, name)
        if clip.said:
            sheet.behind(row + 2, clip.said, columns=len(times))
    return sheet.figure
