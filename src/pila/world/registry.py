"""The scenes by name, and what one does with them: simulate, measure, recognise."""

import re
from collections import Counter
from difflib import get_close_matches
from functools import cache
from math import log

import numpy as np

from pila.errors import InputError
from pila.world.scene import Canvas, Clip, Scene, check_frames
from pila.world.scenes import ALL

SCENES: dict[str, Scene] = {scene.name: scene for scene in ALL}

ENOUGH = 2.0
"""Least sum of log ratios at which words are taken to speak of a scene."""


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
        canvas: frames, size and frame rate; 33 frames of 128 x 128 px at 16 fps by default.
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
    """The scene that a prompt's words speak of most clearly; None where they speak of none.

    Each word counts for a scene by how much oftener that scene's captions use it than all others
    do. Only for the demo, which measures what it generated; benchmarks know what they asked for.
    """
    said = _words(prompt)
    scores = {
        name: sum(weights.get(word, 0.0) for word in said) for name, weights in _cues().items()
    }
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= ENOUGH else None


@cache
def _cues() -> dict[str, dict[str, float]]:
    """Log ratio of a word's frequency in a scene's templates to its frequency in all of them."""
    counts = {}
    for name, scene in SCENES.items():
        texts = [*scene.templates, *(o for options in scene.words.values() for o in options)]
        counts[name] = Counter(word for text in texts for word in _words(text))
    everywhere = sum(counts.values(), Counter())
    total = everywhere.total()
    return {
        name: {
            word: log((mine[word] + 0.1) / mine.total() / (everywhere[word] / total))
            for word in everywhere
        }
        for name, mine in counts.items()
    }


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"{.*?}", " ", text.lower())))
