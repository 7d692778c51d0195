"""Dye wound up by a steady vortex, seen from above: carried along exactly, never mixed."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.dye import DYES, PRESENT, full_strength, mix, read_dye
from pila.lab.world.fit import relative
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 0.20
"""Side of the view [m]; the vortex turns about its middle."""
BASIN = 0.093
"""Radius of the round basin [m]."""
DENSITY = 1000.0
"""Of water [kg/m^3]."""

SPEEDS = {"slowly": (0.0090, 0.0096), "fast": (0.0158, 0.0168)}
"""Circulation [m^2/s] by the caption's word."""
CORES = {"narrow": (0.018, 0.021), "wide": (0.032, 0.037)}
"""Core radius [m] by the caption's word."""
TURNS = {"clockwise": -1, "anticlockwise": 1}
BLOBS = {"a blob": 1, "two blobs": 2}

TEMPLATES = (
    "{blobs} of {colour} dye in water wound {speed} {turn} by a vortex with a {core} core",
    "a vortex with a {core} core winds up {blobs} of {colour} dye {speed} {turn}",
    "seen from above, {blobs} of {colour} dye swirling {speed} {turn} round a {core} vortex core",
    "a {core} whirl in a basin draws {blobs} of {colour} dye {speed} {turn} into a spiral",
    "{blobs} of {colour} ink stirred {speed} {turn} by a vortex with a {core} core",
    "water turns {speed} {turn} about a {core} core and stretches {blobs} of {colour} dye",
    "{colour} dye, {blobs} in a basin, is swirled {speed} {turn} by a vortex of {core} core",
    "a spiral forms as a {core} vortex carries {blobs} of {colour} dye {speed} {turn}",
    "{speed} {turn} a vortex with a {core} core wraps {blobs} of {colour} ink around itself",
    "a basin of water with {blobs} of {colour} dye rotates {speed} {turn} about a {core} core",
    "from above: a {core} whirlpool winds {blobs} of {colour} dye {speed} {turn}",
    "{blobs} of {colour} dye curling {speed} {turn} in water round the {core} core of a vortex",
    "the swirl of a {core} vortex pulls {blobs} of {colour} dye {speed} {turn} into streaks",
    "in swirling water {blobs} of {colour} dye stretched {speed} {turn} about a {core} core",
    "a {core} eddy turns {speed} {turn} and spins out {blobs} of {colour} dye",
    "{blobs} of {colour} dye tracing a vortex with a {core} core that turns {speed} {turn}",
    "a swirling basin, {core} at the core, winds {blobs} of {colour} ink {speed} {turn}",
    "{turn} swirling water with a {core} core draws out {blobs} of {colour} dye {speed}",
    "the {core} core of a vortex turns {speed} {turn}, wrapping {blobs} of {colour} dye",
    "stirred {speed} {turn}, water with a {core} core coils {blobs} of {colour} dye",
    # held out
    "a {core} vortex swirls {blobs} of {colour} dye {speed} {turn} in a basin of water",
    "{blobs} of {colour} dye wound {speed} {turn} round the {core} core of a vortex",
    "in a basin a vortex with a {core} core turns {speed} {turn} and coils {blobs} of {colour} dye",
    "swirling {speed} {turn} in water, {blobs} of {colour} dye about a {core} vortex core",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(DYES),
    "speed": tuple(SPEEDS),
    "core": tuple(CORES),
    "turn": tuple(TURNS),
    "blobs": tuple(BLOBS),
}
"""What each gap of the templates may say."""


