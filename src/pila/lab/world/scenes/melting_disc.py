"""A round piece of ice, wax, butter or chocolate melts from its rim in a puddle on a warm plate.

The puddle's outer edge lies on the plate and has the plate's temperature; heat comes inwards
through the puddle to the solid, which is at its melting point. Solid and puddle are equally deep
and dense, so that the puddle's outline stays while the solid in it shrinks. Heat conducted
steadily through the ring between R and P brings
    2 π k ΔT / ln(P / R) = -L ρ d(π R²)/dt,
and with q = (R / P)² this integrates to q (1 - ln q) = q0 (1 - ln q0) - 4 St a t / P². The clip is
solved by the enthalpy method, which also stores heat in the puddle; that slows it by up to a
sixth and hardly bends the law. The clip looks through a lens: the view is a few millimetres wide.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.mixture import unmix
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.enthalpy import Medium, solve
from pila.physics.layout import Category, Slot

SUBSTANCES = {
    "ice": (1.4e-7, 80.0),
    "wax": (0.9e-7, 80.0),
    "butter": (0.8e-7, 40.0),
    "chocolate": (1.0e-7, 75.0),
}
"""Of the liquid: diffusivity [m^2/s] and latent heat over heat capacity [K], near melting."""
HUES = {
    "ice": ((60, 195, 215), (100, 50, 205)),
    "wax": ((215, 45, 95), (215, 185, 40)),
    "butter": ((220, 205, 60), (50, 165, 90)),
    "chocolate": ((160, 80, 40), (150, 40, 140)),
}
"""Colours of solid and puddle, at least 65 degrees of hue apart."""
VIEW = 7.5
"""Side of the view over sqrt(a x 1 s)."""
SIZES = {"small": (0.25, 0.27), "big": (0.32, 0.34)}
"""Radius of the puddle over the view's side by the caption's word."""
PLATES = {"warm": (0.22, 0.25), "hot": (0.38, 0.42)}
"""Stefan number c (T_plate - T_melt) / L by the caption's word."""
PLACES = {
    "in the middle of": (0.0, 0.0),
    "on the left of": (-0.13, 0.0),
    "on the right of": (0.13, 0.0),
    "at the top of": (0.0, 0.13),
    "at the bottom of": (0.0, -0.13),
}
"""Offset of the piece from the view's centre over its side."""
NUM_CELLS = 160
"""Rings of the radial grid."""

TEMPLATES = (
    "a {size} round piece of {substance} melts {place} a {plate} plate",
    "a {size} disc of {substance} melts {place} a {plate} plate into a puddle",
    "{place} a {plate} plate a {size} piece of {substance} melts from its rim",
    "a {plate} plate melts a {size} disc of {substance} lying {place} it",
    "a {size} piece of {substance} shrinks in its puddle {place} a {plate} plate",
    "the {substance}, a {size} round piece {place} a {plate} plate, turns liquid",
    "a {size} lump of {substance} is melting {place} a {plate} plate",
    "melting {substance}: a {size} disc {place} a {plate} plate becomes a puddle",
    "a {size} round of {substance} {place} a {plate} plate gets smaller as it melts",
    "through a lens, a {size} crumb of {substance} melts {place} a {plate} plate",
    "a {size} drop of solid {substance} melts away {place} a {plate} plate",
    "heat from a {plate} plate melts a {size} disc of {substance} {place} it",
    "a {size} disc of {substance} dissolves into its own melt {place} a {plate} plate",
    "solid {substance}, {size} and round, liquefies {place} a {plate} plate",
    "a {size} pat of {substance} melts {place} a {plate} plate from outside in",
    "{substance} melts {place} a {plate} plate, the {size} piece shrinks to its middle",
    "a puddle takes over a {size} round piece of {substance} {place} a {plate} plate",
    "the {size} disc of {substance} {place} the {plate} plate keeps melting",
    "a {size} {substance} disc placed {place} a {plate} plate turns into liquid",
    "the rim of a {size} piece of {substance} melts {place} a {plate} plate",
    # held out
    "a {size} piece of {substance} {place} a {plate} plate melts into a puddle",
    "lying {place} a {plate} plate, a {size} disc of {substance} melts",
    "a {plate} plate turns a {size} round of {substance} {place} it into liquid",
    "a {size} round lump of {substance} shrinks and melts {place} a {plate} plate",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "substance": tuple(SUBSTANCES),
    "size": tuple(SIZES),
    "plate": tuple(PLATES),
    "place": tuple(PLACES),
}
"""What each gap of the templates may say."""


