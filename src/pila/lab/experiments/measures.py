"""How well each law measure tells true clips from broken ones, in pixels and through the VAE.

A measure is as good as the area under its ROC curve: the chance that a broken clip's error is
above a true one's, 0.5 for a coin. A clip's score is its worst law, each law's error divided by
its tolerance (see `tolerances`).
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.experiments.round_trip import psnr, through_vae
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.experiments.table import Estimate, roc_area
from pila.lab.world import SCENES, Canvas, measure, scene_named, simulate
from pila.lab.world.corpus import source_of
from pila.provenance import commit, weights_hash

ROWS = 2
"""Version of what a clip's row holds; files of another version are not read."""
FIRST_SEED = 700_000
"""First seed of the clips; training starts at 1,000,000, figures of generators use 500,000 on."""
TRUE = "true"
CONTROLS = ("static", "reversed", "half-speed")
"""A true clip's first frame throughout; played backwards; each frame twice, its first half only."""
FINEST = 0.05
"""Tolerance that no law is asked to keep below: readings of one-sided laws are often exactly 0."""
WIDEST = 0.99
"""Largest tolerance: a law whose error is 1 says nothing of the clip, which cannot pass so."""
BLOCK = 20
"""Clips of one job; more clips are more jobs, and those measured before are kept."""
TRUE_CLIPS = 200
"""True clips of each scene that always go through the VAE: tolerances are read off them. Of 40, one
factor over several laws was fitted to these clips, and 0.80 of others passed instead of 0.95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Clips of one scene, true (then their controls too) or with one violation."""

    scene: str
    violation: str | None
    first: int
    """How many clips of this kind come before, in other jobs."""
    clips: int
    size: int
    vae: Path | None
    """The VAE that they are measured through; None measures pixels alone."""


def run(
    out: Path,
    *,
    vae: Path | None,
    scenes: Sequence[str],
    clips: int = 200,
    vae_clips: int | None = None,
    size: int,
    processes: int = 2,
) -> dict[str, Any]:
    """Measure, tabulate and write `measures.json` and `measures.md` into `out`.

    What was measured before under the same settings is kept.

    Args:
        out: the folder.
        vae: folder of the VAE, or None for pixels alone.
        scenes: names in `SCENES`.
        clips: clips of each scene and kind.
        vae_clips: how many of the broken ones are measured through the VAE, too, 0 for none; None
            takes all. Of true ones (and their controls) at least `TRUE_CLIPS` are.
        size: height and width of the clips.
        processes: jobs at once, one thread each.

    Raises:
        InputError: an unknown scene, or too few clips.
    """
    seen = 0 if vae is None else clips if vae_clips is None else vae_clips
    if clips < 2:
        raise InputError(f"clips is {clips}; an area under a curve takes at least 2, better 200")
    if not 0 <= seen <= clips or (seen < clips and seen % BLOCK):
        raise InputError(
            f"vae-clips is {seen}; take a multiple of {BLOCK} of at most {clips}, or all of them"
        )
    for name in scenes:
        scene_named(name)
    how: Any = {"size": size, "vae": vae, "processes": processes}
    true = [(scene, None) for scene in scenes]
    broken = [(scene, v) for scene in scenes for v in SCENES[scene].violations]
    seen_true = 0 if vae is None else max(seen, min(TRUE_CLIPS, clips))
    rows = measured(true, clips, vae_clips=seen_true, **how)
    rows |= measured(broken, clips, vae_clips=seen, **how)
    results = tabulate(rows) | {
        "commit": commit(),
        "clips": clips,
        "vae_clips": seen,
        "vae_true_clips": seen_true,
        "size": size,
        "first_seed": FIRST_SEED,
    }
    with atomic_write(out / "measures.json") as part:
        part.write_text(json.dumps(results, indent=1))
    with atomic_write(out / "measures.md") as part:
        part.write_text(markdown(results))
    return results


