"""A basin of liquid at its melting point freezes from a cold wall: Neumann's front, s = 2 λ √(a t).

The clip looks through a magnifying lens: the view is a few millimetres wide, in proportion to
sqrt(a) of the substance, so that the front crosses as much of it whatever freezes. Substances
are real, their colours are not (dyes). Solid and liquid count as equally dense.
"""

from collections.abc import Mapping
from functools import partial
from math import erf

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.mixture import unmix
from pila.lab.world.render import background, box_distance, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.enthalpy import neumann_coefficient
from pila.physics.layout import Category, Slot

LIQUIDS = {
    "water": (1.14e-6, 159.0),
    "wax": (1.27e-7, 95.0),
    "gallium": (1.54e-5, 216.0),
    "oil": (1.0e-7, 48.0),
}
"""Of the solid: diffusivity [m^2/s] and latent heat over heat capacity [K], near melting."""
HUES = {
    "water": ((60, 55, 210), (45, 205, 185)),
    "wax": ((210, 40, 65), (190, 205, 45)),
    "gallium": ((195, 45, 190), (230, 140, 40)),
    "oil": ((45, 150, 65), (225, 190, 50)),
}
"""Colours of liquid and solid: at least 65 degrees of hue apart."""
VIEW = 2.0
"""Side of the view over sqrt(a x 1 s)."""
BASIN = 0.84
"""Side of the square basin over the view's."""
COLD = {"cold": (0.07, 0.12), "very cold": (0.30, 0.48)}
"""Stefan number c (T_melt - T_wall) / L by the caption's word."""
RIM = 0.04
"""Thickness of the basin's walls over the view's side; the cold one is pale."""
SIDES = ("left", "right", "top", "bottom")

TEMPLATES = (
    "{liquid} in a square basin freezes from the {wall} wall on the {side} side",
    "a basin of {liquid} freezes, the {wall} wall is on the {side}",
    "a freezing front moves through {liquid} from a {wall} wall on the {side}",
    "from the {side} a {wall} wall freezes the {liquid} in a basin",
    "the {liquid} solidifies from its {wall} wall on the {side}, the front slows down",
    "a {wall} wall on the {side} side of a basin turns {liquid} solid",
    "solidification of {liquid} that starts at the {wall} wall, {side} side",
    "a straight front of frozen {liquid} grows from the {wall} wall on the {side}",
    "{liquid} at its melting point freezes against a {wall} wall on the {side}",
    "through a lens, {liquid} freezes from the {wall} wall at the {side}",
    "the frozen layer of {liquid} thickens on the {wall} wall at the {side}",
    "a solid layer spreads from the {wall} wall on the {side} into the {liquid}",
    "a basin of {liquid} is cooled by a {wall} wall on the {side} and freezes",
    "cooled from the {side} by a {wall} wall, {liquid} freezes layer by layer",
    "the {side} wall is {wall} and the {liquid} next to it freezes",
    "frozen {liquid} advances from the {side}, where the wall is {wall}",
    "a solid crust of {liquid} forms on the {wall} wall at the {side} and grows",
    "{liquid} in a dish hardens from the {wall} {side} wall inwards",
    "the freezing of {liquid} begins at a {wall} wall on the {side} of the basin",
    "a planar front freezes {liquid}, coming from the {wall} wall on the {side}",
    # held out
    "{liquid} freezes in a basin, starting from a {wall} wall on the {side}",
    "on the {side} a {wall} wall makes the {liquid} solidify",
    "a front of solid {liquid} creeps away from the {wall} wall on the {side} side",
    "the {wall} wall at the {side} freezes a basin of {liquid}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "liquid": tuple(LIQUIDS),
    "wall": tuple(COLD),
    "side": tuple(SIDES),
}
"""What each gap of the templates may say."""