class MeltingDisc:
    """One-phase Stefan problem around an axis."""

    name = "melting_disc"
    categories = (Category.PHASE_CHANGE, Category.THERMAL)
    violations = (
        "liquid_vanishing",
        "freezes_back",
        "stops",
        "swelling",
        "sudden",
        "stretching",
        "jitter",
    )
    laws = ("melts", "never_freezes", "conserved", "round")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One piece that melts; radial enthalpy method."""
        draw = np.random.default_rng([21, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        diffusivity, latent = SUBSTANCES[words["substance"]]
        medium = Medium(diffusivity=diffusivity, latent=latent)
        extent = VIEW * np.sqrt(diffusivity)
        outer = draw.uniform(*SIZES[words["size"]]) * extent
        share = draw.uniform(0.74, 0.80)
        stefan = draw.uniform(*PLATES[words["plate"]])
        centre = (0.5 + np.array(PLACES[words["place"]]) + draw.uniform(-0.01, 0.01, 2)) * extent
        t = canvas.times
        rng = np.random.default_rng([121, seed])
        clock, grown, wide, kept = _break(violation, t, rng)
        radii, enthalpy = melt(medium, share, stefan, clock, outer)
        solid_share = 1 - medium.liquid_fraction(enthalpy) @ radii / radii.sum()
        x, y = pixel_centres(canvas.size, extent)
        # Distance from the centre, in an oval view where the piece is stretched.
        dx, dy = (x - centre[0]) / wide, (y - centre[1]) * wide
        distance = np.hypot(dx, dy)
        inner = outer * np.sqrt(solid_share)[:, None, None] * grown
        # A puddle that vanishes shrinks towards the solid.
        edge = np.sqrt(kept * (outer * grown) ** 2 + (1 - kept) * inner**2)
        solid = coverage(distance - inner, extent)
        content = coverage(distance - edge, extent)
        image = np.repeat(background(draw, canvas.size, 60, 185)[None], len(t), 0)
        hard, soft = (np.array(c, float) for c in HUES[words["substance"]])
        light = (y - centre[1] - x + centre[0]) / outer
        paint(image, content, soft + (8 * np.cos(4 * light))[..., None])
        # The solid is a low dome, lit from the upper left.
        dome = 26 * np.clip((dy - dx) / np.maximum(inner, 1e-9), -1.2, 1.2) - 4
        paint(image, solid, hard + dome[..., None])
        radius = distance / grown
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
                "radius": outer,
                "share": share,
                **words,
            },
            violation=violation,
            metres=float(extent),
            frame_rate=canvas.frame_rate,
            truth=partial(
                _truth,
                radius / outer,
                medium.temperature(enthalpy),
                content,
                solid,
                stefan * latent,
            ),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the melting law, of no freezing, of kept area and of roundness, 0..1.

        All are 1 where frames [t, h, w, 3] show no piece in a puddle, or one that stays as it is.
        """
        solid, liquid = unmix(frames, tuple(HUES.values()))
        area, total = solid.sum((1, 2)), (solid + liquid).sum((1, 2))
        seen = total > 0.02 * solid[0].size
        share = np.clip(area / np.maximum(total, 1e-9), 1e-4, 1)
        if seen.mean() < 0.8 or np.ptp(share) < 0.08:
            return dict.fromkeys(self.laws, 1.0)
        t = np.arange(len(frames)) / FRAME_RATE
        (_, slope), misfit = polynomial_fit(t, share * (1 - np.log(share)), 1)
        steps = np.diff(share)
        kept = total / np.median(total) - 1
        return {
            "melts": relative(float(np.sqrt((misfit**2).mean())), -0.2 * slope * t[-1]),
            "never_freezes": relative(steps.clip(min=0).sum(), -0.5 * steps.clip(max=0).sum()),
            "conserved": relative(float(np.abs(kept).max()), 0.5),
            "round": _ovalness(solid),
        }


