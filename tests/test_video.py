"""Video files appear whole or not at all, and read back as what was written."""

import os
import time

import numpy as np
import pytest

from pila.errors import InputError
from pila.video import (
    LEFT_OVER,
    clear_left_over,
    read_video,
    side_by_side,
    write_video,
    written_whole,
)


def clip(frames=9, height=32, width=48):
    t, y, x = np.mgrid[:frames, :height, :width]
    grey = (20 + 4 * x + 2 * y + 3 * t) % 256
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


def test_round_trip(tmp_path):
    smooth = np.full((9, 32, 48, 3), (200, 120, 40), np.uint8)
    smooth[3:] = (40, 120, 200)
    write_video(tmp_path / "deep" / "clip.mp4", smooth, fps=16)
    back = read_video(tmp_path / "deep" / "clip.mp4")
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).max() <= 4
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_broken_write(tmp_path, error):
    (tmp_path / "kept.txt").write_text("before")

    def write():
        with written_whole(tmp_path / "kept.txt") as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "before"


def test_full_disk_is_an_input_error(tmp_path):
    def write():
        with written_whole(tmp_path / "clip"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"No space left on device; free space"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 4096])
def test_junk_is_refused(tmp_path, content):
    (tmp_path / "junk.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"junk\.mp4"):
        read_video(tmp_path / "junk.mp4")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_video(tmp_path / "none.mp4")


@pytest.mark.parametrize(("height", "factor"), [(32, 9), (96, 3), (480, 1)])
def test_side_by_side_enlarges_small_clips(height, factor):
    left, right = clip(2, height, 64), 255 - clip(2, height, 64)
    both = side_by_side([left, right], ["frozen", "PILA"])
    t, h, w, _ = both.shape
    assert t == 2
    assert h == 32 + factor * height
    assert w == 2 * factor * 64 + 8
    assert both[0, :32].max() > 200, "the bar carries names"
    assert np.abs(both[:, 32:, : factor * 64].mean() - left.mean()) < 3


def test_only_old_parts_are_left_over(tmp_path):
    for name, age in ((".a.mp4.1.part", 2 * LEFT_OVER), (".b.mp4.2.part", 0.0)):
        (tmp_path / name).write_bytes(b"half")
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    clear_left_over(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".b.mp4.2.part"]
