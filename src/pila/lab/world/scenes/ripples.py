"""Ripples in a shallow tray: a ring that spreads at √(g h) and fades as 1/√r.

Colour is the height of the surface: crests in the liquid's hue, troughs in the opposite one.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.light import read_tint
from pila.lab.world.render import background, pixel_centres, to_uint8
from pila.lab.world.rings import read_ring
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 1.0
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""
DENSITY = 1000.0
"""[kg/m^3]"""
HUES = {
    "water": (-85.0, -15.0, 100.0),
    "wine": (105.0, -50.0, -40.0),
    "green tea": (-60.0, 85.0, -70.0),
}
"""Colour added by a crest of full height; a trough takes as much away."""
SPEEDS = {"slowly": (0.085, 0.100), "quickly": (0.125, 0.145)}
"""Wave speed [m/s] by the caption's word; the liquid's depth is its square over g."""
STRENGTHS = {"weak": (0.55, 0.65), "strong": (0.9, 1.0)}
"""First height of the ring as a share of the colour map's scale."""
FULL_HEIGHT = 5e-5
"""Height of full colour [m]: small beside the depth, so that the waves are linear."""
PLACES = {
    "on the left of": (0.43, 0.50),
    "in the middle of": (0.50, 0.50),
    "on the right of": (0.57, 0.50),
    "near the top of": (0.50, 0.57),
    "near the bottom of": (0.50, 0.43),
}
START = 0.115
"""Radius [m] that the ring has reached in the first frame."""

TEMPLATES = (
    "a drop falls {place} a tray of {liquid} and {strength} rings spread {speed}",
    "{strength} ripples spread {speed} from a drop {place} a tray of {liquid}",
    "a drop of {liquid} lands {place} a shallow tray, a {strength} circular wave runs out {speed}",
    "circular waves in {liquid}, {strength}, travel {speed} from a point {place} the tray",
    "a {strength} ring wave grows {speed} around a point {place} a basin of {liquid}",
    "{place} a basin of {liquid} a drop makes {strength} ripples that widen {speed}",
    "a {strength} ripple runs {speed} outwards from a point {place} a tray of {liquid}",
    "the surface of {liquid} is hit by a drop {place} the tray, {strength} rings widen {speed}",
    "a {strength} wave ring in {liquid} expands {speed} from {place} the tray",
    "rings of {strength} waves run {speed} from a point {place} a tray of {liquid}",
    "a drop splashes {place} a basin of {liquid}, sending out {strength} ripples {speed}",
    "{speed} a {strength} circular ripple spreads from {place} a tray of {liquid}",
    "a {strength} round wave moves {speed} over {liquid}, from a drop {place} the basin",
    "wave crests in {liquid}, {strength}, move {speed} away from a drop {place} the tray",
    "from a drop {place} a tray of {liquid} a {strength} ring of waves opens {speed}",
    "a tray of {liquid} ripples {speed} and {strength} after a drop falls {place} it",
    "someone drips {liquid} {place} a tray, and {strength} rings run outwards {speed}",
    "a {strength} disturbance {place} a tray of {liquid} spreads {speed} in circles",
    "concentric {strength} ripples spread {speed} over {liquid} from {place} the basin",
    "a drip {place} a basin of {liquid} starts a {strength} ripple that expands {speed}",
    # held out
    "a drop hits a tray of {liquid}, {place} it {strength} rings widen {speed}",
    "{strength} circular ripples run {speed} from {place} a tray of {liquid}",
    "in a basin of {liquid} a {strength} ring wave spreads {speed} from a drop {place} it",
    "a {strength} ripple in {liquid} opens {speed} around a drop {place} the tray",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "liquid": tuple(HUES),
    "strength": tuple(STRENGTHS),
    "speed": tuple(SPEEDS),
    "place": tuple(PLACES),
}
"""What each gap of the templates may say."""