def melt(
    medium: Medium, share: float, stefan: float, clock: np.ndarray, outer: float
) -> tuple[np.ndarray, np.ndarray]:
    """Volumes of the rings [n] and their enthalpy at the clock's times [t, n] in kelvin.

    It starts from a solid that takes `share` of the outline, in a puddle that conducts steadily.
    The clock may run in any order: a broken one shows other moments of the same course.
    """
    edges = np.linspace(0, 1, NUM_CELLS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    warm = stefan * medium.latent * (1 - 2 * np.log(middles) / np.log(share))
    # The ring that the rim runs through is partly molten.
    molten = np.clip((edges[1:] ** 2 - share) / np.diff(edges**2), 0, 1)
    start = medium.latent * molten + np.where(molten == 1, np.maximum(warm, 0), 0)
    moments, back = np.unique(np.append(0.0, clock), return_inverse=True)
    course = solve(
        medium,
        start,
        moments,
        width=outer,
        geometry="cylindrical",
        far=stefan * medium.latent,
    )
    return course.volumes, course.enthalpy[back[1:]]


def _ovalness(solid: np.ndarray) -> float:
    """Mean excess of the solid's second moment over a disc's of the same area, over 0.25.

    A disc of area A has the polar moment A² / 2 π, the least of all shapes.
    """
    x, y = pixel_centres(solid.shape[1], solid.shape[1])
    area = solid.sum((1, 2))
    large = area > 0.012 * solid[0].size
    if large.sum() < 4:
        return 1.0
    area, solid = area[large], solid[large]
    cx, cy = (solid * x).sum((1, 2)) / area, (solid * y).sum((1, 2)) / area
    polar = (solid * (x**2 + y**2)).sum((1, 2)) - area * (cx**2 + cy**2)
    return relative(float(np.abs(2 * np.pi * polar / area**2 - 1).mean()), 0.25)


def _break(
    violation: str | None, t: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clock [t] in seconds, and growth, stretch and kept share of the puddle, each [t, 1, 1]."""
    at, one = t / t[-1], np.ones((len(t), 1, 1))
    clock, grown, wide, kept = t, one, one, one
    when = rng.uniform(0.35, 0.5)
    if violation == "liquid_vanishing":
        kept = 1 - rng.uniform(0.75, 0.95) * at[:, None, None]
    elif violation == "freezes_back":
        clock = t[-1] * np.clip(np.minimum(at, 2 * when - at), 0, None)
    elif violation == "stops":
        clock = np.minimum(t, when * t[-1])
    elif violation == "swelling":
        grown = 1 + rng.uniform(0.3, 0.4) * at[:, None, None]
        clock = 0.35 * t
    elif violation == "sudden":
        clock = t[-1] * np.clip(8 * (at - when - 0.1), 0, 1)
    elif violation == "stretching":
        wide = 1 + rng.uniform(0.3, 0.4) * at[:, None, None]
    elif violation == "jitter":
        clock = np.clip(t + rng.normal(0, 0.35, len(t)), 0, t[-1])
    return clock, grown, wide, kept


def _truth(
    radius: np.ndarray,
    profile: np.ndarray,
    content: np.ndarray,
    solid: np.ndarray,
    plate: float,
) -> tuple[Fields, Fields]:
    """Temperature above melting [K], liquid share, no motion; radius [t, h, w] in outlines."""
    middles = (np.arange(NUM_CELLS) + 0.5) / NUM_CELLS
    temperature = np.stack(
        [
            np.interp(r, np.append(middles, 1.0), np.append(p, plate))
            for r, p in zip(np.broadcast_to(radius, content.shape), profile, strict=True)
        ]
    )
    inside = content > 0
    fields: Fields = {
        Slot.VELOCITY: np.zeros((2, *content.shape)),
        Slot.TEMPERATURE: (temperature * inside)[None],
        Slot.PHASE: ((1 - solid) * inside)[None],
    }
    return fields, dict.fromkeys(fields, content[None])
