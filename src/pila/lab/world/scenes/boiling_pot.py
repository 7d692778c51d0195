"""A wide pot boils: bubbles grow on its bottom as r = B √t, leave, and rise at 0.5 √(g r).

Seen from the side and flat, so that bubbles are discs. Vapour weighs nothing beside liquid, so
that the liquid keeps its area and its level rises by that of the bubbles. A model liquid: its
bubbles leave at a hand's width, and a site makes none before the last one has left the pot.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.blobs import Blob, follow_blobs
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.mixture import unmix
from pila.lab.world.render import background, box_distance, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.bubbles import Bubbles, boil, rise_speed, surface
from pila.physics.layout import Category, Slot

EXTENT = 2.0
"""Side of the view [m]."""
WIDTH, FLOOR = 1.6, 0.26
"""Inner width of the pot and height of its bottom in the view [m]."""
SATURATED = 373.0
"""Temperature of liquid and vapour [K]."""
DENSITIES = (958.0, 0.6)
"""Of liquid and vapour [kg/m^3]."""
HUES = {
    "blue": ((45, 70, 215), (90, 225, 170)),
    "red": ((215, 45, 50), (205, 220, 90)),
    "green": ((40, 155, 70), (235, 205, 80)),
    "purple": ((140, 50, 195), (240, 150, 110)),
}
"""Colours of liquid and bubbles, at least 65 degrees of hue apart."""
STRENGTHS = {"gently": (2, (0.9, 1.1)), "strongly": (3, (0.5, 0.6))}
"""Sites of bubbles and time of their growth [s]."""
DEPTHS = {"shallow": (0.85, 0.92), "deep": (1.22, 1.30)}
"""Depth of the liquid without bubbles [m]."""
POTS = {"steel": 205, "iron": 45, "tin": 125}
"""Grey of the pot's wall."""

TEMPLATES = (
    "{depth} {colour} liquid boils {strength} in a {pot} pot",
    "a {pot} pot of {depth} {colour} liquid boils {strength}, bubbles rise",
    "bubbles grow and rise in a {pot} pot of {depth} {colour} liquid that boils {strength}",
    "{colour} soup, {depth}, is boiling {strength} in a {pot} pot",
    "a {pot} pot on a heater, the {depth} {colour} liquid in it boils {strength}",
    "in a {pot} pot {depth} {colour} liquid bubbles {strength}",
    "a {depth} {colour} liquid bubbles {strength} in a hot {pot} pot",
    "vapour bubbles leave the bottom of a {pot} pot, the {depth} {colour} liquid boils {strength}",
    "{strength} boiling {colour} liquid, {depth}, in a {pot} pot seen from the side",
    "the {depth} {colour} liquid in the {pot} pot is {strength} boiling",
    "steam bubbles climb through {depth} {colour} liquid, boiling {strength} in a {pot} pot",
    "a {pot} pot with {depth} {colour} liquid that is {strength} boiling on a stove",
    "on the stove a {pot} pot of {depth} {colour} liquid boils {strength}",
    "heated from below, {depth} {colour} liquid boils {strength} in a {pot} pot",
    "large bubbles form in {depth} {colour} liquid as it boils {strength} in a {pot} pot",
    "a side view of a {pot} pot, {colour} liquid, {depth}, boiling {strength}",
    "a {colour} broth, {depth}, boils {strength} in its {pot} pot",
    "the {pot} pot is hot, its {depth} {colour} liquid boils {strength} and bubbles escape",
    "bubbles detach from the bottom of {depth} {colour} liquid, {strength} boiling in a {pot} pot",
    "{depth} and {colour}, the liquid in a {pot} pot boils {strength}",
    # held out
    "a {pot} pot in which {depth} {colour} liquid boils {strength}",
    "{strength} boils the {depth} {colour} liquid in a {pot} pot",
    "bubbles rise through {depth} {colour} liquid boiling {strength} in a {pot} pot",
    "the {colour} liquid, {depth}, bubbles and boils {strength} in a {pot} pot",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(HUES),
    "strength": tuple(STRENGTHS),
    "depth": tuple(DEPTHS),
    "pot": tuple(POTS),
}
"""What each gap of the templates may say."""


