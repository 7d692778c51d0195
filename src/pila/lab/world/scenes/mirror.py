"""A streak of light meets a mirror: it leaves at the angle at which it came, as fast as before.

The mirror is level or upright. The streak folds on it by the method of images.
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
THICKNESS = 0.08
"""Of the mirror's bar [m]."""
LENGTH, WIDTH = 0.055, 0.032
"""Standard deviations of the streak's intensity along and across its flight [m]."""
SPEEDS = {"slowly": (0.33, 0.35), "fast": (0.43, 0.46)}
"""Speed of the light [m/s] as shown: the clip is slowed down some 8e8 times."""
ANGLES = {"steeply": (23.5, 25.5), "at a low angle": (47.5, 49.5)}
"""Angle of incidence from the mirror's normal [degrees]."""
SIDES = ("bottom", "top", "left", "right")
GAP = 0.36
"""Time on either side of the reflection [s] in which the streak is folded."""

TEMPLATES = (
    "a {colour} streak of light flies {speed} and {angle} onto a mirror at the {side}",
    "a mirror at the {side} reflects a {colour} light streak that comes {speed} and {angle}",
    "a {colour} beam of light bounces {angle} off a mirror at the {side}, moving {speed}",
    "reflection, a {colour} light ray strikes {angle} a mirror at the {side}, moving {speed}",
    "moving {speed}, a {colour} ray of light hits a mirror at the {side} {angle}",
    "a {colour} streak of light is reflected {angle} by a flat mirror at the {side}, going {speed}",
    "a {colour} laser bolt shoots {speed} and {angle} at a mirror at the {side}",
    "a flat mirror at the {side}, a {colour} streak hits it {angle}, {speed}, and is thrown back",
    "a {colour} ray travels {speed} to a mirror at the {side}, meets it {angle} and turns back",
    "light bounces, a {colour} streak falls {speed} and {angle} on the mirror at the {side}",
    "at the {side} a dark mirror bar reflects a {colour} ray that falls {angle}, moving {speed}",
    "a {colour} light bolt comes in {angle}, {speed}, and rebounds from a mirror at the {side}",
    "{speed} a {colour} light streak approaches a mirror at the {side} {angle} and is reflected",
    "a {colour} ray glances {angle} and {speed} off the mirror at the {side}",
    "a {colour} gleam runs {speed} into a mirror at the {side} {angle} and comes off again",
    "a {colour} bolt of light reflects {angle} at a mirror at the {side}, flying {speed}",
    "the mirror at the {side} sends back a {colour} streak of light arriving {speed} and {angle}",
    "angle in equals angle out, a {colour} ray hits {speed} and {angle} a mirror at the {side}",
    "a {colour} streak meets {angle} a mirror at the {side} and flies off as {speed} as before",
    "a {colour} shaft of light is mirrored {angle} at the {side}, moving {speed}",
    # held out
    "a {colour} ray of light is reflected {angle} from a mirror at the {side}, moving {speed}",
    "{speed} and {angle} a {colour} streak of light hits the mirror at the {side}",
    "a {colour} bolt of light bounces off a mirror at the {side}, {angle} and {speed}",
    "a mirror at the {side} throws back a {colour} ray that falls {angle}, moving {speed}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(GLOW),
    "speed": tuple(SPEEDS),
    "angle": tuple(ANGLES),
    "side": SIDES,
}
"""What each gap of the templates may say."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A streak in the mirror's own axes (along it, away from it), about the point of reflection.

    Attributes:
        point: place of reflection [m], (along, away); away is 0 on the mirror's surface.
        inward, outward: velocities [m/s], [2].
        coming, leaving: way of either streak's centre from the point [m], [t, 2].
        through: whether the streak passes the mirror.
    """

    point: np.ndarray
    inward: np.ndarray
    outward: np.ndarray
    coming: np.ndarray
    leaving: np.ndarray
    through: bool


