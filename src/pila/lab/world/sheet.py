"""A contact sheet: clips as rows of frames, each under its scene, violation and caption."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pila.files import atomic_write
from pila.lab.world.registry import SCENES, scene_named, simulate
from pila.lab.world.scene import Canvas

FRAMES = 5
"""Of each clip; with more, they would be thumbnails on a telephone."""
WIDTH = 640
"""Pixels of a row at least; smaller clips are enlarged by a whole factor."""
LETTERS, LINE, GAP = 17, 23, 4
"""Pixels: size of letters (10 where the sheet is 390 wide), of a line of them, between frames."""
INK, PAPER = (235, 235, 235), (24, 24, 28)


def write_sheet(
    path: Path,
    scenes: Sequence[str] | None = None,
    *,
    violations: bool = True,
    seed: int = 0,
    canvas: Canvas | None = None,
) -> int:
    """Draw a true clip of each scene and, below it, each of its violations; returns the rows.

    Args:
        path: a PNG file.
        scenes: only these; all by default.
        violations: draw the broken twins too.
        seed: of all clips.
        canvas: size and length of the clips; the world's own by default.

    Raises:
        InputError: an unknown scene, a negative seed, or a file that cannot be written.
    """
    chosen = [scene_named(s).name for s in scenes] if scenes else list(SCENES)
    rows = [
        _row(scene, violation, seed, canvas or Canvas())
        for scene in chosen
        for violation in (None, *(SCENES[scene].violations if violations else ()))
    ]
    from PIL import Image

    with atomic_write(path) as part:
        Image.fromarray(np.concatenate(rows)).save(part, format="PNG")
    return len(rows)


def _row(scene: str, violation: str | None, seed: int, canvas: Canvas) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    clip = simulate(scene, seed, violation, canvas=canvas)
    chosen = np.linspace(0, len(clip.frames) - 1, FRAMES).round().astype(int)
    side = canvas.size * max(1, -(-WIDTH // (FRAMES * canvas.size)))
    width = FRAMES * side + (FRAMES - 1) * GAP
    kind = "true" if violation is None else violation.replace("_", " ")
    font = ImageFont.load_default(size=LETTERS)
    lines = _wrapped(f"{scene}: {kind}. {clip.caption}", font, width - 2 * GAP)
    bar = len(lines) * LINE
    row = Image.new("RGB", (width, bar + side + GAP), PAPER)
    for number, line in enumerate(lines):
        place = (GAP, number * LINE + LINE // 2)
        ImageDraw.Draw(row).text(place, line, fill=INK, font=font, anchor="lm")
    for i, frame in enumerate(clip.frames[chosen]):
        picture = Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)
        row.paste(picture, (i * (side + GAP), bar))
    return np.asarray(row)


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """A text in lines of at most that many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
