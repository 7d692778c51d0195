"""How free prompts fare: is their scene recognised, drawn, and found by its own measure?

The prompts (`labels/data/free_prompts.jsonl`) were written by people who had seen one line about
each scene and none of its captions: 120 about scenes, five each, 60 about other things, and 200
about physical things that are near the scenes and none of them. A part of each list is for
development; the other part was looked at once.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import sqrt
from pathlib import Path
from typing import Any, Literal

from pila.files import atomic_write
from pila.generate.generate import generate, load
from pila.generate.request import GenerateRequest
from pila.lab.experiments.store import Rows, rows_of
from pila.labels.captions import FILE, read_captions
from pila.pipelines.locate import EMBEDDED_ADAPTER, EMBEDDED_MODEL
from pila.provenance import commit, weights_hash

BATCH = 4
"""Prompts of one job."""
HALVES = ("development", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreePrompt:
    """A prompt, the scene that it is about (None for another thing), and its half."""

    prompt: str
    scene: str | None
    split: Literal["development", "held_out"]
    near: bool = False
    """About a physical process that is like a scene's, and is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    prompts: tuple[FreePrompt, ...]
    seed: int


def load_free_prompts(half: str | None = None) -> tuple[FreePrompt, ...]:
    """The prompts of both lists, or one half of each, in file order."""
    text = (files("pila.labels") / "data" / "free_prompts.jsonl").read_text(encoding="utf-8")
    found = (FreePrompt(**json.loads(line)) for line in text.splitlines())
    return tuple(p for p in found if half is None or p.split == half)


def run(output: Path, *, seed: int = 0, half: str | None = None, processes: int = 2) -> Any:
    """Generate a clip of each prompt about a scene as `pila generate` does, and measure it.

    What was generated before with the same weights and captions is kept. Writes `results.json` and
    `results.md` into `output`.
    """
    prompts = load_free_prompts(half)
    parts = [prompts[i : i + BATCH] for i in range(0, len(prompts), BATCH)]
    jobs = [_Job(prompts=part, seed=seed) for part in parts]
    rows = rows_of(jobs, _rows, _key, name="free-prompts", processes=processes)
    results = {
        "commit": commit(),
        "seed": seed,
        "tables": [
            table([r for part in rows for r in part if r["split"] == name])
            for name in HALVES
            if half in (None, name)
        ],
        "rows": [row for part in rows for row in part],
    }
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / "results.json") as part:
        part.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    with atomic_write(output / "results.md") as part:
        part.write_text(markdown(results), encoding="utf-8")
    return results


def table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of one half, each with the number that it is out of."""
    about = [r for r in rows if r["scene"] is not None]
    other = [r for r in rows if r["scene"] is None and not r["near"]]
    near = [r for r in rows if r["near"]]
    return {
        "half": rows[0]["split"],
        "about_a_scene": len(about),
        "recognised": sum(r["assigned"] == r["scene"] for r in about),
        "another_scene": sum(r["assigned"] not in (None, r["scene"]) for r in about),
        "drawn_and_found": sum(r["found"] for r in about),
        "about_other_things": len(other),
        "assigned_a_scene": sum(r["assigned"] is not None for r in other),
        "near_a_scene": len(near),
        "near_assigned": sum(r["assigned"] is not None for r in near),
    }


def markdown(results: dict[str, Any]) -> str:
    """The page: one line of counts for each half, and every prompt that went wrong."""
    lines = [
        "# Free prompts",
        "",
        "Do prompts that people type reach the scene that they are about? `pila experiment "
        f"prompts`, embedded model and adapter, seed {results['seed']}, commit "
        f"{results['commit'][:10]}. *Found*: the scene was recognised, and its own measure found "
        "it in the clip. Brackets are 95 % Wilson intervals. Simulated world, not Wan.",
        "",
        "| half | about a scene | recognised | taken for another scene | drawn and found "
        "| about other things | assigned a scene | near a scene | assigned a scene |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for t in results["tables"]:
        n, m = t["about_a_scene"], t["about_other_things"]
        lines.append(
            f"| {t['half'].replace('_', ' ')} | {n} | {share(t['recognised'], n)} "
            f"| {share(t['another_scene'], n)} | {share(t['drawn_and_found'], n)} "
            f"| {m} | {share(t['assigned_a_scene'], m)} "
            f"| {t['near_a_scene']} | {share(t['near_assigned'], t['near_a_scene'])} |"
        )
    lines += ["", "What went wrong:", "", "| half | prompt | about | assigned | found |"]
    lines.append("|---|---|---|---|---|")
    for r in results["rows"]:
        if r["assigned"] != r["scene"] or (r["scene"] is not None and not r["found"]):
            text = r["prompt"].replace("|", r"\|").replace("\n", " ")
            found = "" if r["scene"] is None else "yes" if r["found"] else "no"
            cells = (r["split"].replace("_", " "), text, r["scene"], r["assigned"], found)
            lines.append("| " + " | ".join("none" if c is None else c for c in cells) + " |")
    return "\n".join(lines) + "\n"


def share(count: int, of: int, z: float = 1.96) -> str:
    """A share with its Wilson interval, as text."""
    if not of:
        return "0 of 0"
    p, spread = count / of, z * z / of
    middle = (p + spread / 2) / (1 + spread)
    half = z * sqrt(p * (1 - p) / of + spread / (4 * of)) / (1 + spread)
    return f"{count} ({p:.2f} [{max(0.0, middle - half):.2f}, {min(1.0, middle + half):.2f}])"


def _rows(job: _Job) -> Rows:
    book = read_captions(EMBEDDED_MODEL)
    assert book is not None
    rows = []
    for item in job.prompts:
        done = book.complete(item.prompt, job.seed)
        laws: dict[str, float] = {}
        if item.scene is not None and done.scene == item.scene:
            laws = _laws(item.prompt, job.seed)
        rows.append(
            {
                "prompt": item.prompt,
                "scene": item.scene,
                "split": item.split,
                "near": item.near,
                "assigned": done.scene,
                "drawn_as": done.caption,
                "laws": laws,
                "found": bool(laws) and min(laws.values()) < 1.0,
            }
        )
    return rows


def _laws(prompt: str, seed: int) -> dict[str, float]:
    """Law errors of the corrected clip that `pila generate` makes of a prompt."""
    with tempfile.TemporaryDirectory() as folder:
        request = GenerateRequest(
            prompt=prompt, seed=seed, parser="offline", output=Path(folder) / "clip.mp4"
        )
        report = generate(request, pipeline=_pipeline())
    return list(report.laws.values())[-1]  # the corrected clip comes last


@cache
def _pipeline() -> Any:
    return load(GenerateRequest())


def _key(job: _Job) -> list[Any]:
    captions = (EMBEDDED_MODEL / FILE).read_text(encoding="utf-8")
    weights = [weights_hash(EMBEDDED_MODEL / "transformer"), weights_hash(EMBEDDED_ADAPTER)]
    return [[(p.prompt, p.scene) for p in job.prompts], job.seed, captions, weights]
