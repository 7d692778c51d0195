"""How every figure of `pila diagnose` looks: sizes, fonts, colours, and its two files.

Sizes are those of a paper's page, so that letters have 7 to 8 points at column width. Colours are
told apart with any colour vision: Okabe and Ito's eight for categories, cividis for amounts, and
purple to orange for values with a sign.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pila.physics.layout import Category, Slot
from pila.video import written_whole

PAGE = 6.9
"""Width of both columns of a page [inches]."""
COLUMN = 3.4
"""Width of one."""
DPI = 200
"""Of the PNG; the PDF is drawn in vectors."""

INK, QUIET, GRID, NOWHERE = "#000000", "#6b6b6b", "#d9d9d9", "#c9c9c9"
FIRST, SECOND, THIRD = "#0072b2", "#d55e00", "#009e73"
AMOUNT, SIGNED = "cividis", "PuOr_r"
CATEGORY_COLOURS: dict[Category, str] = dict(
    zip(
        Category,
        (INK, "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
        strict=True,
    )
)
LINES = ("-", "--", ":", "-.")
"""Line styles, for those who print in grey."""
MATPLOTLIB = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "ytick.minor.size": 0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "white",
    # Letters as letters: a reader can search and copy them.
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Figures that are made, drawn and saved inside look like this."""
    from matplotlib import rc_context

    with rc_context(MATPLOTLIB):
        yield


def new_figure(*, height: float, width: float = PAGE) -> Any:
    """An empty figure of that size [inches]; it needs no display and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid(rows: int, columns: int, *, height: float, width: float = PAGE, **options: Any) -> Any:
    """A figure and its axes [rows, columns]; options go to `Figure.subplots`."""
    figure = new_figure(height=height, width=width)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def dense(figure: Any) -> None:
    """Little space between many small maps."""
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)


def bare(axes: Any) -> None:
    """No ticks and no frame: for pictures and maps."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def words(name: Category | Slot | str) -> str:
    """A name as people read it."""
    return str(name).replace("_", " ")


def heat(axes: Any, values: Any, rows: list[str], columns: list[str], **options: Any) -> Any:
    """A labelled heat map with the value in every cell; returns the image, for a colour bar."""
    import numpy as np

    values = np.asarray(values, float)
    image = axes.imshow(values, aspect="auto", **options)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            text = f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.1f}"
            axes.text(
                *(j, i, text), ha="center", va="center", fontsize=5.5, color=INK if light else "white"
            )
    return image


def save(figure: Any, folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.pdf and NAME.png; the same figure gives the same bytes.

    Raises:
        InputError: the folder cannot be written.
    """
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    # Laid out once for both files: with many panels that takes longer than drawing.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with written_whole(pdf) as part:
        figure.savefig(part, format="pdf", metadata={"CreationDate": None})
    with written_whole(png) as part:
        figure.savefig(part, format="png", dpi=DPI)
    return pdf, png
