"""Newton's cradle: three equal balls on strings hand one swing to and fro."""

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
)
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.render import (
    background,
    bar_distance,
    box_distance,
    coverage,
    paint,
    pixel_centres,
    to_uint8,
)
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.lab.world.solvers.hard_balls import collide
from pila.physics.layout import Category

EXTENT = 1.4
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""
RADIUS = 0.11
"""[m]"""
GAP = 0.001
"""Between balls at rest [m], so that they strike one after another: a tenth of a pixel."""
STEPS_PER_SECOND = 6400
"""A ball at 1.6 m/s crosses a quarter of the gap in one step."""
COLOURS = ("red", "green", "blue", "yellow", "purple")
BEAM = "orange"
"""Colour of the beam that holds the strings; its middle line is their pivot."""
LENGTHS = {"short": (0.295, 0.305), "long": (0.475, 0.485)}
"""Pivot to ball's centre [m]."""
HEIGHTS = {"low": (24.0, 25.5), "high": (34.0, 36.0)}
"""Angle at which the first ball is let go [degrees]."""

TEMPLATES = (
    "a newton's cradle on {length} strings, {left}, {middle} and {right} balls, "
    "the {side} one is raised {height} and let go",
    "newton's cradle with a {left} ball left, {middle} middle, {right} right, {length} strings, "
    "the {side} ball pulled {height}",
    "three balls hang on {length} strings, {left}, {middle}, {right}, the {side} one swings in "
    "from {height}",
    "the {side} ball of a newton's cradle, {left}, {middle}, {right} on {length} strings, "
    "falls from {height} and strikes",
    "{left}, {middle} and {right} balls on {length} strings click, the {side} one is released "
    "{height}",
    "a swinging cradle of {left}, {middle} and {right} balls on {length} strings, started {height} "
    "on the {side}",
    "on {length} strings hang a {left}, a {middle} and a {right} ball, the {side} one drops "
    "from {height}",
    "a pendulum cradle, {left}, {middle}, {right}, {length} strings, the {side} ball lifted "
    "{height} and dropped",
    "from the {side}, {height}, a ball swings into a newton's cradle of {left}, {middle} "
    "and {right} on {length} strings",
    "newton's cradle: {left} left, {middle} centre, {right} right, {length} strings, "
    "{height} swing from the {side}",
    "a desk toy with {left}, {middle} and {right} balls on {length} strings, "
    "the {side} ball is let go {height}",
    "the outer balls of a {left}, {middle}, {right} cradle swing by turns on {length} strings, "
    "{height}, first the {side}",
    "a {height} swing of the {side} ball sets off a {left}, {middle} and {right} cradle "
    "on {length} strings",
    "raised {height} on the {side}, one of three balls, {left}, {middle}, {right}, swings "
    "on {length} strings and hits",
    "clicking balls on {length} strings, a {left}, a {middle} and a {right} one, "
    "started {height} from the {side}",
    "a cradle of three pendulums with {length} strings, {left}, {middle}, {right}, "
    "the {side} one raised {height}",
    "momentum passes through hanging {left}, {middle} and {right} balls on {length} strings, "
    "{side} ball released {height}",
    "the {side} ball hangs {height}, swings on its {length} string and knocks the row "
    "of {left}, {middle}, {right}",
    "a newton's cradle in motion, {length} strings, balls {left}, {middle} and {right}, "
    "{height} start on the {side}",
    "three hanging balls, {left}, {middle} and {right}, {length} strings, the {side} ball "
    "comes down from {height}",
    # held out
    "a cradle with {left}, {middle} and {right} balls on {length} strings, the {side} one "
    "let go from {height}",
    "newton's cradle, the {side} ball raised {height}, balls {left}, {middle}, {right} "
    "on {length} strings",
    "hanging on {length} strings, a {left}, a {middle} and a {right} ball, the {side} one "
    "swings {height} and clicks",
    "the {side} ball swings from {height} into a row of {left}, {middle}, {right} "
    "on {length} strings",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "left": COLOURS,
    "middle": COLOURS,
    "right": COLOURS,
    "side": ("left", "right"),
    "height": tuple(HEIGHTS),
    "length": tuple(LENGTHS),
}
"""What each gap of the templates may say."""


