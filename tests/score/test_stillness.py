"""What is still stays so under noise and compression; what moves, however slowly, is seen."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pila.lab.world import Canvas, simulate
from pila.score.stillness import moves
from pila.video import read_video

FRAMES = 33


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with detail of every size and some edges, like a photograph."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128.0)
    for octave in range(2, 9):
        side = 2**octave
        coarse = rng.normal(size=(max(2, side * height // width), side, 3))
        grain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += np.asarray(grain) * 55 / 1.55 ** (octave - 2)
    for _ in range(6):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        cv2.circle(picture, centre, int(rng.integers(5, height // 6)), colour, -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def noisy(frames: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=frames.shape) * deviation
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def encoded(folder: Path, frames: np.ndarray, crf: int, **options: str) -> np.ndarray:
    """Frames after H.264 at a rate, 4:2:0."""
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), **options}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return read_video(folder / "a.mp4")


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 30, 40)])
def test_one_colour_is_still(tmp_path, colour):
    frames = np.tile(np.array(colour, np.uint8), (FRAMES, 64, 96, 1))
    assert not moves(frames)
    assert not moves(noisy(frames, 15))
    assert not moves(encoded(tmp_path, noisy(frames, 15), 28))


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (240, 320)])
@pytest.mark.parametrize(
    ("noise", "crf", "options"),
    [
        *((0.0, crf, {}) for crf in (12, 28, 40, 51)),
        (0.0, 36, {"g": "8"}),  # a whole picture every half second
        *((8.0, crf, {}) for crf in (12, 28, 40)),
        (20.0, 23, {}),
    ],
)
def test_one_picture_is_still(tmp_path, size, noise, crf, options):
    frames = np.repeat(textured(*size)[None], FRAMES, axis=0)
    if noise:
        frames = noisy(frames, noise)
    assert not moves(encoded(tmp_path, frames, crf, **options))


@pytest.mark.parametrize("scene", ["hot_spot", "gliding_puck", "smoke_puff", "spring_mass"])
@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_the_world_moves(tmp_path, scene, noise):
    frames = simulate(scene, 31, canvas=Canvas(size=64)).frames
    assert moves(encoded(tmp_path, noisy(frames, noise) if noise else frames, 25))


def test_slow_motion_moves(tmp_path):
    """At a quarter of the speed, and by a tenth of a pixel a frame."""
    frames = simulate("hot_spot", 31, canvas=Canvas(size=64)).frames[:9].astype(float)
    slow = [
        frames[k // 4] * (1 - k % 4 / 4) + frames[min(k // 4 + 1, 8)] * (k % 4 / 4)
        for k in range(FRAMES)
    ]
    assert moves(encoded(tmp_path, np.stack(slow).astype(np.uint8), 20))
    picture = textured(240, 320)
    shifts = [np.array([[1.0, 0, -0.1 * k], [0, 1, 0]]) for k in range(FRAMES)]
    pan = [cv2.warpAffine(picture, m, (320, 240), borderMode=cv2.BORDER_REFLECT) for m in shifts]
    assert moves(encoded(tmp_path, np.stack(pan), 20))


def test_a_small_body_moves(tmp_path):
    frames = np.repeat(textured(240, 320)[None] // 2, FRAMES, axis=0)
    for k, frame in enumerate(frames):
        cv2.circle(frame, (20 + 3 * k, 120), 6, (250, 250, 90), -1)
    assert moves(encoded(tmp_path, noisy(frames, 4), 25))
