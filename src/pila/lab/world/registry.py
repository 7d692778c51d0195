"""The scenes by name, and what one does with them: simulate, measure, recognise."""

import tomllib
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.world.scene import Canvas, Clip, Scene, check_frames
from pila.lab.world.scenes import ALL
from pila.labels.scene_lexicon import SceneLexicon

SCENES: dict[str, Scene] = {scene.name: scene for scene in ALL}


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
    """The scene that a prompt is about; None where it is about none of them.

    A lexicon of concepts decides (`scene_words.toml`). Benchmarks, which know what they asked
    for, do not need it.
    """
    return scene_lexicon().recognise(prompt).scene


@cache
def scene_lexicon() -> SceneLexicon:
    """The lexicon of all scenes, read once."""
    return SceneLexicon(scene_words())


def scene_words() -> dict[str, Any]:
    """The content of `scene_words.toml`, plain values that go through JSON unchanged.

    The words of `ordinary_words.txt` are in it as `ordinary.words`.
    """
    folder = files("pila.lab.world")
    words = tomllib.loads((folder / "scene_words.toml").read_text(encoding="utf-8"))
    ordinary = (folder / "ordinary_words.txt").read_text(encoding="utf-8")
    return {**words, "ordinary": {"words": " ".join(ordinary.split())}}