class NewtonsCradle:
    """Equal pendulums that collide elastically: one comes in, the far one goes out."""

    name = "newtons_cradle"
    categories = (Category.RIGID_BODY, Category.COLLISION)
    violations = (
        "two_out",
        "none_out",
        "no_exchange",
        "super_elastic",
        "wrong_period",
        "jitter",
    )
    laws = ("period", "energy", "exchange", "string")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One outer ball let go at rest, at the angle that the caption's word says."""
        draw = np.random.default_rng([8, seed])
        colours = [COLOURS[i] for i in draw.permutation(len(COLOURS))[:3]]
        words = dict(zip(("left", "middle", "right"), colours, strict=True))
        words |= {gap: choose(draw, WORDS[gap]) for gap in ("side", "height", "length")}
        length = draw.uniform(*LENGTHS[words["length"]])
        amplitude = np.radians(draw.uniform(*HEIGHTS[words["height"]]))
        pivot_y = EXTENT / 2 + (length + RADIUS) / 2 + draw.uniform(-0.02, 0.02)
        t = canvas.times
        rng = np.random.default_rng([108, seed])
        if violation in (None, "jitter", "wrong_period"):
            pull = rng.choice([0.4, 2.2]) if violation == "wrong_period" else 1.0
            angle = swing(amplitude, length, GRAVITY * pull, t)
        else:
            angle = broken_swing(amplitude, length, t, violation, rng)
        if words["side"] == "right":
            angle = -angle[:, ::-1]
        pivots = EXTENT / 2 + (np.arange(3) - 1) * (2 * RADIUS + GAP)
        p = np.stack([pivots + length * np.sin(angle), pivot_y - length * np.cos(angle)], -1)
        if violation == "jitter":
            p = p + rng.normal(0, 0.03, p.shape)
        image = np.repeat(background(draw, canvas.size, 110, 190)[None], len(t), 0)
        places = [p[:, i] for i in range(3)]
        coverages = self._draw(image, places, colours, pivots, pivot_y)
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "length": length,
                "amplitude": amplitude,
                "pivot_y": pivot_y,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, places, coverages, canvas.frame_rate),
        )

    @staticmethod
    def _draw(
        image: np.ndarray,
        places: list[np.ndarray],
        colours: list[str],
        pivots: np.ndarray,
        pivot_y: float,
    ) -> list[np.ndarray]:
        """Paint strings, balls and beam over `image` in place; the balls' coverages."""
        size = image.shape[1]
        x, y = pixel_centres(size, EXTENT)
        radius = np.full(len(image), RADIUS)
        covered = []
        for place, pivot in zip(places, pivots, strict=True):
            held = np.broadcast_to([pivot, pivot_y], place.shape)
            paint(image, coverage(bar_distance(x, y, held, place, 0.006), EXTENT), (50, 50, 50))
        for place, colour in zip(places, colours, strict=True):
            covered.append(disc_coverage(place, radius, size, EXTENT))
            draw_ball(image, covered[-1], place, radius, colour, EXTENT)
        beam = box_distance(x, y, (EXTENT / 2, pivot_y), (0.4, 0.045))
        paint(image, coverage(beam, EXTENT), PALETTE[BEAM])
        return covered

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the period, of the swings' energy, of taking turns and of the strings, 0..1.

        All are 1 where beam and three balls are not seen in four fifths of the frames
        [t, h, w, 3], or nothing swings.
        """
        tracks = [read_ball(w, EXTENT) for w in colour_weights(frames, 4)]
        seen = np.all([track.seen for track in tracks], axis=0)
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        beam, *balls = sorted((tr.centre[seen] for tr in tracks), key=lambda c: -c[:, 1].mean())
        balls.sort(key=lambda c: c[:, 0].mean())
        pivot_y = float(beam[:, 1].mean())
        # An outer ball hangs at rest for half of the time, at the inner end of its path.
        rest = [np.quantile(c[:, 0], q) for c, q in zip(balls, (0.75, 0.5, 0.25), strict=True)]
        length = pivot_y - float(np.median([np.quantile(c[:, 1], 0.25) for c in balls]))
        across = np.stack([c[:, 0] - x for c, x in zip(balls, rest, strict=True)], 1)
        down = np.stack([pivot_y - c[:, 1] for c in balls], 1)
        angle = np.arctan2(across, down)
        rate, phase, amplitude, misfit = fit_swing(t, angle.sum(1), length)
        if amplitude * length < 0.02 * EXTENT:
            return dict.fromkeys(self.laws, 1.0)
        gravity = length * rate**2 * (1 + amplitude**2 / 8)
        both = np.minimum(np.abs(angle[:, 0]), np.abs(angle[:, 2]))
        astray = np.sqrt(np.mean(both**2 + angle[:, 1] ** 2) + misfit**2)
        stretch = np.sqrt(np.mean((np.hypot(across, down) - length) ** 2))
        return {
            "period": relative(abs(gravity - GRAVITY), GRAVITY),
            "energy": relative(*energy_change(t, angle.sum(1), rate, phase)),
            "exchange": relative(float(astray), amplitude / np.sqrt(2)),
            "string": relative(float(stretch), 0.1 * length),
        }


def swing(amplitude: float, length: float, gravity: float, t: np.ndarray) -> np.ndarray:
    """Angles [t, 3] of a cradle whose left ball is let go at -amplitude [rad], by pymunk."""
    pivot = np.stack([(np.arange(3) - 1) * (2 * RADIUS + GAP), np.zeros(3)], 1)
    start = np.array([-amplitude, 0.0, 0.0])
    motion = collide(
        position=pivot + length * np.stack([np.sin(start), -np.cos(start)], 1),
        velocity=np.zeros((3, 2)),
        radius=np.full(3, RADIUS),
        mass=np.ones(3),
        times=t,
        steps=int(np.ceil(STEPS_PER_SECOND * np.sqrt(max(gravity / GRAVITY, 1)) * (t[1] - t[0]))),
        gravity=gravity,
        pivot=pivot,
    )
    away = motion.position - pivot
    return np.arctan2(away[..., 0], -away[..., 1])


def period(amplitude: float, length: float) -> float:
    """Period of a pendulum [s]: the series in the amplitude [rad] to its fourth power."""
    return float(
        2 * np.pi * np.sqrt(length / GRAVITY) * (1 + amplitude**2 / 16 + 11 * amplitude**4 / 3072)
    )


def broken_swing(
    amplitude: float,
    length: float,
    t: np.ndarray,
    violation: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Angles [t, 3] of a cradle that breaks a law at its impacts, half swing by half swing."""
    angle = np.zeros((len(t), 3))
    largest = np.arcsin(min((EXTENT / 2 - 3 * RADIUS - 0.01) / length, 0.95))
    gain = rng.uniform(1.15, 1.25)
    start = -period(amplitude, length) / 4
    for turn in range(8):
        half = period(amplitude, length) / 2
        phase = np.pi * (t - start) / half
        # Pendulum's motion to third order of the amplitude: 1e-3 rad at 40 degrees.
        out = amplitude * np.sin(phase) + amplitude**3 / 192 * (np.sin(phase) + np.sin(3 * phase))
        now = np.where((t >= start) & (t < start + half), out, 0.0)
        if violation == "no_exchange" or (violation == "two_out" and turn) or turn % 2 == 0:
            angle[:, 0] -= now
        if (violation == "two_out" and turn) or (violation != "no_exchange" and turn % 2 == 1):
            angle[:, 2] += now
        if violation == "none_out":
            break
        if violation == "super_elastic":
            amplitude = min(gain * amplitude, largest)
        start += half
    return angle


