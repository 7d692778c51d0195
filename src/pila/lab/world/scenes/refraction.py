"""A pulse of light enters water, glass or diamond: it slows down by the index and bends to match.

The picture is light in slow motion, as a camera sees it: intensity without the carrier's
oscillation. The border is level, so that angles are read against the vertical.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import relative
from pila.lab.world.light import GLOW, fit_bend, read_pulse
from pila.lab.world.render import background, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.physics.layout import Category, Slot

EXTENT = 1.0
"""Side of the view [m]."""
SPEED = (0.40, 0.45)
"""Speed of light in air [m/s] as shown: the clip is slowed down some 7e8 times."""
INDICES = {"water": (1.32, 1.36), "glass": (1.50, 1.62), "diamond": (2.30, 2.42)}
"""Refractive index against air."""
SHADES = {"water": 35.0, "glass": 55.0, "diamond": 75.0}
"""How much darker than air the medium is drawn [grey levels]."""
ANGLES = {"steeply": (32.5, 34.5), "at a low angle": (50.5, 52.5)}
"""Angle of incidence from the vertical [degrees]."""
WIDTH = 0.052
"""Standard deviation of the pulse's intensity in air [m]."""
GAP = 0.25
"""Time on either side of the bend [s] in which the pulse lies in both media."""