class Mirror:
    """A streak of light reflected by a level or upright mirror."""

    name = "mirror"
    categories = (Category.OPTICAL,)
    violations = ("wrong_angle", "passes_through", "speeds_up", "turns_before_mirror", "jitter")
    laws = ("reflection", "speed", "straight", "contact")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One streak that meets the mirror near the middle of the clip."""
        draw = np.random.default_rng([25, seed])
        colour, pace = choose(draw, list(GLOW)), choose(draw, list(SPEEDS))
        angle, side = choose(draw, list(ANGLES)), choose(draw, list(SIDES))
        speed = draw.uniform(*SPEEDS[pace])
        incidence = np.radians(draw.uniform(*ANGLES[angle]))
        t = canvas.times
        t = t - draw.uniform(0.49, 0.51) * t[-1]
        inward = speed * np.array([np.sin(incidence), -np.cos(incidence)])
        surface = draw.uniform(0.21, 0.23)
        ends = inward[0] * t[0], inward[0] * t[-1]
        along = 0.5 - (min(ends) + max(ends)) / 2 + draw.uniform(-0.02, 0.02)
        flight = _break(violation, t, along, inward, np.random.default_rng([125, seed]))
        ground = background(draw, canvas.size, 100, 170)
        place, axes = mirror_axes(side, surface, canvas.size)
        bar = np.clip(0.5 - place[1] * canvas.size, 0, 1)
        bar = bar * np.clip(0.5 + (place[1] + THICKNESS) * canvas.size, 0, 1)
        image = np.repeat(ground[None], len(t), 0)
        # Darker towards its back, with the ground's texture on it.
        shade = 30 - 15 * place[1] / THICKNESS - 0.1 * (ground[..., 0] - ground.mean())
        paint(image, np.broadcast_to(bar, image.shape[:3]), np.repeat(shade[..., None], 3, -1))
        come, leave = streaks(flight, place)
        paint(image, np.clip(come + leave, 0, 1), GLOW[colour])
        words = {"colour": colour, "speed": pace, "angle": angle, "side": side}
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "light_speed": speed,
                "incidence": float(np.degrees(incidence)),
                "surface": surface,
                "point": along,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, flight, t, come, leave, axes, bar),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the angle, of kept speed, of straight flight and of the place of turning.

        All are 1 where frames [t, h, w, 3] show the streak in fewer than four fifths of them.
        """
        pulse = read_pulse(frames, EXTENT)
        if pulse.seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = np.flatnonzero(pulse.seen) / FRAME_RATE
        bend = fit_bend(t, pulse.centre[pulse.seen], GAP)
        found = find_mirror(frames)
        if bend is None or found is None:
            return dict.fromkeys(self.laws, 1.0)
        axis, middle = found
        speeds = [float(np.hypot(*v)) for v in (bend.before, bend.after)]
        due = bend.before.copy()
        due[axis] *= -1
        turned = np.arctan2(due[0] * bend.after[1] - due[1] * bend.after[0], due @ bend.after)
        # The reflecting surface is the one on the light's side of the bar.
        lit = np.sign(pulse.centre[pulse.seen][:, axis].mean() - middle)
        surface = middle + lit * THICKNESS / 2
        moved = min(speeds) > 0.05
        return {
            "reflection": relative(abs(float(turned)), 0.6) if moved else 1.0,
            "speed": relative(abs(speeds[1] - speeds[0]), min(speeds)),
            "straight": max(bend.swerve, relative(bend.misfit, 0.05 * bend.reach)),
            "contact": relative(abs(bend.point[axis] - surface), 0.2) if moved else 1.0,
        }


def _break(
    violation: str | None,
    t: np.ndarray,
    along: float,
    inward: np.ndarray,
    rng: np.random.Generator,
) -> Flight:
    outward = inward * np.array([1, -1])
    angle, speed = np.arctan2(abs(inward[0]), -inward[1]), np.hypot(*inward)
    away = 0.0
    if violation == "wrong_angle":
        turn = np.radians(rng.uniform(24, 32))
        angle = angle + turn if angle < np.radians(38) else angle - turn
        outward = speed * np.array([np.sign(inward[0]) * np.sin(angle), np.cos(angle)])
    elif violation == "speeds_up":
        outward = outward * rng.uniform(1.5, 1.7)
    elif violation == "turns_before_mirror":
        away = rng.uniform(0.12, 0.16)
    coming, leaving = t[:, None] * inward, t[:, None] * outward
    if violation == "jitter":
        shake = rng.normal(0, 0.03, (len(t), 2))
        coming, leaving = coming + shake, leaving + shake
    return Flight(
        np.array([along, away]), inward, outward, coming, leaving, violation == "passes_through"
    )


