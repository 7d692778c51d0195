"""Video files read back as what was written."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pila.data.reading import read_clip
from pila.data.records import VideoRecord, View
from pila.errors import InputError
from pila.lab.benchmarks.prompt_list import damage
from pila.video import read_video, side_by_side, write_lossless, write_video


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


COLOURS = [(200, 30, 40), (30, 200, 40), (40, 30, 220), (240, 240, 10), (10, 200, 200)]


def test_players_are_told_the_colours_that_are_written(tmp_path):
    """Large, saturated pictures: untold, players take BT.709 for them, and colours shift by 20."""
    frames = np.stack([np.full((736, 1280, 3), colour, np.uint8) for colour in COLOURS])
    write_video(tmp_path / "clip.mp4", frames, fps=16)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        shown = list(container.decode(video=0))
    for frame, wanted in zip(shown, frames, strict=True):
        assert (frame.colorspace, frame.color_range) == (6, 1), "BT.601, 16 to 235"
        assert (frame.color_primaries, frame.color_trc) == (1, 1), "BT.709"
        red, green, blue = wanted[0, 0] / 255
        luma = 16 + 219 * (0.299 * red + 0.587 * green + 0.114 * blue)
        assert bytes(frame.planes[0])[0] == pytest.approx(luma, abs=2)
    assert np.abs(read_video(tmp_path / "clip.mp4").astype(int) - frames).max() <= 2


def test_lossless_files_stay_rgb(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    write_lossless(tmp_path / "clip.mp4", frames, fps=16)
    assert np.array_equal(read_video(tmp_path / "clip.mp4"), frames)


def test_titles_of_any_encoding(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w", metadata_encoding="latin-1") as container:
        container.metadata["title"] = "Glühwürmchen"
        stream: Any = container.add_stream("libx264", rate=16)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for frame in clip(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert read_video(tmp_path / "a.mp4").shape == (9, 32, 48, 3)
    record = VideoRecord(name="a", caption="", categories=(), path=tmp_path / "a.mp4")
    view = View(height=32, width=48, num_frames=9, fps=16)
    assert read_clip(record, view).shape == (9, 32, 48, 3)
    assert damage(tmp_path / "a.mp4") is None


def test_a_relative_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("12:30.mp4")
    write_video(path, clip(9), fps=16)
    assert read_video(path).shape == (9, 32, 48, 3)
    record = VideoRecord(name="a", caption="", categories=(), path=path)
    view = View(height=32, width=48, num_frames=9, fps=16)
    assert read_clip(record, view).shape == (9, 32, 48, 3)
    assert damage(path) is None


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 4096])
def test_junk_is_refused(tmp_path, content):
    (tmp_path / "junk.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"junk\.mp4"):
        read_video(tmp_path / "junk.mp4")


def test_a_codec_that_nobody_knows_is_refused(tmp_path):
    write_video(tmp_path / "a.mp4", clip(9), fps=16)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.count(b"avc1") >= 1
    (tmp_path / "a.mp4").write_bytes(content.replace(b"avc1", b"zzz1"))
    with pytest.raises(InputError, match=r"a\.mp4 does not read as video"):
        read_video(tmp_path / "a.mp4")


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