class DyedVortex:
    """A steady vortex of Lamb and Oseen's profile that carries dye.

    Angular velocity G / (2 pi r^2) (1 - exp(-r^2 / core^2)) [rad/s], irrotational outside its
    core. Source: P. G. Saffman, Vortex Dynamics (1992), section 13.1.
    """

    name = "dyed_vortex"
    categories = (Category.FLUID,)
    violations = (
        "dye_vanishing",
        "dye_growing",
        "sink",
        "reversed",
        "stops",
        "rigid_spin",
        "jitter",
    )
    laws = ("dye_kept", "area_kept", "winding", "profile")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """Dye at rest in the turning frame of each ring: traced back along circles."""
        draw = np.random.default_rng([14, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        circulation = draw.uniform(*SPEEDS[words["speed"]]) * TURNS[words["turn"]]
        core = draw.uniform(*CORES[words["core"]])
        angle = draw.uniform(-0.1, 0.1)
        # Distance from the middle, angle and radius of each blob; the second one is smaller.
        blobs = [(draw.uniform(0.050, 0.055), angle, draw.uniform(0.024, 0.028))]
        second = (draw.uniform(0.050, 0.056), angle + np.pi, draw.uniform(0.018, 0.020))
        if BLOBS[words["blobs"]] == 2:
            blobs.append(second)
        t = canvas.times
        rng = np.random.default_rng([114, seed])
        clock, infall, swelling, gain = t, 0.0, np.zeros_like(t), np.ones_like(t)
        if violation == "dye_vanishing":
            gain = 1 - rng.uniform(0.6, 0.8) * t / t[-1]
        elif violation == "dye_growing":
            swelling = rng.uniform(0.3, 0.45) * t / t[-1]
        elif violation == "sink":
            infall = rng.uniform(0.5, 0.8) / t[-1]
        elif violation == "reversed":
            when = rng.uniform(0.4, 0.6) * t[-1]
            clock = when - np.abs(t - when)
        elif violation == "stops":
            clock = np.minimum(t, rng.uniform(0.3, 0.5) * t[-1])
        elif violation == "jitter":
            clock = np.clip(t + rng.normal(0, 0.4, len(t)), 0, None)

        def spin(r: np.ndarray) -> np.ndarray:
            """Angular velocity [rad/s] at a distance from the middle [m]."""
            # The dish that turns as one body does so with the speed at the blob's distance.
            at = np.full_like(r, 0.05) if violation == "rigid_spin" else r
            return angular_velocity(at, circulation, core)

        x, y = (a - EXTENT / 2 for a in pixel_centres(canvas.size, EXTENT))
        x0, y0 = _trace_back(x, y, spin, clock, t, infall)
        basin = coverage(np.hypot(x, y) - BASIN, EXTENT)
        dye = gain[:, None, None] * basin * _blobs(x0, y0, blobs, swelling)
        image = np.repeat(_basin(background(draw, canvas.size, 120, 205), x, y)[None], len(t), 0)
        mix(image, dye, np.array(DYES[words["colour"]], float))
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "circulation": circulation,
                "core_radius": core,
                "blob_angle": angle,
                "blob_distance": blobs[0][0],
                "blob_radius": blobs[0][2],
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, dye, basin, spin, np.gradient(clock, t), infall),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of kept dye, of kept area, of even winding and of the vortex's profile, 0..1.

        All are 1 where frames [t, h, w, 3] show dye in fewer than four fifths of them.
        """
        strength = read_dye(frames)
        seen = (strength > PRESENT).mean((1, 2)) > 0.01
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        dye = strength[seen] / full_strength(strength)
        total = dye.sum((1, 2))
        # Soft steps at three levels: their mean is an area that changes evenly with the dye.
        area = sum(np.clip((dye - level) / 0.2 + 0.5, 0, 1) for level in (0.35, 0.5, 0.65))
        area = np.asarray(area).sum((1, 2))
        radii, rate, weight, unsteady = read_rotation(dye, t)
        return {
            "dye_kept": relative(float(np.abs(total / total[:3].mean() - 1).max()), 1.0),
            "area_kept": relative(float(np.abs(area / area[:3].mean() - 1).max()), 1.0),
            "winding": unsteady,
            "profile": fit_profile(radii, rate, weight)[2],
        }


def angular_velocity(r: np.ndarray, circulation: float, core: float) -> np.ndarray:
    """Rate [rad/s] at which Lamb and Oseen's vortex turns at distance r [m] from its middle."""
    square = np.maximum(np.square(r), 1e-12)
    return circulation / (2 * np.pi * square) * -np.expm1(-square / core**2)


def read_rotation(
    dye: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """How each ring about the middle turns: radii [m], rates [rad/s], weights, unsteadiness.

    A ring that turns evenly advances the phase of its m-th harmonic by m times its rate. The
    unsteadiness is the share of the rings' changes that no even turning explains, 0..1.
    """
    size = dye.shape[1]
    radii = np.arange(0.016, 0.086, 1.5 * EXTENT / 128)
    angles = np.arange(96) * 2 * np.pi / 96
    # Pixel coordinates of the rings; rows run from the top.
    column = (EXTENT / 2 + radii[:, None] * np.cos(angles)) / EXTENT * size - 0.5
    row = (EXTENT / 2 - radii[:, None] * np.sin(angles)) / EXTENT * size - 0.5
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    a, b = row - i, column - j
    rings = (1 - a) * ((1 - b) * dye[:, i, j] + b * dye[:, i, j + 1]) + a * (
        (1 - b) * dye[:, i + 1, j] + b * dye[:, i + 1, j + 1]
    )
    harmonics = np.arange(1, 4)
    z = np.fft.fft(rings, axis=-1)[..., 1:4] / len(angles)
    rates = np.arange(-12, 12.01, 0.05)
    turning = np.exp(1j * rates[:, None, None] * t[:, None] * harmonics)
    kept = np.einsum("otm,trm->orm", turning, z, optimize=True) / len(t)
    power = (np.abs(kept) ** 2).sum(-1)
    best = np.clip(power.argmax(0), 1, len(rates) - 2)
    before, peak, after = (power[best + s, np.arange(len(radii))] for s in (-1, 0, 1))
    bend = np.minimum(before - 2 * peak + after, -1e-30)
    fine = np.clip((before - after) / (2 * bend), -0.5, 0.5)
    energy = (np.abs(z) ** 2).mean(0).sum(-1)
    changes = energy - (np.abs(z.mean(0)) ** 2).sum(-1)
    rest = np.clip(energy - (peak - (before - after) * fine / 4), 0, None)
    unsteady = relative(float(np.sqrt(rest.sum())), float(np.sqrt(max(changes.sum(), 0.0))))
    return radii, rates[best] + 0.05 * fine, energy, unsteady


def fit_profile(
    radii: np.ndarray, rate: np.ndarray, weight: np.ndarray
) -> tuple[float, float, float]:
    """Circulation [m^2/s] and core radius [m] of the nearest vortex, and the relative misfit."""
    cores = np.linspace(0.008, 0.042, 69)
    shapes = np.stack([angular_velocity(radii, 1.0, core) for core in cores])
    # Rings with hardly any dye say little.
    weight = weight * (weight > 0.1 * weight.max())
    circulation = (shapes * weight * rate).sum(1) / (shapes**2 * weight).sum(1)
    misfit = (weight * (rate - circulation[:, None] * shapes) ** 2).sum(1)
    best = int(np.argmin(misfit))
    error = relative(float(np.sqrt(misfit[best])), float(np.sqrt((weight * rate**2).sum())))
    return float(circulation[best]), float(cores[best]), error


def _trace_back(
    x: np.ndarray,
    y: np.ndarray,
    spin: Callable[[np.ndarray], np.ndarray],
    clock: np.ndarray,
    t: np.ndarray,
    infall: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the water at (x, y) [h, w] came from, each [t, h, w]."""
    r = np.hypot(x, y)
    if infall == 0.0:
        angle = clock[:, None, None] * spin(r)
        stretch = np.ones_like(t)
    else:
        # On its way in, water was farther out: add up the turning along its path.
        step = (t[1] - t[0]) / 4
        rates = [spin(r * np.exp(infall * (n + 0.5) * step)) for n in range(4 * (len(t) - 1))]
        angle = np.concatenate([np.zeros((1, *r.shape)), np.cumsum(rates, 0)[3::4] * step])
        stretch = np.exp(infall * t)
    c, s = np.cos(angle), np.sin(angle)
    stretch = stretch[:, None, None]
    return stretch * (x * c + y * s), stretch * (y * c - x * s)


def _blobs(
    x: np.ndarray, y: np.ndarray, blobs: list[tuple[float, float, float]], swelling: np.ndarray
) -> np.ndarray:
    """Share of dye [t, h, w] of round blobs with an edge 5 mm wide."""
    dye = np.zeros_like(x)
    for distance, angle, radius in blobs:
        out = np.hypot(x - distance * np.cos(angle), y - distance * np.sin(angle))
        inside = np.clip(0.5 - (out - radius * (1 + swelling[:, None, None])) / 0.005, 0, 1)
        dye = np.maximum(dye, inside * inside * (3 - 2 * inside))
    return dye


def _basin(ground: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The ground [h, w, 3] with a dark round rim about the water."""
    rim = coverage(np.abs(np.hypot(x, y) - BASIN - 0.0035) - 0.0035, EXTENT)
    image = ground.copy()
    paint(image, rim, (60, 60, 60))
    return image


def _truth(
    dye: np.ndarray,
    basin: np.ndarray,
    spin: Callable[[np.ndarray], np.ndarray],
    tempo: np.ndarray,
    infall: float,
) -> tuple[Fields, Fields]:
    """Circular velocity, the pressure that balances it (0 at the rim), share of dyed water."""
    x, y = (a - EXTENT / 2 for a in pixel_centres(len(basin), EXTENT))
    r = np.hypot(x, y)
    tempo = tempo[:, None, None]
    turning = spin(r) * tempo
    inside = (basin > 0)[None, None]
    # dp/dr = density * speed^2 / r, added up from the rim inwards.
    s = np.linspace(0, BASIN + 0.01, 4001)
    slope = DENSITY * spin(s) ** 2 * s
    p = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2) * s[1]])
    pressure = np.interp(r, s, p - np.interp(BASIN, s, p)) * tempo**2
    mask = np.broadcast_to(basin, (1, *dye.shape)).copy()
    fields: Fields = {
        Slot.VELOCITY: np.stack([-turning * y - infall * x, turning * x - infall * y]) * inside,
        Slot.PRESSURE: pressure[None] * inside,
        Slot.DENSITY: DENSITY * mask,
        Slot.PHASE: dye[None],
    }
    return fields, dict.fromkeys(fields, mask)
