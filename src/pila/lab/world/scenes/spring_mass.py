"""A block on a spring: omega^2 = k / m = g / extension, so the pixels know the true period."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import PALETTE
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.elastic import (
    ZIGZAG,
    body_mask,
    fit_damped_cosine,
    growing,
    overtone,
    rate_of,
    released,
)
from pila.lab.world.fit import relative
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 1.2
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""
CEILING = 1.10
"""Height of the ceiling's underside [m]."""
NATURAL_LENGTH = 0.28
"""Length of the unloaded spring [m]."""
COIL_RADIUS = 0.07
"""Half width of the spring [m]."""
TURNS = 4

SIZES = {"small": (0.18, 0.50), "large": (0.24, 0.75)}
"""Side [m] and mass [kg] of the block by the caption's word."""
STIFFNESS = {"soft": (22.5, 24.5), "stiff": (41.0, 45.0)}
"""Stiffness of the spring [N/m]."""
PULLS = {"a little": (0.065, 0.075), "far": (0.135, 0.15)}
"""Distance from balance at which the block is let go [m]."""
MOST = 0.20
"""Largest amplitude that stays in view, for violated clips [m]."""

TEMPLATES = (
    "a {size} {colour} block on a {stiffness} spring is pulled down {pull} and let go",
    "a {size} {colour} block hangs from a {stiffness} spring and bobs after being pulled {pull}",
    "pulled down {pull}, a {size} {colour} block bounces on a {stiffness} coil spring",
    "a {stiffness} spring hangs from the ceiling, a {size} {colour} block on it, pulled {pull}, "
    "swings up and down",
    "a {size} {colour} weight on a {stiffness} spring oscillates after a pull, it was drawn {pull}",
    "someone pulls a {size} {colour} block {pull} on a {stiffness} spring and releases it",
    "a {size} {colour} block, drawn down {pull}, rises and falls on a {stiffness} spring",
    "on a {stiffness} coil spring a {size} {colour} block oscillates, it was pulled {pull}",
    "the {size} {colour} block bobs up and down on a {stiffness} spring, released {pull} "
    "below balance",
    "a {stiffness} spring carries a {size} {colour} block, which is stretched {pull} and released",
    "a mass on a spring: a {size} {colour} block, a {stiffness} spring, pulled {pull}",
    "a {size} {colour} cube hangs on a {stiffness} spring, pulled {pull} it moves up and down",
    "let go after being pulled {pull}, a {size} {colour} block oscillates on a {stiffness} spring",
    "a {stiffness} hanging spring with a {size} {colour} block is stretched {pull} and set free",
    "a {size} {colour} block bounces under a {stiffness} spring, it was pulled down {pull}",
    "vertical oscillation of a {size} {colour} block, pulled {pull}, on a {stiffness} spring",
    "a {size} {colour} block tugs at a {stiffness} spring and swings, after a pull {pull} down",
    "a {stiffness} spring stretches and shortens as a {size} {colour} block, pulled {pull}, bobs",
    "a {size} {colour} load hung on a {stiffness} spring is pulled {pull} and bounces",
    "below the ceiling a {size} {colour} block, pulled down {pull}, dances on a {stiffness} spring",
    # held out
    "a {size} {colour} block bobs on a {stiffness} spring after it was pulled down {pull}",
    "hanging from a {stiffness} spring, a {size} {colour} block is pulled {pull} and let go",
    "a {stiffness} spring pulls up a {size} {colour} block that was drawn down {pull}",
    "pulled {pull} and released, the {size} {colour} block moves up and down on a "
    "{stiffness} spring",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "size": tuple(SIZES),
    "colour": tuple(PALETTE),
    "stiffness": tuple(STIFFNESS),
    "pull": tuple(PULLS),
}
"""What each gap of the templates may say."""


class SpringMass:
    """A vertical oscillation about the balance of weight and spring, lightly damped."""

    name = "spring_mass"
    categories = (Category.ELASTIC,)
    violations = ("growing_amplitude", "wrong_period", "stops", "sawtooth", "jitter", "growing")
    laws = ("harmonic", "overtone", "period", "energy", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """A block let go at rest below its balance."""
        draw = np.random.default_rng([10, seed])
        words = {word: choose(draw, options) for word, options in WORDS.items()}
        side, mass = SIZES[words["size"]]
        stiffness = draw.uniform(*STIFFNESS[words["stiffness"]])
        amplitude = draw.uniform(*PULLS[words["pull"]])
        decay = draw.uniform(0.2, 0.3)
        x0 = draw.uniform(0.57, 0.63)
        balance = NATURAL_LENGTH + mass * GRAVITY / stiffness
        omega = np.sqrt(stiffness / mass)
        t = canvas.times
        image = np.repeat(background(draw, canvas.size, 105, 165)[None], len(t), 0)
        rng = np.random.default_rng([110, seed])
        motion = _motion(violation, amplitude, omega, decay, rng)
        length, speed, sides = balance + motion(t), rate_of(motion, t), np.full(len(t), side)
        if violation == "jitter":
            noise = rng.normal(0, 0.04, len(t))
            length, speed = length + noise, speed + np.gradient(noise, 1 / canvas.frame_rate)
        elif violation == "growing":
            sides = side * (1 + rng.uniform(0.4, 0.6) * t / t[-1])
        spring, block = _draw(image, x0, length, sides, words["colour"])
        # The spring as a bar of its drawn width; the modulus is that of the loaded balance.
        modulus = stiffness * balance / (2 * COIL_RADIUS) ** 2
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "side": side,
                "mass": mass,
                "spring_constant": stiffness,
                "amplitude": amplitude,
                "decay": decay,
                "balance": balance,
                "omega": omega,
                "modulus": modulus,
                "x0": x0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, spring, block, length, speed, modulus),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the harmonic motion, of its turns, of period, energy and shape, 0..1.

        All are 1 where frames [t, h, w, 3] show the block in fewer than four fifths of them, or
        where it moves by less than half a pixel.
        """
        y, area, seen = read_block(frames)
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        y, area = y[seen], area[seen]
        fit = fit_damped_cosine(t, y)
        if fit.swing < 0.35 * EXTENT / frames.shape[1]:
            return dict.fromkeys(self.laws, 1.0)
        extension = CEILING - fit.offset - np.sqrt(np.median(area)) / 2 - NATURAL_LENGTH
        squared = fit.omega**2 + fit.decay**2
        return {
            "harmonic": relative(fit.misfit, fit.swing),
            "overtone": relative(max(overtone(t, y, fit), 0.0), ZIGZAG),
            "period": relative(abs(squared * extension / GRAVITY - 1), 1.0),
            "energy": relative(fit.growth(t[-1]), 1.0),
            "shape": relative(2 * area.std(), area.mean()),
        }


def read_block(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Height of the block's centre [m], its area [m^2] and whether it is seen, each [t]."""
    weight = body_mask(frames)
    y = pixel_centres(frames.shape[1], EXTENT)[1][:, 0]
    rows = weight.sum(2)
    total = rows.sum(1)
    centre = rows @ y / np.maximum(total, 1e-9)
    return centre, total * (EXTENT / frames.shape[1]) ** 2, total > 6.0


