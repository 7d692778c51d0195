"""Video files: written whole or not at all, read as uint8 frames, shown beside each other."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from pila.errors import InputError
from pila.files import atomic_write

CRF = 12
"""x264's quality for clips to look at: no visible loss. Measure on frames or on lossless RGB:
4:2:0 chroma alone costs saturated colours down to 28 dB."""
MOST_BYTES = 2**31
"""Of frames that `read_video` holds at once; what takes more is read frame by frame."""
BT601, BT709, LIMITED = 6, 1, 1
"""FFmpeg's numbers for a matrix, for primaries and a transfer curve, and for a range."""
MIN_VIEW_HEIGHT = 288
BAR_HEIGHT = 32
GAP = 8
INK, PAPER = (240, 240, 240), (24, 24, 28)


def write_video(path: Path, frames: np.ndarray, *, fps: float) -> None:
    """Write frames [t, h, w, 3] uint8 as H.264 mp4 that every player takes.

    Raises:
        InputError: the file cannot be written.
    """
    options = {"crf": str(CRF), "preset": "medium", "movflags": "+faststart"}
    # x264's macroblock tree reads memory it has not set where AVX-512 meets pictures a few blocks
    # wide: the same frames then give one of two files. Without it they give one.
    options["x264-params"] = "mbtree=0"
    _write(path, frames, fps, "libx264", "yuv420p", options)


def write_lossless(path: Path, frames: np.ndarray, *, fps: float) -> None:
    """Write frames [t, h, w, 3] uint8 as H.264 RGB that reads back bit for bit; for measuring.

    Raises:
        InputError: the file cannot be written.
    """
    _write(path, frames, fps, "libx264rgb", "rgb24", {"crf": "0", "preset": "fast"})


def _write(
    path: Path, frames: np.ndarray, fps: float, codec: str, pixels: str, options: dict[str, str]
) -> None:
    import av

    # FFmpeg takes what stands before a colon in a relative path for a protocol.
    with (
        atomic_write(path) as part,
        av.open(str(part.absolute()), "w", format="mp4") as container,
    ):
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast(Any, container.add_stream(codec, rate=rate))  # typed as a union of kinds
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.options = options
        if pixels != "rgb24":
            # FFmpeg converts RGB by the matrix of BT.601; players that are not told so take that of
            # BT.709 for large pictures, and greens and reds shift.
            context = stream.codec_context
            context.colorspace, context.color_range = BT601, LIMITED
            context.color_primaries = context.color_trc = BT709
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def read_video(path: Path) -> np.ndarray:
    """All frames [t, h, w, 3] uint8 of a short film, as `video_frames` gives them.

    Raises:
        InputError: as `video_frames`; or more than `MOST_BYTES` of frames.
    """
    frames: list[np.ndarray] = []
    for frame in video_frames(path):
        frames.append(frame)
        if len(frames) * frame.nbytes > MOST_BYTES:
            raise InputError(
                f"{path} has more than {len(frames) - 1} frames of {frame.shape[1]} x "
                f"{frame.shape[0]}, which together take over {MOST_BYTES / 2**30:.0f} GiB; cut it, "
                "or scale it down"
            )
    return np.stack(frames)


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """A file's frames [h, w, 3] uint8 one after the other: upright, of square pixels, of one size.

    That of the first; where the size changes on the way, later frames are cropped about their
    middle and resized.

    Raises:
        InputError: no such file, or nothing in it that decodes as a film.
    """
    from pila.decoding import DecodeError, fit, open_film

    if not path.is_file():
        raise InputError(f"{path} is not a file; give a video file")
    shape: tuple[int, int] | None = None
    try:
        with open_film(path) as film:
            for picture in film.pictures:
                rgb = picture.rgb()
                shape = shape or (rgb.shape[0], round(rgb.shape[1] * picture.pixel))
                yield fit(rgb, shape, picture.pixel)
    except DecodeError as error:
        raise InputError(
            f"{path} does not read as video ({error}); give a whole video file"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def side_by_side(clips: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Clips [t, h, w, 3] of one shape in a row, each under a bar with its name.

    Small clips are enlarged by a whole factor, so that names are readable.
    """
    from PIL import Image, ImageDraw, ImageFont

    _, h, w, _ = clips[0].shape
    k = max(1, -(-MIN_VIEW_HEIGHT // h))
    size = (k * w, k * h)
    width = len(clips) * size[0] + (len(clips) - 1) * GAP
    bar = Image.new("RGB", (width, BAR_HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(size=18)
    for i, name in enumerate(names):
        centre = i * (size[0] + GAP) + size[0] // 2
        draw.text((centre, BAR_HEIGHT // 2), name, fill=INK, font=font, anchor="mm")

    rows = []
    for pictures in zip(*clips, strict=True):
        row = Image.new("RGB", (width, BAR_HEIGHT + size[1]), PAPER)
        row.paste(bar, (0, 0))
        for i, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
            row.paste(enlarged, (i * (size[0] + GAP), BAR_HEIGHT))
        rows.append(np.asarray(row))
    return np.stack(rows)
