"""How every figure of `pila diagnose` looks: sizes, fonts, colours, and its two files.

Sizes are those of a paper's page, so that letters have 7 to 8 points at column width. Colours are
told apart with any colour vision: Okabe and Ito's eight for categories, cividis for amounts, and
purple to orange for values with a sign.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pila.files import atomic_write
from pila.physics.layout import Category, Slot

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
MATPLOTLIB: dict[Any, Any] = {
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


def words(name: Category | Slot | str) -> str:
    """A name as people read it."""
    return str(name).replace("_", " ")


def heat(axes: Any, values: Any, rows: list[str], columns: list[str], **options: Any) -> Any:
    """A labelled heat map with the value, within -1..1, in every cell; grey where there is none.

    Returns:
        The image, for a colour bar.
    """
    import numpy as np

    values = np.asarray(values, float)
    image = axes.imshow(values, aspect="auto", **options)
    image.set_cmap(image.get_cmap().with_extremes(bad=NOWHERE))
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (i, j), value in np.ndenumerate(values):
        text, colour = "none", INK
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            colour = INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            # Zero has no sign here, and no digit stands before the point.
            text = f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)
        axes.text(j, i, text, ha="center", va="center", fontsize=5.5, color=colour)
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
    with atomic_write(pdf) as part:
        figure.savefig(part, format="pdf", metadata={"CreationDate": None})
    with atomic_write(png) as part:
        figure.savefig(part, format="png", dpi=DPI)
    return pdf, png
