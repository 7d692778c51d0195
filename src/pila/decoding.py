"""Any video file as upright pictures in the order of time; the one place where files are decoded.

FFmpeg reads films, Pillow animated pictures (GIF, WebP, APNG, AVIF). Cover pictures are no film,
files that ask for a turn get it, and one picture at a time is held, however long the file is.
"""

import errno
import io
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 2**26
"""Of a picture that is decoded: 8,192 x 8,192. A header may ask for any memory that there is."""
USUAL_RATE = 25.0
"""Frames per second where a file says nothing, as FFmpeg takes it for raw streams."""
JUMP = 0.5
"""Seconds back in time from which on a new recording begins, as in joined files."""
CUT = 0.9
"""Share of the frames and of the time that a file announces; with less of both it is cut off."""
LEAST_DELAY, DELAY = 0.011, 0.1
"""Seconds: animated pictures that ask for less than the one are shown with the other, as browsers
show them."""
_DISK_ERRORS = frozenset((errno.ESTALE, errno.EACCES, errno.EPERM))
"""The disk's and not the content's. EIO is both: demuxers say it of files that end too soon."""
_OWN_FILE = {"protocol_whitelist": "file"}
"""For FFmpeg: what is a playlist inside may not make it fetch from the network."""
_COVERS = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_PICTURE_CODECS = frozenset(("mjpeg", "png", "bmp", "webp", "gif", "tiff", "mjpegb", "jpegls"))
"""Codecs of covers that are not marked as such; they are films where there is nothing else."""


class DecodeError(Exception):
    """A file that is no film, or is damaged. What was found, particulars after a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One frame of a film.

    Attributes:
        time: seconds after the first frame; it may repeat or fall back a little.
        pixel: width of a pixel over its height, upright.
        rgb: makes the picture [h, w, 3] uint8, upright.
    """

    time: float
    pixel: float
    rgb: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """An open film.

    Attributes:
        rate: frames per second, on average, as the file says.
        pictures: all frames, once; decoding goes on as they are asked for.
        extent: number of frames and seconds from the first to the last, without decoding films;
            `pictures` is used up by it.
    """

    rate: float
    pictures: Iterator[Picture]
    extent: Any


@contextmanager
def open_film(content: Path | bytes) -> Iterator[Film]:
    """Open a film, by its path or its bytes.

    Raises:
        DecodeError: no film, or a damaged one; also while its pictures are asked for.
        OSError: the disk does not answer.
    """
    with ExitStack() as stack:
        with _told():
            film = (_animation if _is_animation(content) else _film)(stack, content)
        yield film


@contextmanager
def _told() -> Iterator[None]:
    """What the libraries raise for damaged files, as `DecodeError`."""
    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise OSError(error.errno, os.strerror(error.errno)) from error
        raise DecodeError(f"corrupt: {_reason(error)}") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(f"too large: at most {MOST_PIXELS:,} pixels are read") from error
    except (
        UnidentifiedImageError,
        EOFError,
        SyntaxError,
        ValueError,
        struct.error,
    ) as error:
        raise DecodeError(f"corrupt: {_reason(error)}") from error
    except OSError as error:
        if error.errno is None:  # Pillow's for what it cannot decode
            raise DecodeError(f"corrupt: {_reason(error)}") from error
        raise


def _reason(error: Exception) -> str:
    """An error in one line, without a library's numbers."""
    if isinstance(error, InvalidDataError | UnidentifiedImageError):
        return "not a video, or damaged"
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split()) or type(error).__name__


