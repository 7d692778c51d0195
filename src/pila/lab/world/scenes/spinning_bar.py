"""A bar spinning freely about its middle: no torque, so its spin and its centre stay the same."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.halves import body_frame, draw_halves, read_halves, turning_truth
from pila.lab.world.render import background, coverage, paint, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 1.0
"""Side of the view [m]."""
COLOURS = ("red", "green", "blue", "yellow", "purple")
LENGTHS = {"short": (0.42, 0.44), "long": (0.63, 0.66)}
"""Length of the bar, its round ends included [m], by the caption's word."""
SPEEDS = {"slowly": (1.5, 1.7), "fast": (3.9, 4.2)}
"""Spin [rad/s] by the caption's word."""
HALF_WIDTH = 0.07
"""[m]"""
HUB = 0.03
"""Radius of the grey hub [m]; it covers both halves alike."""

TEMPLATES = (
    "a {length} bar, half {first} and half {second}, spins {speed} {sense}",
    "a {length} {first} and {second} bar spins {speed} {sense} about its middle",
    "a {length} rod with a {first} and a {second} end rotates {speed} {sense}",
    "a {length} stick, {first} on one end and {second} on the other, turns {speed} {sense}",
    "spinning {speed} {sense}, a {length} bar shows its {first} and its {second} end",
    "a {length} two-coloured bar, {first} and {second}, whirls {speed} {sense}",
    "a {length} {first} and {second} propeller turns {speed} {sense} about its hub",
    "{speed} and {sense} spins a {length} bar of {first} and {second}",
    "the {length} bar rotates {speed} {sense}, one half is {first}, the other {second}",
    "a {length} {first} and {second} baton twirls {speed} {sense} around its centre",
    "about a fixed hub a {length} {first} and {second} rod spins {speed} {sense}",
    "a {length} bar pinned at its middle, {first} and {second}, rotates {speed} {sense}",
    "a {first} half and a {second} half make a {length} bar that spins {speed} {sense}",
    "a {length} bar painted {first} and {second} revolves {speed} {sense}",
    "steady rotation of a {length} {first} and {second} bar, {speed} {sense}",
    "a {length} compass needle, {first} and {second}, goes round {speed} {sense}",
    "a {length} {first} and {second} bar keeps spinning {speed} {sense} without friction",
    "turning {speed} {sense}, a {length} rod is {first} on one half and {second} on the other",
    "a {length} spinner with {first} and {second} ends rotates {speed} {sense}",
    "a {length} {first} and {second} beam goes round {speed} {sense} on its pivot",
    # held out
    "a {length} bar, {first} and {second}, rotates {speed} {sense} about its middle",
    "{speed} a {length} {first} and {second} rod spins {sense}",
    "a {length} bar with {first} and {second} halves turns {speed} {sense} on its hub",
    "the {length} {first} and {second} stick spins {speed} {sense} around its centre",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "first": COLOURS,
    "second": COLOURS,
    "length": tuple(LENGTHS),
    "speed": tuple(SPEEDS),
    "sense": ("clockwise", "anticlockwise"),
}
"""What each gap of the templates may say."""


class SpinningBar:
    """Free rotation about a fixed axis through the centre of mass."""

    name = "spinning_bar"
    categories = (Category.RIGID_BODY,)
    violations = ("stops", "spin_reversed", "wandering", "jitter", "growing")
    laws = ("spin", "centre", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One bar at constant spin about a hub near the middle of the view."""
        draw = np.random.default_rng([5, seed])
        first, second = (COLOURS[i] for i in draw.permutation(len(COLOURS))[:2])
        length, speed = choose(draw, list(LENGTHS)), choose(draw, list(SPEEDS))
        sense = choose(draw, WORDS["sense"])
        metres = draw.uniform(*LENGTHS[length])
        spin = draw.uniform(*SPEEDS[speed]) * (1 if sense == "anticlockwise" else -1)
        hub = EXTENT / 2 + draw.uniform(-0.02, 0.02, 2)
        angle0 = draw.uniform(-0.15, 0.15)
        t = canvas.times
        centre, angle, scale = _break(violation, hub, spin * t, t, seed)
        angle = angle + angle0
        along, across = body_frame(centre, angle, canvas.size, EXTENT)
        grown = scale[:, None, None]
        beyond = np.clip(np.abs(along) - (metres / 2 - HALF_WIDTH) * grown, 0, None)
        covered = coverage(np.hypot(beyond, across) - HALF_WIDTH * grown, EXTENT)
        image = np.repeat(background(draw, canvas.size, 70, 190)[None], len(t), 0)
        # Rounded: brightest along the bar's middle line.
        shade = 1.1 - 0.25 * np.clip(across / (HALF_WIDTH * grown), -1, 1) ** 2
        draw_halves(image, covered, along, (first, second), shade, EXTENT)
        paint(image, coverage(np.hypot(along, across) - HUB, EXTENT), (60, 60, 60))
        words = {
            "first": first,
            "second": second,
            "length": length,
            "speed": speed,
            "sense": sense,
        }
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "metres": metres,
                "spin": spin,
                "x0": float(hub[0]),
                "y0": float(hub[1]),
                "angle0": angle0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(turning_truth, centre, angle, covered, EXTENT, canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of constant spin, of the fixed centre and of the bar's area and length, 0..1.

        Spin: the quarter of the clip that differs most from the whole clip's mean spin.
        All are 1 where frames [t, h, w, 3] show both halves in fewer than four fifths of them.
        """
        track = read_halves(frames, EXTENT)
        seen = track.seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        angle, area, apart = track.angle[seen], track.area[seen], track.separation[seen]
        mean = _spin(t, angle)
        quarters = np.array_split(np.arange(len(t)), min(4, len(t) // 3))
        changes = [abs(_spin(t[q], angle[q]) - mean) for q in quarters]
        strayed = np.sqrt(track.centre[seen].var(0).sum())
        # The centroids of two halves lie half the bar's length apart.
        return {
            "spin": relative(max(changes), abs(mean)),
            "centre": relative(float(strayed), 0.2 * apart.mean()),
            "shape": relative(2 * max(area.std() / area.mean(), apart.std() / apart.mean()), 1.0),
        }


def _spin(t: np.ndarray, angle: np.ndarray) -> float:
    """Least-squares spin [rad/s] of angles [t]."""
    late = t - t.mean()
    return float(late @ angle / (late @ late))


def _break(
    violation: str | None, hub: np.ndarray, angle: np.ndarray, t: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre [t, 2], angle [t] and scale [t] of the spin, or of its violation."""
    rng = np.random.default_rng([105, seed])
    centre, scale = np.repeat(hub[None], len(t), 0), np.ones(len(t))
    when = rng.uniform(0.35, 0.55) * t[-1]
    late = np.clip(t - when, 0, None)
    spin = angle[-1] / t[-1]
    if violation == "stops":
        angle = angle - spin * late
    elif violation == "spin_reversed":
        angle = angle - 2 * spin * late
    elif violation == "wandering":
        # Across the middle of the view, so that the bar stays in it.
        to_middle = EXTENT / 2 - hub
        course = to_middle / max(np.hypot(*to_middle), 1e-9)
        centre = centre + rng.uniform(0.14, 0.18) * course * (t / t[-1])[:, None]
    elif violation == "jitter":
        angle = angle + rng.normal(0, 0.3, len(t))
        centre = centre + rng.normal(0, 0.02, centre.shape)
    elif violation == "growing":
        scale = 1 + rng.uniform(0.3, 0.4) * t / t[-1]
    return centre, angle, scale
