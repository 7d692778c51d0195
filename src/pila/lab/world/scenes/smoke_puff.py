"""A puff of light, coloured smoke that rises in still air, rolls up and spreads."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.dye import DYES, PRESENT, full_strength, mix, read_dye
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import background, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.boussinesq import Flow, Gas, advance, pressure, still
from pila.physics.layout import Category, Slot

EXTENT = 1.0
"""Side of the view, a closed box [m]."""
CELLS = 64
"""Cells along a side of the solver's grid."""
AIR = 1.2
"""Density of the air [kg/m^3]."""
GRAVITY = 9.81
"""[m/s^2]"""
MIXING = 4e-4
"""Viscosity of the air and diffusivity of the smoke in it, by small unseen eddies [m^2/s]."""

SIZES = {"small": (0.10, 0.11), "large": (0.145, 0.16)}
"""Radius [m] by the caption's word."""
SPEEDS = {"slowly": (0.36, 0.44), "quickly": (0.75, 0.90)}
"""Reduced gravity [m/s^2] of the undiluted smoke by the caption's word."""
BODIES = {"thin": (0.55, 0.62), "thick": (0.88, 1.0)}
"""Opacity of the undiluted smoke by the caption's word."""
PLACES = {"on the left": 0.30, "in the middle": 0.50, "on the right": 0.70}

TEMPLATES = (
    "a {size} puff of {body} {colour} smoke rises {speed} {place}",
    "{place} a {size} puff of {body} {colour} smoke drifts up {speed}",
    "{body} {colour} smoke rises {speed} in a {size} puff {place}",
    "a {size} cloud of {body} {colour} smoke climbs {speed} through still air {place}",
    "in still air a {size} puff of {body} {colour} smoke floats up {speed} {place}",
    "a {size} {colour} puff of {body} smoke ascends {speed} {place} and rolls up",
    "buoyancy lifts a {size} puff of {body} {colour} smoke {speed} {place}",
    "a {size} ball of {body} {colour} smoke rises {speed} {place} and spreads",
    "{speed} a {size} puff of {body} {colour} smoke goes up {place}",
    "warm and light, a {size} puff of {body} {colour} smoke rises {speed} {place}",
    "a {size} puff of {colour} smoke, {body}, curls upwards {speed} {place}",
    "{place} {body} {colour} smoke in a {size} puff soars {speed} and curls",
    "a {size} smoke puff, {body} and {colour}, rises {speed} {place}",
    "the {size} puff of {body} {colour} smoke {place} lifts off {speed}",
    "a {size} mushroom of {body} {colour} smoke grows {speed} upwards {place}",
    "a {size} puff of {body} {colour} gas, lighter than air, rises {speed} {place}",
    "let go {place}, a {size} puff of {body} {colour} smoke mounts {speed}",
    "rising {speed} {place}, a {size} puff of {body} {colour} smoke rolls up",
    "a plume starts {place}: a {size} puff of {body} {colour} smoke rises {speed}",
    "smoke rises {speed} {place}, a {size} {body} {colour} puff",
    # held out
    "a {size} puff of {body} {colour} smoke floats {speed} upwards {place}",
    "{place} rises {speed} a {size} puff of {body} {colour} smoke",
    "{body} {colour} smoke, a {size} puff, climbs {speed} {place}",
    "through still air {place} a {size} puff of {body} {colour} smoke rises {speed}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(DYES),
    "body": tuple(BODIES),
    "size": tuple(SIZES),
    "speed": tuple(SPEEDS),
    "place": tuple(PLACES),
}
"""What each gap of the templates may say."""


