"""How the showcase looks: cells of one scene each, looping, readable on a telephone."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pila.files import atomic_write
from pila.lab.experiments.clips import FROZEN

if TYPE_CHECKING:
    from pila.lab.experiments.showcase import Example

ACROSS = 2
"""Scenes beside each other: with more, a clip would be a thumbnail on a telephone."""
FACTOR = 3
"""Enlargement of a clip; a whole number, so that every pixel is enlarged alike."""
GAP, MARGIN, LINE = 8, 14, 32
"""Pixels between clips, around a scene, and of a line of words."""
SIZE = 22
"""Of the letters [pixels]: 10 where the whole picture is 390 pixels wide."""
LAWS = 3
"""Broken laws that are named, at most; the worst come first."""
SLOWER = 1.6
"""Times slower than the clips' own rate, so that an eye can follow."""
REST = 900
"""Milliseconds for which the last frame stands."""
PAPER, EDGE, INK, QUIET = "#ffffff", "#d9d9d9", "#1a1a1a", "#5a5a5a"
WRONG, RIGHT = "#b34700", "#005b96"
"""Dark orange and blue: told apart with any colour vision, and readable on white."""


def draw(examples: Sequence["Example"], path: Path, *, fps: float) -> Path:
    """Write the looping WebP.

    Args:
        examples: in the order of reading, their clips of one size.
        path: of the file.
        fps: the clips' own frames per second; they are shown slower.

    Raises:
        InputError: the file cannot be written.
    """
    pictures = pages(examples)
    step = round(1000 * SLOWER / fps)
    durations = [step] * (len(pictures) - 1) + [REST]
    with atomic_write(path) as part:
        pictures[0].save(
            part,
            format="WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            quality=80,
            method=4,
        )
    return path


def pages(examples: Sequence["Example"]) -> list[Any]:
    """A PIL picture for each frame."""
    from PIL import Image, ImageDraw

    frames, side = examples[0].truth.frames.shape[:2]
    clip = FACTOR * side
    cell = (2 * clip + GAP, 2 * clip + 3 * LINE)
    rows = -(-len(examples) // ACROSS)
    size = (ACROSS * (cell[0] + 2 * MARGIN), rows * (cell[1] + 2 * MARGIN))
    base = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(base)
    places: list[tuple[np.ndarray, tuple[int, int]]] = []
    for number, one in enumerate(examples):
        x = MARGIN + number % ACROSS * (cell[0] + 2 * MARGIN)
        y = MARGIN + number // ACROSS * (cell[1] + 2 * MARGIN)
        places += _cell(pen, one, x, y, clip)
        edge = (x - MARGIN, y - MARGIN, x + cell[0] + MARGIN, y + cell[1] + MARGIN)
        pen.rectangle(edge, outline=EDGE)
    made = []
    for index in range(frames):
        page = base.copy()
        for shown, place in places:
            picture = Image.fromarray(shown[index])
            page.paste(picture.resize((clip, clip), Image.Resampling.LANCZOS), place)
        made.append(page)
    return made


def _cell(
    pen: Any, one: "Example", x: int, y: int, clip: int
) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """Draw a scene's words, and say where its clips go."""
    end, right, below = x + 2 * clip + GAP, x + clip + GAP, y + 2 * LINE + clip
    middle = LINE // 2
    pen.text((x, y + middle), _words(one.scene), fill=INK, font=_font(bold=True), anchor="lm")
    pen.text((end, y + middle), _words(one.category), fill=QUIET, font=_font(), anchor="rm")
    corrected = next(name for name in one.clips if name != FROZEN)
    shown = (
        (one.clips[FROZEN], "frozen", WRONG, (x, y + 2 * LINE)),
        (one.clips[corrected], "PILA", RIGHT, (x, below + LINE)),
        (one.truth.frames, "true", QUIET, (right, y + 2 * LINE)),
    )
    for _, name, colour, (left, top) in shown:
        place = (left, top - middle)
        pen.text(place, name, fill=colour, font=_font(bold=True), anchor="lm")
    said = [("frozen breaks", WRONG, True)]
    said += [(_words(law), WRONG, False) for law in one.broken[:LAWS]]
    said += [("PILA obeys all", RIGHT, True)]
    for number, (line, colour, bold) in enumerate(said):
        place = (right, below + LINE + middle + number * LINE)
        pen.text(place, line, fill=colour, font=_font(bold=bold), anchor="lm")
    return [(frames, place) for frames, _, _, place in shown]


def _words(name: str) -> str:
    return str(name).replace("_", " ")


@cache
def _font(*, bold: bool = False) -> Any:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", name), SIZE)
