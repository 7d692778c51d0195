"""A tank of liquid in its first antisymmetric mode: linear standing waves under gravity."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.dye import DYES, PRESENT, full_strength, read_dye
from pila.lab.world.fit import relative
from pila.lab.world.render import background, box_distance, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 0.42
"""Side of the view [m]."""
WIDTH = 0.30
"""Inner width of the tank [m]."""
WALL = 0.024
"""Thickness of its walls and floor [m]."""
GRAVITY = 9.81
"""[m/s^2]"""

DEPTHS = {"shallow": (0.062, 0.072), "deep": (0.13, 0.15)}
"""Depth of the liquid at rest [m] by the caption's word."""
STRENGTHS = {"gently": (0.014, 0.018), "strongly": (0.026, 0.032)}
"""Initial amplitude at the wall [m] by the caption's word."""
LIQUIDS = {"water": (1000.0, (0.05, 0.15)), "oil": (900.0, (0.5, 0.8))}
"""Density [kg/m^3] and damping rate [1/s] by the caption's word."""

TEMPLATES = (
    "{depth} {colour} {liquid} sloshes {strength} in a glass tank, first high on the {side}",
    "a tank of {depth} {colour} {liquid} sloshes {strength}, starting high on the {side}",
    "in a glass tank {depth} {colour} {liquid} sways {strength}, beginning high on the {side}",
    "{colour} {liquid}, {depth} in its tank, rocks {strength} after a tilt to the {side}",
    "{strength} sloshing of {depth} {colour} {liquid} in a tank, high on the {side} at first",
    "a rectangular tank with {depth} {colour} {liquid} that swings {strength} from the {side}",
    "released high on the {side}, {depth} {colour} {liquid} sloshes {strength} in a tank",
    "a standing wave rocks {depth} {colour} {liquid} {strength} in a tank, from the {side}",
    "{depth} {colour} {liquid} washes {strength} to and fro in a tank, from the {side}",
    "the surface of {depth} {colour} {liquid} in a tank tips {strength}, first up on the {side}",
    "an aquarium of {depth} {colour} {liquid} sloshes {strength}, raised on the {side} at first",
    "piled up on the {side}, {depth} {colour} {liquid} sloshes {strength} in its tank",
    "{depth} {colour} {liquid} sloshes {strength} between the walls of a tank, from the {side}",
    "seen from the side {depth} {colour} {liquid} sways {strength}, starting on the {side}",
    "a tank of {colour} {liquid}, {depth}, oscillates {strength} with the {side} high at first",
    "a glass box holds {depth} {colour} {liquid} that sloshes {strength} from the {side}",
    "{depth} {colour} {liquid} in a jolted tank rolls {strength} back from the {side}",
    "the {depth} {colour} {liquid} in the tank seesaws {strength}, the {side} up first",
    "gravity swings {depth} {colour} {liquid} {strength} in a tank, high on the {side} at first",
    "{strength} the {depth} {colour} {liquid} of a tank sways, at first high on the {side}",
    # held out
    "in its tank {depth} {colour} {liquid} sloshes {strength}, at first high on the {side}",
    "a glass tank of {depth} {colour} {liquid} rocks {strength}, starting on the {side}",
    "starting high on the {side}, {depth} {colour} {liquid} sways {strength} in a tank",
    "the {colour} {liquid} in a tank, {depth}, sloshes {strength} from the {side}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(DYES),
    "liquid": tuple(LIQUIDS),
    "depth": tuple(DEPTHS),
    "strength": tuple(STRENGTHS),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class SloshingTank:
    """Standing gravity waves of finite depth: omega^2 = g k tanh(k h), k = pi / width.

    Source: H. Lamb, Hydrodynamics, 6th ed. (1932), art. 228 and 229 (waves of finite depth).
    """

    name = "sloshing_tank"
    categories = (Category.FLUID,)
    violations = (
        "volume_lost",
        "volume_grows",
        "wrong_period",
        "growing_amplitude",
        "stays_tilted",
        "jitter",
    )
    laws = ("volume", "dispersion", "mode", "energy")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """Liquid let go at rest from a cosine-shaped surface."""
        draw = np.random.default_rng([13, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        depth = draw.uniform(*DEPTHS[words["depth"]])
        amplitude = draw.uniform(*STRENGTHS[words["strength"]])
        density, damping = LIQUIDS[words["liquid"]]
        damping = draw.uniform(*damping)
        left = (EXTENT - WIDTH) / 2 + draw.uniform(-0.02, 0.02)
        floor = draw.uniform(0.045, 0.065)
        natural = np.sqrt(GRAVITY * np.pi / WIDTH * np.tanh(np.pi / WIDTH * depth))
        start = amplitude if words["side"] == "left" else -amplitude
        t = canvas.times
        tip, tip_rate = released(t, start, natural, damping)
        level = np.full_like(t, depth)
        if violation is not None:
            level, tip = _break(violation, level, tip, t, (start, natural, damping), seed)
            tip_rate = np.gradient(tip, t, edge_order=2)
        ground = background(draw, canvas.size, 120, 200)
        image, covered = _draw(ground, words["colour"], level, tip, left, floor)
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "depth_at_rest": depth,
                "amplitude": amplitude,
                "natural_frequency": natural,
                "damping": damping,
                "density": density,
                "tank_left": left,
                "tank_floor": floor,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(
                _truth, covered, level, tip, tip_rate, t, damping, natural, density, left, floor
            ),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of kept volume, of the period, of the cosine surface and of the energy, 0..1.

        All are 1 where frames [t, h, w, 3] show liquid in fewer than four fifths of them.
        """
        strength = read_dye(frames)
        seen = (strength > PRESENT).mean((1, 2)) > 0.03
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        surface = read_surface(strength[seen])
        if surface is None:
            return dict.fromkeys(self.laws, 1.0)
        height, along, width = surface
        k = np.pi / width
        basis = np.stack([np.ones_like(along), np.cos(k * along)])
        (mean, tip), *_ = np.linalg.lstsq(basis.T, height.T, rcond=None)
        shape = height - basis[0] * mean[:, None] - basis[1] * tip[:, None]
        natural = np.sqrt(GRAVITY * k * np.tanh(k * mean.mean()))
        omega, gamma, misfit = fit_oscillation(t, tip, natural)
        # Damping lowers the frequency: omega^2 + gamma^2 is that of the liquid without it.
        period = abs(np.hypot(omega, gamma) / natural - 1)
        swing = tip.std()
        # A surface that moves less than a fifth of a pixel does not slosh.
        still = swing < 0.2 * EXTENT / frames.shape[1]
        return {
            "volume": relative(float(np.abs(mean / mean[:3].mean() - 1).max()), 0.5),
            "dispersion": 1.0 if still else relative(float(np.hypot(period, misfit)), 1.0),
            "mode": relative(float(shape.std()), float(np.sqrt((tip**2).mean() / 2))),
            "energy": relative(*_energy_rise(t, tip, omega)),
        }


def released(
    t: np.ndarray, start: float, natural: float, damping: float
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude A and its rate, from rest: A'' + 2 damping A' + natural^2 A = 0."""
    omega = np.sqrt(natural**2 - damping**2)
    decay = start * np.exp(-damping * t)
    value = decay * (np.cos(omega * t) + damping / omega * np.sin(omega * t))
    return value, -decay * natural**2 / omega * np.sin(omega * t)


def read_surface(strength: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Height of the liquid [t, x] and place x [m] of each inner column, and the inner width [m].

    None where the liquid is not bounded by two walls that leave at least 8 columns between them.
    """
    cell = EXTENT / strength.shape[1]
    # A soft step at half strength keeps areas continuous in the colour.
    share = np.clip((strength / full_strength(strength) - 0.1) / 0.8, 0, 1)
    rows = np.nonzero(np.median(share, 0).mean(1) > 0.3)[0]
    if len(rows) < 4:
        return None
    # The lower half of what is always covered tells where the walls are.
    low = rows[len(rows) // 2 : -1]
    columns = np.median(share[:, low].mean(1), 0)
    # Through a VAE the colour pales towards the walls: the middle tells what is whole.
    columns = np.clip(columns / max(float(np.median(columns[columns > 0.5])), 0.5), 0, 1)
    width = columns.sum() * cell
    inside = np.nonzero(columns > 0.95)[0][1:-1]
    if len(inside) < 8:
        return None
    whole = np.nonzero(columns > 0.5)[0]
    left = (whole[0] + 0.5) * cell + (0.5 - columns[: whole[0] + 1].sum()) * cell
    along = (inside + 0.5) * cell - left
    return share[:, :, inside].sum(1) * cell, along, float(width)


def fit_oscillation(t: np.ndarray, value: np.ndarray, natural: float) -> tuple[float, float, float]:
    """Best damped oscillation: frequency and damping [1/s], and misfit relative to the spread.

    A grid about the expected frequency, then a finer one about the best; damping may be negative.
    """
    centre, half = np.array([1.3 * natural, 0.5]), np.array([natural, 1.5])
    omega = gamma = rest = 0.0
    for points in (61, 21, 11):
        grid = [np.linspace(-1, 1, n) for n in (points, 11)]
        w, g = (
            a.ravel()
            for a in np.meshgrid(centre[0] + half[0] * grid[0], centre[1] + half[1] * grid[1])
        )
        decay = np.exp(-g[:, None] * t)
        basis = np.stack([decay * np.cos(w[:, None] * t), decay * np.sin(w[:, None] * t)], 1)
        normal, right = basis @ basis.transpose(0, 2, 1), basis @ value
        kept = (right * np.linalg.solve(normal, right[..., None])[..., 0]).sum(1)
        best = int(np.argmax(kept))
        omega, gamma = float(w[best]), float(g[best])
        rest = max(float((value**2).sum() - kept[best]), 0.0)
        centre, half = np.array([omega, gamma]), half * np.array([2 / (points - 1), 0.25])
    return omega, gamma, relative(np.sqrt(rest / len(t)), value.std())


def _energy_rise(t: np.ndarray, tip: np.ndarray, omega: float) -> tuple[float, float]:
    """Largest rise of the wave's energy between quarters of the clip, and its largest value.

    Energy goes with A^2 + (A' / omega)^2; the central difference of a sine of frequency omega
    is short by sin(omega dt) / (omega dt), which is made good.
    """
    step = np.sin(np.clip(omega * (t[1] - t[0]), 0.1, 2.6))
    energy = tip[1:-1] ** 2 + ((tip[2:] - tip[:-2]) / (2 * step)) ** 2
    quarters = np.array([q.mean() for q in np.array_split(energy, 4)])
    rise = (quarters - np.minimum.accumulate(quarters)).max()
    return float(rise), float(quarters.max())


def _break(
    violation: str,
    level: np.ndarray,
    tip: np.ndarray,
    t: np.ndarray,
    motion: tuple[float, float, float],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([113, seed])
    start, natural, damping = motion
    part = t / t[-1]
    if violation == "volume_lost":
        left_over = 1 - rng.uniform(0.35, 0.5) * part
        return level * left_over, tip * left_over
    if violation == "volume_grows":
        return level * (1 + rng.uniform(0.35, 0.5) * part), tip
    if violation == "wrong_period":
        factor = rng.uniform(0.5, 0.65) if rng.random() < 0.5 else rng.uniform(1.5, 1.7)
        return level, released(t, start, natural * factor, damping)[0]
    if violation == "growing_amplitude":
        swelling = released(t, start, natural, 0.0)[0]
        return level, swelling * (0.3 + rng.uniform(0.9, 1.2) * part)
    if violation == "stays_tilted":
        # It stops where the surface stands still, half a period or a whole one after the start.
        when = np.pi / natural * rng.integers(1, 3)
        return level, released(np.minimum(t, when), start, natural, damping)[0]
    shaken = tip + rng.normal(0, 0.6 * abs(start), len(t))
    return level, np.clip(shaken, -1.5 * abs(start), 1.5 * abs(start))


def _draw(
    ground: np.ndarray, colour: str, level: np.ndarray, tip: np.ndarray, left: float, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Tank and liquid before the ground [h, w, 3]; frames and the liquid's coverage [t, h, w]."""
    x, y = pixel_centres(len(ground), EXTENT)
    middle, top = left + WIDTH / 2, floor + 0.31
    half = (WIDTH / 2, (top - floor) / 2)
    inner = coverage(box_distance(x, y, (middle, floor + half[1]), half), EXTENT)
    outer = box_distance(
        x, y, (middle, (floor - WALL + top) / 2), (half[0] + WALL, half[1] + WALL / 2)
    )
    glass = np.clip(coverage(outer, EXTENT) - inner, 0, 1)
    shine = 78 + 26 * np.exp(-(((x - left + 0.7 * WALL) / (0.25 * WALL)) ** 2))
    image = ground[None].copy()
    paint(image, glass[None], shine[..., None])
    image = np.repeat(image, len(level), 0)
    surface = floor + level[:, None] + tip[:, None] * np.cos(np.pi * (x[0] - left) / WIDTH)
    # Upright distances: each column then holds exactly the height of liquid above it.
    depth = surface[:, None, :] - y
    above_floor = coverage(floor - y, EXTENT)
    sides = coverage(np.abs(x - middle) - WIDTH / 2, EXTENT)
    covered = sides * np.clip(coverage(-depth, EXTENT) + above_floor - 1, 0, 1)
    shade = 1.04 - 0.16 * np.clip(depth / 0.15, 0, 1)
    # Glass and liquid share the pixels where they touch: neither lets the ground through.
    image += covered[..., None] * (np.array(DYES[colour]) * shade[..., None] - ground)
    return image, covered


def _truth(
    covered: np.ndarray,
    level: np.ndarray,
    tip: np.ndarray,
    tip_rate: np.ndarray,
    t: np.ndarray,
    damping: float,
    natural: float,
    density: float,
    left: float,
    floor: float,
) -> tuple[Fields, Fields]:
    """Velocity and pressure of the potential A' cosh(k y) cos(k x) / (k sinh(k h)), y from below.

    Pressure is Bernoulli's for a friction 2 damping u: hydrostatic, of the wave, of the speed.
    """
    k = np.pi / WIDTH
    x, y = pixel_centres(covered.shape[1], EXTENT)
    x, y = x - left, y - floor
    h, a, rate = (f[:, None, None] for f in (level, tip, tip_rate))
    up, along = np.cosh(k * y), np.cos(k * x)
    u = -rate * up * np.sin(k * x) / np.sinh(k * h)
    v = rate * np.sinh(k * y) * along / np.sinh(k * h)
    # Where the volume is broken the whole column stretches.
    v = v + np.gradient(level, t)[:, None, None] * y / h
    wave = natural**2 * a * up * along / (k * np.sinh(k * h))
    pressure = density * (GRAVITY * (h - y) + wave - (u**2 + v**2) / 2)
    mask = covered[None]
    fields: Fields = {
        Slot.VELOCITY: np.stack([u, v]) * (mask > 0),
        Slot.PRESSURE: pressure[None] * (mask > 0),
        Slot.DENSITY: density * mask,
    }
    return fields, dict.fromkeys(fields, mask) | {Slot.DENSITY: np.ones_like(mask)}
