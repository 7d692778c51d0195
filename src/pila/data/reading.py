"""Video files as frames of one rate, size and number; what cannot be used says why."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pila.data.records import ClipError, VideoRecord, View
from pila.decoding import DecodeError, Film, Picture, fit, open_film
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
    with _opened(record) as film:
        yield from _picked(film, view)


def read_extent(record: VideoRecord) -> tuple[int, float]:
    """How many frames a record's file has, and the seconds from the first to the last.

    Raises:
        ClipError: the file is empty or damaged.
        InputError: as `read_clip`.
    """
    with _opened(record) as film:
        return film.extent()


@contextmanager
def _opened(record: VideoRecord) -> Iterator[Film]:
    try:
        with open_film(_content(record.path, record.member)) as film:
            yield film
    except (DecodeError, cv2.error) as error:
        raise ClipError(_one_line(error)) from error
    except InputError:
        raise
    except OSError as error:
        raise _unreachable(record.path, error.strerror or error) from error


def _content(path: Path, member: str | None) -> Path | bytes:
    """What is decoded: the path of a file, or the bytes of an archive's member."""
    if not path.is_file():
        raise _unreachable(path, "there is no such file any more")
    if member is None:
        if path.stat().st_size == 0:
            raise ClipError(f"empty: {path} has 0 bytes")
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(member)  # checks the member's CRC
    except KeyError as error:
        raise ClipError(f"missing: {path.name} holds no {member}") from error
    except OSError as error:
        raise _unreachable(path, error.strerror or error) from error
    except _BROKEN_ARCHIVE as error:
        raise ClipError(f"corrupt: {member} in {path.name} ({_one_line(error)})") from error
    if not content:
        raise ClipError(f"empty: {member} in {path.name} has 0 bytes")
    return content


def _picked(film: Film, view: View) -> Iterator[np.ndarray]:
    """The view's frames one after the other, as far as the film goes."""
    if film.rate < SLOW * view.fps:
        raise ClipError(f"too slow: {film.rate:.4g} frames per second, {view.fps:.4g} are wanted")
    held: _Held | None = None
    picked = 0
    for picture in film.pictures:
        if held is not None:
            if picture.time <= held.time:  # a repeated or disordered time stamp
                continue
            if picture.time - held.time > max(GAP, 3 / film.rate):
                hole = f"{picture.time - held.time:.1f} s without a frame after {held.time:.2f} s"
                raise ClipError(f"gap: {hole}")
            # The held frame is the nearest one for all times up to half way to the next.
            while picked / view.fps <= (held.time + picture.time) / 2:
                yield held.image(view)
                picked += 1
        held = _Held(picture)
    if held is not None:
        while picked / view.fps <= held.time + 0.5 / film.rate:
            yield held.image(view)
            picked += 1


class _Held:
    """A frame that is converted when it is first wanted."""

    def __init__(self, picture: Picture) -> None:
        self.time, self.picture = picture.time, picture
        self._image: np.ndarray | None = None

    def image(self, view: View) -> np.ndarray:
        if self._image is None:
            shape = (view.height, view.width)
            self._image = fit(self.picture.rgb(), shape, self.picture.pixel)
        return self._image


def _unreachable(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} cannot be reached ({why}); see to its disk and run the same command again: what "
        "is finished is kept"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
