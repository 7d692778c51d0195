"""A clamped ruler let go: the first bending mode of a cantilever (Euler-Bernoulli).

It is seen from above and bends sideways, so that weight plays no part. Drawn thickness is true
thickness, hence the soft materials: omega = 1.8751^2 sqrt(E h^2 / (12 rho L^4)).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from pila.lab.world.balls import PALETTE
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.elastic import body_mask, fit_damped_cosine, growing, rate_of, released
from pila.lab.world.fit import relative
from pila.lab.world.render import background, box_distance, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.cantilever import NODES, bend, first_frequency, mode
from pila.physics.layout import Category, Slot

EXTENT = 1.0
"""Side of the view [m]."""
CLAMP = 0.08
"""Depth of the clamp from the side of the view [m]; the free ruler starts there."""
THICKNESS = 0.07
"""Thickness in the plane of bending [m]."""
MATERIALS = {"foam": (0.205e6, 150.0), "silicone": (2.5e6, 1100.0), "rubber": (4.6e6, 1200.0)}
"""Young's modulus [Pa] and density [kg/m^3]."""
LENGTHS = {"short": (0.60, 0.62), "long": (0.72, 0.74)}
"""Free length [m]."""
DIRECTIONS = {"up": 1.0, "down": -1.0}
"""Side to which the tip is bent at first."""
MOST = 0.17
"""Largest deflection of the tip, for violated clips [m]."""

TEMPLATES = (
    "a {length} {colour} {material} ruler clamped on the {side} is bent {direction} and let go",
    "clamped on the {side}, a {length} {colour} {material} ruler vibrates after being bent "
    "{direction}",
    "a {length} {colour} strip of {material}, held on the {side}, is flicked {direction} "
    "and vibrates",
    "the free end of a {length} {colour} {material} ruler, fixed on the {side}, swings {direction} "
    "first, then back",
    "a {length} {colour} {material} beam with its {side} end in a clamp is pulled {direction} "
    "and released",
    "someone bends a {length} {colour} {material} ruler {direction} and lets it vibrate, "
    "its {side} end is clamped",
    "a {length} {colour} {material} cantilever, fixed on the {side}, oscillates after a bend "
    "{direction}",
    "bent {direction} and released, a {length} {colour} {material} ruler wobbles in a clamp "
    "on the {side}",
    "a {length} {colour} {material} bar sways back and forth, clamped on the {side}, "
    "bent {direction} at first",
    "seen from above, a {length} {colour} {material} ruler clamped on the {side} is bent "
    "{direction} and springs back",
    "a clamp on the {side} holds a {length} {colour} {material} ruler that vibrates "
    "from {direction} bent",
    "a {length} {colour} {material} strip stuck in a clamp on the {side} quivers "
    "after being bent {direction}",
    "the tip of a {length} {colour} {material} ruler is pushed {direction}, it vibrates "
    "in the clamp on the {side}",
    "a {length} {colour} {material} ruler flexes to and fro, its {side} end clamped, "
    "the tip starts {direction}",
    "vibration of a {length} {colour} {material} beam clamped on the {side}, bent {direction} "
    "to start",
    "a {length} and springy {colour} {material} ruler, clamped on the {side}, is bent {direction} "
    "and vibrates",
    "let go after being bent {direction}, a {length} {colour} {material} strip swings, "
    "clamped on the {side}",
    "a {length} {colour} {material} ruler bends and straightens in a clamp on the {side}, "
    "{direction} first",
    "with one end clamped on the {side}, a {length} {colour} {material} ruler bent {direction} "
    "springs to and fro",
    "a {colour} {material} ruler, {length} and clamped on the {side}, is bent {direction} "
    "and oscillates",
    # held out
    "a {length} {colour} {material} ruler in a clamp on the {side} is bent {direction} "
    "and vibrates",
    "on the {side} a clamp holds a {length} {colour} {material} ruler, bent {direction} it "
    "springs back and forth",
    "a {length} {colour} {material} strip clamped on the {side} swings to and fro, "
    "bent {direction} first",
    "bent {direction} and let go, a {length} {colour} {material} beam vibrates, "
    "its {side} end clamped",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "length": tuple(LENGTHS),
    "colour": tuple(PALETTE),
    "material": tuple(MATERIALS),
    "side": ("left", "right"),
    "direction": tuple(DIRECTIONS),
}
"""What each gap of the templates may say."""


