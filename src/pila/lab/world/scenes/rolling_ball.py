"""A solid disc rolling from rest down an incline without slipping: a = (2/3) g sin(theta).

Its moment of inertia m r^2 / 2 takes a third of the potential energy into rotation.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.halves import body_frame, draw_halves, read_halves, turning_truth
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 8.0
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""
ROLLING = 2 / 3
"""Acceleration of a rolling solid disc over that of one sliding without friction."""
PARTNER = "yellow"
"""Colour of one half of every ball; the caption's word is the other half's."""
COLOURS = ("red", "green", "blue", "purple")
SIZES = {"small": 0.65, "big": 0.90}
"""Radius [m] by the caption's word."""
SLOPES = {"gentle": (8.0, 9.5), "steep": (16.0, 18.0)}
"""Angle of the incline [degrees] by the caption's word."""

TEMPLATES = (
    "a {size} {colour} and yellow ball rolls down a {slope} slope to the {side}",
    "a {size} {colour} and yellow ball rolls from rest down a {slope} incline to the {side}",
    "down a {slope} ramp to the {side} rolls a {size} {colour} and yellow ball",
    "a {size} ball, half {colour} and half yellow, rolls down a {slope} slope to the {side}",
    "released on a {slope} incline, a {size} {colour} and yellow ball rolls to the {side}",
    "a {size} {colour} and yellow wheel rolls down a {slope} hill to the {side}",
    "the {size} {colour} and yellow ball gains speed as it rolls down "
    "a {slope} slope to the {side}",
    "on a {slope} ramp a {size} {colour} and yellow ball starts rolling to the {side}",
    "a {size} {colour} and yellow disc rolls without slipping down a {slope} incline to the {side}",
    "let go at the top of a {slope} slope, a {size} {colour} and yellow ball rolls to the {side}",
    "a {slope} slope falls to the {side} and a {size} {colour} and yellow ball rolls down it",
    "a {size} {colour} and yellow ball turns as it runs down a {slope} ramp to the {side}",
    "rolling to the {side}, a {size} {colour} and yellow ball goes down a {slope} incline",
    "a {size} {colour} and yellow striped ball rolls downhill to the {side} on a {slope} slope",
    "a {size} {colour} and yellow ball trundles down the {slope} hillside to the {side}",
    "gravity pulls a {size} {colour} and yellow ball down a {slope} ramp to the {side}",
    "a {size} {colour} and yellow toy ball rolls ever faster down a {slope} incline to the {side}",
    "watch a {size} {colour} and yellow ball roll down the {slope} slope to the {side}",
    "a {slope} incline to the {side} with a {size} {colour} and yellow ball rolling down",
    "a {size} {colour} and yellow cylinder rolls down a {slope} plane to the {side}",
    # held out
    "a {size} {colour} and yellow ball rolls downhill to the {side} on a {slope} incline",
    "to the {side} a {size} {colour} and yellow ball rolls down a {slope} ramp",
    "from rest a {size} {colour} and yellow ball rolls to the {side} down a {slope} slope",
    "a {slope} ramp, and a {size} {colour} and yellow ball rolling down to the {side}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "size": tuple(SIZES),
    "slope": tuple(SLOPES),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class RollingBall:
    """Rolling without slipping under gravity."""

    name = "rolling_ball"
    categories = (Category.RIGID_BODY,)
    violations = ("slides", "no_spin", "constant_speed", "uphill", "jitter")
    laws = ("acceleration", "straight_path", "rolling", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One descent, placed so that it stays in view, even where it slides instead."""
        draw = np.random.default_rng([6, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        r = SIZES[words["size"]]
        slope = np.radians(draw.uniform(*SLOPES[words["slope"]]))
        side = 1 if words["side"] == "right" else -1
        downhill = np.array([side * np.cos(slope), -np.sin(slope)])
        normal = np.array([side * np.sin(slope), np.cos(slope)])
        t = canvas.times
        run = GRAVITY * np.sin(slope) * t[-1] ** 2 / 2 * np.cos(slope)
        start = r + 0.1 + draw.uniform(0.47, 0.53) * max(EXTENT - 2 * r - 0.2 - run, 0.0)
        # Height of the incline at the middle of the view.
        height = draw.uniform(3.25, 3.35)
        x0 = start if side > 0 else EXTENT - start
        foot = np.array([x0, height + (EXTENT / 2 - x0) * side * np.tan(slope)])
        # The centre lies a radius above the surface; x0 is where the centre starts.
        origin = foot + np.array([0.0, r / np.cos(slope)])
        travelled, turned, shake = _break(violation, slope, r, t, seed)
        centre = origin + travelled[:, None] * downhill + shake
        angle0 = draw.uniform(-0.15, 0.15)
        angle = angle0 - side * turned
        ground = background(draw, canvas.size, 130, 200)
        x, y = pixel_centres(canvas.size, EXTENT)
        under = coverage((x - foot[0]) * normal[0] + (y - foot[1]) * normal[1], EXTENT)
        paint(ground, under, ground * draw.uniform(0.45, 0.6))
        image = np.repeat(ground[None], len(t), 0)
        along, across = body_frame(centre, angle, canvas.size, EXTENT)
        distance = np.hypot(along, across)
        covered = coverage(distance - r, EXTENT)
        shade = 1.08 - 0.2 * np.clip(distance / r, 0, 1) ** 2
        draw_halves(image, covered, along, (words["colour"], PARTNER), shade, EXTENT)
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": r,
                "theta": float(slope),
                "acceleration": float(ROLLING * GRAVITY * np.sin(slope)),
                "x0": float(origin[0]),
                "y0": float(origin[1]),
                "angle0": angle0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(turning_truth, centre, angle, covered, EXTENT, canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the acceleration, of the straight path, of rolling and of shape, 0..1.

        The incline's angle is the path's own, the radius that of a disc of the ball's area.
        All are 1 where frames [t, h, w, 3] show both halves in fewer than four fifths of them.
        """
        track = read_halves(frames, EXTENT)
        seen = track.seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        p, angle, area = track.centre[seen], track.angle[seen], track.area[seen]
        p = p - p.mean(0)
        _, scatter, axes = np.linalg.svd(p, full_matrices=False)
        downhill = -axes[0] if axes[0, 1] > 0 else axes[0]
        travelled = p @ downhill
        (_, _, bend), _ = polynomial_fit(t, travelled, 2)
        due = ROLLING * GRAVITY * -float(downhill[1])
        along, aside = scatter / np.sqrt(len(t))
        # Rolling to the right is clockwise; anticlockwise angles are positive.
        rolled = -np.sign(downhill[0]) * travelled / np.sqrt(area.mean() / np.pi)
        return {
            "acceleration": relative(abs(2 * bend - due), due),
            "straight_path": relative(float(aside), 0.2 * float(along)),
            "rolling": relative(float((angle - rolled).std()), float(rolled.std())),
            "shape": relative(2 * float(area.std()), float(area.mean())),
        }


def _break(
    violation: str | None, slope: float, radius: float, t: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance [m] down the slope [t], angle turned [rad] [t] and shake [m] [t, 2]."""
    rng = np.random.default_rng([106, seed])
    a = ROLLING * GRAVITY * np.sin(slope)
    travelled, shake = a * t**2 / 2, np.zeros((len(t), 2))
    when = rng.uniform(0.45, 0.6) * t[-1]
    if violation == "slides":
        travelled = travelled / ROLLING
    elif violation == "constant_speed":
        travelled = travelled[-1] * t / t[-1]
    elif violation == "uphill":
        travelled = travelled - rng.uniform(1.5, 2.0) * a * np.clip(t - when, 0, None) ** 2
    elif violation == "jitter":
        shake = rng.normal(0, 0.16, shake.shape)
    turned = travelled / radius
    if violation in ("slides", "no_spin"):
        turned = np.zeros_like(t)
    elif violation == "jitter":
        turned = turned + rng.normal(0, 0.3, len(t))
    return travelled, turned, shake