class SmokePuff:
    """A buoyant thermal of light gas, as Boussinesq's equations have it."""

    name = "smoke_puff"
    categories = (Category.FLUID, Category.COMPRESSIBLE)
    violations = ("smoke_vanishing", "smoke_growing", "sinks", "stops", "time_reversed", "jitter")
    laws = ("smoke_kept", "rises", "spreads")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """A round puff near the floor, let go at rest."""
        draw = np.random.default_rng([15, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        radius = draw.uniform(*SIZES[words["size"]])
        buoyancy = draw.uniform(*SPEEDS[words["speed"]])
        opacity = draw.uniform(*BODIES[words["body"]])
        x0 = PLACES[words["place"]] + draw.uniform(-0.03, 0.03)
        y0 = radius + draw.uniform(0.07, 0.10)
        x, y = pixel_centres(CELLS, EXTENT)
        # The solver's rows run upwards.
        start = 0.5 * (1 - np.tanh((np.hypot(x - x0, y[::-1] - y0) - radius) / 0.02))
        n = canvas.num_frames
        rng = np.random.default_rng([115, seed])
        gain, shown, fall = np.ones(n), np.arange(n), (n, 1.0)
        part = np.arange(n) / (n - 1)
        if violation == "smoke_vanishing":
            gain = 1 - rng.uniform(0.6, 0.8) * part
        elif violation == "smoke_growing":
            gain = 0.45 + rng.uniform(0.4, 0.55) * part
        elif violation == "sinks":
            fall = (int(rng.uniform(0.35, 0.45) * n), -rng.uniform(2.0, 2.6))
        elif violation == "stops":
            shown = np.minimum(shown, int(rng.uniform(0.4, 0.6) * n))
        elif violation == "time_reversed":
            shown = shown[::-1]
        elif violation == "jitter":
            # Each frame shows another moment of the rise: nothing vanishes, order does.
            shown = np.clip(np.rint(shown + rng.normal(0, 0.2 * n, n)), 0, n - 1).astype(int)
        flows = [still(start)]
        for i in range(1, n):
            gas = _gas(buoyancy * (fall[1] if i > fall[0] else 1.0))
            flows.append(advance(flows[-1], gas, EXTENT / CELLS, 1 / canvas.frame_rate))
        share = _sample(np.stack([flows[i].gas for i in shown]), canvas.size)
        share *= gain[:, None, None]
        image = np.repeat(background(draw, canvas.size, 150, 215)[None], n, 0)
        mix(image, opacity * share, np.array(DYES[words["colour"]], float))
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": radius,
                "reduced_gravity": buoyancy,
                "opacity": opacity,
                "x0": x0,
                "y0": y0,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, flows, shown, share, buoyancy, fall, canvas.size),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of kept smoke, of the rise and of the spreading, 0..1.

        All are 1 where frames [t, h, w, 3] show smoke in fewer than four fifths of them.
        """
        strength = read_dye(frames)
        seen = (strength > PRESENT).mean((1, 2)) > 0.005
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        total = strength[seen].sum((1, 2))
        height, peak = read_puff(strength[seen])
        rise, fall = _gains(height)
        more, less = _gains(peak)
        t = t[1:-1]
        fastest = float(_slopes(t, height).max())
        slow = max(stall(t, height), relative(abs(early_rise(t, height)[0]), fastest))
        # A puff that moves less than a pixel does not rise.
        still = rise < EXTENT / frames.shape[1]
        return {
            "smoke_kept": relative(float(np.abs(total / total[:3].mean() - 1).max()), 1.0),
            "rises": 1.0 if still else max(relative(fall, rise), slow),
            "spreads": relative(more, less),
        }


def read_puff(strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height [m] of the puff's middle and its sharpness, of each frame, smoothed over three.

    Sharpness is the mean of the smoke's share, weighted by the smoke itself: mixing lowers it.
    """
    _, y = pixel_centres(strength.shape[1], EXTENT)
    full = full_strength(strength)
    # Faint smoke is left out: far from the puff, noise would weigh most.
    smoke = np.clip(strength / full - 0.12, 0, None)
    total = np.maximum(smoke.sum((1, 2)), 1e-9)
    return _smooth((smoke * y).sum((1, 2)) / total), _smooth((smoke**2).sum((1, 2)) / total)


def early_rise(t: np.ndarray, height: np.ndarray) -> tuple[float, float]:
    """Speed at time 0 [m/s] and acceleration [m/s^2], fitted to the first 0.3 of the clip."""
    early = t <= t[0] + 0.3 * (t[-1] - t[0])
    (_, speed, half), _ = polynomial_fit(t[early], height[early], 2)
    return float(speed), float(2 * half)


def stall(t: np.ndarray, height: np.ndarray) -> float:
    """How far the rise stops after its first third, 0..1.

    In still air nothing takes the buoyancy away: a puff slows as it mixes, never below 0.4 of
    its largest speed in such a short time.
    """
    speed = _slopes(t, height)
    late = speed[len(speed) // 3 :].min()
    return float(np.clip(1 - late / max(0.4 * speed.max(), 1e-9), 0, 1))


def _slopes(t: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Speed [m/s] across windows of a sixth of the clip."""
    span = max(2, len(t) // 6)
    return (height[span:] - height[:-span]) / (t[span:] - t[:-span])


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over three frames; the ends, which have two, are left out."""
    return (values[:-2] + values[1:-1] + values[2:]) / 3


def _gains(values: np.ndarray) -> tuple[float, float]:
    """The largest rise of a series from an earlier value, and its largest fall."""
    rise = (values - np.minimum.accumulate(values)).max()
    return float(rise), float((np.maximum.accumulate(values) - values).max())


def _gas(buoyancy: float) -> Gas:
    return Gas(buoyancy=buoyancy, viscosity=MIXING, diffusivity=MIXING)


def _weights(size: int, points: np.ndarray) -> np.ndarray:
    """Linear interpolation from `points` (in units of the side) to pixels, [size, points].

    Each pixel is the mean of several places, so that small canvases average over cells.
    """
    places = max(1, 2 * CELLS // size)
    at = (np.arange(size * places) + 0.5) / (size * places)
    lines = np.stack([np.interp(at, points, row) for row in np.eye(len(points))], 1)
    return lines.reshape(size, places, len(points)).mean(1)


_CENTRES = (np.arange(CELLS) + 0.5) / CELLS
_FACES = np.arange(CELLS + 1) / CELLS


def _sample(
    f: np.ndarray, size: int, rows: np.ndarray = _CENTRES, columns: np.ndarray = _CENTRES
) -> np.ndarray:
    """A field of the solver [t, rows, columns] on the pixels, row 0 at the top."""
    return (_weights(size, rows) @ f @ _weights(size, columns).T)[:, ::-1]


def _truth(
    flows: list[Flow],
    shown: np.ndarray,
    share: np.ndarray,
    buoyancy: float,
    fall: tuple[int, float],
    size: int,
) -> tuple[Fields, Fields]:
    """Velocity, density and the pressure beside the still air's, everywhere in the box."""
    tempo = np.gradient(shown.astype(float))[:, None, None]
    drawn = [flows[i] for i in shown]
    forces = [_gas(buoyancy * (fall[1] if i > fall[0] else 1.0)) for i in shown]
    p = [pressure(f, g, EXTENT / CELLS) for f, g in zip(drawn, forces, strict=True)]
    u = _sample(np.stack([f.u for f in drawn]), size, columns=_FACES) * tempo
    v = _sample(np.stack([f.v for f in drawn]), size, rows=_FACES) * tempo
    fields: Fields = {
        Slot.VELOCITY: np.stack([u, v]),
        Slot.PRESSURE: AIR * _sample(np.stack(p), size)[None],
        Slot.DENSITY: AIR * (1 - buoyancy / GRAVITY * share[None]),
    }
    return fields, {slot: np.ones((1, *share.shape)) for slot in fields}
