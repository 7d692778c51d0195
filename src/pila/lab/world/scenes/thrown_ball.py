"""A ball thrown through the air: uniform acceleration g, constant horizontal speed and shape."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import (
    PALETTE,
    ball_truth,
    colour_weights,
    disc_coverage,
    draw_ball,
    read_ball,
    shape_error,
)
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import background, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 10.0
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""

SIZES = {"small": 0.75, "big": 1.15}
"""Radius [m] by the caption's word; phyworld's are 0.7 to 1.4 in the same view."""
SPEEDS = {"slowly": (0.9, 1.1), "fast": (2.4, 2.7)}
"""Horizontal speed [m/s] by the caption's word."""
HEIGHTS = {"low": (8.5, 8.9), "high": (10.7, 11.2)}
"""Initial upward speed [m/s] by the caption's word."""

TEMPLATES = (
    "a {size} {colour} ball is thrown {height} and {speed} to the {side}",
    "a {size} {colour} ball flies {height} through the air, moving {speed} to the {side}",
    "someone throws a {size} {colour} ball {height} to the {side}, it travels {speed}",
    "a {colour} ball, {size}, is tossed {height} and moves {speed} to the {side}",
    "the {size} {colour} ball is hurled {height}, going {speed} to the {side}",
    "a {size} {colour} ball in flight, thrown {height}, drifts {speed} to the {side}",
    "{speed} moving to the {side}, a {size} {colour} ball is thrown {height}",
    "a {size} ball of {colour} rubber is thrown {height} and {speed} towards the {side}",
    "a {size} {colour} ball follows a {height} arc, {speed} to the {side}",
    "thrown {height}, a {size} {colour} ball sails {speed} to the {side}",
    "a {size} {colour} ball is launched {height} and flies {speed} to the {side}",
    "watch a {size} {colour} ball rise {height} and fall, moving {speed} to the {side}",
    "a {size} {colour} ball goes up {height} and comes down, {speed} to the {side}",
    "a {height} throw of a {size} {colour} ball, {speed} towards the {side}",
    "the {colour} ball is {size}, thrown {height} and {speed} to the {side}",
    "under gravity a {size} {colour} ball thrown {height} moves {speed} to the {side}",
    "a {size} {colour} ball is lobbed {height}, travelling {speed} to the {side}",
    "a {size} {colour} ball arcs {height} across the room, {speed} to the {side}",
    "a {height} flying {size} {colour} ball travels {speed} to the {side}",
    "a {size} {colour} ball soars {height} and lands on the {side}, moving {speed}",
    # held out
    "a {size} {colour} ball is thrown {speed} and {height} towards the {side}",
    "{speed} to the {side} flies a {size} {colour} ball, thrown {height}",
    "the {size} {colour} ball sails {height} through the air, {speed} to the {side}",
    "to the {side} a {size} {colour} ball is tossed {height}, travelling {speed}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(PALETTE),
    "size": tuple(SIZES),
    "speed": tuple(SPEEDS),
    "height": tuple(HEIGHTS),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class ThrownBall:
    """Free flight in uniform gravity."""

    name = "thrown_ball"
    categories = (Category.RIGID_BODY,)
    violations = ("gravity_off", "gravity_reversed", "teleport", "jitter", "growing")
    laws = ("gravity", "trajectory", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One flight, placed so that all of it stays in view."""
        draw = np.random.default_rng([1, seed])
        colour, size = choose(draw, list(PALETTE)), choose(draw, list(SIZES))
        speed, height = choose(draw, list(SPEEDS)), choose(draw, list(HEIGHTS))
        side = choose(draw, ["left", "right"])
        r = SIZES[size]
        vx = draw.uniform(*SPEEDS[speed]) * (1 if side == "right" else -1)
        vy = draw.uniform(*HEIGHTS[height])
        t = canvas.times
        # Flights are centred in the view but for a little: what the caption does not say is small.
        drop = vy * t - GRAVITY * t**2 / 2
        x0 = EXTENT / 2 - vx * t[-1] / 2 + draw.uniform(-0.15, 0.15)
        y0 = EXTENT / 2 - (drop.min() + drop.max()) / 2 + draw.uniform(-0.15, 0.15)
        position = np.stack([x0 + vx * t, y0 + drop], 1)
        radius = np.full(len(t), r)
        position, radius = _break(violation, position, radius, t, vx, seed)
        image = np.repeat(background(draw, canvas.size, 70, 190)[None], len(t), 0)
        coverage = disc_coverage(position, radius, canvas.size, EXTENT)
        draw_ball(image, coverage, position, radius, colour, EXTENT)
        words = {
            "size": size,
            "colour": colour,
            "speed": speed,
            "height": height,
            "side": side,
        }
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": r,
                "vx": vx,
                "vy": vy,
                "x0": x0,
                "y0": y0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, [position], [coverage], canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the acceleration g, of the parabola and of the ball's shape, 0..1.

        All are 1 where frames [t, h, w, 3] show the ball in fewer than four fifths of them.
        """
        track = read_ball(colour_weights(frames, 1)[0], EXTENT)
        t = np.arange(len(frames)) / FRAME_RATE
        seen = track.seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        x, y, t = track.centre[seen, 0], track.centre[seen, 1], t[seen]
        (_, _, bend), y_rest = polynomial_fit(t, y, 2)
        _, x_rest = polynomial_fit(t, x, 1)
        path = np.abs(np.diff(y)).sum() + np.abs(np.diff(x)).sum()
        misfit = np.sqrt((x_rest**2 + y_rest**2).mean())
        return {
            "gravity": relative(abs(-2 * bend - GRAVITY), GRAVITY),
            "trajectory": relative(misfit, 0.1 * path),
            "shape": shape_error(track),
        }


def _break(
    violation: str | None,
    position: np.ndarray,
    radius: np.ndarray,
    t: np.ndarray,
    vx: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([101, seed])
    p = position.copy()
    when = rng.uniform(0.35, 0.55) * t[-1]
    late = np.clip(t - when, 0, None)
    if violation == "gravity_off":
        p[:, 1] += GRAVITY * late**2 / 2
    elif violation == "gravity_reversed":
        p[:, 1] += GRAVITY * late**2
    elif violation == "teleport":
        jump = np.array([rng.uniform(1.5, 2.5) * rng.choice([-1, 1]), rng.uniform(-2.0, 2.0)])
        p += (t > when)[:, None] * jump
    elif violation == "jitter":
        p += rng.normal(0, 0.35, p.shape)
    elif violation == "growing":
        radius = radius * (1 + rng.uniform(0.5, 0.8) * t / t[-1])
    # A broken flight may leave the view; it is held at the edge rather than vanish.
    margin = radius[:, None]
    return np.clip(p, margin, EXTENT - margin), radius