TEMPLATES = (
    "a {colour} pulse of light enters {medium} {angle} from the {side} and bends",
    "a {colour} flash of light from the {side} passes {angle} into {medium} and slows down",
    "light refracts, a {colour} pulse goes {angle} from air into {medium}, from the {side}",
    "from the {side} a {colour} light pulse meets a surface of {medium} {angle} and is refracted",
    "a {colour} spot of light flies {angle} into {medium} from the {side} and changes direction",
    "in slow motion a {colour} light pulse from the {side} enters {medium} {angle}",
    "refraction of a {colour} pulse that falls {angle} on {medium} from the {side}",
    "a {colour} burst of laser light comes {angle} from the {side} and dives into {medium}",
    "a {colour} pulse hits {medium} {angle} from the {side}, bending towards the normal",
    "coming from the {side}, a {colour} light pulse strikes {medium} {angle} and bends downwards",
    "a {colour} laser pulse crosses {angle} from air into a block of {medium}, from the {side}",
    "a {colour} glow of light moves {angle} from the {side} through air, then slower in {medium}",
    "{medium} slows and bends a {colour} light pulse arriving {angle} from the {side}",
    "a short {colour} light pulse from the {side} is bent as it enters {medium} {angle}",
    "Snell's law, a {colour} pulse from the {side} falls {angle} on {medium}",
    "a {colour} light packet travels {angle} from the {side} and refracts at {medium}",
    "a {colour} light signal falls {angle} from the {side} onto {medium} and goes on more slowly",
    "the surface of {medium} refracts a {colour} pulse of light coming {angle} from the {side}",
    "a pulse of {colour} light shines {angle} from the {side} into {medium}",
    "a {colour} light dot sinks {angle} from the {side} into {medium}, its path is bent",
    # held out
    "a pulse of {colour} light from the {side} is refracted by {medium}, entering {angle}",
    "{angle} from the {side} a {colour} flash of light enters {medium} and bends",
    "a {colour} laser pulse bends where it passes {angle} into {medium} from the {side}",
    "light in slow motion, a {colour} pulse from the {side} falls {angle} into {medium}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(GLOW),
    "medium": tuple(INDICES),
    "angle": tuple(ANGLES),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A pulse that crosses the level border y = `border` at `point` x at time 0.

    Attributes:
        border: height of the border [m].
        point: where the pulse's centre meets it, x [m].
        before, after: velocities above and below [m/s], (x, y).
        above, below: way of the centre from the crossing, if the medium were everywhere [m],
            [t, 2]: velocity times time, unless a law is broken.
    """

    border: float
    point: float
    before: np.ndarray
    after: np.ndarray
    above: np.ndarray
    below: np.ndarray


class Refraction:
    """A light pulse at a level border between air and a denser medium."""

    name = "refraction"
    categories = (Category.OPTICAL,)
    violations = ("no_bend", "wrong_side", "keeps_speed", "curved", "stops", "jitter")
    laws = ("snell", "speed", "straight")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One pulse from above, which reaches the border before half of the clip."""
        draw = np.random.default_rng([24, seed])
        colour, medium = choose(draw, list(GLOW)), choose(draw, list(INDICES))
        angle, side = choose(draw, list(ANGLES)), choose(draw, ["left", "right"])
        index, speed = draw.uniform(*INDICES[medium]), draw.uniform(*SPEED)
        incidence = np.radians(draw.uniform(*ANGLES[angle]))
        refracted = np.arcsin(np.sin(incidence) / index)
        t = canvas.times
        t = t - draw.uniform(0.44, 0.46) * t[-1]
        toward = 1 if side == "left" else -1
        before = speed * np.array([toward * np.sin(incidence), -np.cos(incidence)])
        after = speed / index * np.array([toward * np.sin(refracted), -np.cos(refracted)])
        border = draw.uniform(0.50, 0.54)
        reach = before[0] * t[0], after[0] * t[-1]
        point = 0.5 - (min(reach) + max(reach)) / 2 + draw.uniform(-0.02, 0.02)
        crossing = _break(
            violation, t, border, point, before, after, np.random.default_rng([124, seed])
        )
        air = background(draw, canvas.size, 120, 150)
        _, y = pixel_centres(canvas.size, EXTENT)
        under = np.clip(0.5 - (y - border) / EXTENT * canvas.size, 0, 1)
        image = np.repeat((air - SHADES[medium] * under[..., None])[None], len(t), 0)
        light = intensity(crossing, t, canvas.size)
        paint(image, light, GLOW[colour])
        words = {"colour": colour, "medium": medium, "angle": angle, "side": side}
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "speed": speed,
                "index": index,
                "incidence": float(np.degrees(incidence)),
                "refracted": float(np.degrees(refracted)),
                "border": border,
                "x0": point,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, crossing, t, light, under),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of Snell's law, of steady speed and of straight flight in each medium, 0..1.

        All are 1 where frames [t, h, w, 3] show the pulse in fewer than four fifths of them.
        """
        pulse = read_pulse(frames, EXTENT)
        if pulse.seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = np.flatnonzero(pulse.seen) / FRAME_RATE
        bend = fit_bend(t, pulse.centre[pulse.seen], GAP)
        if bend is None:
            return dict.fromkeys(self.laws, 1.0)
        fast, slow = np.hypot(*bend.before), np.hypot(*bend.after)
        sine_in, sine_out = bend.before[0] / max(fast, 1e-9), bend.after[0] / max(slow, 1e-9)
        due = sine_in * slow / max(fast, 1e-9)
        # Light that does not slow down by a tenth at least is not refracted at all.
        slows = slow < 0.9 * fast and bend.before[1] < 0 and bend.after[1] < 0
        return {
            "snell": relative(abs(sine_out - due), abs(sine_in - due)) if slows else 1.0,
            "speed": bend.drift,
            "straight": max(bend.swerve, relative(bend.misfit, 0.05 * bend.reach)),
        }


def _break(
    violation: str | None,
    t: np.ndarray,
    border: float,
    point: float,
    before: np.ndarray,
    after: np.ndarray,
    rng: np.random.Generator,
) -> Crossing:
    fast, slow = np.hypot(*before), np.hypot(*after)
    if violation == "no_bend":
        after = before * slow / fast
    elif violation == "wrong_side":
        after = after * np.array([-1, 1])
    elif violation == "keeps_speed":
        after = after * fast / slow
    above, below = t[:, None] * before, t[:, None] * after
    late = np.clip(t, 0, None)
    if violation == "curved":
        # A circular arc instead of the straight line, by 60 to 80 degrees in all.
        turn = np.radians(rng.uniform(60, 80)) * rng.choice([-1, 1]) / t[-1]
        along, across = np.sin(turn * late) / turn, (1 - np.cos(turn * late)) / turn
        arc = along[:, None] * after + across[:, None] * np.array([-after[1], after[0]])
        below = np.where(t[:, None] > 0, arc, below)
    elif violation == "stops":
        below = np.minimum(t, rng.uniform(0.35, 0.5) * t[-1])[:, None] * after
    elif violation == "jitter":
        shake = rng.normal(0, 0.03, (len(t), 2))
        above, below = above + shake, below + shake
    return Crossing(border, point, before, after, above, below)


def intensity(crossing: Crossing, t: np.ndarray, size: int) -> np.ndarray:
    """Intensity of the pulse as a share of its peak, [t, h, w].

    Above the border a Gaussian that flies along. Below it the same arrivals at the border fly on
    with the other velocity, so the pulse is shorter and sheared: the wave equation's solution
    for a carrier much shorter than the pulse, without the faint reflection.
    """
    x, y = pixel_centres(size, EXTENT)
    here = np.stack([x - crossing.point, y - crossing.border])
    (ux, uy), (vx, vy) = crossing.before, crossing.after

    def place(way: np.ndarray) -> np.ndarray:
        return here[:, None] - way.T[:, :, None, None]

    a, b = place(crossing.above), place(crossing.below)
    # Through the same point of the border at the same time: b's place in terms of a's.
    b = np.stack([b[0] + b[1] * (ux - vx) / vy, b[1] * uy / vy])
    over = np.clip(0.5 + here[1] / EXTENT * size, 0, 1)
    bright = [np.exp(-(p**2).sum(0) / (2 * WIDTH**2)) for p in (a, b)]
    return over * bright[0] + (1 - over) * bright[1]


def _truth(
    crossing: Crossing, t: np.ndarray, light: np.ndarray, under: np.ndarray
) -> tuple[Fields, Fields]:
    """Velocity of the light [m/s] where there is any, and its intensity as a share of the peak."""
    step = t[1] - t[0]
    upper, lower = (
        np.gradient(way, step, axis=0, edge_order=2).T[:, :, None, None]
        for way in (crossing.above, crossing.below)
    )
    fields: Fields = {
        Slot.VELOCITY: upper * (1 - under) + lower * under,
        Slot.WAVE: light[None],
    }
    return fields, {Slot.VELOCITY: light[None], Slot.WAVE: np.ones_like(light[None])}
