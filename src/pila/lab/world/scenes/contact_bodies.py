"""A hot and a cold block of one metal touch: heat passes between them, insulated from outside.

Along the line of contact this is one rod of length L whose first half is hot. With k = a (pi/L)^2
its temperature is T/2 + sum over odd n of (2 T / (n pi)) sin(n pi/2) cos(n pi s/L) exp(-n^2 k t).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.render import (
    HEAT_DIRECTION,
    background,
    box_distance,
    coverage,
    paint,
    pixel_centres,
    read_temperature,
    to_uint8,
)
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.scenes.hot_spot import DIFFUSIVITY
from pila.physics.layout import Category, Slot

EXTENT = 0.06
"""Side of the view [m]."""
HEATS = {"warm": (0.55, 0.65), "very hot": (0.9, 1.0)}
"""Temperature of the hot block over the cold one's, in units of the colour map's scale."""
SIZES = {"short": 0.018, "long": 0.023}
"""Length of a block along the line of contact [m]."""
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, 1), "bottom": (0, -1)}
"""Where the hot block lies, as seen from the contact (x, y)."""
RIM = 0.001
"""Width of the blocks' outline [m]."""
MODES = 399
"""Odd terms of the series run up to this one; in a pixel's mean later ones are too small."""

TEMPLATES = (
    "a {heat} {size} block of {metal} on the {side} touches a cold one, heat flows across",
    "two {size} {metal} blocks in contact, the {heat} one is at the {side}, "
    "their temperatures even out",
    "heat passes from a {heat} {size} {metal} block on the {side} to a cold block",
    "a cold {size} {metal} block is warmed by a {heat} one at its {side}",
    "the {heat} {size} {metal} block at the {side} cools as it heats its cold neighbour",
    "conduction between two {size} {metal} blocks, {heat} on the {side} and cold beyond",
    "a {heat} block of {metal}, {size}, on the {side} gives its heat to a cold block",
    "two {size} bars of {metal} touch end to end, the {side} one is {heat}",
    "on a thermal camera a {heat} {size} {metal} bar at the {side} warms a cold bar",
    "a {heat} {metal} bar lies at the {side} against a cold one, both {size}, heat crosses over",
    "heat crosses the contact of two {size} {metal} blocks, the one at the {side} is {heat}",
    "the temperatures of two touching {size} {metal} blocks draw level, the {side} one starts "
    "{heat}",
    "a {size} {metal} bar, {heat} at the {side}, shares its heat with a cold bar",
    "{heat} metal meets cold metal, two {size} blocks of {metal}, the {side} one hotter",
    "thermal contact of two {size} {metal} blocks, {heat} at the {side}",
    "a {heat} {size} piece of {metal} on the {side} presses on a cold piece and warms it",
    "the cold {metal} block takes up heat from the {heat} {size} block on the {side}",
    "warmth spreads from the {side} block, {heat} and {size}, into a cold block of {metal}",
    "a {size} block of {metal}, {heat}, at the {side} loses heat to the cold block beside it",
    "two {size} pieces of {metal}, the {side} one {heat}, exchange heat where they touch",
    # held out
    "a {heat} {size} {metal} block at the {side} heats a cold one by contact",
    "heat flows between two {size} {metal} bars in contact, the {side} one is {heat}",
    "the cold {size} {metal} bar is heated by its {heat} neighbour at the {side}",
    "two {metal} blocks, both {size}, touch and the {heat} one on the {side} cools down",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "metal": tuple(DIFFUSIVITY),
    "heat": tuple(HEATS),
    "size": tuple(SIZES),
    "side": tuple(SIDES),
}
"""What each gap of the templates may say."""


