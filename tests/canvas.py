"""Whether a figure's words can be read: inside the canvas, apart, large enough on a telephone."""

from itertools import combinations
from typing import Any

PHONE = 390
"""Pixels of a telephone's page."""


def words_of(figure: Any) -> dict[Any, Any]:
    """Every visible text of a matplotlib figure with its box in pixels, as it will be drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    # An axis keeps labels of ticks beyond its ends, which are not drawn.
    for axes in figure.axes:
        for axis, low, high in (
            (axes.xaxis, *sorted(axes.get_xlim())),
            (axes.yaxis, *sorted(axes.get_ylim())),
        ):
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    texts = [t for t in texts if t not in (tick.label1, tick.label2)]
    return {text: text.get_window_extent(renderer) for text in texts}


def faults(figure: Any) -> list[str]:
    """Words that are cut off, that overlap, or that are smaller than 8 pixels on a telephone."""
    boxes = words_of(figure)
    assert boxes, "a figure without words"
    width, height = figure.get_size_inches() * figure.dpi
    found = []
    for text, box in boxes.items():
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
            found.append(f"cut off: {text.get_text()}")
        if text.get_fontsize() / 72 * figure.dpi * PHONE / width < 8:
            found.append(f"small: {text.get_text()}")
    for (one, first), (other, second) in combinations(boxes.items(), 2):
        if first.overlaps(second):
            found.append(f"overlap: {one.get_text()}, {other.get_text()}")
    return found