class BoilingPot:
    """Nucleate boiling with a few large bubbles."""

    name = "boiling_pot"
    categories = (Category.PHASE_CHANGE, Category.FLUID, Category.THERMAL)
    violations = (
        "bubbles_sink",
        "liquid_vanishing",
        "bubbles_shrink",
        "slow_rise",
        "stops",
        "jitter",
    )
    laws = ("liquid_kept", "bubbles_rise", "terminal_speed", "bubble_size")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """A pot in steady boiling; closed form."""
        draw = np.random.default_rng([22, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        num_sites, growing = STRENGTHS[words["strength"]]
        depth = draw.uniform(*DEPTHS[words["depth"]])
        largest = draw.uniform(0.13, 0.145, num_sites)
        growth = largest.mean() / np.sqrt(draw.uniform(*growing))
        begin = draw.permutation(num_sites) / num_sites + draw.uniform(-0.08, 0.08, num_sites)
        begin += draw.uniform()
        across = (np.arange(num_sites) + 0.5) / num_sites * WIDTH + (EXTENT - WIDTH) / 2
        across += draw.uniform(-0.05, 0.05, num_sites)
        t = canvas.times
        rng = np.random.default_rng([122, seed])
        clock, liquid, slow, shrink = t, np.full(len(t), WIDTH * depth), 1.0, 0.0
        if violation == "bubbles_sink":
            clock = -t
        elif violation == "liquid_vanishing":
            liquid = liquid * (1 - rng.uniform(0.4, 0.5) * t / t[-1])
        elif violation == "bubbles_shrink":
            shrink = rng.uniform(0.6, 0.8)
        elif violation == "slow_rise":
            slow = rng.uniform(0.4, 0.5)
        elif violation == "stops":
            clock = np.minimum(t, rng.uniform(0.3, 0.45) * t[-1])
        way = depth + np.pi * (largest**2).sum() / WIDTH  # until a bubble is above the level
        path = boil(clock, begin, across, largest, growth, way, slow=slow, shrink=shrink)
        if violation == "jitter":
            path = path.shifted(rng.normal(0, 0.07, (2, len(t), num_sites)), t)
        level = FLOOR + surface(liquid, WIDTH, path.centres[1], path.radii)
        path = path.raised(FLOOR)
        x, y = pixel_centres(canvas.size, EXTENT)
        wall = box_distance(x, y, (EXTENT / 2, EXTENT / 2 + FLOOR), (WIDTH / 2, EXTENT / 2))
        inner = coverage(wall, EXTENT)
        content = inner * coverage(y - level[:, None, None], EXTENT)
        vapour = np.zeros_like(content)
        shine = np.zeros_like(content)
        for i in range(num_sites):
            cx, cy, r = (a[:, i, None, None] for a in (*path.centres, path.radii))
            bubble = coverage(np.hypot(x - cx, y - cy) - r, EXTENT)
            vapour = np.maximum(vapour, bubble)
            shine += bubble * ((y - cy) - (x - cx)) / r
        image = np.repeat(background(draw, canvas.size, 85, 170)[None], len(t), 0)
        top = y < FLOOR + 1.55
        paint(image, (coverage(wall - 0.07, EXTENT) * top)[None], (POTS[words["pot"]],) * 3)
        stove = box_distance(x, y, (EXTENT / 2, 0.08), (0.7, 0.07))
        paint(image, coverage(stove, EXTENT)[None], (30,) * 3)
        paint(image, (inner * top)[None], (100,) * 3)
        wet, dry = (np.array(c, float) for c in HUES[words["colour"]])
        paint(image, content, wet + (9 * np.cos(9 * x) * np.cos(4 * y))[..., None])
        paint(image, content * vapour, dry + (11 * shine)[..., None])
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "liquid_depth": depth,
                "growth": growth,
                "radii": tuple(largest),
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, path, content, vapour),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of kept liquid, of steady rise, of its speed and of the bubbles' sizes, 0..1.

        All are 1 where frames [t, h, w, 3] show no liquid in which a bubble rises.
        """
        liquid, vapour = unmix(frames, tuple(HUES.values()))
        area = liquid.sum((1, 2))
        size = frames.shape[1]
        if (area > 0.05 * size**2).mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        level, floor = _edges(liquid + vapour)
        paths = follow_blobs(vapour, 0.0022 * size**2, 0.09 * size)
        segments = [_split(path, level, floor, size) for path in paths]
        errors = [_rise(rising, size) for _, rising in segments if len(rising.area) >= 5]
        if not errors:
            return dict.fromkeys(self.laws, 1.0)
        lengths = [len(r.area) for _, r in segments if len(r.area) >= 5]
        steady, speed, size_kept = np.average(errors, axis=0, weights=lengths)
        growths = [_growth(attached) for attached, _ in segments if len(attached.area) >= 5]
        kept = np.abs(area / np.median(area) - 1).max()
        return {
            "liquid_kept": relative(float(kept), 0.5),
            "bubbles_rise": float(steady),
            "terminal_speed": float(speed),
            "bubble_size": max(float(size_kept), float(np.mean(growths or [0.0]))),
        }


def _edges(content: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows of the liquid's level [t] and of the pot's bottom, with fractions."""
    rows = content.sum(2)
    filled = np.clip(rows / max(float(np.quantile(rows, 0.9)), 1e-9), 0, 1)
    index = np.arange(content.shape[1])
    middle = round(float((filled * index).sum() / filled.sum()))
    floor = middle + float(np.median(filled[:, middle:].sum(1)))
    return middle - filled[:, :middle].sum(1), floor


def _split(path: Blob, level: np.ndarray, floor: float, size: int) -> tuple[Blob, Blob]:
    """The parts of a bubble's path on the bottom and in free rise below the surface."""
    radius = np.sqrt(path.area / np.pi)
    gap = floor - path.centre[:, 1] - radius
    under = path.centre[:, 1] - radius - level[path.frames]
    on = (gap < 0.008 * size) & (under > 0)
    free = (gap > 0.016 * size) & (under > 0.012 * size)
    parts = [Blob(path.frames[s], path.area[s], path.centre[s]) for s in (on, free)]
    return parts[0], parts[1]


def _rise(path: Blob, size: int) -> tuple[float, float, float]:
    """Errors of steady upward motion, of its speed 0.5 sqrt(g r), and of constant area."""
    t = path.frames / FRAME_RATE
    height = (size - path.centre[:, 1]) / size * EXTENT
    (_, speed), misfit = polynomial_fit(t, height, 1)
    sideways = (path.centre[:, 0] - path.centre[:, 0].mean()) / size * EXTENT
    way = max(speed * (t[-1] - t[0]), 0.0)
    radius = np.sqrt(np.median(path.area) / np.pi) / size * EXTENT
    expected = float(rise_speed(radius))
    spread = 2 * path.area.std() / path.area.mean()
    return (
        relative(float(np.sqrt((misfit**2 + sideways**2).mean())), 0.1 * way),
        relative(abs(speed - expected), expected),
        relative(float(spread), 1.0),
    )


def _growth(path: Blob) -> float:
    """Error of an area that grows linearly in time."""
    t = path.frames / FRAME_RATE
    (_, rate), misfit = polynomial_fit(t, path.area, 1)
    return relative(float(np.sqrt((misfit**2).mean())), 0.3 * rate * (t[-1] - t[0]))


def _truth(path: Bubbles, content: np.ndarray, vapour: np.ndarray) -> tuple[Fields, Fields]:
    """Flow [m/s], liquid share, density [kg/m^3], and saturation [K] everywhere."""
    liquid, gas = DENSITIES
    wet = content > 0
    fields: Fields = {
        Slot.VELOCITY: path.flow(*pixel_centres(content.shape[1], EXTENT)) * wet,
        Slot.PHASE: ((1 - vapour) * wet)[None],
        Slot.DENSITY: ((liquid + (gas - liquid) * vapour) * wet)[None],
        Slot.TEMPERATURE: (SATURATED * wet)[None].astype(float),
    }
    return fields, dict.fromkeys(fields, content[None])