class VibratingBeam:
    """The first mode of a cantilever, inextensible and lightly damped."""

    name = "vibrating_beam"
    categories = (Category.ELASTIC,)
    violations = (
        "growing_amplitude",
        "hinged",
        "stays_bent",
        "changes_pitch",
        "shrinks",
        "jitter",
    )
    laws = ("mode_shape", "harmonic", "energy", "length")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """A ruler bent in its first mode and let go at rest."""
        draw = np.random.default_rng([11, seed])
        words = {word: choose(draw, options) for word, options in WORDS.items()}
        modulus, density = MATERIALS[words["material"]]
        length = draw.uniform(*LENGTHS[words["length"]])
        amplitude = draw.uniform(0.11, 0.12)
        decay = draw.uniform(0.2, 0.3)
        y0 = draw.uniform(0.48, 0.52)
        omega = first_frequency(modulus, density, THICKNESS, length)
        t = canvas.times
        image = np.repeat(background(draw, canvas.size, 90, 175)[None], len(t), 0)
        rng = np.random.default_rng([111, seed])
        sign = DIRECTIONS[words["direction"]]
        motion = _motion(violation, sign * amplitude, omega, decay, rng)
        tip, speed, lengths = motion(t), rate_of(motion, t), np.full(len(t), length)
        if violation == "jitter":
            noise = rng.normal(0, 0.04, len(t))
            tip, speed = tip + noise, speed + np.gradient(noise, 1 / canvas.frame_rate)
        elif violation == "shrinks":
            lengths = length * (1 - rng.uniform(0.25, 0.35) * t / t[-1])
        stretching = np.gradient(lengths, 1 / canvas.frame_rate)
        beam = Beam(
            tip, speed, lengths, stretching, y0, words["side"] == "right", violation == "hinged"
        )
        covered = _draw(image, beam, words["colour"])
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "modulus": modulus,
                "density": density,
                "free_length": length,
                "amplitude": amplitude,
                "decay": decay,
                "omega": omega,
                "y0": y0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, beam, covered, modulus),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the mode's shape, of its oscillation, of its energy and of the length, 0..1.

        All are 1 where frames [t, h, w, 3] show the ruler in fewer than four fifths of them, or
        where its tip moves by less than half a pixel.
        """
        deflection, length = read_beam(frames)
        seen = np.isfinite(length)
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        deflection, length = deflection[seen], length[seen]
        # The clamp's height is the constant that leaves the least beside multiples of the mode.
        phi = mode(STATIONS)
        beside = np.eye(len(phi)) - np.outer(phi, phi) / (phi @ phi)
        ones = beside @ np.ones(len(phi))
        rest = (deflection - (deflection @ ones).mean() / (ones @ ones)) @ beside
        tip = (deflection - (deflection @ ones).mean() / (ones @ ones)) @ phi / (phi @ phi)
        swing = float(np.sqrt((np.outer(tip, phi) ** 2).mean()))
        fit = fit_damped_cosine(t, tip, offset=False)
        if fit.swing < 0.35 * EXTENT / frames.shape[1]:
            return dict.fromkeys(self.laws, 1.0)
        return {
            "mode_shape": relative(float(np.sqrt((rest**2).mean())), 0.3 * swing),
            "harmonic": relative(fit.misfit, fit.swing),
            "energy": relative(fit.growth(t[-1]), 1.0),
            "length": relative(2 * length.std(), 0.25 * length.mean()),
        }


STATIONS = np.linspace(0.08, 0.92, 22)
"""Places along the ruler, in shares of its length, at which its bend is read."""


@dataclass(frozen=True, slots=True)
class Beam:
    """A bent ruler: deflection of its tip [m] and the length [m], each [t], with their rates."""

    tip: np.ndarray
    speed: np.ndarray
    length: np.ndarray
    lengthening: np.ndarray
    y0: float
    mirrored: bool
    hinged: bool

    def bend(self, later: float = 0.0) -> tuple[np.ndarray, ...]:
        """Centre line and angle at the nodes of `cantilever.bend`, `later` [s] than now."""
        tip = self.tip + later * self.speed
        return bend(tip, self.length + later * self.lengthening, rigid=self.hinged)


def read_beam(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height of the ruler at the stations [t, k] and its length [t], in metres.

    Both are NaN where it is not seen. The clamp is on the side that the ruler comes nearer to.
    """
    weight = body_mask(frames)
    size = frames.shape[1]
    cell = EXTENT / size
    columns = weight.sum(1)
    used = np.nonzero(columns.mean(0) > 0.2 * max(columns.mean(0).max(), 1.0))[0]
    deflection = np.full((len(frames), len(STATIONS)), np.nan)
    length = np.full(len(frames), np.nan)
    if len(used) < 8:
        return deflection, length
    if used[0] > size - 1 - used[-1]:
        weight, columns = weight[..., ::-1], columns[:, ::-1]
    y = pixel_centres(size, EXTENT)[1][:, 0]
    x = (np.arange(size) + 0.5) * cell - CLAMP
    for i, (mask, column) in enumerate(zip(weight, columns, strict=True)):
        inside = (column > 0.6 * np.median(column[column > 1.0])) & (x > 0) if column.any() else []
        if np.sum(inside) < 0.15 * size:
            continue
        height = y @ mask[:, inside] / column[inside]
        # A quartic holds the mode to a thousandth and evens out the pixels' steps.
        line = np.polynomial.Polynomial.fit(x[inside], height, 4)
        slope = line.deriv()(x)
        # A slanted strip crosses a column on 1 / cos of its thickness.
        thick = np.median(column[inside] / np.hypot(1, slope[inside]))
        covered = np.clip(column / np.hypot(1, slope) / thick, 0, 1) * (x > 0)
        fine = np.linspace(0, covered.sum() * cell, 65)
        arc = np.hypot(1, line.deriv()(fine))
        arc = np.concatenate([[0], np.cumsum((arc[1:] + arc[:-1]) / 2 * np.diff(fine))])
        length[i] = arc[-1]
        places = np.interp(STATIONS * arc[-1], arc, fine)
        deflection[i] = line(places)
    return deflection, length


