"""The contact sheet: captions are whole, whatever their length and the clips' size."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from pila.lab.world import Canvas
from pila.lab.world.sheet import FRAMES, GAP, LETTERS, PAPER, WIDTH, _wrapped, write_sheet


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_words_stay_on_the_sheet(tmp_path, size):
    rows = write_sheet(
        tmp_path / "sheet.png", ["soft_ball"], canvas=Canvas(size=size, num_frames=9)
    )
    assert rows > 1
    with Image.open(tmp_path / "sheet.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] >= WIDTH + GAP * (FRAMES - 1)
    # The first line of words: the paper is free at its end.
    assert (pixels[:LETTERS, -GAP:] == PAPER).all()


def test_long_captions_take_more_lines():
    font = ImageFont.load_default(size=LETTERS)
    text = "a ball " * 60
    lines = _wrapped(text, font, 300)
    assert " ".join(lines) == text.strip()
    assert max(font.getlength(line) for line in lines) <= 300
