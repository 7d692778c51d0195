"""Two balls meeting head-on: momentum and energy are kept, mass goes with the ball's area."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import (
    ball_truth,
    colour_weights,
    disc_coverage,
    draw_ball,
    read_ball,
    shape_error,
)
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import best_bend, relative
from pila.lab.world.render import background, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 10.0
"""Side of the view [m]."""
COLOURS = ("red", "green", "blue", "yellow", "purple")
SIZES = {"small": 0.95, "large": 1.3}
"""Radius [m]; mass is the disc's area times a unit density."""
SPEEDS = {"slowly": (1.2, 1.26), "fast": (1.87, 1.95)}
"""Approach speed [m/s] of the first ball; the second one rests or comes slowly."""

TEMPLATES = (
    "a {size} {colour} ball moving {speed} hits a {other_size} {other} ball from the {side}",
    "a {size} {colour} ball rolls {speed} from the {side} and strikes a {other_size} {other} ball",
    "from the {side} a {size} {colour} ball runs {speed} into a {other_size} {other} ball",
    "a {size} {colour} ball collides {speed} with a {other_size} {other} ball from the {side}",
    "two balls collide, a {size} {colour} one comes {speed} from the {side}, "
    "a {other_size} {other} one waits",
    "a {other_size} {other} ball is struck {speed} by a {size} {colour} ball from the {side}",
    "head-on collision: a {size} {colour} ball, {speed} from the {side}, "
    "and a {other_size} {other} ball",
    "coming {speed} from the {side}, a {size} {colour} ball bumps into a {other_size} {other} ball",
    "the {size} {colour} ball from the {side} crashes {speed} into the {other_size} {other} ball",
    "a {size} {colour} billiard ball moves {speed} from the {side} "
    "and hits a {other_size} {other} one",
    "a {other_size} {other} ball at rest is hit {speed} by a {size} {colour} ball from the {side}",
    "an elastic collision, a {size} {colour} ball {speed} from the {side} "
    "against a {other_size} {other} ball",
    "a {size} {colour} ball slides {speed} from the {side} and knocks a {other_size} {other} ball",
    "a {size} {colour} ball bounces {speed} off a {other_size} {other} ball, "
    "coming from the {side}",
    "{speed} a {size} {colour} ball from the {side} meets a {other_size} {other} ball "
    "and they collide",
    "the impact of a {size} {colour} ball, {speed} from the {side}, on a {other_size} {other} ball",
    "a {size} {colour} ball strikes {speed} from the {side}, "
    "the {other_size} {other} ball moves on",
    "a {other_size} {other} ball is knocked away by a {size} {colour} ball "
    "coming {speed} from the {side}",
    "a {size} {colour} ball shoots {speed} from the {side} into a {other_size} {other} ball",
    "two balls hit each other, the {size} {colour} one {speed} from the {side}, "
    "the other {other_size} and {other}",
    # held out
    "a {size} {colour} ball from the {side} hits {speed} a {other_size} {other} ball",
    "coming from the {side}, a {size} {colour} ball strikes {speed} a {other_size} {other} ball",
    "a {other_size} {other} ball is hit by a {size} {colour} ball moving {speed} from the {side}",
    "collision of two balls: a {size} {colour} one, {speed} from the {side}, "
    "and a {other_size} {other} one",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "other": COLOURS,
    "size": tuple(SIZES),
    "other_size": tuple(SIZES),
    "speed": tuple(SPEEDS),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class BallCollision:
    """A head-on elastic collision of two discs of mass proportional to area."""

    name = "ball_collision"
    categories = (Category.RIGID_BODY, Category.COLLISION)
    violations = ("super_elastic", "momentum_lost", "pass_through", "jitter", "growing")
    laws = ("momentum", "energy", "straight_paths", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One collision on a line across the view, at a third to a half of the clip."""
        draw = np.random.default_rng([2, seed])
        first, second = (COLOURS[i] for i in draw.permutation(len(COLOURS))[:2])
        size, other_size = choose(draw, list(SIZES)), choose(draw, list(SIZES))
        speed, side = choose(draw, list(SPEEDS)), choose(draw, ["left", "right"])
        r1, r2 = SIZES[size], SIZES[other_size]
        v1 = draw.uniform(*SPEEDS[speed])
        v2 = draw.uniform(-0.05, 0.0)
        t = canvas.times
        contact = draw.uniform(0.45, 0.49) * t[-1]
        m1, m2 = r1**2, r2**2
        w1, w2 = rebound(m1, m2, v1, v2, violation, seed)
        before, after = np.clip(t - contact, None, 0), np.clip(t - contact, 0, None)
        rel1, rel2 = v1 * before + w1 * after, v2 * before + w2 * after
        # Along the line of flight; the pair is placed so that true outcomes stay in view.
        low = max(r1 - rel1.min(), r2 - rel2.min() - (r1 + r2)) + 0.15
        high = min(EXTENT - r1 - rel1.max(), EXTENT - r2 - rel2.max() - (r1 + r2)) - 0.15
        middle = draw.uniform(0.47, 0.53)
        c1 = low + middle * max(high - low, 0.0)
        x1, x2 = c1 + rel1, c1 + r1 + r2 + rel2
        if side == "right":
            x1, x2 = EXTENT - x1, EXTENT - x2
        y = EXTENT / 2 + draw.uniform(-0.15, 0.15)
        p1, p2 = (np.stack([x, np.full(len(t), y)], 1) for x in (x1, x2))
        s1, s2 = np.full(len(t), r1), np.full(len(t), r2)
        rng = np.random.default_rng([102, seed])
        if violation == "jitter":
            p1, p2 = p1 + rng.normal(0, 0.3, p1.shape), p2 + rng.normal(0, 0.3, p2.shape)
        elif violation == "growing":
            s2 = s2 * (1 + rng.uniform(0.4, 0.6) * t / t[-1])
        image = np.repeat(background(draw, canvas.size, 70, 190)[None], len(t), 0)
        coverages = []
        for p, s, colour in ((p2, s2, second), (p1, s1, first)):
            coverage = disc_coverage(p, s, canvas.size, EXTENT)
            draw_ball(image, coverage, p, s, colour, EXTENT)
            coverages.append(coverage)
        words = {
            "size": size,
            "colour": first,
            "other_size": other_size,
            "other": second,
            "speed": speed,
            "side": side,
        }
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "r1": r1,
                "r2": r2,
                "v1": v1,
                "v2": v2,
                "w1": w1,
                "w2": w2,
                "contact": contact,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, [p2, p1], coverages, canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of momentum and energy over the contact, of straight flight and of shape, 0..1.

        All are 1 where fewer than two balls are seen in four fifths of the frames [t, h, w, 3].
        """
        tracks = [read_ball(w, EXTENT) for w in colour_weights(frames, 2)]
        seen = tracks[0].seen & tracks[1].seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        a, b = (track.centre[seen] for track in tracks)
        mass = np.array([np.median(track.radius[seen]) ** 2 for track in tracks])
        bend = best_bend(t, a, b)
        if bend is None:
            return dict.fromkeys(self.laws, 1.0)
        push = mass @ (bend.after - bend.before)
        carried = mass @ np.abs(bend.before).max(-1)
        centre = mass @ bend.before / mass.sum()
        energy = [float(mass @ ((v - centre) ** 2).sum(-1)) for v in (bend.before, bend.after)]
        closing = _along(bend.before, a, b)
        opening = _along(bend.after, a, b)
        met = closing > 0.4 and opening < 0.5 * closing
        path = np.abs(np.diff(a[:, 0])).sum() + np.abs(np.diff(b[:, 0])).sum()
        return {
            "momentum": relative(float(np.hypot(*push)), carried) if met else 1.0,
            "energy": relative(abs(energy[1] - energy[0]), energy[0]) if met else 1.0,
            "straight_paths": relative(bend.misfit, 0.05 * path),
            "shape": max(shape_error(track) for track in tracks),
        }


def rebound(
    m1: float, m2: float, v1: float, v2: float, violation: str | None, seed: int
) -> tuple[float, float]:
    """Velocities after the contact: elastic, or as the violation has it."""
    total = m1 + m2
    w1 = ((m1 - m2) * v1 + 2 * m2 * v2) / total
    w2 = ((m2 - m1) * v2 + 2 * m1 * v1) / total
    centre = (m1 * v1 + m2 * v2) / total
    rng = np.random.default_rng([202, seed])
    if violation == "super_elastic":
        gain = rng.uniform(1.5, 1.8)
        return centre + gain * (w1 - centre), centre + gain * (w2 - centre)
    if violation == "momentum_lost":
        return (0.0, 0.0) if rng.random() < 0.5 else (w1, 0.0)
    if violation == "pass_through":
        return v1, v2
    return w1, w2


def _along(velocity: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Closing speed of the two balls along their first line of centres [m/s]."""
    line = b[0] - a[0]
    return float((velocity[0] - velocity[1]) @ line / max(np.hypot(*line), 1e-9))
