"""A soft ball dropped on the floor: it squashes at constant area, recovers and rebounds lower."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import PALETTE
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.elastic import body_mask
from pila.lab.world.fit import relative
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.soft_bounce import soft_bounce
from pila.physics.layout import Category, Slot

EXTENT = 12.0
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""
FLOOR = 1.2
"""Height of the floor [m]."""

SIZES = {"small": 1.2, "big": 1.6}
"""Radius [m]."""
MATERIALS = {"jelly": (22.0, 0.66), "foam": (27.0, 0.45), "rubber": (34.0, 0.82)}
"""Contact frequency times radius [m/s], as a speed of sound, and restitution."""
HEIGHTS = {"low down": (2.9, 3.1), "high up": (5.8, 6.2)}
"""Height of the ball's lowest point above the floor [m]."""

TEMPLATES = (
    "a {size} {colour} {material} ball dropped from {height} squashes on the floor and rebounds",
    "dropped from {height}, a {size} {colour} {material} ball flattens and bounces back",
    "a {size} soft {colour} {material} ball falls from {height}, is squeezed flat and jumps up",
    "a {size} {colour} ball of {material} falls from {height} and deforms as it hits the ground",
    "let go from {height}, a {size} {colour} {material} ball lands, spreads out and springs up",
    "a squishy {size} {colour} {material} ball drops from {height} and bounces",
    "someone drops a {size} {colour} {material} ball from {height}, it squashes and rebounds",
    "a {size} {colour} {material} ball lands on the floor after a fall from {height}, "
    "it flattens and recovers",
    "the {size} {colour} {material} ball, dropped from {height}, is compressed by the floor "
    "and leaps up",
    "from {height} a {size} {colour} {material} ball falls, bulges at the impact and rises again",
    "a soft ball of {colour} {material}, {size}, falls from {height} and squashes on the ground",
    "a {size} {colour} {material} ball deforms on the floor, becomes round again and bounces, "
    "it fell from {height}",
    "soft impact: a {size} {colour} {material} ball falls on the floor from {height}",
    "a {size} {colour} {material} ball plops on the ground from {height}, squashes and rebounds",
    "a {size} elastic {colour} {material} ball comes from {height}, flattens and springs back",
    "a {size} {colour} {material} ball is dropped from {height}, the floor squashes it briefly",
    "falling from {height}, a {size} {colour} {material} ball turns into a flat shape "
    "and jumps up round",
    "a {size} {colour} {material} ball hits the floor from {height}, wide and flat, then rises",
    "the floor squeezes a {size} {colour} {material} ball that was dropped from {height}",
    "a {size} {colour} deformable ball made of {material} falls from {height} and bounces softly",
    # held out
    "a {size} {colour} {material} ball falls from {height}, squashes on the floor and springs back",
    "dropped from {height}, a soft {size} {colour} {material} ball flattens on the floor",
    "a {size} {colour} ball of soft {material} drops from {height}, squashes and springs up",
    "the {size} {colour} {material} ball squashes and rebounds after a fall from {height}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "size": tuple(SIZES),
    "colour": tuple(PALETTE),
    "material": tuple(MATERIALS),
    "height": tuple(HEIGHTS),
}
"""What each gap of the templates may say."""


