"""A membrane bursts in a tube: shock, contact and rarefaction run on, each at its own speed."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.riemann import GAMMA, GasState, riemann_solution
from pila.physics.layout import Category, Slot

EXTENT = 1.2
"""Side of the view [m]."""
SOUND_SPEED = 0.19
"""Of the gas at rest [m/s], the same on both sides: a slow-motion film of a warm tube."""
GAS_COLOURS = {
    "red": (150.0, -35.0, -40.0),
    "green": (-40.0, 140.0, -40.0),
    "blue": (-45.0, -5.0, 150.0),
    "orange": (150.0, 45.0, -50.0),
    "purple": (105.0, -45.0, 130.0),
}
"""Colour added per unit of density; colour is linear in density."""
PRESSURES = {"weak": (0.36, 0.44), "strong": (0.11, 0.16)}
"""Density of the thin side relative to the dense one, by the burst's word."""
TUBES = {"narrow": 0.2, "wide": 0.33}
"""Half of the tube's height [m]."""
WALL = 0.05
"""Thickness of the tube's walls [m]."""

TEMPLATES = (
    "a membrane bursts in a {tube} tube and {colour} gas rushes out of the {side} half, "
    "a {burst} shock runs ahead",
    "a {burst} shock wave runs along a {tube} tube, driven by {colour} gas from the {side}",
    "dense {colour} gas on the {side} of a {tube} shock tube is let loose with a {burst} burst",
    "the membrane of a {tube} shock tube breaks, {colour} gas on the {side}, {burst} pressure jump",
    "a {tube} tube with compressed {colour} gas on the {side}, the membrane gives way "
    "with a {burst} burst",
    "{colour} gas expands from the {side} of a {tube} tube behind a {burst} shock",
    "a {burst} burst sends dense {colour} gas from the {side} through a {tube} tube",
    "shock tube, {tube}, {colour} gas stored on the {side}, a {burst} shock travels away",
    "compressed {colour} gas from the {side} drives a {burst} shock down a {tube} tube",
    "in a {tube} tube a {burst} pressure jump at the membrane sets {colour} gas from the {side} "
    "in motion",
    "a {burst} shock and an expansion fan part in a {tube} tube of {colour} gas, dense on the "
    "{side}",
    "the {side} side of a {tube} tube holds dense {colour} gas, a {burst} shock starts as the "
    "membrane tears",
    "a membrane tears in a {tube} pipe, dense {colour} gas flows from the {side} after a {burst} "
    "shock",
    "{colour} gas under pressure on the {side} of a {tube} pipe is released, a {burst} shock forms",
    "a {burst} compression wave leaves the {side} of a {tube} tube as dense {colour} gas expands",
    "the gas on the {side} of a {tube} tube is dense and {colour}, it bursts out with a {burst} "
    "shock",
    "a {tube} gas tube, {colour} and dense on the {side}, releases a {burst} shock",
    "from the {side} of a {tube} tube {colour} gas pushes a {burst} shock forward",
    "after the membrane breaks a {burst} shock crosses the {tube} tube, the {colour} gas on the "
    "{side} thins out",
    "dense {colour} gas thins out on the {side} of a {tube} tube while a {burst} shock runs off",
    # held out
    "a {burst} shock is set off in a {tube} tube by dense {colour} gas on the {side}",
    "a {tube} shock tube, its membrane bursts, {colour} gas expands from the {side}, the shock is "
    "{burst}",
    "the dense {colour} gas on the {side} of a {tube} tube breaks free and a {burst} shock runs "
    "ahead",
    "released from the {side}, dense {colour} gas fills a {tube} tube behind a {burst} shock",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(GAS_COLOURS),
    "burst": tuple(PRESSURES),
    "tube": tuple(TUBES),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class ShockTube:
    """The Riemann problem of two gases of one temperature; the waves stay inside the view."""

    name = "shock_tube"
    categories = (Category.COMPRESSIBLE,)
    violations = ("mass_lost", "mass_grows", "stops", "flows_back", "accelerates", "jitter")
    laws = ("mass", "momentum", "self_similar", "outflow")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One burst at time 0; the exact solution depends on the distance over the time alone."""
        draw = np.random.default_rng([17, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        thin = draw.uniform(*PRESSURES[words["burst"]])
        fullness = draw.uniform(0.9, 1.0)
        membrane = draw.uniform(0.41, 0.44) * EXTENT
        height, half = draw.uniform(0.48, 0.52) * EXTENT, TUBES[words["tube"]]
        t = canvas.times
        clock, gain = _break(violation, t, seed)
        rows = _tube_rows(height, half, canvas.size)
        gas = _profiles(thin, membrane, clock, canvas)
        density = gain[:, None] * gas[0]
        drawn = density * fullness
        if words["side"] == "right":
            drawn = drawn[:, ::-1]
        inside = rows[:, None] * np.ones(canvas.size)
        image = np.repeat(background(draw, canvas.size, 78, 105)[None], len(t), 0)
        _draw_tube(image, height, half, membrane, words["side"], t)
        image += (drawn[:, None, :] * inside)[..., None] * GAS_COLOURS[words["colour"]]
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "sound_speed": SOUND_SPEED,
                "density_ratio": thin,
                "fullness": fullness,
                "membrane": membrane,
                "height": height,
                "half_height": half,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(
                _truth, (density, *gas[1:]), inside, np.gradient(clock, t), words["side"]
            ),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of kept mass, of momentum, of self-similar waves and of steady outflow, 0..1.

        All are 1 where frames [t, h, w, 3] show no tube of gas with a dense and a thin end.
        """
        density = gas_profile(frames)
        t = np.arange(len(frames)) / FRAME_RATE
        if density is None:
            return dict.fromkeys(self.laws, 1.0)
        size = density.shape[1]
        x = (np.arange(size) + 0.5) / size * EXTENT
        edge = max(size // 16, 2)
        dense, thin = np.median(density[:, :edge]), np.median(density[:, -edge:])
        total = density.sum(1)
        membrane = EXTENT * (density[0].mean() - thin) / (dense - thin)
        # The pressures at both ends push the gas: the first moment of density grows by
        # (p_dense - p_thin) t^2 / 2, with p = c^2 rho / gamma in a gas of one temperature.
        moment = density @ x * (EXTENT / size)
        push = SOUND_SPEED**2 / GAMMA * (dense - thin) * t**2 / 2
        crossed = np.clip((x - membrane) * (size / EXTENT) + 0.5, 0, 1)
        outflow = density @ crossed
        (_, rate), rest = polynomial_fit(t, outflow, 1)
        return {
            "mass": relative(3 * float(np.abs(total / total[:3].mean() - 1).max()), 1.0),
            "momentum": _push_error(moment, push),
            "self_similar": _self_similarity(density, x - membrane, t),
            "outflow": relative(4 * float(np.sqrt((rest**2).mean())), max(rate * t[-1], 0.0)),
        }


def gas_profile(frames: np.ndarray) -> np.ndarray | None:
    """Density along the tube [t, w], in units of the dense end and with that end on the left.

    The gas's colour and the tube's rows come from the clip: colour is linear in density. None
    where there is no colour, or no end twice as dense as the other.
    """
    rgb = frames.astype(np.float64)
    tint = rgb - rgb.mean(-1, keepdims=True)
    strong = np.abs(tint).sum(-1, keepdims=True)
    direction = (tint * np.clip(strong - 40, 0, None)).sum((0, 1, 2))
    length = np.linalg.norm(direction)
    if length < 1e-6:
        return None
    strength = tint @ (direction / length)
    rows = strength.mean((0, 2))
    rows = np.where(rows > 0.5 * rows.max(), rows, 0.0)
    profile = np.einsum("thw,h->tw", strength, rows) / np.maximum(rows.sum(), 1e-9)
    edge = max(profile.shape[1] // 16, 2)
    left, right = np.median(profile[:, :edge]), np.median(profile[:, -edge:])
    if max(left, right) < 25 or min(left, right) > 0.6 * max(left, right):
        return None
    profile = profile if left > right else profile[:, ::-1]
    return profile / max(left, right)


def _push_error(moment: np.ndarray, push: np.ndarray) -> float:
    """How far the gas's first moment is from a start plus `push`, both [t].

    The start is fitted: one frame that is sharper than the rest says nothing of the others.
    """
    (_, share), rest = polynomial_fit(push / push[-1], moment / push[-1], 1)
    return relative(float(np.hypot(share - 1, np.sqrt((rest**2).mean()))), 1.0)


def _self_similarity(density: np.ndarray, x: np.ndarray, t: np.ndarray) -> float:
    """Spread over time of the density at fixed x/t, relative to its variation along x/t.

    Waves younger than a third of the clip are left out: pixels are coarse beside them.
    """
    late = np.arange(len(t)) >= len(t) // 3
    speed = np.linspace(-1.25, 1.75, 121) * SOUND_SPEED
    seen = np.stack(
        [np.interp(speed * now, x, row) for now, row in zip(t[late], density[late], strict=True)]
    )
    spread = np.sqrt(seen.var(0).mean())
    return relative(2.5 * float(spread), float(seen.mean(0).std()))


def _break(violation: str | None, t: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The moment of the true flow that each frame shows [s], and the gas's gain, each [t]."""
    rng = np.random.default_rng([117, seed])
    clock, gain = t, np.ones_like(t)
    if violation == "mass_lost":
        gain = 1 - rng.uniform(0.35, 0.5) * t / t[-1]
    elif violation == "mass_grows":
        gain = 0.6 + rng.uniform(0.3, 0.4) * t / t[-1]
    elif violation == "stops":
        clock = np.minimum(t, rng.uniform(0.3, 0.5) * t[-1])
    elif violation == "flows_back":
        clock = t[::-1]
    elif violation == "accelerates":
        clock = t[-1] * (t / t[-1]) ** rng.uniform(1.9, 2.3)
    elif violation == "jitter":
        clock = np.clip(t + rng.normal(0, 0.3, len(t)), 0, t[-1])
    return clock, gain


def _profiles(
    thin: float, membrane: float, clock: np.ndarray, canvas: Canvas
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density, velocity and pressure means over each pixel, dense gas on the left, each [t, w]."""
    pressure = SOUND_SPEED**2 / GAMMA
    dense, rare = GasState(1.0, 0.0, pressure), GasState(thin, 0.0, thin * pressure)
    parts = 8
    x = (np.arange(canvas.size * parts) + 0.5) / (canvas.size * parts) * EXTENT - membrane
    speed = x / np.maximum(clock[:, None], 1e-9)
    fine = riemann_solution(dense, rare, speed)
    rho, u, p = (f.reshape(len(clock), canvas.size, parts).mean(-1) for f in fine)
    return rho, u, p


def _tube_rows(height: float, half: float, size: int) -> np.ndarray:
    """Share of each pixel row inside the tube, [h]."""
    y = pixel_centres(size, EXTENT)[1][:, 0]
    return np.clip(0.5 - (np.abs(y - height) - half) * size / EXTENT, 0, 1)


def _draw_tube(
    image: np.ndarray, height: float, half: float, membrane: float, side: str, t: np.ndarray
) -> None:
    """Grey walls, and a membrane that tears open from its middle in the first quarter second."""
    size = image.shape[1]
    x, y = pixel_centres(size, EXTENT)
    off = np.abs(y - height)
    wall = coverage(np.abs(off - half - WALL / 2) - WALL / 2, EXTENT)
    image -= (30 * coverage(off - half, EXTENT))[..., None]
    paint(image, np.repeat(wall[None], len(t), 0), (150, 150, 150))
    across = np.abs(x - (membrane if side == "left" else EXTENT - membrane)) - 0.012
    torn = half * np.clip(t / 0.25, 0, 1)[:, None, None]
    left = np.maximum(across, np.maximum(off - half, torn - off))
    # Grey alone is taken away, so that the gas's colour below stays readable.
    image -= (24 * coverage(np.where(t[:, None, None] < 0.25, left, 1.0), EXTENT))[..., None]


def _truth(
    gas: tuple[np.ndarray, ...], inside: np.ndarray, pace: np.ndarray, side: str
) -> tuple[Fields, Fields]:
    """Fields of the flow as drawn; a flow shown at another pace has its velocity times that."""
    density, velocity, pressure = gas
    velocity = velocity * pace[:, None]
    if side == "right":
        density, velocity, pressure = density[:, ::-1], -velocity[:, ::-1], pressure[:, ::-1]
    rows = np.ones((1, 1, len(inside), 1))
    fields: Fields = {
        Slot.VELOCITY: np.stack([velocity, np.zeros_like(velocity)])[:, :, None] * rows,
        Slot.PRESSURE: pressure[None, :, None] * rows,
        Slot.DENSITY: density[None, :, None] * rows,
        # In units of the gas at rest: p / rho over its first value, 1 on both sides.
        Slot.TEMPERATURE: (pressure / np.maximum(density, 1e-9))[None, :, None]
        * (rows * GAMMA / SOUND_SPEED**2),
    }
    mask = np.repeat(inside[None, None], len(density), 1)
    return {slot: f * (mask > 0) for slot, f in fields.items()}, dict.fromkeys(fields, mask)
