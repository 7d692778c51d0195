"""A ball dropped on a floor: free fall between bounces, the same restitution at each of them."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.balls import (
    PALETTE,
    ball_truth,
    colour_weights,
    disc_coverage,
    draw_ball,
    read_ball,
    shape_error,
)
from pila.lab.world.bounces import read_bounces
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import background, coverage, paint, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category

EXTENT = 3.2
"""Side of the view [m]."""
GRAVITY = 9.81
"""[m/s^2]"""

RESTITUTION = {"rubber": (0.80, 0.86), "plastic": (0.66, 0.71), "wooden": (0.57, 0.62)}
"""Rebound speed / impact speed on a hard floor. The Physics Factbook (G. Elert) lists 0.83 for a
ball of rubber bands, 0.69 for one of hard hollow plastic and 0.60 for a wooden one."""
SIZES = {"small": 0.24, "big": 0.34}
"""Radius [m]."""
HEIGHTS = {"low down": (1.0, 1.1), "high up": (1.8, 1.95)}
"""Height of the ball's lowest point above the floor when it is let go [m]."""
DRIFT = (0.28, 0.36)
"""Sideways speed [m/s]."""
SETTLED = 0.02 * EXTENT
"""Twice this [m] is the least that a ball must rise and fall by for its path to be read."""

TEMPLATES = (
    "a {size} {colour} {material} ball is dropped from {height} and bounces to the {side}",
    "a {size} {colour} {material} ball falls from {height} and bounces on the floor to the {side}",
    "dropped from {height}, a {size} {colour} {material} ball bounces to the {side}",
    "someone drops a {size} {colour} {material} ball from {height}, it hops to the {side}",
    "a {size} {material} ball, {colour}, bounces on the floor to the {side}, let go from {height}",
    "the {size} {colour} {material} ball falls from {height} and rebounds to the {side}",
    "a {colour} {material} ball, {size}, is let go {height} and hops along to the {side}",
    "a {size} {colour} {material} ball hits the floor after a fall from {height} "
    "and bounces to the {side}",
    "bouncing to the {side}, a {size} {colour} {material} ball was dropped from {height}",
    "from {height} a {size} {colour} {material} ball drops to the floor and bounces to the {side}",
    "a {size} {colour} ball made for bouncing, {material}, falls from {height} "
    "and hops to the {side}",
    "a {size} {colour} {material} ball starts {height}, drops and bounces to the {side}",
    "a {size} {colour} {material} ball bounces lower and lower to the {side}, "
    "dropped from {height}",
    "a {size} {colour} {material} ball springs off the floor to the {side}, released {height}",
    "released {height}, the {size} {colour} {material} ball bounces to the {side}",
    "each bounce is lower: a {size} {colour} {material} ball dropped from {height} "
    "moves to the {side}",
    "a {size} {colour} {material} ball plunges from {height}, meets the floor "
    "and rebounds to the {side}",
    "watch a {size} {colour} {material} ball fall from {height} and bounce to the {side}",
    "a {size} {colour} {material} ball let go {height} bounces on the ground to the {side}",
    "gravity pulls a {size} {colour} {material} ball from {height} to the floor, "
    "it bounces to the {side}",
    # held out
    "to the {side} bounces a {size} {colour} {material} ball, dropped from {height}",
    "the {size} {colour} {material} ball is let go {height} and bounces on the floor to the {side}",
    "a {size} {colour} {material} ball drops from {height} and hops to the {side}",
    "falling from {height}, a {size} {colour} {material} ball rebounds off the floor to the {side}",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "size": tuple(SIZES),
    "colour": tuple(PALETTE),
    "material": tuple(RESTITUTION),
    "height": tuple(HEIGHTS),
    "side": ("left", "right"),
}
"""What each gap of the templates may say."""