def fit_swing(t: np.ndarray, angle: np.ndarray, length: float) -> tuple[float, float, float, float]:
    """The harmonic closest to angle(t) [t]: rate [rad/s], phase, amplitude and rms misfit [rad].

    Equal balls that hand on their swing move, taken together, as one pendulum does.
    """
    natural = np.sqrt(GRAVITY / max(length, 1e-3))
    rates = natural * np.linspace(0.3, 2.0, 341)
    for _ in range(2):
        basis = np.stack([np.cos(np.outer(rates, t)), np.sin(np.outer(rates, t))], -1)
        both = np.linalg.pinv(basis) @ angle
        misfit = np.sqrt(((angle - (basis @ both[..., None])[..., 0]) ** 2).mean(-1))
        best = int(misfit.argmin())
        rate, step = float(rates[best]), rates[1] - rates[0]
        rates = rate + step * np.linspace(-1, 1, 41)
    a, b = both[best]
    return rate, float(np.arctan2(b, a)), float(np.hypot(a, b)), float(misfit[best])


def energy_change(
    t: np.ndarray, angle: np.ndarray, rate: float, phase: float
) -> tuple[float, float]:
    """Largest change of a half swing's squared amplitude against the first one's, and the first."""
    turn = rate * t - phase
    wave = np.cos(turn)
    half = np.floor(turn / np.pi + 0.5).astype(int)
    squared = []
    for k in np.unique(half):
        mine = half == k
        weight = float((wave[mine] ** 2).sum())
        if weight > 1.5:
            squared.append((float(angle[mine] @ wave[mine]) / weight) ** 2)
    if len(squared) < 2:
        return 1.0, 0.0
    return float(np.abs(np.array(squared[1:]) - squared[0]).max()), squared[0]
