"""One reader for whatever videos people have: what a file asks for is done, or said in one line."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from pila import decoding
from pila.data.reading import read_clip, read_extent
from pila.data.records import ClipError, VideoRecord, View
from pila.errors import InputError
from pila.lab.benchmarks.judges.frames import sampled
from pila.lab.benchmarks.prompt_list import damage
from pila.video import read_video, write_lossless, write_video

VIEW = View(height=32, width=48, num_frames=9, fps=16)


def numbered(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frames whose grey is five times their number."""
    return np.stack([np.full((height, width, 3), 5 * k, np.uint8) for k in range(count)])


def numbers(frames: np.ndarray) -> list[int]:
    return np.rint(frames.mean((1, 2, 3)) / 5).astype(int).tolist()


def clip(path: Path, view: View = VIEW) -> np.ndarray:
    return read_clip(VideoRecord(name="a", caption="", categories=(), path=path), view)


def encode(container: Any, stream: Any, frames: np.ndarray) -> None:
    for frame in frames:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())


def video_stream(container: Any, codec: str, frames: np.ndarray, pixels: str = "yuv420p") -> Any:
    stream = container.add_stream(codec, rate=16)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixels
    return stream


def write(path: Path, frames: np.ndarray, codec: str = "mpeg4", **options: Any) -> None:
    with av.open(str(path), "w", **options) as container:
        encode(container, video_stream(container, codec, frames), frames)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_film_is_turned_as_it_asks(tmp_path, quarters):
    path = tmp_path / "a.mp4"
    frames = np.zeros((9, 32, 48, 3), np.uint8)
    frames[:, :16, :24] = 255  # the corner on the upper left
    write_lossless(path, frames, fps=16)
    # The turn is the matrix in the track's header, in 16.16 fixed point: cos, sin, -sin, cos.
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    cosine, sine = [(0, one), (-one, 0), (0, -one)][quarters - 1]
    for place, value in ((0, cosine), (4, sine), (12, -sine), (16, cosine)):
        struct.pack_into(">i", content, start + place, value)
    path.write_bytes(content)
    shown = np.rot90(frames, -quarters, axes=(1, 2))  # clockwise, as players turn it
    assert np.array_equal(read_video(path), shown)
    assert np.array_equal(sampled(path, 9), shown)
    upright = View(height=shown.shape[1], width=shown.shape[2], num_frames=9, fps=16)
    assert np.array_equal(clip(path, upright), shown)


@pytest.mark.parametrize("marked", [True, False])
def test_a_cover_picture_is_not_the_film(tmp_path, marked):
    path = tmp_path / "a.mkv"
    cover, frames = np.full((1, 64, 64, 3), 250, np.uint8), numbered(20)
    with av.open(str(path), "w") as container:
        first: Any = video_stream(container, "mjpeg", cover, "yuvj420p")
        if marked:
            first.disposition = Disposition.attached_pic
        second = video_stream(container, "libx264", frames)
        encode(container, first, cover)
        encode(container, second, frames)
    assert read_video(path).shape == (20, 32, 48, 3)
    assert numbers(clip(path)) == list(range(9))
    assert read_extent(VideoRecord(name="a", caption="", categories=(), path=path))[0] == 20


