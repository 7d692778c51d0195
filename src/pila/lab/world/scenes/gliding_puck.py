"""A puck gliding without friction: no force along the table, so its velocity never changes."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import (
    PALETTE,
    ball_truth,
    colour_weights,
    disc_coverage,
    read_ball,
    shape_error,
)
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.render import background, paint, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 2.0
"""Side of the view [m]: an air table seen from above."""
SIZES = {"small": 0.15, "big": 0.22}
"""Radius [m] by the caption's word."""
SPEEDS = {"slowly": (0.30, 0.35), "fast": (0.60, 0.68)}
"""Speed [m/s] by the caption's word."""
TILTS = {"straight across": (-1.5, 1.5), "upwards": (37.0, 40.0), "downwards": (-40.0, -37.0)}
"""Angle of the path against the horizontal [degrees] by the caption's words."""
RING = (0.42, 0.74)
"""Inner and outer radius of the paler ring, in radii of the puck."""

TEMPLATES = (
    "a {size} {colour} puck glides {speed} {tilt} to the {side}",
    "a {size} {colour} puck slides {speed} {tilt} to the {side} without friction",
    "on an air table a {size} {colour} puck glides {speed} {tilt} to the {side}",
    "a {size} {colour} hockey puck slides {speed} {tilt} to the {side} over smooth ice",
    "{speed} a {size} {colour} puck glides {tilt} to the {side}",
    "a {colour} puck, {size} and flat, glides {speed} {tilt} to the {side}",
    "the {size} {colour} puck coasts {speed} {tilt} to the {side} at constant speed",
    "a {size} {colour} puck floats {speed} {tilt} to the {side} on a cushion of air",
    "gliding {speed}, a {size} {colour} puck moves {tilt} to the {side}",
    "a {size} flat disc of {colour} plastic glides {speed} {tilt} to the {side}",
    "seen from above, a {size} {colour} puck glides {speed} {tilt} to the {side}",
    "a {size} {colour} puck with a pale ring slides {speed} {tilt} to the {side}",
    "frictionless gliding, a {size} {colour} puck goes {speed} {tilt} to the {side}",
    "a {size} {colour} puck crosses the ice {speed}, moving {tilt} to the {side}",
    "nothing slows the {size} {colour} puck, which glides {speed} {tilt} to the {side}",
    "a {size} {colour} puck drifts {speed} {tilt} to the {side} over a slippery table",
    "{tilt} to the {side} glides a {size} {colour} puck, moving {speed}",
    "a {size} {colour} air hockey puck coasts {speed} {tilt} to the {side}",
    "on slick ice a {size} {colour} puck keeps gliding {speed} {tilt} to the {side}",
    "uniform motion of a {size} {colour} puck, {speed} {tilt} to the {side}",
    # held out
    "a {size} {colour} puck slides {speed} {tilt} to the {side} on an air table",
    "over smooth ice a {size} {colour} puck glides {speed} {tilt} to the {side}",
    "the {size} {colour} puck glides without friction, {speed} {tilt} to the {side}",
    "{speed} and {tilt} to the {side} coasts a {size} {colour} puck",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(PALETTE),
    "size": tuple(SIZES),
    "speed": tuple(SPEEDS),
    "tilt": tuple(TILTS),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class GlidingPuck:
    """Uniform motion: Newton's first law."""

    name = "gliding_puck"
    categories = (Category.RIGID_BODY,)
    violations = ("slows_down", "turns", "teleport", "jitter", "growing")
    laws = ("velocity", "path", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One crossing, placed so that all of it stays in view."""
        draw = np.random.default_rng([4, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        r = SIZES[words["size"]]
        speed = draw.uniform(*SPEEDS[words["speed"]])
        tilt = np.radians(draw.uniform(*TILTS[words["tilt"]]))
        forward = 1 if words["side"] == "right" else -1
        velocity = speed * np.array([forward * np.cos(tilt), np.sin(tilt)])
        t = canvas.times
        reach = velocity * t[-1]
        low = r + 0.06 + np.clip(-reach, 0, None)
        high = EXTENT - r - 0.06 - np.clip(reach, 0, None)
        start = low + draw.uniform(0.48, 0.52, 2) * np.clip(high - low, 0, None)
        position, radius = _break(violation, start, velocity, np.full(len(t), r), t, seed)
        image = np.repeat(background(draw, canvas.size, 70, 190)[None], len(t), 0)
        covered = disc_coverage(position, radius, canvas.size, EXTENT)
        _draw_puck(image, covered, position, radius, words["colour"])
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": r,
                "vx": float(velocity[0]),
                "vy": float(velocity[1]),
                "x0": float(start[0]),
                "y0": float(start[1]),
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, [position], [covered], canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of constant velocity, of the straight path and of the puck's shape, 0..1.

        Velocity: the quarter of the clip that differs most from the whole clip's mean velocity.
        All are 1 where frames [t, h, w, 3] show the puck in fewer than four fifths of them.
        """
        track = read_ball(colour_weights(frames, 1)[0], EXTENT)
        seen = track.seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        p = track.centre[seen]
        mean = _velocity(t, p)
        quarters = np.array_split(np.arange(len(t)), min(4, len(t) // 3))
        changes = [np.hypot(*(_velocity(t[q], p[q]) - mean)) for q in quarters]
        travelled = np.hypot(*mean) * (t[-1] - t[0])
        # The smallest singular value is the scatter about the best straight line.
        aside = np.linalg.svd(p - p.mean(0), compute_uv=False)[-1] / np.sqrt(len(t))
        return {
            "velocity": relative(max(changes), float(np.hypot(*mean))),
            "path": relative(float(aside), 0.1 * travelled),
            "shape": shape_error(track),
        }


def _velocity(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Least-squares velocity [2] of positions [t, 2]."""
    late = t - t.mean()
    return late @ p / (late @ late)


def _draw_puck(
    image: np.ndarray, covered: np.ndarray, position: np.ndarray, radius: np.ndarray, colour: str
) -> None:
    size = image.shape[1]
    body = np.array(PALETTE[colour], float)
    inner, outer = (disc_coverage(position, radius * f, size, EXTENT) for f in RING)
    paint(image, covered, 0.92 * body)
    # Paler but still coloured: the ring is read as a part of the puck.
    paint(image, outer - inner, body + 0.38 * (255 - body))


def _break(
    violation: str | None,
    start: np.ndarray,
    velocity: np.ndarray,
    radius: np.ndarray,
    t: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [t, 2] and radii [t] of the glide, or of its violation."""
    rng = np.random.default_rng([104, seed])
    p = start + velocity * t[:, None]
    when = rng.uniform(0.35, 0.5) * t[-1]
    late = np.clip(t - when, 0, None)
    # A turn or a jump goes to the side on which more of the table is.
    normal = np.array([-velocity[1], velocity[0]]) / np.hypot(*velocity)
    if normal @ (EXTENT / 2 - p[len(t) // 2]) < 0:
        normal = -normal
    if violation == "slows_down":
        kept, braking = rng.uniform(0.05, 0.2), 0.2
        lost = np.where(late < braking, late**2 / (2 * braking), late - braking / 2)
        p -= (1 - kept) * velocity * lost[:, None]
    elif violation == "turns":
        angle = np.radians(rng.uniform(50, 85))
        turned = np.cos(angle) * velocity + np.sin(angle) * np.hypot(*velocity) * normal
        p += (turned - velocity) * late[:, None]
    elif violation == "teleport":
        p += (t > when)[:, None] * rng.uniform(0.4, 0.6) * normal
    elif violation == "jitter":
        p += rng.normal(0, 0.06, p.shape)
    elif violation == "growing":
        radius = radius * (1 + rng.uniform(0.4, 0.7) * t / t[-1])
    # A broken glide may leave the view; it is held at the edge rather than vanish.
    margin = radius[:, None]
    return np.clip(p, margin, EXTENT - margin), radius