class SoftBall:
    """Free fall and soft contact; the ball is an ellipse of the round ball's area."""

    name = "soft_ball"
    categories = (Category.ELASTIC, Category.COLLISION)
    violations = ("stays_flat", "area_grows", "super_elastic", "squashes_in_air", "jitter")
    laws = ("gravity", "area", "reversible", "energy")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """A ball let go at rest above the floor."""
        draw = np.random.default_rng([12, seed])
        words = {word: choose(draw, options) for word, options in WORDS.items()}
        radius = SIZES[words["size"]] * draw.uniform(0.97, 1.03)
        pace, restitution = MATERIALS[words["material"]]
        restitution *= draw.uniform(0.96, 1.04)
        drop = draw.uniform(*HEIGHTS[words["height"]])
        x0 = draw.uniform(5.7, 6.3)
        t = canvas.times
        room = background(draw, canvas.size, 90, 175)[None]
        paint(room, coverage(pixel_centres(canvas.size, EXTENT)[1] - FLOOR, EXTENT), (66, 64, 62))
        image = np.repeat(room, len(t), 0)
        rng = np.random.default_rng([112, seed])
        rebound = rng.uniform(1.15, 1.25) if violation == "super_elastic" else restitution
        fall = partial(soft_bounce, drop=drop, omega=pace / radius, restitution=rebound)
        shape = _shape(violation, fall, radius, rng)
        step = 5e-4
        early, late = np.maximum(t - step, 0), t + step
        ball, rates = shape(t), (shape(late) - shape(early)) / (late - early)
        if violation == "jitter":
            noise = rng.normal(0, 0.4, len(t))
            ball[0] = np.maximum(ball[0] + noise, FLOOR + ball[2])
            rates[0] = np.gradient(ball[0], 1 / canvas.frame_rate)
        covered = _draw(image, x0, ball, words["colour"])
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": radius,
                "omega": pace / radius,
                "restitution": restitution,
                "drop": drop,
                "x0": x0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, covered, x0, radius, ball, rates, canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of free fall, of the kept area, of the recovered shape and of the energy, 0..1.

        All are 1 where frames [t, h, w, 3] show the ball in fewer than four fifths of them.
        """
        y, area, stretch, seen = read_soft_ball(frames)
        flights = _flights(y, area, stretch, seen)
        if seen.mean() < 0.8 or not flights:
            return dict.fromkeys(self.laws, 1.0)
        t = np.arange(len(frames)) / FRAME_RATE
        g, misfit, path = _fit_flights(t, y, flights)
        flying = np.concatenate(flights)
        floor = np.setdiff1d(np.nonzero(seen)[0], flying)
        touched = len(floor) > 0 and stretch[floor].max() > 0.04
        energies = [_energy(t[f], y[f]) for f in flights]
        rises = np.diff(energies).max(initial=0.0)
        median = np.median(area[seen])
        bounced = touched and len(flights) > 1
        return {
            "gravity": max(relative(abs(g - GRAVITY), GRAVITY), relative(misfit, 0.15 * path)),
            "area": relative(float(np.abs(area[seen] - median).max()), 0.5 * median),
            "reversible": relative(float(np.quantile(np.abs(stretch[flying]), 0.9)), 0.25)
            if touched
            else 1.0,
            "energy": relative(rises, energies[0]) if bounced else 1.0,
        }


def read_soft_ball(frames: np.ndarray) -> tuple[np.ndarray, ...]:
    """Height [m], area [m^2], stretch ln(a / b) / 2 and whether the ball is seen, each [t].

    Height and semi-axes a (across) and b (upright) are the mask's first and second moments.
    """
    weight = body_mask(frames)
    grid = pixel_centres(frames.shape[1], EXTENT)[1][:, 0]
    total = weight.sum((1, 2))
    safe = np.maximum(total, 1e-9)
    rows, columns = weight.sum(2) / safe[:, None], weight.sum(1) / safe[:, None]
    y, x = rows @ grid, columns @ grid[::-1]
    across = (columns * (grid[::-1] - x[:, None]) ** 2).sum(1)
    upright = (rows * (grid - y[:, None]) ** 2).sum(1)
    stretch = np.log(np.maximum(across, 1e-9) / np.maximum(upright, 1e-9)) / 4
    return y, total * (EXTENT / frames.shape[1]) ** 2, stretch, total > 6.0


def _flights(
    y: np.ndarray, area: np.ndarray, stretch: np.ndarray, seen: np.ndarray
) -> list[np.ndarray]:
    """Runs of at least four frames in which the ball is clear of the floor."""
    half = np.sqrt(area / np.pi) * np.exp(-stretch)
    clear = np.nonzero(seen & (y - half - FLOOR > 0.25))[0]
    runs = np.split(clear, np.nonzero(np.diff(clear) > 1)[0] + 1)
    return [run for run in runs if len(run) >= 4]


def _fit_flights(
    t: np.ndarray, y: np.ndarray, flights: list[np.ndarray]
) -> tuple[float, float, float]:
    """Acceleration downwards [m/s^2] shared by all flights, misfit [m] and path [m]."""
    flying = np.concatenate(flights)
    basis = np.zeros((len(flying), 2 * len(flights) + 1))
    basis[:, -1] = -(t[flying] ** 2) / 2
    for i, run in enumerate(flights):
        mine = np.isin(flying, run)
        basis[mine, 2 * i], basis[mine, 2 * i + 1] = 1, t[run]
    found, *_ = np.linalg.lstsq(basis, y[flying], rcond=None)
    misfit = np.sqrt(((y[flying] - basis @ found) ** 2).mean())
    return float(found[-1]), float(misfit), sum(float(np.abs(np.diff(y[f])).sum()) for f in flights)


def _energy(t: np.ndarray, y: np.ndarray) -> float:
    """Energy per mass [J/kg] of a flight under true gravity, above the resting round ball."""
    late = t - t.mean()
    speed, height = np.polyfit(late, y + GRAVITY * late**2 / 2, 1)
    return float(GRAVITY * (height - FLOOR) + speed**2 / 2)


def _shape(
    violation: str | None,
    fall: Callable[[np.ndarray], np.ndarray],
    radius: float,
    rng: np.random.Generator,
) -> Callable[[np.ndarray], np.ndarray]:
    """Height of the centre, half width and half height [m] at given times, [3, t]."""
    fine = np.linspace(0, 3, 3001)
    gap = fall(fine)[0]
    touch = int(np.argmax(gap < 0))
    # The first time that the ball moves up again is the moment of its greatest squash.
    lowest = touch + int(np.argmax(np.diff(gap[touch:]) > 0))
    rate, most, grows = rng.uniform(1.0, 1.5), rng.uniform(0.25, 0.35), rng.random() < 0.5

    def shape(t: np.ndarray) -> np.ndarray:
        above = fall(t)[0]
        upright = radius + np.minimum(above, 0.0)
        if violation == "stays_flat":
            upright = np.where(t > fine[lowest], radius + gap[lowest], upright)
        if violation == "squashes_in_air":
            beat = np.sin(2 * np.pi * rate * t) ** 2 * np.clip(above, 0, 1)
            upright = upright * np.exp(-most * beat)
        across = radius**2 / upright
        raised = np.zeros_like(t)
        if violation == "area_grows":
            if grows:
                swollen = 1 + most * np.clip((t - fine[touch]) / 0.3, 0, 1)
                raised = (swollen - 1) * upright
                across, upright = across * swollen, upright * swollen
            else:
                across = np.full_like(t, radius)
        return np.stack([FLOOR + radius + above + raised, across, upright])

    return shape


def _draw(image: np.ndarray, x0: float, ball: np.ndarray, colour: str) -> np.ndarray:
    """Paint the ball; its coverage, [t, h, w]."""
    grid_x, grid_y = pixel_centres(image.shape[1], EXTENT)
    y, across, upright = ball[:, :, None, None]
    u, v = (grid_x - x0) / across, (grid_y - y) / upright
    # First-order distance to an ellipse: its implicit function over the gradient's length.
    square = u**2 + v**2
    level = np.sqrt(square)
    steepness = np.sqrt((u / across) ** 2 + (v / upright) ** 2)
    covered = coverage((square - level) / np.maximum(steepness, 1e-9), EXTENT)
    shine = np.exp(-((u + 0.35) ** 2 + (v - 0.4) ** 2) / 0.06)
    bright = (1.0 + 0.16 * (v - u) * 0.7)[..., None] * np.array(PALETTE[colour])
    paint(image, covered, np.clip(bright + 0.12 * shine[..., None] * (255 - bright), 0, 255))
    return covered


def _truth(
    covered: np.ndarray,
    x0: float,
    radius: float,
    ball: np.ndarray,
    rates: np.ndarray,
    frame_rate: float,
) -> tuple[Fields, Fields]:
    """Fields of a uniformly stretched ball: displacement from the round ball of the first frame.

    Strain is the displacement's gradient; impulse is the centre's acceleration [m/s^2], as the
    relation u_t = j reads it; density is 1 where the ball is.
    """
    grid_x, grid_y = pixel_centres(covered.shape[1], EXTENT)
    y, across, upright = ball[:, :, None, None]
    rise, widening, lifting = rates[:, :, None, None]
    inside = covered > 0
    x, z = (grid_x - x0) * inside, (grid_y - y) * inside
    push = np.gradient(rates[0], 1 / frame_rate)[:, None, None] * inside
    stretch = [(1 - radius / axis) * inside for axis in (across, upright)]
    none = np.zeros_like(covered)
    fields: Fields = {
        Slot.DISPLACEMENT: np.stack([x * stretch[0], z * stretch[1] + (y - ball[0, 0]) * inside]),
        Slot.VELOCITY: np.stack([x * widening / across, z * lifting / upright + rise * inside]),
        Slot.IMPULSE: np.stack([none, push]),
        Slot.STRAIN: np.stack([*stretch, none]),
        Slot.DENSITY: covered[None],
    }
    return fields, dict.fromkeys(fields, covered[None]) | {
        Slot.DENSITY: np.ones_like(covered[None])
    }