def _is_animation(content: Path | bytes) -> bool:
    if isinstance(content, bytes):
        head = content[:16]
    else:
        with content.open("rb") as file:
            head = file.read(16)
    return (
        head.startswith((b"GIF8", b"\x89PNG\r\n\x1a\n"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[4:12] in (b"ftypavif", b"ftypavis")
    )


def _film(stack: ExitStack, content: Path | bytes) -> Film:
    # FFmpeg takes what stands before a colon in a relative path for a protocol.
    source = io.BytesIO(content) if isinstance(content, bytes) else str(content.absolute())
    # Titles may be of any encoding.
    container = stack.enter_context(
        av.open(source, mode="r", options=_OWN_FILE, metadata_errors="replace")
    )
    stream = _moving_stream(container)
    _check_size(stream.codec_context.width, stream.codec_context.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # sizes change on the way, too
    rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
    return Film(
        rate=rate,
        pictures=_decoded(container, stream, rate),
        extent=partial(_extent, container, stream, rate),
    )


def _moving_stream(container: Any) -> Any:
    """The film among a file's video streams: no cover, marked as the default, the first."""
    streams = container.streams.video
    if not streams:
        raise DecodeError("no video: the file has no video stream")
    moving = [stream for stream in streams if not stream.disposition & _COVERS]
    if not moving:
        raise DecodeError("no video: the only picture in the file is a cover or a still")

    moving = [stream for stream in moving if stream.codec_context is not None]
    if not moving:
        raise DecodeError("no decoder: FFmpeg does not know the codec of the film")

    def order(stream: Any) -> tuple[bool, bool]:
        picture = stream.codec_context.name in _PICTURE_CODECS
        return picture, not stream.disposition & Disposition.default

    return min(moving, key=order)


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise DecodeError(
            f"too large: pictures of {width} x {height}; at most {MOST_PIXELS:,} pixels are read, "
            "so scale it down"
        )


def _decoded(container: Any, stream: Any, rate: float) -> Iterator[Picture]:
    with _told():
        yield from _frames(container, stream, rate)


def _frames(container: Any, stream: Any, rate: float) -> Iterator[Picture]:
    stream.codec_context.thread_count = 1  # the pool's processes are the threads
    pixel = float(stream.sample_aspect_ratio or 1) or 1.0
    clock, count, last = _Clock(rate), 0, 0.0
    for frame in container.decode(stream):
        last, count = clock(frame.time), count + 1
        if frame.is_corrupt:
            raise DecodeError(f"corrupt: the frame at {last:.2f} s is damaged")
        quarters = round(frame.rotation / 90) % 4
        yield Picture(
            time=last,
            pixel=1 / pixel if quarters % 2 else pixel,
            rgb=partial(_upright, frame, quarters),
        )
    if not count:
        raise DecodeError("empty: the film has no frames")
    # Headers may be wrong about either, above all in files that were edited.
    seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if count < CUT * stream.frames and last + 1 / rate < min(CUT * seconds, seconds - JUMP):
        raise DecodeError(
            f"cut off: {count} of {stream.frames} frames, {last:.2f} of {seconds:.2f} s"
        )


def _upright(frame: Any, quarters: int) -> np.ndarray:
    picture = frame.to_ndarray(format="rgb24")
    return np.rot90(picture, quarters) if quarters else picture


class _Clock:
    """Time stamps as seconds after the first; where they start again, time goes on."""

    def __init__(self, rate: float) -> None:
        self.step = 1 / rate
        self.offset: float | None = None
        self.last = -self.step

    def __call__(self, stamp: float | None) -> float:
        following = self.last + self.step
        if stamp is None:
            time = following
        elif self.offset is None or stamp - self.offset < self.last - JUMP:
            self.offset = float(stamp) - following
            time = following
        else:
            time = float(stamp) - self.offset
        self.last = max(self.last, time)
        return time


def _extent(container: Any, stream: Any, rate: float) -> tuple[int, float]:
    """Frames and seconds, from the packets alone; they come in the order of decoding."""
    count, stamps = 0, []
    clock = _Clock(rate)
    with _told():
        for packet in container.demux(stream):
            if packet.size:
                count += 1
                stamps.append(clock(None if packet.dts is None else packet.dts * packet.time_base))
    return count, max(stamps) - min(stamps) if stamps else 0.0


def _animation(stack: ExitStack, content: Path | bytes) -> Film:
    image = stack.enter_context(_opened(content))
    count = getattr(image, "n_frames", 1)
    if count < 2:
        raise DecodeError("no video: a still picture")
    times = [0.0]
    for index in range(count - 1):
        image.seek(index)
        image.load()  # some formats tell a frame's time with its picture
        delay = float(image.info.get("duration") or 0) / 1000
        times.append(times[-1] + (delay if delay >= LEAST_DELAY else DELAY))
    return Film(
        rate=(count - 1) / times[-1],
        pictures=_shown(content, times),
        extent=lambda: (count, times[-1]),
    )


def _opened(content: Path | bytes) -> Any:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound here is lower
        image = Image.open(source)
    _check_size(*image.size)
    return image


def _shown(content: Path | bytes, times: Sequence[float]) -> Iterator[Picture]:
    # Opened once more: not every format goes back to its beginning.
    with _told(), _opened(content) as image:
        for index, time in enumerate(times):
            image.seek(index)
            # Transparent places are drawn on white, as pages show them.
            shown = Image.new("RGBA", image.size, "white")
            shown.alpha_composite(image.convert("RGBA"))
            yield Picture(time=time, pixel=1.0, rgb=partial(np.array, shown.convert("RGB")))


def fit(picture: np.ndarray, shape: tuple[int, int], pixel: float = 1.0) -> np.ndarray:
    """A picture [h, w, 3] in another size: cropped about its middle, resized.

    Args:
        picture: uint8, upright.
        shape: height and width of the result.
        pixel: width of a pixel over its height.
    """
    import cv2

    h, w = picture.shape[:2]
    height, width = shape
    # The crop in pixels of the file: as wide for its height as the result.
    wide = width / height / pixel
    crop_w, crop_h = max(1, min(w, round(h * wide))), max(1, min(h, round(w / wide)))
    if (crop_h, crop_w) == shape == (h, w):
        return picture
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    cropped = np.ascontiguousarray(picture[top : top + crop_h, left : left + crop_w])
    how = cv2.INTER_AREA if crop_h >= height else cv2.INTER_CUBIC
    return cv2.resize(cropped, (width, height), interpolation=how)
