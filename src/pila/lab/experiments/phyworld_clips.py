"""phyworld's worlds outside the speeds and sizes that a model was trained on.

phyworld's ranges out of distribution (tenths of the view's side, times seconds): speed in [0, 0.8]
or [4.5, 6], radius in [0.3, 0.6] or [1.5, 2]. The simulated world's own are 0.9 to 3.4 and 0.7 to
1.4. A caption has no words for these, so that its nearest ones stand there and the clip's first
frames must be given (`Protocol.given_frames`), as phyworld gives three. The thrown ball keeps the
world's gravity and upward speeds; the puck is drawn as a plain disc. In collisions fast discs are
small, as large ones would leave the view when they meet, and the slowest have 0.3.
"""

from functools import partial

import numpy as np

from pila.errors import InputError
from pila.lab.experiments.phyworld import EXTENT, WORLDS
from pila.lab.world import SCENES, Canvas, Clip
from pila.lab.world.balls import ball_truth, disc_coverage, draw_ball
from pila.lab.world.captions import choose, write_caption
from pila.lab.world.render import background, to_uint8

SPEEDS = ((0.0, 0.8), (4.5, 6.0))
RADII = ((0.3, 0.6), (1.5, 2.0))
GRAVITY = 9.81
RISES = (8.5, 11.2)
"""Upward speeds of throws, those that models are trained on."""


def out_of_distribution(scene: str, seed: int, canvas: Canvas) -> Clip:
    """A true clip of one of phyworld's worlds with speed and radius outside the trained ranges.

    Args:
        scene: gliding_puck (uniform motion), thrown_ball (parabola) or ball_collision.
        seed: the same seed gives the same clip.
        canvas: frames and size.

    Raises:
        InputError: another scene.
    """
    if scene not in WORLDS:
        raise InputError(f"scene is {scene!r}; phyworld's worlds are {', '.join(WORLDS)}")
    draw = np.random.default_rng([31, list(WORLDS).index(scene), seed])
    slow, small = draw.integers(2, size=2) == 0
    speed = float(draw.uniform(*SPEEDS[0 if slow else 1]))
    if scene == "ball_collision":
        # Two large fast discs leave the view as soon as they meet, and the slowest never meet.
        small, speed = small or not slow, max(speed, 0.3)
    words = {gap: choose(draw, options) for gap, options in SCENES[scene].words.items()}
    words["speed"] = "slowly" if slow else "fast"
    words["size"] = SCENES[scene].words["size"][0 if small else 1]
    if scene == "ball_collision":
        # Two balls of one colour could not be told apart.
        words["colour"], words["other"] = (
            SCENES[scene].words["colour"][i] for i in draw.permutation(5)[:2]
        )
        words["other_size"] = words["size"]
    radii = draw.uniform(*RADII[0 if small else 1], 2)
    t = canvas.times
    if scene == "ball_collision":
        paths = _collision(speed, radii, t, draw)
    else:
        paths = [_flight(scene, speed, float(radii[0]), words.get("tilt", ""), t, draw)]
    if words["side"] == ("right" if scene == "ball_collision" else "left"):
        paths = [np.stack([EXTENT - p[:, 0], p[:, 1]], 1) for p in paths]
    image = np.repeat(background(draw, canvas.size, 70, 190)[None], len(t), 0)
    coverages = []
    for path, radius, colour in zip(
        paths[::-1],
        radii[: len(paths)][::-1],
        [words.get("other"), words["colour"]][-len(paths) :],
        strict=True,
    ):
        sizes = np.full(len(t), radius)
        covered = disc_coverage(path, sizes, canvas.size, EXTENT)
        draw_ball(image, covered, path, sizes, str(colour), EXTENT)
        coverages.append(covered)
    return Clip(
        frames=to_uint8(image),
        caption=write_caption(SCENES[scene].templates, words, draw, held_out=True),
        categories=SCENES[scene].categories,
        parameters={
            "seed": seed,
            "speed_value": speed,
            "radii": radii[: len(paths)].tolist(),
            **words,
        },
        violation=None,
        metres=EXTENT,
        frame_rate=canvas.frame_rate,
        truth=partial(ball_truth, paths[::-1], coverages, canvas.frame_rate),
    )


def _flight(
    scene: str, speed: float, radius: float, tilt: str, t: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Positions [t, 2] of one disc to the right; what is too fast for the view leaves it."""
    margin = radius + 0.2
    angle = np.radians({"upwards": 38.0, "downwards": -38.0}.get(tilt, 0.0))
    v = speed * np.array([np.cos(angle), np.sin(angle)])
    x0, y0 = np.clip(EXTENT / 2 - v * t[-1] / 2, margin, EXTENT - margin)
    if scene == "thrown_ball":
        rise = draw.uniform(*RISES) * t - GRAVITY * t**2 / 2
        y = EXTENT / 2 - (rise.min() + rise.max()) / 2 + rise
        return np.stack([x0 + v[0] * t, y], 1)
    return np.stack([x0 + v[0] * t, y0 + v[1] * t], 1)


def _collision(
    speed: float, radii: np.ndarray, t: np.ndarray, draw: np.random.Generator
) -> list[np.ndarray]:
    """Positions of both discs, the first coming from the left; elastic, mass goes with the area."""
    r1, r2 = radii
    m1, m2 = r1**2, r2**2
    # At most half of the room is for the approach: what follows must be in full view, too.
    room = EXTENT - 2 * r1 - 2 * r2 - 0.4
    contact = min(draw.uniform(0.35, 0.45) * t[-1], room / 2 / speed)
    spare = max(room - 2 * speed * contact, 0.0)
    x_contact = r1 + 0.2 + speed * contact + spare / 2
    after = np.clip(t - contact, 0, None)
    w1, w2 = (m1 - m2) / (m1 + m2) * speed, 2 * m1 / (m1 + m2) * speed
    x1 = x_contact + speed * np.clip(t - contact, None, 0) + w1 * after
    x2 = x_contact + r1 + r2 + w2 * after
    return [np.stack([x, np.full(len(t), EXTENT / 2)], 1) for x in (x1, x2)]
