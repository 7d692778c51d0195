"""phyworld's errors of its three worlds: uniform motion, parabola, head-on collision.

Definitions (shared design, evaluation.md, after phyworld's own evaluation): positions are centres
of the coloured discs, radii come from their areas, masses go with the radius squared; frames in
which a disc is cut by the border or lost are left out, and so are given ones. Lengths are tenths
of the view's side, as phyworld's world is 10 x 10, times seconds.

phyworld compares with its simulator's own positions and velocities. Here the truth is the true
clip's pixels, read in the same way, so that reading errors cancel; its velocities, which are
constant but for the contact, are those of the straight lines that fit all its frames. In collisions
velocities are taken over four frames, what a latent frame spans: at 64 px those between neighbours,
as phyworld has them, are mostly reading error, whose square is no energy.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pila.errors import InputError
from pila.lab.world import SCENES
from pila.lab.world.balls import BallTrack, colour_weights, read_ball
from pila.lab.world.fit import best_bend
from pila.lab.world.scene import FRAME_RATE, check_frames

EXTENT = 10.0
"""Side of the view in phyworld's units of length."""
LEAST = 3
"""Frames in which a disc must be in full view."""
SPAN = 4
"""Frames over which a velocity is taken in collisions."""
VERSION = 2
"""Of these definitions; rows of another one are not read."""


def errors(
    scene: str, frames: np.ndarray, true_frames: np.ndarray, *, first: int = 0
) -> dict[str, float]:
    """phyworld's errors of a clip against its true twin.

    Args:
        scene: gliding_puck (uniform motion), thrown_ball (parabola) or ball_collision.
        frames: the clip, [t, h, w, 3] uint8.
        true_frames: the true clip of the same parameters, same shape.
        first: the first frame that is measured; those before it were given.

    Returns:
        Uniform and parabola: velocity, position, radius. Collision: velocity before and after,
        momentum, energy. NaN where a disc is in full view in fewer than three frames, or in a
        collision in fewer than five before the contact or after it: such a clip has no error, and
        is counted apart.

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
    return WORLDS[scene](frames, true_frames, first)


def _single(frames: np.ndarray, true_frames: np.ndarray, first: int) -> dict[str, float]:
    """Uniform motion and parabola: one disc."""
    names = ("velocity", "position", "radius")
    mine, truth = (read_ball(colour_weights(f, 1)[0], EXTENT) for f in (frames, true_frames))
    times, shown = np.arange(len(frames)) / FRAME_RATE, in_view(truth)
    both = in_view(mine) & shown & (times >= times[first])
    if both.sum() < LEAST:
        return dict.fromkeys(names, float("nan"))
    t, x, x_true = times[both], mine.centre[both, 0], truth.centre[both, 0]
    velocity = np.diff(x) / np.diff(t)
    true_velocity, _ = np.polyfit(times[shown], truth.centre[shown, 0], 1)
    radius = mine.radius[both]
    values = (
        abs(velocity.mean() - true_velocity),
        np.abs(x - x_true).mean(),
        radius.max() - radius.min(),
    )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _collision(frames: np.ndarray, true_frames: np.ndarray, first: int) -> dict[str, float]:
    """Two discs; the true clip says when they meet."""
    names = ("velocity_before", "velocity_after", "momentum", "energy")
    mine, truth = (
        sorted(
            (read_ball(w, EXTENT) for w in colour_weights(f, 2)),
            key=lambda b: b.centre[:3, 0].mean(),
        )
        for f in (frames, true_frames)
    )
    times = np.arange(len(frames)) / FRAME_RATE
    shown = np.all([in_view(track) for track in truth], axis=0)
    both = np.all([in_view(track) for track in mine], axis=0) & shown & (times >= times[first])
    met = best_bend(times[shown], *(b.centre[shown, :1] for b in truth), least=LEAST)
    if met is None or both.sum() <= SPAN:
        return dict.fromkeys(names, float("nan"))
    was, became = met.before[:, 0], met.after[:, 0]
    t, x = times[both], np.stack([b.centre[both, 0] for b in mine])
    v = (x[:, SPAN:] - x[:, :-SPAN]) / (t[SPAN:] - t[:-SPAN])
    before, after = v[:, t[SPAN:] <= met.time], v[:, t[:-SPAN] >= met.time]
    if not before.size or not after.size:
        return dict.fromkeys(names, float("nan"))
    masses = np.stack([b.radius[both] ** 2 for b in mine])
    mass = sliding_window_view(masses, SPAN + 1, axis=1).mean(-1)
    momentum = (mass * v).sum(0)
    energy = (mass * v**2 / 2).sum(0)
    true_mass = np.array([(b.radius[shown] ** 2).mean() for b in truth])
    values = (
        np.abs(before.mean(1) - was).mean(),
        np.abs(after.mean(1) - became).mean(),
        np.abs(momentum - true_mass @ was).mean(),
        np.abs(energy - true_mass @ was**2 / 2).mean(),
    )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def in_view(track: BallTrack) -> np.ndarray:
    """Frames [t] in which a disc is seen and not cut by the border."""
    inside = (track.centre > track.radius[:, None]) & (
        track.centre < EXTENT - track.radius[:, None]
    )
    return track.seen & inside.all(1)


WORLDS: Mapping[str, Callable[[np.ndarray, np.ndarray, int], dict[str, float]]] = {
    "gliding_puck": _single,
    "thrown_ball": _single,
    "ball_collision": _collision,
}