def _motion(
    violation: str | None, amplitude: float, omega: float, decay: float, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Deflection of the tip [m] as a function of time [s], true or broken."""
    true = partial(released, amplitude=amplitude, omega=omega, decay=decay)
    when = rng.uniform(0.6, 1.1)
    # The turning point next to that moment: position goes on smoothly where the rule changes.
    turn = max(round(when * omega / np.pi), 1) * np.pi / omega
    if violation == "growing_amplitude":
        sign = np.sign(amplitude)
        return lambda t: sign * growing(t, abs(amplitude), omega, MOST)
    if violation == "stays_bent":
        return lambda t: true(np.minimum(t, turn))
    if violation == "changes_pitch":
        return lambda t: true(t + np.clip(t - turn, 0, None))
    return true


def _along(beam: Beam, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres from the clamp's edge along [w] and aside [h] of the straight ruler [m]."""
    x, y = pixel_centres(size, EXTENT)
    along = EXTENT - x[0] if beam.mirrored else x[0]
    return along - CLAMP, y[:, 0] - beam.y0


def _draw(image: np.ndarray, beam: Beam, colour: str) -> np.ndarray:
    """Paint ruler and clamp; coverage of the ruler, [t, h, w]."""
    size = image.shape[1]
    x, y = _along(beam, size)
    along, aside, angle = beam.bend()
    end = np.stack([np.cos(angle[:, -1]), np.sin(angle[:, -1])], 1)
    # One more node straight on from the tip, so that the free end can be cut off square.
    along = np.concatenate([along, along[:, -1:] + end[:, :1]], 1)
    aside = np.concatenate([aside, aside[:, -1:] + end[:, 1:]], 1)
    angle = np.concatenate([angle, angle[:, -1:]], 1)
    share = np.append(NODES, NODES[-1] + 1)
    line, tilt, place = (
        np.stack([np.interp(x, a, v) for a, v in zip(along, values, strict=True)])[:, None]
        for values in (aside, angle, np.broadcast_to(share, along.shape))
    )
    across = (y[:, None] - line) * np.cos(tilt)
    tip_x, tip_y = (c[:, -2, None, None] for c in (along, aside))
    beyond = (x - tip_x) * end[:, 0, None, None] + (y[:, None] - tip_y) * end[:, 1, None, None]
    covered = coverage(np.maximum(np.abs(across) - THICKNESS / 2, beyond), EXTENT)
    clamp = coverage(box_distance(*np.meshgrid(x, y), (-0.5, 0.0), (0.5, 0.17)), EXTENT)
    covered = covered * (1 - clamp)
    bright = 1.0 + 0.09 * np.cos(2 * np.pi * 7 * place) + 0.1 * across / (THICKNESS / 2)
    paint(image, covered, np.clip(np.array(PALETTE[colour]) * bright[..., None], 0, 255))
    steel = 62 + 14 * np.cos(2 * np.pi * y / 0.085)
    paint(image, np.broadcast_to(clamp, covered.shape), steel[:, None, None] * np.ones(3))
    return covered


def _truth(beam: Beam, covered: np.ndarray, modulus: float) -> tuple[Fields, Fields]:
    """Fields of the ruler, whose cross-sections stay plane and normal to the centre line.

    Displacement is from the straight ruler; the strain along it is -n w'' at the distance n from
    the centre line, plus the change of length; stress is E x strain [Pa].
    """
    x, y = _along(beam, covered.shape[1])
    step = 1e-5
    early, now, late = (beam.bend(later) for later in (-step, 0.0, step))
    displacement, velocity = (np.zeros((2, *covered.shape)) for _ in range(2))
    strain = np.zeros((3, *covered.shape))
    for i in range(len(covered)):
        rows, cols = np.nonzero(covered[i] > 0)
        along, aside, angle = (c[i] for c in now)
        px, py = x[cols], y[rows]
        # From the point in the pixel's column to the foot of its normal on the centre line.
        share, line, tilt = (np.interp(px, along, v) for v in (NODES, aside, angle))
        share = np.clip(share + (py - line) * np.sin(tilt) / beam.length[i], 0, 1)

        def at(nodes: np.ndarray, share: np.ndarray = share) -> np.ndarray:
            return np.interp(share, NODES, nodes)

        cx, cy, tilt = at(along), at(aside), at(angle)
        sine, cosine = np.sin(tilt), np.cos(tilt)
        n = (py - cy) * cosine - (px - cx) * sine
        turning = at((late[2][i] - early[2][i]) / (2 * step))
        sway = [at((late[k][i] - early[k][i]) / (2 * step)) for k in (0, 1)]
        displacement[:, i, rows, cols] = (
            cx - share * beam.length[0] - n * sine,
            cy + n * (cosine - 1),
        )
        velocity[:, i, rows, cols] = (sway[0] - n * cosine * turning, sway[1] - n * sine * turning)
        curvature = 0.0 if beam.hinged else beam.tip[i] / beam.length[i] ** 2 * mode(share, 2)
        stretch = beam.length[i] / beam.length[0] - 1 - n * curvature / cosine
        strain[:, i, rows, cols] = stretch * np.array([cosine**2, sine**2, sine * cosine])
    if beam.mirrored:
        displacement[0], velocity[0], strain[2] = -displacement[0], -velocity[0], -strain[2]
    fields: Fields = {
        Slot.DISPLACEMENT: displacement,
        Slot.VELOCITY: velocity,
        Slot.STRAIN: strain,
        Slot.STRESS: modulus * strain,
    }
    return fields, dict.fromkeys(fields, covered[None])
