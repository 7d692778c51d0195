"""A hot spot on an insulated plate: the heat kernel, whose variance grows by 2 a per second."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import (
    HEAT_DIRECTION,
    background,
    pixel_centres,
    read_temperature,
    to_uint8,
)
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 0.20
"""Side of the plate [m]."""
DIFFUSIVITY = {
    "silver": 1.65e-4,
    "copper": 1.17e-4,
    "aluminium": 0.97e-4,
    "zinc": 0.42e-4,
    "brass": 0.34e-4,
}
"""Thermal diffusivity at room temperature [m^2/s]."""
SIZES = {"small": 0.017, "wide": 0.024}
"""Initial standard deviation of the spot [m]."""
PLACES = {
    "on the left of": (0.075, 0.10),
    "in the middle of": (0.10, 0.10),
    "on the right of": (0.125, 0.10),
    "near the top of": (0.10, 0.125),
    "near the bottom of": (0.10, 0.075),
}

TEMPLATES = (
    "a {size} hot spot {place} a {metal} plate spreads and cools",
    "heat spreads from a {size} hot spot {place} a {metal} plate",
    "a {size} glowing spot {place} a {metal} plate fades as heat flows outwards",
    "a {metal} plate with a {size} heated spot, {place} the plate, the heat diffuses",
    "the heat of a {size} spot {place} a {metal} sheet spreads out",
    "heat diffuses through a {metal} plate from a {size} spot {place} it",
    "a {size} hot area {place} a {metal} plate slowly evens out",
    "thermal conduction in a {metal} plate, a {size} hot spot {place} it spreads",
    "a {size} spot of heat {place} a {metal} plate grows wider and dimmer",
    "warmth spreads from a {size} hot spot {place} a sheet of {metal}",
    "a heated {metal} plate, the {size} hot spot {place} the plate spreads",
    "a {size} hot spot {place} a {metal} plate warms the metal around it",
    "temperature evens out around a {size} hot spot {place} a {metal} plate",
    "conduction carries heat away from a {size} spot {place} a {metal} plate",
    "a {metal} sheet heated at a {size} spot {place} it, heat flows outwards",
    "a {size} warm spot {place} a {metal} plate widens as it cools",
    "on thermal camera a {size} hot spot {place} a {metal} plate spreads",
    "heat flows from a {size} hot spot {place} a {metal} plate to the cold rim",
    "a {size} heat spot {place} a {metal} plate spreads through the metal",
    "the {size} hot spot {place} the {metal} plate diffuses",
    # held out
    "a {size} heated spot {place} a {metal} plate spreads outwards",
    "heat spreads through a {metal} plate from a {size} hot spot {place} it",
    "the heat of a {size} hot spot {place} a {metal} plate flows outwards",
    "a {metal} plate cools as a {size} hot spot {place} it spreads",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "metal": tuple(DIFFUSIVITY),
    "size": tuple(SIZES),
    "place": tuple(PLACES),
}
"""What each gap of the templates may say."""


class HotSpot:
    """Diffusion of heat in a square plate with insulated edges."""

    name = "hot_spot"
    categories = (Category.THERMAL,)
    violations = ("cold_to_hot", "heat_vanishing", "heat_growing", "stops", "jitter")
    laws = ("spreading", "heat_kept", "peak_falls")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One spot that spreads; kernel of the heat equation with insulated edges."""
        draw = np.random.default_rng([3, seed])
        metal, size = choose(draw, list(DIFFUSIVITY)), choose(draw, list(SIZES))
        place = choose(draw, list(PLACES))
        diffusivity = DIFFUSIVITY[metal]
        x0, y0 = np.array(PLACES[place]) + draw.uniform(-0.005, 0.005, 2)
        sigma = SIZES[size] * draw.uniform(0.97, 1.03)
        peak = draw.uniform(0.8, 1.0)
        t = canvas.times
        image = np.repeat(background(draw, canvas.size, 55, 80)[None], len(t), 0)
        rng = np.random.default_rng([103, seed])
        clock, gain, shift = t, np.ones_like(t), np.zeros((len(t), 2))
        if violation == "cold_to_hot":
            clock = t[::-1]
        elif violation == "heat_vanishing":
            gain = 1 - rng.uniform(0.6, 0.8) * t / t[-1]
        elif violation == "heat_growing":
            gain = 1 + rng.uniform(0.8, 1.2) * t / t[-1]
        elif violation == "stops":
            clock = np.minimum(t, rng.uniform(0.12, 0.3) * t[-1])
        elif violation == "jitter":
            # Each frame shows another moment of the spreading: nothing vanishes, order does.
            clock = np.clip(t + rng.normal(0, 0.5, len(t)), 0, None)
        variance = sigma**2 + 2 * diffusivity * clock
        # Violated clips that start hotter than the map's scale are dimmed as a whole.
        scale = peak * sigma**2 / max(float((gain * sigma**2 / variance).max()), 1.0)
        temperature = (
            (gain * scale)[:, None, None]
            / variance[:, None, None]
            * _profile(x0, y0, variance, shift, canvas.size)
        )
        image += temperature[..., None] * HEAT_DIRECTION
        words = {"metal": metal, "size": size, "place": place}
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "diffusivity": diffusivity,
                "sigma": sigma,
                "peak": peak,
                "x0": x0,
                "y0": y0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, temperature),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of spreading, of kept heat and of the falling peak, 0..1.

        All are 1 where frames [t, h, w, 3] show no spot: a peak under a tenth of the scale.
        """
        temperature = read_temperature(frames)
        t = np.arange(len(frames)) / FRAME_RATE
        peak = np.sort(temperature.reshape(len(t), -1), axis=1)[:, -20:].mean(1)
        if np.median(peak) < 0.1:
            return dict.fromkeys(self.laws, 1.0)
        variance, total = spot_moments(temperature)
        (_, slope), rest = polynomial_fit(t, variance, 1)
        growth = slope * t[-1]
        rises = np.clip(np.diff(peak), 0, None).sum()
        falls = np.clip(-np.diff(peak), 0, None).sum()
        return {
            "spreading": relative(2 * np.sqrt((rest**2).mean()), max(growth, 0.0)),
            "heat_kept": relative(float(np.abs(total / total[:3].mean() - 1).max()), 1.0),
            "peak_falls": relative(rises, falls),
        }


def spot_moments(temperature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance [m^2] along one axis and heat [scale x m^2] of the spot in each frame.

    The variance of a Gaussian on a finite plate is read from the heat that lies above half of
    its peak: a Gaussian of height A holds A/2 x 2 pi s^2 there, on an area of 2 pi s^2 ln 2.
    """
    cell = (EXTENT / temperature.shape[1]) ** 2
    flat = np.clip(temperature.reshape(len(temperature), -1), 0, None)
    total = flat.sum(1) * cell
    peak = np.maximum(np.sort(flat, axis=1)[:, -20:].mean(1), 1e-6)
    # A soft step at half height keeps the area continuous in the temperature.
    above = np.clip((flat / peak[:, None] - 0.5) / 0.04 + 0.5, 0, 1)
    return above.sum(1) * cell / (2 * np.pi * np.log(2)), total


def _profile(
    x0: float, y0: float, variance: np.ndarray, shift: np.ndarray, size: int
) -> np.ndarray:
    """Heat kernel with reflecting edges (images at one reflection), peak 1, [t, h, w]."""
    x, y = pixel_centres(size, EXTENT)
    axis_x, axis_y = x[0], y[:, 0]

    def line(axis: np.ndarray, centre: np.ndarray) -> np.ndarray:
        images = (centre, -centre, 2 * EXTENT - centre)
        return np.asarray(
            sum(np.exp(-((axis - c[:, None]) ** 2) / (2 * variance[:, None])) for c in images)
        )

    return line(axis_y, y0 + shift[:, 1])[:, :, None] * line(axis_x, x0 + shift[:, 0])[:, None]


def _truth(temperature: np.ndarray) -> tuple[Fields, Fields]:
    fields: Fields = {
        Slot.TEMPERATURE: temperature[None],
        Slot.VELOCITY: np.zeros((2, *temperature.shape)),
        Slot.DENSITY: np.ones((1, *temperature.shape)),
    }
    return fields, {slot: np.ones((1, *temperature.shape)) for slot in fields}