class BouncingBall:
    """Free fall and bounces of constant restitution on one floor."""

    name = "bouncing_ball"
    categories = (Category.RIGID_BODY, Category.COLLISION)
    violations = (
        "super_elastic",
        "bounces_in_air",
        "gravity_off",
        "sticks_and_jumps",
        "jitter",
        "growing",
    )
    laws = ("gravity", "restitution", "contact", "shape")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One ball let go at rest; ballistic arcs in closed form."""
        draw = np.random.default_rng([7, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        r = SIZES[words["size"]]
        drop = draw.uniform(*HEIGHTS[words["height"]])
        restitution = draw.uniform(*RESTITUTION[words["material"]])
        drift = draw.uniform(*DRIFT) * (1 if words["side"] == "right" else -1)
        floor = draw.uniform(0.28, 0.32)
        t = canvas.times
        x0 = EXTENT / 2 - drift * t[-1] / 2 + draw.uniform(-0.05, 0.05)
        rng = np.random.default_rng([107, seed])
        height = follow(t, arcs(drop, restitution, t[-1], violation, rng))
        p = np.stack([x0 + drift * t, floor + r + height], 1)
        radius = np.full(len(t), r)
        if violation == "jitter":
            p = p + rng.normal(0, 0.11, p.shape)
        elif violation == "growing":
            radius = radius * (1 + rng.uniform(0.4, 0.6) * t / t[-1])
        # A broken flight may leave the view; it is held at the edge rather than vanish.
        p = np.clip(p, radius[:, None], EXTENT - radius[:, None])
        image = np.repeat(background(draw, canvas.size, 110, 190)[None], len(t), 0)
        _, y = pixel_centres(canvas.size, EXTENT)
        paint(image, coverage(y - floor, EXTENT), 0.55 * image)
        covered = disc_coverage(p, radius, canvas.size, EXTENT)
        draw_ball(image, covered, p, radius, words["colour"], EXTENT)
        _grain(image, covered, p, radius, words["material"])
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "radius": r,
                "drop": drop,
                "restitution": restitution,
                "drift": drift,
                "floor": floor,
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(ball_truth, [p], [covered], canvas.frame_rate),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of free fall, of restitution, of the path between contacts and of shape, 0..1.

        All are 1 where frames [t, h, w, 3] show the ball in fewer than four fifths of them.
        """
        track = read_ball(colour_weights(frames, 1)[0], EXTENT)
        seen = track.seen
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        x, y = track.centre[seen].T
        if np.ptp(y) < 2 * SETTLED:
            return dict.fromkeys(self.laws, 1.0)
        read = read_bounces(t, y, GRAVITY, EXTENT)
        _, sideways = polynomial_fit(t, x, 1)
        path = np.abs(np.diff(x)).sum() + np.abs(np.diff(y)).sum()
        misfit = np.hypot(read.misfit, np.sqrt((sideways**2).mean()))
        first, others = read.ratio
        unlike = abs(first - others) / max(min(read.ratio), 1e-9)
        gain = max(first, others) - 1.0
        return {
            "gravity": relative(abs(read.gravity - GRAVITY), GRAVITY),
            "restitution": relative(max(unlike, gain), 1.0) if read.bounces else 1.0,
            "contact": relative(misfit, 0.05 * path) if read.bounces else 1.0,
            "shape": shape_error(track),
        }


def arcs(
    drop: float,
    restitution: float,
    last: float,
    violation: str | None = None,
    rng: np.random.Generator | None = None,
) -> list[tuple[float, float, float, float]]:
    """Ballistic arcs from `drop` [m] above the floor until `last` [s], as the violation has it.

    Each is (start [s], height there [m], upward speed there [m/s], gravity [m/s^2]); the next
    one ends it. Bounces of a constant ratio pile up at a finite time, where the ball rests.
    """
    rng = rng or np.random.default_rng()
    path = [(0.0, drop, 0.0, GRAVITY)]
    now, speed = np.sqrt(2 * drop / GRAVITY), np.sqrt(2 * GRAVITY * drop)
    if violation == "bounces_in_air":
        above = rng.uniform(0.35, 0.5) * drop
        fall = np.sqrt(2 * (drop - above) / GRAVITY)
        up = restitution * GRAVITY * fall
        path.append((fall, above, up, GRAVITY))
        speed = np.sqrt(up**2 + 2 * GRAVITY * above)
        now = fall + (up + speed) / GRAVITY
    # After a high drop the first bounce would leave the view, so the second one gains energy.
    gains = (1 if drop < 1.4 else 2) if violation == "super_elastic" else 0
    for bounce in range(1, 64):
        if violation == "sticks_and_jumps" and bounce == 1:
            path.append((now, 0.0, 0.0, 0.0))
            now += rng.uniform(0.3, 0.45)
        speed *= rng.uniform(1.15, 1.3) if bounce == gains else restitution
        path.append((now, 0.0, speed, GRAVITY))
        if violation == "gravity_off":
            rise = rng.uniform(0.65, 0.8) * speed / GRAVITY
            height, left = speed * rise - GRAVITY * rise**2 / 2, speed - GRAVITY * rise
            return [*path, (now + rise, height, left, 0.0)]
        now += 2 * speed / GRAVITY
        if now > last or speed < 0.02:
            break
    return [*path, (now, 0.0, 0.0, 0.0)]


def follow(t: np.ndarray, path: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Height [m] above the floor at times `t` [t] along arcs."""
    start, height, speed, gravity = np.array(path).T
    i = np.searchsorted(start, t, side="right") - 1
    late = t - start[i]
    return height[i] + speed[i] * late - gravity[i] * late**2 / 2


def _grain(
    image: np.ndarray, covered: np.ndarray, p: np.ndarray, radius: np.ndarray, material: str
) -> None:
    """Darken the painted ball by its material's marking, in place: same hue, another look."""
    x, y = pixel_centres(image.shape[1], EXTENT)
    nx, ny = ((axis - p[:, i, None, None]) / radius[:, None, None] for i, axis in enumerate((x, y)))
    if material == "rubber":
        dark = 0.3 * np.clip(1.5 - 6 * np.abs(ny), 0, 1)
    elif material == "wooden":
        dark = 0.16 * (1 + np.cos(11 * nx))
    else:
        dark = 0.3 * np.clip(6 * (np.hypot(nx, ny) - 0.7), 0, 1)
    image *= 1 - (covered * dark)[..., None]
