"""Billiards from above: an off-centre hit sends both balls off at angles, in two dimensions."""

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
from pila.lab.world.render import background, box_distance, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.lab.world.solvers.hard_balls import Motion, collide
from pila.physics.layout import Category

EXTENT = 1.0
"""Side of the view [m]."""
RAIL = 0.04
"""Width of the cushions at the edges of the view [m]; no ball comes to them."""
DENSITY = 17.0
"""Mass over radius squared [kg/m^2]: a tenth of a metre has a pool ball's 0.17 kg."""
STEPS_PER_SECOND = 3200

COLOURS = ("red", "green", "blue", "yellow", "purple")
SIZES = {"small": 0.075, "large": 0.10}
"""Radius [m]."""
SPEEDS = {"slowly": (0.138, 0.147), "fast": (0.21, 0.22)}
"""[m/s]"""
HITS = {"full": (0.33, 0.35), "glancing": (0.66, 0.69)}
"""Distance of the path from the other ball's centre, relative to the sum of the radii."""
SIDES = {"left": 0, "bottom": 1, "right": 2, "top": 3}
"""Quarter turns, anticlockwise, from motion to the right."""
WAYS = ("veering right", "veering up", "veering left", "veering down")

TEMPLATES = (
    "a {size} {colour} billiard ball comes {speed} from the {side}, a {hit} hit sends "
    "a {other_size} {other} one {way}",
    "seen from above, a {size} {colour} ball moves {speed} from the {side} and knocks "
    "a {other_size} {other} ball {way}, a {hit} hit",
    "on a billiard table a {size} {colour} ball, {speed} from the {side}, gives "
    "a {other_size} {other} ball a {hit} hit, {way}",
    "a {hit} hit: a {size} {colour} pool ball {speed} from the {side} drives "
    "a {other_size} {other} one {way}",
    "billiards, a {size} {colour} ball from the {side} strikes {speed} a {other_size} {other} one, "
    "{hit}, which leaves {way}",
    "a {other_size} {other} pool ball is struck {speed} from the {side} by a {size} {colour} one, "
    "{hit}, and goes off {way}",
    "from the {side} a {size} {colour} billiard ball rolls {speed}, the {hit} contact sends "
    "a {other_size} {other} ball {way}",
    "top view of a table, a {size} {colour} ball {speed} from the {side}, {hit} contact, "
    "a {other_size} {other} ball leaves {way}",
    "an off-centre hit, {hit}: a {size} {colour} ball {speed} from the {side} pushes "
    "a {other_size} {other} ball {way}",
    "pool balls part at an angle, {hit} hit, the {size} {colour} one {speed} "
    "from the {side}, the {other_size} {other} one {way}",
    "a player shoots a {size} {colour} ball {speed} from the {side}, {hit}, and sends "
    "a {other_size} {other} one {way}",
    "coming {speed} from the {side}, a {size} {colour} cue ball makes a {hit} hit, "
    "the {other_size} {other} ball goes off {way}",
    "a {size} {colour} cue ball {speed} from the {side} hits a {other_size} {other} ball, {hit}, "
    "sending it {way}",
    "a {hit} shot from the {side}, a {size} {colour} ball moving {speed} kicks "
    "a {other_size} {other} ball {way}",
    "a {size} {colour} ball glides {speed} over the table from the {side}, {hit} hit, "
    "a {other_size} {other} ball departs {way}",
    "pool from above: the {size} {colour} ball, {speed} from the {side}, the {other_size} {other} "
    "one sent {way} by a {hit} hit",
    "a {size} {colour} snooker ball {speed} from the {side} meets a {other_size} {other} one "
    "in a {hit} hit and sends it {way}",
    "a {other_size} {other} ball on the table is sent {way} by a {hit} hit of a {size} {colour} "
    "ball, {speed} from the {side}",
    "the cue ball, {size} and {colour}, runs {speed} from the {side}, {hit} hit, "
    "the {other_size} {other} ball moves {way}",
    "a {size} {colour} ball crosses the table {speed} from the {side} and deflects "
    "a {other_size} {other} ball {way}, {hit} hit",
    # held out
    "a {hit} billiard hit from the {side}, a {size} {colour} ball {speed}, "
    "a {other_size} {other} ball leaves {way}",
    "on the pool table a {size} {colour} ball {speed} from the {side} sends "
    "a {other_size} {other} one {way} in a {hit} hit",
    "from above, a {size} {colour} billiard ball strikes {speed} from the {side}, {hit}, "
    "a {other_size} {other} ball goes off {way}",
    "a {other_size} {other} billiard ball goes off {way} after a {hit} hit by a {size} {colour} "
    "one, {speed} from the {side}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "other": COLOURS,
    "size": tuple(SIZES),
    "other_size": tuple(SIZES),
    "speed": tuple(SPEEDS),
    "hit": tuple(HITS),
    "side": tuple(SIDES),
    "way": WAYS,
}
"""What each gap of the templates may say; `way` is how the struck ball leaves the other's path."""


