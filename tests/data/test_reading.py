"""Videos in one rate, size and number of frames; what cannot be used, and why."""

import errno
import zipfile
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import pytest

from pila.data.reading import read_clip
from pila.data.records import ClipError, VideoRecord, View
from pila.decoding import fit
from pila.errors import InputError
from pila.video import write_lossless, write_video

VIEW = View(height=32, width=32, num_frames=9, fps=16)


def record(path, member=None):
    return VideoRecord(name="clip", caption="", categories=(), path=path, member=member)


def numbered(count, height=32, width=32):
    """Frames whose grey is ten times their number."""
    return np.stack([np.full((height, width, 3), 10 * k, np.uint8) for k in range(count)])


def numbers(frames):
    return np.rint(frames.mean((1, 2, 3)) / 10).astype(int).tolist()


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (16, list(range(9))),
        (32, list(range(0, 17, 2))),
        (24, [0, 1, 3, 4, 6, 7, 9, 10, 12]),
        (15, [0, 1, 2, 3, 4, 5, 6, 7, 7]),
    ],
)
def test_frames_nearest_in_time(tmp_path, rate, expected):
    write_lossless(tmp_path / "a.mp4", numbered(20), fps=rate)
    found = numbers(read_clip(record(tmp_path / "a.mp4"), VIEW))
    # Half way between two frames either is nearest.
    assert np.abs(np.subtract(found, expected)).max() <= (rate == 24)
    if rate != 24:
        assert found == expected


def test_the_middle_of_the_picture_is_seen(tmp_path):
    frames = np.zeros((9, 64, 192, 3), np.uint8)
    frames[:, :, 64:128] = 200
    write_lossless(tmp_path / "a.mp4", frames, fps=16)
    assert (read_clip(record(tmp_path / "a.mp4"), VIEW) == 200).all()


def test_pixels_are_made_square():
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, 48:] = 255
    # Pixels twice as wide as high: the middle half of the columns is as wide as the height.
    assert not fit(picture, (32, 32), pixel=2.0)[:, :30].any()


def test_members_of_archives(tmp_path):
    write_lossless(tmp_path / "a.mp4", numbered(9), fps=16)
    with zipfile.ZipFile(tmp_path / "0.zip", "w") as archive:
        archive.write(tmp_path / "a.mp4", "deep/0/a.mp4")
        archive.writestr("empty.mp4", b"")
    frames = read_clip(record(tmp_path / "0.zip", "deep/0/a.mp4"), VIEW)
    assert numbers(frames) == list(range(9))
    with pytest.raises(ClipError, match=r"^empty: empty.mp4 in 0.zip has 0 bytes"):
        read_clip(record(tmp_path / "0.zip", "empty.mp4"), VIEW)
    with pytest.raises(ClipError, match=r"^missing: 0.zip holds no b.mp4"):
        read_clip(record(tmp_path / "0.zip", "b.mp4"), VIEW)
    content = bytearray((tmp_path / "0.zip").read_bytes())
    content[200] ^= 255
    (tmp_path / "0.zip").write_bytes(content)
    with pytest.raises(ClipError, match=r"^corrupt: deep/0/a.mp4 in 0.zip"):
        read_clip(record(tmp_path / "0.zip", "deep/0/a.mp4"), VIEW)


def test_what_cannot_be_used_says_why(tmp_path):
    def reason(content=None, frames=None, fps=16.0):
        path = tmp_path / "clip.mp4"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        if frames is not None:
            write_video(path, frames, fps=fps)
        with pytest.raises(ClipError) as error:
            read_clip(record(path), VIEW)
        return str(error.value)

    assert reason(b"").startswith("empty: ")
    assert reason(b"no video" * 100).startswith("corrupt: ")
    assert reason(frames=numbered(8)) == "too short: 8 of 9 frames at 16 per second"
    assert reason(frames=numbered(20), fps=12.0).startswith("too slow: 12 frames per second")
    write_video(tmp_path / "whole.mp4", numbered(20, 64, 64), fps=16)
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert reason(whole[: len(whole) // 2]).split(":")[0] in ("corrupt", "too short")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"height": 40}, "height is 40.*try 32"),
        ({"width": 16}, "width is 16.*try 32"),
        ({"num_frames": 12}, "num_frames is 12.*try 9"),
        ({"fps": 0.0}, "fps is 0.0"),
    ],
)
def test_a_view_that_no_model_takes(wrong, message):
    with pytest.raises(InputError, match=message):
        View(**{"height": 32, "width": 32, "num_frames": 9, "fps": 16.0} | wrong)


def test_a_file_that_is_gone_or_a_disk_that_fails_is_no_fault_of_the_clip(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"gone\.mp4 cannot be reached .*no such file any more"):
        read_clip(record(tmp_path / "gone.mp4"), VIEW)
    write_lossless(tmp_path / "a.mp4", numbered(9), fps=16)

    def stale(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("pila.decoding.av.open", stale)
    with pytest.raises(InputError, match=r"cannot be reached .*Stale"):
        read_clip(record(tmp_path / "a.mp4"), VIEW)


@pytest.mark.parametrize(("hole", "fits"), [(4, True), (12, False)])
def test_a_hole_in_time_is_not_filled_in(tmp_path, hole, fits):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = cast(Any, container.add_stream("mpeg4", rate=16))
        stream.width = stream.height = 32
        for k, picture in enumerate(np.zeros((120, 32, 32, 3), np.uint8)):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = k + hole * (k >= 6), Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if fits:
        assert len(read_clip(record(path), VIEW)) == 9
    else:
        with pytest.raises(ClipError, match=r"^gap: 0.8 s without a frame after 0.31 s"):
            read_clip(record(path), VIEW)