def _motion(
    violation: str | None, amplitude: float, omega: float, decay: float, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Stretch beyond the balance [m] as a function of time [s], true or broken."""
    true = partial(released, amplitude=amplitude, omega=omega, decay=decay)
    if violation == "growing_amplitude":
        return partial(growing, amplitude=amplitude, omega=omega, most=MOST)
    if violation == "wrong_period":
        factor = rng.uniform(0.5, 0.65) if rng.random() < 0.5 else rng.uniform(1.4, 1.6)
        return partial(true, omega=factor * omega)
    if violation == "stops":
        # At the turning point next to a moment in the middle of the clip.
        turn = max(round(rng.uniform(0.6, 1.1) * omega / np.pi), 1) * np.pi / omega
        return lambda t: true(np.minimum(t, turn))
    if violation == "sawtooth":

        def zigzag(t: np.ndarray) -> np.ndarray:
            wave = 2 / np.pi * np.arcsin(np.cos(omega * t))
            return amplitude * np.exp(-decay * t) * wave

        return zigzag
    return true


def _draw(
    image: np.ndarray, x0: float, length: np.ndarray, side: np.ndarray, colour: str
) -> tuple[np.ndarray, np.ndarray]:
    """Paint ceiling, spring and block; coverages of the last two, [t, h, w]."""
    grid_x, grid_y = pixel_centres(image.shape[1], EXTENT)
    x, y = grid_x[0] - x0, grid_y[:, 0]
    below, edge, half = CEILING - y, length[:, None], side[:, None] / 2
    spring = _box(np.abs(below - edge / 2) - edge / 2, np.abs(x) - COIL_RADIUS)
    turn = TURNS * below / edge
    stroke = np.cos(2 * np.pi * (turn[:, :, None] + 0.25 * x / COIL_RADIUS))
    # A coil is lit in the middle and darker towards its sides; the gaps show its dark inside.
    light = np.clip(0.5 + 1.3 * stroke, 0, 1) * (1 - 0.35 * (x / COIL_RADIUS) ** 2)
    paint(image, spring, (48 + 185 * light)[..., None])
    block = _box(np.abs(below - edge - half) - half, np.abs(x) - half)
    bright = 1.05 - 0.09 * x / half[:, :, None] - 0.12 * ((below - edge) / half - 1)[:, :, None]
    paint(image, block, np.clip(np.array(PALETTE[colour]) * bright[..., None], 0, 255))
    paint(image, np.broadcast_to(coverage(CEILING - grid_y, EXTENT), spring.shape), (58, 58, 62))
    return spring, block


def _box(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Coverage [t, h, w] of an upright box from its distances down [t, h], across [.., w]."""
    return coverage(down, EXTENT)[:, :, None] * coverage(np.atleast_2d(across), EXTENT)[:, None]


def _truth(
    spring: np.ndarray, block: np.ndarray, length: np.ndarray, speed: np.ndarray, modulus: float
) -> tuple[Fields, Fields]:
    """Fields of block and spring: the spring's points move in proportion to their depth.

    Displacement is from the unloaded spring and strain is its gradient, (length - L0) / length;
    stress is modulus x strain [Pa], Hooke's law with the secant at the balance.
    """
    depth = CEILING - pixel_centres(spring.shape[1], EXTENT)[1]
    stretched, rate = length[:, None, None], speed[:, None, None]
    body = np.clip(spring + block, 0, 1)
    share = np.where(body > 0, np.clip(depth / stretched, 0, 1), 0.0)
    none = np.zeros_like(body)
    strain = np.where(spring > 0, 1 - NATURAL_LENGTH / stretched, 0.0)
    fields: Fields = {
        Slot.DISPLACEMENT: np.stack([none, -share * (stretched - NATURAL_LENGTH)]),
        Slot.VELOCITY: np.stack([none, -share * rate]),
        Slot.STRAIN: np.stack([none, strain, none]),
        Slot.STRESS: np.stack([none, modulus * strain, none]),
    }
    return fields, dict.fromkeys(fields, body[None]) | dict.fromkeys(
        (Slot.STRAIN, Slot.STRESS), spring[None]
    )