class Billiards:
    """An off-centre elastic collision of two smooth discs of mass proportional to area."""

    name = "billiards"
    categories = (Category.RIGID_BODY, Category.COLLISION)
    violations = ("super_elastic", "momentum_lost", "pass_through", "sideways", "jitter")
    laws = ("momentum", "energy", "straight_paths", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One collision without walls, at two fifths to a half of the clip."""
        draw = np.random.default_rng([9, seed])
        first, second = (COLOURS[i] for i in draw.permutation(len(COLOURS))[:2])
        words = {"colour": first, "other": second}
        words |= {g: choose(draw, WORDS[g]) for g in ("size", "other_size", "speed", "hit", "side")}
        turn = draw.choice([-1, 1])
        radius = np.array([SIZES[words["size"]], SIZES[words["other_size"]]])
        speed = draw.uniform(*SPEEDS[words["speed"]])
        offset = draw.uniform(*HITS[words["hit"]])
        t = canvas.times
        contact = draw.uniform(0.44, 0.47) * t[-1]
        # The struck ball leaves along the line of centres, to the side that it was hit on.
        words["way"] = WAYS[(SIDES[words["side"]] + turn) % 4]
        motion = shot(radius, speed, turn * offset, contact, t)
        p = motion.position.copy()
        rng = np.random.default_rng([109, seed])
        if violation not in (None, "jitter"):
            p = broken_shot(motion, radius, t, violation, rng)
        spin = np.exp(1j * np.pi / 2 * SIDES[words["side"]])
        p, true = (_turned(q, spin) for q in (p, motion.position))
        # The true paths stay clear of the cushions.
        reach = radius[:, None] + RAIL + 0.005
        low = (reach - true.min(0)).max(0)
        high = (EXTENT - reach - true.max(0)).min(0)
        p = p + low + draw.uniform(0.48, 0.52, 2) * np.maximum(high - low, 0)
        if violation == "jitter":
            p = p + rng.normal(0, 0.035, p.shape)
        image = np.repeat(background(draw, canvas.size, 110, 190)[None], len(t), 0)
        x, y = pixel_centres(canvas.size, EXTENT)
        half = EXTENT / 2 - RAIL
        rails = coverage(-box_distance(x, y, (EXTENT / 2, EXTENT / 2), (half, half)), EXTENT)
        paint(image, rails, 0.5 * image)
        places, coverages = [p[:, 1], p[:, 0]], []
        for place, r, colour in zip(places, radius[::-1], (second, first), strict=True):
            size = np.full(len(t), r)
            covered = disc_coverage(place, size, canvas.size, EXTENT)
            draw_ball(image, covered, place, size, colour, EXTENT)
            # A ring around the top of the ball, darker but of the same hue.
            ring = disc_coverage(place, 0.6 * size, canvas.size, EXTENT)
            ring -= disc_coverage(place, 0.3 * size, canvas.size, EXTENT)
            image *= 1 - 0.3 * ring[..., None]
            coverages.append(covered)
        impulse = _turned(motion.impulse[:, 1].sum(0), spin)
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "r1": float(radius[0]),
                "r2": float(radius[1]),
                "v1": speed,
                "offset": float(turn * offset),
                "contact": contact,
                "impulse_x": float(impulse[0]),
                "impulse_y": float(impulse[1]),
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, places, coverages, canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of momentum and energy over the contact, of straight paths and of shape, 0..1.

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
        before, after = bend.before, bend.after
        carried = mass @ np.hypot(*before.T)
        centre = mass @ before / mass.sum()
        energy = [float(mass @ ((v - centre) ** 2).sum(-1)) for v in (before, after)]
        # They met if they came together along the line of centres and then parted along it.
        line = (b - a)[np.argmin(np.hypot(*(b - a).T))]
        line = line / max(float(np.hypot(*line)), 1e-9)
        closing, opening = ((v[0] - v[1]) @ line for v in (before, after))
        met = closing > 0.05 and opening < 0.25 * closing
        path = float(np.hypot(*np.concatenate([before, after]).T).sum()) / 2 * (t[-1] - t[0])
        return {
            "momentum": relative(float(np.hypot(*(mass @ (after - before)))), carried)
            if met
            else 1.0,
            "energy": relative(abs(energy[1] - energy[0]), energy[0]) if met else 1.0,
            "straight_paths": relative(bend.misfit, 0.05 * path),
            "shape": max(shape_error(track) for track in tracks),
        }


def shot(radius: np.ndarray, speed: float, offset: float, contact: float, t: np.ndarray) -> Motion:
    """The first ball comes to the right along y = 0 and meets the second at `contact` [s].

    Args:
        radius: [m], shape [2]; masses are `DENSITY` times its square.
        speed: [m/s].
        offset: height of the second ball's centre, relative to the sum of the radii.
        contact: time of contact [s].
        t: times to report [s].
    """
    apart = float(radius.sum())
    return collide(
        position=np.array(
            [[-speed * contact, 0.0], [apart * np.sqrt(1 - offset**2), apart * offset]]
        ),
        velocity=np.array([[speed, 0.0], [0.0, 0.0]]),
        radius=radius,
        mass=DENSITY * radius**2,
        times=t,
        steps=int(np.ceil(STEPS_PER_SECOND * (t[1] - t[0]))),
    )


def broken_shot(
    motion: Motion, radius: np.ndarray, t: np.ndarray, violation: str, rng: np.random.Generator
) -> np.ndarray:
    """Positions [t, 2, xy] that follow `motion` up to the contact and break a law there."""
    before, after = motion.velocity[0], motion.velocity[-1]
    mass = DENSITY * radius**2
    centre = mass @ before / mass.sum()
    # Straight pieces of the first ball, before and after, meet at the contact.
    start, end = motion.position[0], motion.position[-1]
    turn = after[0] - before[0]
    when = float(((end - after * t[-1] - start)[0] @ turn) / -(turn @ turn))
    if violation == "super_elastic":
        after = centre + rng.uniform(1.5, 1.8) * (after - centre)
    elif violation == "momentum_lost":
        after = np.zeros((2, 2)) if rng.random() < 0.5 else after * np.array([[1.0], [0.0]])
    elif violation == "sideways":
        line = after[1] / np.hypot(*after[1])
        push = rng.uniform(0.5, 0.8) * rng.choice([-1, 1]) * np.hypot(*before[0])
        after = after + np.array([[0.0, 0.0], [-line[1] * push, line[0] * push]])
    else:
        after = before
    late = (t - when)[:, None, None]
    return start + before * when + np.where(late < 0, before, after) * late


def _turned(points: np.ndarray, spin: complex) -> np.ndarray:
    """Points [..., 2] turned about the origin by a complex number of length 1."""
    z = (points[..., 0] + 1j * points[..., 1]) * spin
    return np.stack([z.real, z.imag], -1)