def measured(
    kinds: Sequence[tuple[str, str | None]],
    clips: int,
    *,
    size: int,
    vae: Path | None,
    vae_clips: int | None = None,
    processes: int,
) -> dict[tuple[str, str], Rows]:
    """Rows by scene and kind of that many clips of each (scene, violation); kept rows are read.

    A true clip (violation None) brings its controls along. The first `vae_clips` (None: all) go
    through the VAE.
    """
    seen = clips if vae_clips is None else vae_clips
    # Block by block through all kinds: what a stopped run leaves is even.
    jobs = [
        Job(
            scene=scene,
            violation=violation,
            first=first,
            clips=min(BLOCK, clips - first),
            size=size,
            vae=vae if first < seen else None,
        )
        for first in range(0, clips, BLOCK)
        for scene, violation in kinds
    ]
    rows: dict[tuple[str, str], Rows] = {}
    made = rows_of(jobs, _measured, _key, name="measures", processes=processes)
    for job, kept in zip(jobs, made, strict=True):
        for row in kept:
            rows.setdefault((job.scene, row["kind"]), []).append(row)
    return rows


def controls(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The controls of a true clip [t, h, w, 3], by name."""
    return {
        "static": np.repeat(frames[:1], len(frames), axis=0),
        "reversed": frames[::-1],
        "half-speed": frames[np.arange(len(frames)) // 2],
    }


def tabulate(rows: Mapping[tuple[str, str], Rows]) -> dict[str, Any]:
    """Areas under the curve per scene and kind, and what the VAE alone does to true clips."""
    table: dict[str, Any] = {}
    for scene in dict.fromkeys(scene for scene, _ in rows):
        laws = SCENES[scene].laws
        true = rows[scene, TRUE]
        ways = [way for way in ("pixels", "vae") if way in true[0]]
        entry: dict[str, Any] = {
            "seconds": float(np.mean([r["seconds"] for r in true])),
            "true": {
                way: dict(
                    zip(laws, np.median(_errors(true, scene, way), axis=0).tolist(), strict=True)
                )
                for way in ways
            },
            "kinds": {},
        }
        if "vae" in ways:
            entry["psnr"] = float(np.mean([r["psnr"] for r in true if "psnr" in r]))
        for kind in (k for s, k in rows if s == scene and k != TRUE):
            broken = rows[scene, kind]
            entry["kinds"][kind] = {
                way: _areas(true, broken, scene, way)
                for way in ways
                if any(way in row for row in broken)
            }
        table[scene] = entry
    return {"scenes": table}


def tolerances(true: Rows, scene: str, way: str) -> dict[str, float]:
    """The largest error of each law that still passes; 95 % of true clips pass all of them.

    Each law's 95th percentile over true clips, at least `FINEST`, all times one factor (a clip has
    several laws, and far fewer than 95 % of true clips are under every percentile), at most
    `WIDEST`.

    Args:
        true: rows of true clips.
        scene: their scene.
        way: "pixels" or "vae".
    """
    laws = SCENES[scene].laws
    errors = _errors(true, scene, way)
    each = np.maximum(np.quantile(errors, 0.95, axis=0), FINEST)
    factor = np.quantile((errors / each).max(1), 0.95)
    return dict(zip(laws, np.minimum(factor * each, WIDEST).tolist(), strict=True))


def _areas(true: Rows, broken: Rows, scene: str, way: str) -> dict[str, Any]:
    laws = SCENES[scene].laws
    errors = [_errors(rows, scene, way) for rows in (true, broken)]
    tolerance = np.array(list(tolerances(true, scene, way).values()))
    worst = roc_area(*((e / tolerance).max(1) for e in errors))
    by_law = {law: roc_area(errors[0][:, i], errors[1][:, i]).value for i, law in enumerate(laws)}
    return {"worst": [worst.value, worst.low, worst.high], "laws": by_law}


def _errors(rows: Rows, scene: str, way: str) -> np.ndarray:
    """Law errors [clips, laws] of the rows that were measured that way."""
    return np.array([[row[way][law] for law in SCENES[scene].laws] for row in rows if way in row])


def markdown(results: Mapping[str, Any]) -> str:
    """The table that people read."""
    lines = [
        "# How well law measures tell true clips from broken ones",
        "",
        f"{counted(results)} of each kind, {results['size']} px, seeds from "
        f"{results['first_seed']}; commit {results['commit'][:10]}. Area under the ROC curve of "
        "the worst law (each law's error over its tolerance) for true clips against each kind, "
        "with its 95 % bootstrap interval; behind it the law that tells best. 0.5 is a coin. "
        "Kinds below the line of a scene's violations are controls; a reversed clip breaks no law "
        "of a scene that time's direction does not matter to.",
        "",
    ]
    for scene, entry in results["scenes"].items():
        ways = list(entry["true"])
        lines += [f"## {scene}", ""]
        lines.append("| clip | " + " | ".join(f"{w}: worst law | best law" for w in ways) + " |")
        lines.append("|---" * (1 + 2 * len(ways)) + "|")
        kinds = sorted(entry["kinds"], key=lambda k: k in CONTROLS)
        for kind in kinds:
            cells = []
            for way in ways:
                if way not in entry["kinds"][kind]:
                    cells += ["", ""]
                    continue
                areas = entry["kinds"][kind][way]
                best = max(areas["laws"], key=lambda law: areas["laws"][law])
                cells += [str(Estimate(*areas["worst"])), f"{best} {areas['laws'][best]:.3f}"]
            lines.append(f"| {kind.replace('_', ' ')} | " + " | ".join(cells) + " |")
        for way in ways:
            medians = ", ".join(f"{law} {e:.3f}" for law, e in entry["true"][way].items())
            lines += ["", f"True clips ({way}), median error: {medians}."]
        if "psnr" in entry:
            lines += ["", f"Through the VAE: {entry['psnr']:.1f} dB."]
        lines += ["", f"Simulated in {entry['seconds']:.3f} s of CPU time a clip.", ""]
    return "\n".join(lines)


def counted(results: Mapping[str, Any]) -> str:
    """How many clips, in words."""
    clips, broken, true = (results[k] for k in ("clips", "vae_clips", "vae_true_clips"))
    said = f"{clips} clips"
    if true and (broken < clips or true < clips):
        said += f" (through the VAE {broken} broken and {true} true)"
    return said


_vaes: dict[Path, Any] = {}


def _measured(job: Job) -> Rows:
    """Law errors in pixels and, where a VAE is given, through it; controls follow their clip.

    Through the VAE, controls are made of the decoded clip: it need not go through once more.
    """
    canvas = Canvas(size=job.size)
    simulate(job.scene, FIRST_SEED, job.violation, canvas=canvas)  # compiled kernels are not timed
    rows: Rows = []
    for seed in range(FIRST_SEED + job.first, FIRST_SEED + job.first + job.clips):
        start = time.process_time()
        frames = simulate(job.scene, seed, job.violation, canvas=canvas).frames
        seconds = time.process_time() - start
        shown = {"pixels": _kinds(frames, job.violation)}
        row: dict[str, Any] = {"seed": seed, "seconds": seconds}
        if job.vae is not None:
            (back,) = through_vae(_vae(job.vae), [frames])
            shown["vae"] = _kinds(back, job.violation)
            row["psnr"] = psnr(frames, back)
        for kind in shown["pixels"]:
            errors = {way: measure(job.scene, clips[kind]) for way, clips in shown.items()}
            rows.append(row | {"kind": kind} | errors)
    return rows


def _kinds(frames: np.ndarray, violation: str | None) -> dict[str, np.ndarray]:
    return {violation: frames} if violation else {TRUE: frames} | controls(frames)


def _vae(folder: Path) -> Any:
    from pila.pipelines.vae import load_vae

    if folder not in _vaes:
        _vaes[folder] = load_vae(folder)
    return _vaes[folder]


def _key(job: Job) -> list[Any]:
    """Everything that decides a job's rows; the source among it, since measures change."""
    return [
        ROWS,
        job.scene,
        job.violation,
        job.first,
        job.clips,
        job.size,
        source_of(job.scene),
        None if job.vae is None else weights_hash(job.vae),
    ]