class FreezingFront:
    """One-phase Stefan problem in a half-space, seen until the front nears the far wall."""

    name = "freezing_front"
    categories = (Category.PHASE_CHANGE, Category.THERMAL)
    violations = (
        "linear_front",
        "melts_back",
        "stops",
        "jumps",
        "jitter",
        "crooked",
        "liquid_vanishes",
    )
    laws = ("stefan", "front_straight", "never_melts", "conserved")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One basin that freezes from one side; closed form."""
        draw = np.random.default_rng([20, seed])
        liquid, wall, side = (choose(draw, list(o)) for o in (LIQUIDS, COLD, SIDES))
        diffusivity, latent = LIQUIDS[liquid]
        stefan = draw.uniform(*COLD[wall])
        speed = 2 * neumann_coefficient(stefan)
        extent = VIEW * np.sqrt(diffusivity)
        width = BASIN * extent
        corner = (extent - width) / 2 + draw.uniform(-0.02, 0.02, 2) * extent
        t = canvas.times
        depth = speed * np.sqrt(diffusivity * t)
        x, y = pixel_centres(canvas.size, extent)
        # Distance of each pixel from the cold wall, and along it in widths.
        px, py = x - corner[0], y - corner[1]
        away = {"left": px, "right": width - px, "bottom": py, "top": width - py}[side]
        along = (py if side in ("left", "right") else px) / width
        rng = np.random.default_rng([120, seed])
        front, far = _break(violation, depth[:, None, None], along, t, width, rng)
        middle, half = tuple(corner + width / 2), (width / 2, width / 2)
        walls = box_distance(x, y, middle, half)
        # What is left of the content, and the part of it behind the front.
        content = coverage(walls, extent) * coverage(away - far[:, None, None], extent)
        passed = coverage(away - front, extent)
        image = np.repeat(background(draw, canvas.size, 80, 190)[None], len(t), 0)
        rim = coverage(walls - RIM * extent, extent)
        for covered, grey in (
            (rim, 70),
            (rim * coverage(away, extent), 220),
            (coverage(walls, extent), 110),
        ):
            paint(image, covered[None], (grey,) * 3)
        melt, solid = (np.array(c, float) for c in HUES[liquid])
        ripple = 7 * np.sin(2 * np.pi * (along * 2.5 + draw.uniform(0, 1)))
        grain = draw.uniform(25, 40, 2) / extent
        texture = 10 * np.cos(grain[0] * (x + y)) * np.cos(grain[1] * (x - y))
        paint(image, content, melt + ripple[..., None])
        paint(image, content * passed, solid + texture[..., None])
        words = {"liquid": liquid, "wall": wall, "side": side}
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "diffusivity": diffusivity,
                "latent": latent,
                "stefan": stefan,
                "extent": extent,
                "width": width,
                **words,
            },
            violation=violation,
            metres=float(extent),
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, away, front, content, passed, stefan * latent, speed / 2),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the square-root law, the straight front, no melting and kept area, 0..1.

        All are 1 where frames [t, h, w, 3] show no basin that freezes.
        """
        liquid, solid = unmix(frames, tuple(HUES.values()))
        content = liquid + solid
        total = content.sum((1, 2))
        depth = solid.sum((1, 2)) / max(float(np.median(total)), 1e-9)
        seen = total > 0.02 * content[0].size
        if seen.mean() < 0.8 or np.ptp(depth) < 0.08:
            return dict.fromkeys(self.laws, 1.0)
        t = np.arange(len(frames)) / FRAME_RATE
        slope = float(depth @ np.sqrt(t) / t.sum())
        misfit = depth - slope * np.sqrt(t)
        steps = np.diff(depth)
        kept = total / np.median(total) - 1
        return {
            "stefan": relative(float(np.sqrt((misfit**2).mean())), 0.2 * slope * np.sqrt(t[-1])),
            "front_straight": _crookedness(content, solid),
            "never_melts": relative(-steps.clip(max=0).sum(), 0.5 * steps.clip(min=0).sum()),
            "conserved": relative(float(np.abs(kept).max()), 0.5),
        }


def _crookedness(content: np.ndarray, solid: np.ndarray) -> float:
    """Spread of the front along the wall over a quarter of its way, of the later half."""
    late = slice(len(solid) // 2, None)
    size = solid.shape[1]
    spreads = []
    for axis in (1, 2):
        # Lines across the basin away from its rim, whose depth of solid is compared.
        lines = solid.sum(axis)[late]
        inner = content.sum(axis)[late].mean(0) > 0.5 * content.sum(axis)[late].max()
        inner &= np.roll(inner, 3) & np.roll(inner, -3)
        if inner.sum() < size // 8:
            return 1.0
        lines = lines[:, inner]
        spreads.append(lines.std(1).mean() / max(float(lines.mean()), 1e-9))
    return relative(min(spreads), 0.25)


def _break(
    violation: str | None,
    front: np.ndarray,
    along: np.ndarray,
    t: np.ndarray,
    width: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the front [t, 1 or h, 1 or w] and reach of the content [t] from the cold wall."""
    far = np.full(len(t), width)
    end = front[-1]
    at = t[:, None, None] / t[-1]
    when = rng.uniform(0.35, 0.5)
    if violation == "linear_front":
        front = end * at
    elif violation == "melts_back":
        front = end * np.sqrt(np.minimum(at, np.maximum(2 * when - at, 0)))
    elif violation == "stops":
        front = end * np.sqrt(np.minimum(at, 0.6 * when))
    elif violation == "jumps":
        front = front + (at > when) * rng.uniform(0.4, 0.6) * np.maximum(width - end, 0.4 * width)
    elif violation == "jitter":
        front = front + rng.normal(0, 0.09 * width, at.shape)
    elif violation == "crooked":
        waves = np.cos(2 * np.pi * (rng.integers(2, 4) * along + rng.uniform(0, 1)))
        front = front * (1 + rng.uniform(0.35, 0.5) * waves)
    elif violation == "liquid_vanishes":
        far = width * (1 - rng.uniform(0.3, 0.45) * t / t[-1])
    return np.clip(front, 0, far[:, None, None]), far


def _truth(
    away: np.ndarray,
    front: np.ndarray,
    content: np.ndarray,
    passed: np.ndarray,
    below: float,
    coefficient: float,
) -> tuple[Fields, Fields]:
    """Temperature above melting [K], liquid share, no motion.

    Behind the front T = below (erf(λ d / s) / erf(λ) - 1) at distance d from the wall; a broken
    front keeps that profile.
    """
    grid = np.linspace(0, 1, 257)
    profile = np.array([erf(coefficient * g) for g in grid]) / erf(coefficient)
    depth = np.clip(away / np.maximum(front, 1e-12), 0, 1)
    inside = content > 0
    fields: Fields = {
        Slot.VELOCITY: np.zeros((2, *content.shape)),
        Slot.TEMPERATURE: (below * (np.interp(depth, grid, profile) - 1) * inside)[None],
        Slot.PHASE: ((1 - passed) * inside)[None],
    }
    return fields, dict.fromkeys(fields, content[None])
