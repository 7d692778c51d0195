"""Clips on disk: lossless video, true fields, captions and parameters; made once each."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pila.errors import InputError
from pila.files import atomic_write, sole_writer
from pila.json_files import Strict, read_object
from pila.lab.world.corpus import PROCESSES, Item, item_at, make
from pila.lab.world.registry import SCENES, scene_named
from pila.lab.world.scene import FRAME_RATE, SIZE, Canvas
from pila.physics.layout import Category
from pila.progress import progress_bar
from pila.video import write_lossless
from pila.workers import workers


def make_clips(
    out: Path,
    clips: int,
    *,
    scenes: Sequence[str] | None = None,
    categories: Sequence[Category] | None = None,
    violations: float = 0.5,
    seed: int = 0,
    size: int = SIZE,
    processes: int = PROCESSES,
) -> list[dict]:
    """Fill a folder with clips; the same call again makes only those that are missing.

    Each clip is `NNNNNN.mp4` (lossless RGB), `NNNNNN.safetensors` (true fields and masks on the
    latent grid, SI units) and `NNNNNN.json` (caption, categories, violation, parameters, seed),
    written in that order, each whole or not at all; `manifest.jsonl` lists them all.

    Args:
        out: the folder.
        clips: how many.
        scenes: only these; all by default.
        categories: only scenes in which one of these is at work.
        violations: share of clips that break a law.
        seed: of the first clip.
        size: height and width in pixels.
        processes: clips made at once.

    Returns:
        The manifest's records.

    Raises:
        InputError: numbers out of bounds, an unknown scene, no scene left, or a full disk.
    """
    if clips < 1:
        raise InputError(f"clips is {clips}; make at least 1")
    if not 0 <= violations <= 1:
        raise InputError(f"violations is {violations}; a share is in 0..1")
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    canvas = Canvas(size=size)
    if seed < 0:
        raise InputError(f"seed is {seed}; a seed is 0 or more")
    chosen = [scene_named(s).name for s in scenes] if scenes else list(SCENES)
    if categories:
        chosen = [s for s in chosen if set(categories) & set(SCENES[s].categories)]
    if not chosen:
        raise InputError(
            f"no scene shows {', '.join(categories or ())}; the world has "
            + ", ".join(f"{s} ({', '.join(SCENES[s].categories)})" for s in SCENES)
        )
    items = [item_at(i, violated=violations, first_seed=seed, scenes=chosen) for i in range(clips)]
    with sole_writer(out):
        _check_same_corpus(out, items, size)
        return _fill(out, items, canvas, processes)


def _fill(out: Path, items: list[Item], canvas: Canvas, processes: int) -> list[dict]:
    """Write what is missing of a folder's clips, and the manifest of all."""
    stems = [out / f"{i:06d}" for i in range(len(items))]
    missing = [
        (stem, item, canvas)
        for stem, item in zip(stems, items, strict=True)
        if not stem.with_suffix(".json").exists()
    ]
    with workers(min(processes, max(1, len(missing)))) as pool:
        for _ in progress_bar(pool.map(_write, missing), total=len(missing), unit="clip"):
            pass
    records = [read_record(stem.with_suffix(".json")) for stem in stems]
    with atomic_write(out / "manifest.jsonl") as part:
        part.write_text("".join(json.dumps(r) + "\n" for r in records))
    return records


class _ClipRecord(Strict):
    """What is written beside each clip."""

    name: str
    scene: str
    seed: int
    violation: str | None
    size: Annotated[int, Field(ge=1, le=65_536)]
    caption: str
    categories: list[str]
    parameters: dict[str, Any]


def read_record(path: Path) -> dict[str, Any]:
    """The record of a clip that was made.

    Raises:
        InputError: it cannot be read, or is none.
    """
    return read_object(path, _ClipRecord, remedy="delete it, and make it by the same command again")


def _check_same_corpus(out: Path, items: list[Item], size: int) -> None:
    """Refuse to mix two corpora in one folder."""
    for i, item in enumerate(items):
        path = out / f"{i:06d}.json"
        if path.exists():
            found = read_record(path)
            was = tuple(found[key] for key in ("scene", "seed", "violation", "size"))
            if was != (item.scene, item.seed, item.violation, size):
                raise InputError(
                    f"{path} was made with other options (scene, seed, violation, size: "
                    f"{', '.join(map(str, was))}); choose another folder"
                )


def _write(job: tuple[Path, Item, Canvas]) -> None:
    from safetensors.numpy import save

    stem, item, canvas = job
    clip = make(item, canvas)
    fields, masks = clip.latent_fields()
    arrays = {f"field.{s}": a.astype(np.float32) for s, a in fields.items()}
    arrays |= {f"mask.{s}": a.astype(np.float32) for s, a in masks.items()}
    with atomic_write(stem.with_suffix(".safetensors")) as part:
        part.write_bytes(save(arrays))
    write_lossless(stem.with_suffix(".mp4"), clip.frames, fps=FRAME_RATE)
    record = {
        "name": stem.name,
        "scene": item.scene,
        "seed": item.seed,
        "violation": item.violation,
        "size": canvas.size,
        "caption": clip.caption,
        "categories": list(clip.categories),
        "parameters": dict(clip.parameters),
    }
    with atomic_write(stem.with_suffix(".json")) as part:
        part.write_text(json.dumps(record))
