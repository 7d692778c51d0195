"""A contact sheet: clips as rows of frames, each under its scene, violation and caption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pila.video import written_whole
from pila.world.registry import SCENES, scene_named, simulate
from pila.world.scene import Canvas

FRAMES = 9
BAR = 22
GAP = 4
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

    with written_whole(path) as part:
        Image.fromarray(np.concatenate(rows)).save(part, format="PNG")
    return len(rows)


def _row(scene: str, violation: str | None, seed: int, canvas: Canvas) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    clip = simulate(scene, seed, violation, canvas=canvas)
    chosen = np.linspace(0, len(clip.frames) - 1, FRAMES).round().astype(int)
    width = FRAMES * canvas.size + (FRAMES - 1) * GAP
    row = Image.new("RGB", (width, BAR + canvas.size + GAP), PAPER)
    kind = "true" if violation is None else violation.replace("_", " ")
    ImageDraw.Draw(row).text(
        (4, BAR // 2),
        f"{scene}: {kind}. {clip.caption}",
        fill=INK,
        font=ImageFont.load_default(size=13),
        anchor="lm",
    )
    for i, frame in enumerate(clip.frames[chosen]):
        row.paste(Image.fromarray(frame), (i * (canvas.size + GAP), BAR))
    return np.asarray(row)