def test_a_size_that_changes_on_the_way(tmp_path):
    """Two recordings joined byte by byte, as broadcasts have them: the clock starts anew, too."""
    for name, frames in (("a", numbered(20)), ("b", 100 + numbered(20, 64, 96))):
        write(tmp_path / f"{name}.ts", frames, "mpeg2video", format="mpegts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    frames = read_video(joined)
    # FFmpeg leaves out one frame at the seam.
    assert frames.shape[1:] == (32, 48, 3)
    assert numbers(frames[:19]) == list(range(19))
    assert numbers(frames[-19:]) == list(range(21, 40))
    long = View(height=32, width=48, num_frames=37, fps=16)
    assert clip(joined, long).shape == (37, 32, 48, 3)
    assert sampled(joined, 4).shape == (4, 32, 48, 3)


def test_pixels_that_are_not_square(tmp_path):
    path = tmp_path / "a.mp4"
    frames = numbered(9)
    with av.open(str(path), "w") as container:
        stream = video_stream(container, "libx264", frames)
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        encode(container, stream, frames)
    assert read_video(path).shape == (9, 32, 96, 3)


@pytest.mark.parametrize("kind", ["h264", "m4v", "ivf", "mjpeg"])
def test_streams_without_a_duration(tmp_path, kind):
    codec = {"h264": "libx264", "m4v": "mpeg4", "ivf": "libvpx", "mjpeg": "mjpeg"}[kind]
    path = tmp_path / f"a.{kind}"
    frames = numbered(20)
    with av.open(str(path), "w", format=kind) as container:
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        encode(container, video_stream(container, codec, frames, pixels), frames)
    assert len(read_video(path)) == 20
    assert len(clip(path)) == 9


def test_a_variable_frame_rate_is_followed(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = video_stream(container, "mpeg4", numbered(1))
        stream.codec_context.time_base = Fraction(1, 1000)
        # 30 frames a second at first, then 15.
        times = [*(round(1000 * k / 30) for k in range(12)), *(400 + 66 * k for k in range(12))]
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(24)[k], format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = numbers(clip(path, View(height=32, width=48, num_frames=13, fps=16)))
    expected = [int(np.argmin(np.abs(np.array(times) - 62.5 * k))) for k in range(13)]
    assert np.abs(np.subtract(found, expected)).max() <= 1


@pytest.mark.parametrize("kind", ["webp", "png", "gif", "avif"])
def test_animated_pictures_are_films(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    frames = numbered(20)
    images = [Image.fromarray(frame) for frame in frames]
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0, **options)
    read = read_video(path)
    assert read.shape == (20, 32, 48, 3)
    assert np.abs(read.astype(int) - frames).max() <= 4
    # 20 a second seen at 16; half way between two either is nearest.
    assert np.abs(np.subtract(numbers(clip(path)), 1.25 * np.arange(9))).max() <= 0.5
    record = VideoRecord(name="a", caption="", categories=(), path=path)
    assert read_extent(record) == (20, pytest.approx(0.95))


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no film or not a whole one, each with what must be said of it."""
    rng = np.random.default_rng(0)
    write_video(folder / "whole.mp4", rng.integers(0, 256, (48, 64, 64, 3), np.uint8), fps=16)
    whole = (folder / "whole.mp4").read_bytes()
    write(folder / "whole.mkv", rng.integers(0, 256, (48, 64, 64, 3), np.uint8))
    with av.open(str(folder / "sound.wav"), "w") as container:
        sound: Any = container.add_stream("pcm_s16le", rate=8000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        tone.sample_rate = 8000
        container.mux(sound.encode(tone))
    huge = bytearray(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x00\x00\x00")
    huge += b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00\x3b"
    Image.fromarray(numbered(1)[0]).save(folder / "still.png")
    cv2.imwrite(str(folder / "still.jpg"), numbered(1)[0])
    files = {
        "cut.mp4": (whole[: len(whole) * 2 // 3], "corrupt|cut off"),
        "headless.mp4": (whole[len(whole) // 2 :], "not a video, or damaged"),
        "junk.webm": (b"\x1aE\xdf\xa3" + bytes(500), "not a video, or damaged|End of file"),
        "text.mp4": (b"This is no video at all. " * 50, "not a video, or damaged"),
        "huge.gif": (bytes(huge), "too large: at most 67,108,864 pixels"),
        "cut.webp": (b"RIFF\x10\x00\x00\x00WEBPVP8X", "corrupt"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    said = {name: why for name, (_, why) in files.items()}
    said |= {"sound.wav": "no video: the file has no video stream"}
    said |= {"still.png": "no video: a still picture"}
    return {name: (folder / name, why) for name, why in said.items()}


def test_what_is_no_film_is_said_in_one_line(tmp_path):
    for name, (path, why) in damaged(tmp_path).items():
        for read in (read_video, lambda p: sampled(p, 4)):
            with pytest.raises(InputError, match=why) as error:
                read(path)
            assert str(path) in str(error.value), name
            assert "\n" not in str(error.value)
            assert "Errno" not in str(error.value)
        if name != "cut.mp4":  # the first seconds are whole
            with pytest.raises(ClipError, match=why):
                clip(path)
            assert damage(path), name
        assert clip(tmp_path / "whole.mp4").shape == (9, 32, 48, 3)


def test_a_film_without_frames(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video_stream(container, "mpeg4", numbered(1))
        container.start_encoding()
    with pytest.raises(InputError, match=r"empty: the film has no frames|corrupt"):
        read_video(path)


def test_a_size_beyond_the_bound_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", numbered(9, 64, 64), fps=16)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 64 * 63)
    with pytest.raises(InputError, match=r"too large: pictures of 64 x 64; at most 4,032 pixels"):
        read_video(tmp_path / "a.mp4")


def test_a_long_film_is_not_held_in_memory(tmp_path, monkeypatch):
    frames = numbered(40)
    write_lossless(tmp_path / "a.mp4", frames, fps=16)
    monkeypatch.setattr("pila.video.MOST_BYTES", 30 * frames[0].nbytes)
    with pytest.raises(InputError, match=r"has more than 30 frames of 48 x 32"):
        read_video(tmp_path / "a.mp4")
    assert numbers(sampled(tmp_path / "a.mp4", 4)) == [0, 13, 26, 39]


def test_a_playlist_reaches_nothing_else(tmp_path):
    (tmp_path / "a.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(InputError, match="does not read as video"):
        read_video(tmp_path / "a.mp4")
