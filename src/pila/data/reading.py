"""Video files as frames of one rate, size and number; what cannot be used says why."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError

from pila.data.records import ClipError, VideoRecord, View
from pila.errors import InputError

GAP = 0.5
"""Most seconds between two frames; what a longer hole hides cannot be filled in."""
SLOW = 0.9
"""Least frame rate of a file over the one that is asked for: frames cannot be made up."""
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises for damaged, missing, oddly packed and locked members."""


def read_clip(record: VideoRecord, view: View) -> np.ndarray:
    """A record's frames [t, h, w, 3] uint8: the first ones of the file, at the view's rate.

    Each is the file's frame nearest to its time, cropped about its middle to the view's shape and
    resized. Decoding ends with the last frame that is needed.

    Raises:
        ClipError: the file is empty, damaged, too slow or too short, or has a hole in its time.
        InputError: the file, which was listed, is gone, or its disk does not answer: it is not
            the clip's fault, and may be over at the next try.
    """
    picked = list(islice(read_frames(record, view), view.num_frames))
    if len(picked) < view.num_frames:
        raise ClipError(
            f"too short: {len(picked)} of {view.num_frames} frames at {view.fps:.4g} per second"
        )
    return np.stack(picked)


def read_frames(record: VideoRecord, view: View) -> Iterator[np.ndarray]:
    """All of a record's frames [h, w, 3] uint8 one by one, as `read_clip` picks them.

    Raises:
        ClipError: the file is empty, damaged or too slow, or has a hole in its time.
        InputError: as `read_clip`.
    """
    try:
        with _opened(record) as container:
            yield from _stream(container, view)
    except (FFmpegError, cv2.error, EOFError) as error:
        raise ClipError(f"corrupt: {_one_line(error)}") from error
    except InputError:
        raise
    except OSError as error:
        raise _unreachable(record.path, error) from error
    except ValueError as error:
        raise ClipError(f"corrupt: {_one_line(error)}") from error


@contextmanager
def _opened(record: VideoRecord) -> Iterator[Any]:
    content = _content(record.path, record.member)
    with av.open(content, mode="r", metadata_errors="replace") as container:
        yield container


def _content(path: Path, member: str | None) -> str | io.BytesIO:
    """What PyAV opens: the path of a file, or the bytes of an archive's member."""
    if not path.is_file():
        raise _unreachable(path, "there is no such file any more")
    if member is None:
        if path.stat().st_size == 0:
            raise ClipError(f"empty: {path} has 0 bytes")
        return str(path.absolute())  # FFmpeg takes what stands before a colon for a protocol
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(member)  # checks the member's CRC
    except KeyError as error:
        raise ClipError(f"missing: {path.name} holds no {member}") from error
    except OSError as error:
        raise _unreachable(path, error) from error
    except _BROKEN_ARCHIVE as error:
        raise ClipError(f"corrupt: {member} in {path.name} ({_one_line(error)})") from error
    if not content:
        raise ClipError(f"empty: {member} in {path.name} has 0 bytes")
    return io.BytesIO(content)


def _stream(container: Any, view: View) -> Iterator[np.ndarray]:
    """The view's frames one after the other, as far as the file goes."""
    if not container.streams.video:
        raise ClipError("no video: the file has no video stream")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # the pool's processes are the threads
    rate = float(stream.average_rate or stream.guessed_rate or view.fps)
    if rate < SLOW * view.fps:
        raise ClipError(f"too slow: {rate:.4g} frames per second, {view.fps:.4g} are wanted")
    pixel = float(stream.sample_aspect_ratio or 1)
    held: _Held | None = None
    start = None
    picked = 0
    for number, frame in enumerate(container.decode(stream)):
        time = number / rate if frame.time is None else float(frame.time)
        if frame.is_corrupt:
            raise ClipError(f"corrupt: the frame at {time:.2f} s is damaged")
        start = time if start is None else start
        time -= start
        if held is not None:
            if time <= held.time:  # a repeated or disordered time stamp
                continue
            if time - held.time > max(GAP, 3 / rate):
                hole = f"{time - held.time:.1f} s without a frame after {held.time:.2f} s"
                raise ClipError(f"gap: {hole}")
            # The held frame is the nearest one for all times up to half way to the next.
            while picked / view.fps <= (held.time + time) / 2:
                yield held.image(view)
                picked += 1
        held = _Held(time, frame, pixel)
    if held is not None:
        while picked / view.fps <= held.time + 0.5 / rate:
            yield held.image(view)
            picked += 1


class _Held:
    """A frame that is converted when it is first wanted."""

    def __init__(self, time: float, frame: Any, pixel: float) -> None:
        self.time, self.frame, self.pixel = time, frame, pixel
        self._image: np.ndarray | None = None

    def image(self, view: View) -> np.ndarray:
        if self._image is None:
            picture = self.frame.to_ndarray(format="rgb24")
            self._image = fit(picture, view, self.pixel, self.frame.rotation)
        return self._image


def fit(picture: np.ndarray, view: View, pixel: float = 1.0, turned: int = 0) -> np.ndarray:
    """A picture [h, w, 3] in the view's size: turned upright, cropped about its middle, resized.

    Args:
        picture: uint8.
        view: height and width.
        pixel: width of a pixel over its height, as the file has it before it is turned.
        turned: anticlockwise turn that the file asks for [degrees].
    """
    quarters = round(turned / 90) % 4
    if quarters:
        picture = np.rot90(picture, quarters)
    if quarters % 2:
        pixel = 1 / pixel
    h, w = picture.shape[:2]
    # The crop in pixels of the file: as wide for its height as the view.
    shape = view.width / view.height / pixel
    crop_w, crop_h = min(w, round(h * shape)), min(h, round(w / shape))
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    cropped = np.ascontiguousarray(picture[top : top + crop_h, left : left + crop_w])
    how = cv2.INTER_AREA if crop_h >= view.height else cv2.INTER_CUBIC
    return cv2.resize(cropped, (view.width, view.height), interpolation=how)


def _unreachable(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} cannot be reached ({why}); see to its disk and run the same command again: what "
        "is finished is kept"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
