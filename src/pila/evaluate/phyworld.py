"""phyworld's errors of its three worlds: uniform motion, parabola, head-on collision.

Definitions (shared design, evaluation.md, after phyworld's own evaluation): positions are centres
of the coloured discs, radii come from their areas, masses go with the radius squared; frames in
which a disc is cut by the border or lost are left out. Lengths are tenths of the view's side, as
phyworld's world is 10 x 10, times seconds. The truth is the true clip's own pixels, read in the
same way, so that reading errors cancel.
"""

from collections.abc import Callable, Mapping

import numpy as np

from pila.errors import InputError
from pila.world import SCENES
from pila.world.balls import BallTrack, colour_weights, read_ball
from pila.world.scene import FRAME_RATE, check_frames

EXTENT = 10.0
"""Side of the view in phyworld's units of length."""
LEAST = 3
"""Frames in which a disc must be in full view."""
BEND = 0.1
"""Change of a true ball's velocity between frames at which a collision has begun."""


def errors(scene: str, frames: np.ndarray, true_frames: np.ndarray) -> dict[str, float]:
    """phyworld's errors of a clip against its true twin.

    Args:
        scene: gliding_puck (uniform motion), thrown_ball (parabola) or ball_collision.
        frames: the clip, [t, h, w, 3] uint8.
        true_frames: the true clip of the same parameters, same shape.

    Returns:
        Uniform and parabola: velocity, position, radius. Collision: velocity before and after,
        momentum, energy. NaN where a disc is in full view in fewer than three frames: such a clip
        has no error, and is counted apart.

    Raises:
        InputError: another scene, or frames that cannot be measured.
    """
    if scene not in WORLDS:
        raise InputError(
            f"scene is {scene!r}; phyworld's worlds are {', '.join(WORLDS)} "
            f"(the simulated world has {len(SCENES)} scenes)"
        )
    for clip in (frames, true_frames):
        check_frames(clip)
    if frames.shape != true_frames.shape:
        raise InputError(
            f"the clip is {list(frames.shape)} and its true twin {list(true_frames.shape)}; "
            "compare clips of one shape"
        )
    return WORLDS[scene](frames, true_frames)


def _single(frames: np.ndarray, true_frames: np.ndarray) -> dict[str, float]:
    """Uniform motion and parabola: one disc."""
    names = ("velocity", "position", "radius")
    mine, truth = (read_ball(colour_weights(f, 1)[0], EXTENT) for f in (frames, true_frames))
    both = in_view(mine) & in_view(truth)
    if both.sum() < LEAST:
        return dict.fromkeys(names, float("nan"))
    t = np.arange(len(frames))[both] / FRAME_RATE
    x, x_true = mine.centre[both, 0], truth.centre[both, 0]
    velocity = np.diff(x) / np.diff(t)
    first = (x_true[1] - x_true[0]) / (t[1] - t[0])
    radius = mine.radius[both]
    values = (
        abs(velocity.mean() - first),
        np.abs(x - x_true).mean(),
        radius.max() - radius.min(),
    )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _collision(frames: np.ndarray, true_frames: np.ndarray) -> dict[str, float]:
    """Two discs; the true clip says when they meet."""
    names = ("velocity_before", "velocity_after", "momentum", "energy")
    mine, truth = (
        sorted(
            (read_ball(w, EXTENT) for w in colour_weights(f, 2)),
            key=lambda b: b.centre[:3, 0].mean(),
        )
        for f in (frames, true_frames)
    )
    both = np.all([in_view(track) for track in (*mine, *truth)], axis=0)
    if both.sum() < 2 * LEAST:
        return dict.fromkeys(names, float("nan"))
    t = np.arange(len(frames))[both] / FRAME_RATE
    v, v_true = (
        np.stack([np.diff(b.centre[both, 0]) / np.diff(t) for b in balls])
        for balls in (mine, truth)
    )
    jumps = np.abs(np.diff(v_true, axis=1)).max(0) > BEND
    if not jumps.any():
        return dict.fromkeys(names, float("nan"))
    met = int(np.argmax(jumps)) + 1
    if met + 1 >= v.shape[1]:  # nothing of what follows is in full view
        return dict.fromkeys(names, float("nan"))
    mass = np.array([b.radius[both] ** 2 for b in mine])[:, 1:]
    momentum = (mass * v).sum(0)
    energy = (mass * v**2 / 2).sum(0)
    mass_true = np.array([(b.radius[both] ** 2).mean() for b in truth])
    start = v_true[:, :met].mean(1)
    values = (
        np.abs(v[:, :met].mean(1) - v_true[:, :met].mean(1)).mean(),
        np.abs(v[:, met + 1 :].mean(1) - v_true[:, met + 1 :].mean(1)).mean(),
        np.abs(momentum - mass_true @ start).mean(),
        np.abs(energy - mass_true @ start**2 / 2).mean(),
    )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def in_view(track: BallTrack) -> np.ndarray:
    """Frames [t] in which a disc is seen and not cut by the border."""
    inside = (track.centre > track.radius[:, None]) & (
        track.centre < EXTENT - track.radius[:, None]
    )
    return track.seen & inside.all(1)


WORLDS: Mapping[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {
    "gliding_puck": _single,
    "thrown_ball": _single,
    "ball_collision": _collision,
}