def mirror_axes(side: str, surface: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the pixels along and away from the mirror [m] [2, h, w], and those directions.

    The directions are rows of [2, 2] in (x, y). The mirror's surface lies `surface` metres
    inside of the named side of the view.
    """
    x, y = pixel_centres(size, EXTENT)
    upright = side in ("left", "right")
    away = x if upright else y
    sign = -1.0 if side in ("top", "right") else 1.0
    away = (EXTENT - away if sign < 0 else away) - surface
    along, across = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    axes = np.stack([along, sign * across] if upright else [across, sign * along])
    return np.stack([y if upright else x, away]), axes


def streaks(flight: Flight, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensities of the streak that comes and the one that leaves, [t, h, w] each."""
    bright = []
    for velocity, way in ((flight.inward, flight.coming), (flight.outward, flight.leaving)):
        nx, ny = velocity / np.hypot(*velocity)
        px, py = (place - flight.point[:, None, None])[:, None] - way.T[:, :, None, None]
        along, across = px * nx + py * ny, py * nx - px * ny
        bright.append(np.exp(-((along / LENGTH) ** 2 + (across / WIDTH) ** 2) / 2))
    if flight.through:
        return bright[0], np.zeros_like(bright[1])
    open_side = np.clip(0.5 + (place[1] - flight.point[1]) * place.shape[-1] / EXTENT, 0, 1)
    return bright[0] * open_side, bright[1] * open_side


def find_mirror(frames: np.ndarray) -> tuple[int, float] | None:
    """Axis across the mirror's bar (0 is x, 1 is y) and its middle [m] along that axis, or None.

    The bar is the one stripe across the whole view that is darker than what lies on both sides.
    """
    still = np.median(frames[..., 1], axis=0).astype(float)
    size = len(still)
    width = max(3, round(THICKNESS * size))
    best = (25.0, 0, 0.0)
    for axis, profile in ((0, np.median(still, axis=0)), (1, np.median(still, axis=1)[::-1])):
        mean = np.convolve(profile, np.ones(width) / width, "valid")
        skip = width + 2
        darker = np.minimum(mean[: -2 * skip], mean[2 * skip :]) - mean[skip:-skip]
        k = int(darker.argmax())
        if darker[k] > best[0]:
            low, high = k, min(k + 2 * skip + width, size)
            stripe = profile[low:high]
            dark = np.clip(0.5 * (stripe.max() + stripe.min()) - stripe, 0, None)
            middle = ((np.arange(low, high) + 0.5) * dark).sum() / dark.sum()
            best = (float(darker[k]), axis, float(middle / size * EXTENT))
    return best[1:] if best[0] > 25.0 else None


def _truth(
    flight: Flight,
    t: np.ndarray,
    come: np.ndarray,
    leave: np.ndarray,
    axes: np.ndarray,
    bar: np.ndarray,
) -> tuple[Fields, Fields]:
    """Mean velocity of the light [m/s], its intensity (share of the peak) and the open space."""
    step = t[1] - t[0]
    total = come + leave
    velocity = np.zeros((2, *total.shape))
    for light, way in ((come, flight.coming), (leave, flight.leaving)):
        moving = np.gradient(way, step, axis=0, edge_order=2) @ axes
        velocity += moving.T[:, :, None, None] * light / np.maximum(total, 1e-12)
    fields: Fields = {
        Slot.VELOCITY: velocity,
        Slot.PHASE: np.broadcast_to(1 - bar, (1, *total.shape)).copy(),
        Slot.WAVE: total[None],
    }
    everywhere = np.ones_like(total[None])
    masks = {Slot.PHASE: everywhere, Slot.WAVE: everywhere}
    return fields, masks | {Slot.VELOCITY: np.clip(total, 0, 1)[None]}