class Ripples:
    """A ring wave on shallow liquid, an exact solution of the wave equation."""

    name = "ripples"
    categories = (Category.OPTICAL,)
    violations = ("accelerating", "contracting", "oval", "stops", "growing", "jitter")
    laws = ("speed", "round", "decay", "wavelength")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One ring, from a radius of 0.12 m on."""
        draw = np.random.default_rng([23, seed])
        liquid, place = choose(draw, list(HUES)), choose(draw, list(PLACES))
        strength, pace = choose(draw, list(STRENGTHS)), choose(draw, list(SPEEDS))
        centre = np.array(PLACES[place]) + draw.uniform(-0.015, 0.015, 2)
        speed, height = draw.uniform(*SPEEDS[pace]), draw.uniform(*STRENGTHS[strength])
        wavelength = draw.uniform(0.18, 0.20)
        image = np.repeat(background(draw, canvas.size, 105, 145)[None], canvas.num_frames, 0)
        rng = np.random.default_rng([123, seed])
        clock, gain = _break(violation, canvas.times, rng)
        x, y = pixel_centres(canvas.size, EXTENT)
        x, y = x - centre[0], y - centre[1]
        stretch = np.eye(2)
        if violation == "oval":
            turn, ratio = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.35, 1.5))
            axis = np.array([np.cos(turn), np.sin(turn)])
            stretch = np.eye(2) / ratio + np.outer(axis, axis) * (ratio - 1 / ratio)
        x, y = stretch[0, 0] * x + stretch[0, 1] * y, stretch[1, 0] * x + stretch[1, 1] * y
        radius = np.hypot(x, y)
        reach = START + speed * clock
        wave, _ = ring_wave(radius, reach, wavelength)
        first, _ = ring_wave(radius, np.array([START]), wavelength)
        # Heights are shares of the map's scale; true and violated twins share it.
        scale = height / float(np.abs(first).max())
        surface = wave * (scale * gain)[:, None, None]
        image += surface[..., None] * np.array(HUES[liquid])
        words = {"liquid": liquid, "strength": strength, "speed": pace, "place": place}
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "wave_speed": speed,
                "depth": speed**2 / GRAVITY,
                "wavelength": wavelength,
                "height": height * FULL_HEIGHT,
                "x0": centre[0],
                "y0": centre[1],
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(
                _truth,
                np.stack([x, y]),
                stretch,
                reach,
                wavelength,
                scale * gain * FULL_HEIGHT,
                np.gradient(clock, canvas.times, edge_order=2) * GRAVITY / speed,
            ),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of constant speed, roundness, fading as 1/√r and constant wavelength, 0..1.

        All are 1 where frames [t, h, w, 3] show no ring in four fifths of them.
        """
        ring = read_ring(read_tint(frames), EXTENT)
        if ring is None:
            return dict.fromkeys(self.laws, 1.0)
        t = np.flatnonzero(ring.seen) / FRAME_RATE
        radius, height = ring.radius[ring.seen], ring.height[ring.seen]
        spacing, uneven = ring.spacing[ring.seen], ring.uneven[ring.seen]
        span = t[-1] - t[0]
        (_, slope), rest = polynomial_fit(t, radius, 1)
        growth = max(slope, 0.0) * span
        (_, _, bend), _ = polynomial_fit(t, radius, 2)
        change = relative(abs(2 * bend) * span, max(slope, 0.0))
        jumps = relative(6 * float(np.sqrt((rest**2).mean())), growth)
        # A ring that does not fade as 1/√r has a height x √r that changes.
        level = height * np.sqrt(radius)
        (_, trend), _ = polynomial_fit(t, np.log(np.maximum(level, 1e-6)), 1)
        return {
            "speed": max(change, jumps),
            "round": relative(float(np.median(uneven)), 0.5 * float(np.median(radius))),
            "decay": relative(max(abs(trend * span), float((level / np.median(level)).std())), 1.0),
            "wavelength": relative(float(spacing.std()), float(np.median(spacing))),
        }


def _break(
    violation: str | None, t: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Moment of the true wave that each frame shows [s], and a factor on its height."""
    end = t[-1]
    if violation == "accelerating":
        # Slow at first; the last radius is the true one, so that the ring stays in view.
        return end * (0.25 * t / end + 0.75 * (t / end) ** 2), np.ones_like(t)
    if violation == "contracting":
        return t[::-1], np.ones_like(t)
    if violation == "stops":
        return np.minimum(t, rng.uniform(0.35, 0.5) * end), np.ones_like(t)
    if violation == "jitter":
        return np.clip(t + rng.normal(0, 0.3, len(t)), 0, None), np.ones_like(t)
    if violation == "growing":
        # From under half of the true height at first, so that the colour map still holds it.
        return t, 0.45 * (1 + rng.uniform(3.0, 4.0) * t / end)
    return t, np.ones_like(t)


def ring_wave(
    radius: np.ndarray, reach: np.ndarray, wavelength: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ring's height and its outward flow (both in units of one plane wave), [t, h, w].

    Plane waves p(n·x - c t) from all directions n that meet at the centre at time 0: each obeys
    the wave equation, so their mean does. In shallow water each carries the flow (g/c) p n.

    Args:
        radius: distance from the centre [m], [h, w].
        reach: c t in each frame [m], [t].
        wavelength: [m].
    """
    step = float(radius.max()) / 384
    r = (np.arange(387) - 1) * step
    angle = (np.arange(72) + 0.5) * np.pi / 72
    s = r[:, None] * np.cos(angle) - reach[:, None, None]
    p = np.cos(2 * np.pi / wavelength * s) * np.exp(-((s / (0.4 * wavelength)) ** 2) / 2)
    # Cubic between the radii, so that second derivatives of the picture are those of the wave.
    u = np.arange(8)[:, None] / 8
    blend = (u * (2 * u - u**2 - 1), 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2)
    place = radius * (8 / step)
    low = np.minimum(place.astype(int), 384 * 8 - 2)
    fields = []
    for f in (p.mean(-1), (p * np.cos(angle)).mean(-1)):
        fine = sum(w * f[:, None, i : i + 384] for i, w in enumerate(blend)) / 2
        fine = np.swapaxes(fine, 1, 2).reshape(len(f), -1)
        fields.append(fine[:, low] * (1 + low - place) + fine[:, low + 1] * (place - low))
    return fields[0], fields[1]


def _truth(
    place: np.ndarray,
    stretch: np.ndarray,
    reach: np.ndarray,
    wavelength: float,
    height: np.ndarray,
    flow: np.ndarray,
) -> tuple[Fields, Fields]:
    """Surface height [m], flow [m/s] and pressure on the tray's floor above rest [Pa]."""
    radius = np.hypot(*place)
    wave, outward = ring_wave(radius, reach, wavelength)
    direction = np.einsum("ij,jhw->ihw", stretch, place / np.maximum(radius, 1e-9))
    wave = (wave * height[:, None, None])[None]
    fields: Fields = {
        Slot.VELOCITY: direction[:, None] * (outward * (height * flow)[:, None, None]),
        Slot.PRESSURE: DENSITY * GRAVITY * wave,
        Slot.WAVE: wave,
    }
    return fields, {slot: np.ones_like(wave) for slot in fields}