class ContactBodies:
    """Heat exchange of two equal blocks by conduction."""

    name = "contact_bodies"
    categories = (Category.THERMAL,)
    violations = ("cold_to_hot", "heat_vanishing", "heat_growing", "stops", "jitter")
    laws = ("diffusion", "heat_kept", "evens_out")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """Two blocks that touch from time 0 on."""
        draw = np.random.default_rng([18, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        diffusivity, length = DIFFUSIVITY[words["metal"]], SIZES[words["size"]]
        heat = draw.uniform(*HEATS[words["heat"]])
        width = draw.uniform(0.027, 0.034)
        centre = EXTENT / 2 + draw.uniform(-0.003, 0.003, 2)
        towards = np.array(SIDES[words["side"]], float)
        t = canvas.times
        clock, gain = _break(violation, t, seed)
        x, y = pixel_centres(canvas.size, EXTENT)
        # Distance along the line of contact from the hot block's far end.
        along = length - (x - centre[0]) * towards[0] - (y - centre[1]) * towards[1]
        temperature = _temperature(along, length, diffusivity, clock, canvas.size)
        temperature *= (gain * heat)[:, None, None]
        half = np.abs(towards) * length + (1 - np.abs(towards)) * width / 2
        edge = box_distance(x, y, (centre[0], centre[1]), (half[0], half[1]))
        inside = coverage(edge, EXTENT)
        ground = background(draw, canvas.size, 50, 65)
        metal = background(draw, canvas.size, 72, 84)
        picture = ground[None]
        paint(picture, coverage(edge - RIM, EXTENT)[None], (135, 135, 135))
        paint(picture, inside[None], metal)
        seam = coverage(np.abs(along - length) - RIM / 3, EXTENT) * inside
        picture -= (18 * seam)[None, ..., None]
        image = picture + (temperature * inside)[..., None] * HEAT_DIRECTION
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "diffusivity": diffusivity,
                "length": length,
                "width": width,
                "temperature": heat,
                "x0": centre[0],
                "y0": centre[1],
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, temperature, inside),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the heat equation, of kept heat and of evening out, 0..1.

        All are 1 where frames [t, h, w, 3] show no hot block with a cold one beside it.
        """
        temperature = read_temperature(frames)
        profile = rod_profile(temperature)
        if profile is None:
            return dict.fromkeys(self.laws, 1.0)
        t = np.arange(len(frames)) / FRAME_RATE
        total = temperature.sum((1, 2))
        n = profile.shape[1]
        hot, cold = profile[:, : n // 2].mean(1), profile[:, n // 2 :].mean(1)
        # The far quarter of the hot block keeps the maximum longest. Means of some frames, or
        # noise would count as many small rises.
        warmest = np.maximum(profile[:, : n // 4].mean(1), cold)
        apart, most = (
            np.diff([part.mean() for part in np.array_split(line, 6)])
            for line in (hot - cold, warmest)
        )
        rises = float(np.clip(apart, 0, None).sum() + np.clip(most, 0, None).sum())
        falls = float(np.clip(-apart, 0, None).sum())
        misfit, change, _ = fit_decay(profile, t)
        return {
            "diffusion": relative(3 * misfit, change),
            "heat_kept": relative(2 * float(np.abs(total / total[:3].mean() - 1).max()), 1.0),
            "evens_out": relative(rises, falls),
        }


def rod_profile(temperature: np.ndarray) -> np.ndarray | None:
    """Temperature along the rod from its hot end, means across it, [t, 48]; None if no block.

    The hot block is the box of hot pixels in the first frame. The cold one is the equal box on
    that of its four sides which holds the most heat over the clip.
    """
    size = temperature.shape[1]
    first = temperature[0]
    level = np.sort(first.ravel())[-max(first.size // 60, 8) :].mean()
    if level < 0.15:
        return None
    hot = np.clip(first / level, 0, 1)
    hot = np.where(hot > 0.15, hot, 0)
    columns, rows = hot.sum(0), hot.sum(1)
    (left, right), (top, bottom) = _span(columns), _span(rows)
    wide, high = right - left, bottom - top
    if min(wide, high) < size / 10 or max(wide, high) > 0.8 * size:
        return None
    mean = temperature.mean(0)
    best, heat = None, 0.0
    for axis, sign in ((1, 1), (1, -1), (0, 1), (0, -1)):
        low, length = (left, wide) if axis else (top, high)
        across = slice(round(top + high / 6), round(bottom - high / 6))
        if not axis:
            across = slice(round(left + wide / 6), round(right - wide / 6))
        start = low if sign > 0 else low + length
        s = start + sign * 2 * length * (np.arange(48) + 0.5) / 48 - 0.5
        if s.min() < -0.5 or s.max() > size - 0.5:
            continue
        band = mean[across].mean(0) if axis else mean[:, across].mean(1)
        gained = float(np.interp(s[24:], np.arange(size), band).mean())
        if gained > heat:
            best, heat = (axis, across, s), gained
    if best is None:
        return None
    axis, across, s = best
    line = temperature[:, across].mean(1) if axis else temperature[:, :, across].mean(2)
    return np.stack([np.interp(s, np.arange(size), row) for row in line])


def fit_decay(profile: np.ndarray, t: np.ndarray) -> tuple[float, float, float]:
    """Misfit and change of the first and third cosine modes, and the best rate k [1/s].

    The heat equation lets them decay as exp(-k t) and exp(-9 k t), whatever they are at first.
    """
    s = (np.arange(profile.shape[1]) + 0.5) / profile.shape[1]
    modes = np.stack([profile @ np.cos(n * np.pi * s) for n in (1, 3)], 1) / len(s)
    rates = np.linspace(0.0, 4.0, 401)[:, None]
    model = np.stack([np.exp(-rates * t), np.exp(-9 * rates * t)], -1)
    size = (model * modes).sum(1, keepdims=True) / (model**2).sum(1, keepdims=True)
    misfits = ((modes - size * model) ** 2).sum(2).mean(1)
    best = int(np.argmin(misfits))
    change = np.hypot(*(size * (model[:, -1:] - model[:, :1]))[best, 0])
    return float(np.sqrt(misfits[best])), float(change), float(rates[best, 0])


def _span(line: np.ndarray) -> tuple[float, float]:
    """Edges [px] of a soft-edged plateau: its extent by area about its middle half's height."""
    height = np.median(line[line > 0.5 * line.max()])
    full = np.clip(line / height, 0, 1)
    middle = float((full * (np.arange(len(line)) + 0.5)).sum() / full.sum())
    return middle - full.sum() / 2, middle + full.sum() / 2


def _break(violation: str | None, t: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The moment of the true exchange that each frame shows [s], and a gain, each [t]."""
    rng = np.random.default_rng([118, seed])
    clock, gain = t, np.ones_like(t)
    if violation == "cold_to_hot":
        clock = t[::-1]
    elif violation == "heat_vanishing":
        gain = 1 - rng.uniform(0.45, 0.65) * t / t[-1]
    elif violation == "heat_growing":
        gain = 0.55 + rng.uniform(0.35, 0.45) * t / t[-1]
    elif violation == "stops":
        clock = np.minimum(t, rng.uniform(0.1, 0.2) * t[-1])
    elif violation == "jitter":
        clock = np.clip(t + rng.normal(0, 0.45, len(t)), 0, None)
    return clock, gain


def _temperature(
    along: np.ndarray, length: float, diffusivity: float, clock: np.ndarray, size: int
) -> np.ndarray:
    """Pixel means of the series for a hot block at 1 beside a cold one at 0, [t, h, w]."""
    rod = 2 * length
    rate = diffusivity * (np.pi / rod) ** 2
    # The series depends on one coordinate: it is summed on a line of points and looked up.
    s = np.linspace(0, rod, 8 * size + 1)
    n = np.arange(1, MODES + 1, 2)
    # A pixel's mean of a cosine is the cosine times sinc of the pixel's share of its period.
    share = 2 / (n * np.pi) * np.sin(n * np.pi / 2) * np.sinc(n * EXTENT / size / rod / 2)
    amplitude = share * np.exp(-(n**2) * rate * clock[:, None])
    line = 0.5 + amplitude @ np.cos(n[:, None] * np.pi * s / rod)
    at = np.clip(along, 0, rod)
    return np.stack([np.interp(at, s, row) for row in line])


def _truth(temperature: np.ndarray, inside: np.ndarray) -> tuple[Fields, Fields]:
    mask = np.repeat(inside[None, None], len(temperature), 1)
    fields: Fields = {
        Slot.TEMPERATURE: temperature[None] * (mask > 0),
        Slot.VELOCITY: np.zeros((2, *temperature.shape)),
        Slot.DENSITY: mask.copy(),
    }
    masks = dict.fromkeys(fields, mask) | {Slot.DENSITY: np.ones_like(mask)}
    return fields, masks
