"""The scenes by name, and what one does with them: simulate, measure, recognise."""

import re
from difflib import get_close_matches

import numpy as np

from pila.errors import InputError
from pila.world.ball_collision import BallCollision
from pila.world.hot_spot import HotSpot
from pila.world.scene import Canvas, Clip, Scene, check_frames
from pila.world.thrown_ball import ThrownBall

SCENES: dict[str, Scene] = {s.name: s for s in (ThrownBall(), BallCollision(), HotSpot())}


def scene_named(name: str) -> Scene:
    """The scene of that name.

    Raises:
        InputError: no such scene.
    """
    if name not in SCENES:
        near = get_close_matches(name, SCENES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(SCENES)}"
        raise InputError(f"scene is {name!r}; the world has {len(SCENES)} scenes: {hint}")
    return SCENES[name]


def simulate(
    scene: str,
    seed: int,
    violation: str | None = None,
    *,
    canvas: Canvas | None = None,
    held_out: bool = False,
) -> Clip:
    """Simulate and draw one clip; the same arguments give the same bytes.

    A violated clip keeps caption, appearance and parameters of its true twin (same seed).

    Args:
        scene: a name in `SCENES`.
        seed: 0 or more.
        violation: one of the scene's `.violations`, or None for true physics.
        canvas: frames, size and frame rate; 33 frames of 96 x 96 px at 16 fps by default.
        held_out: write the caption with a template that no model was trained on.

    Raises:
        InputError: unknown scene or violation, or a negative seed.
    """
    found = scene_named(scene)
    if violation is not None and violation not in found.violations:
        raise InputError(
            f"violation is {violation!r}; scene {scene} knows {', '.join(found.violations)}"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; a seed is 0 or more")
    return found.simulate(seed, violation, canvas or Canvas(), held_out)


def measure(scene: str, frames: np.ndarray) -> dict[str, float]:
    """Law errors of a video, from its pixels alone: 0 obeys the law, 1 (the most) says nothing.

    Args:
        scene: what the video should show, a name in `SCENES`.
        frames: [t, h, w, 3] uint8 at 16 frames per second.

    Raises:
        InputError: unknown scene, or frames that cannot be measured.
    """
    found = scene_named(scene)
    check_frames(frames)
    return found.measure(frames)


def recognise_scene(prompt: str) -> str | None:
    """The scene that a prompt asks for, by its words; None where it is none of them.

    Only for the demo, which measures what it generated; benchmarks know what they asked for.
    """
    words = set(re.findall(r"[a-z]+", prompt.lower()))
    balls = bool(words & {"ball", "balls"})
    meeting = words & {
        "collide", "collides", "collision", "hit", "hits", "strikes", "struck", "strike", "crashes",
        "bumps", "knocks", "knocked", "impact", "bounces", "meets", "runs", "shoots", "one",
    }  # fmt: skip
    if balls and meeting and len(words & {"red", "green", "blue", "yellow", "purple"}) != 1:
        return BallCollision.name
    if balls:
        return ThrownBall.name
    if words & {"heat", "hot", "heated", "warmth", "warm", "thermal", "temperature", "cools"}:
        return HotSpot.name if words & {"plate", "sheet", "spot"} else None
    return None
