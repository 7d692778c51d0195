"""What the plausibility score is worth: true against broken clips of the simulated world.

For each category, clips of its scenes are scored true and with a law broken. The scenes are
halved by turns: limits of what true clips score come from the one half, and the area under the ROC
curve from the other, held-out half, and the other way round. Scenes differ in how they score, so an
area is taken within a scene and averaged over scenes. How steadily clips change
(`pila.score.steadiness`) is weighed by clips of all scenes but the one that is asked.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.experiments.table import RESAMPLES, Estimate
from pila.lab.world import SCENES, Canvas, simulate
from pila.physics.layout import Category
from pila.provenance import commit, weights_hash
from pila.score.calibration import QUANTILES
from pila.score.steadiness import MEASURES, Weighing, weigh

FIRST_SEED = 520_000
"""Of the scored clips; no training and no other figure uses these seeds."""
CHANCE = 0.6
"""An area whose interval reaches below is near chance, and the report says so."""
ROWS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file of scores: a scene, true or broken in one way."""

    model: str
    adapter: str
    scene: str
    violation: str | None
    clips: int
    size: int


def run(
    out: Path,
    *,
    model: str,
    adapter: str,
    scenes: Sequence[str],
    clips: int,
    size: int,
    processes: int = 2,
) -> dict[str, Any]:
    """Score true and broken clips and write `score.json` and `score.md` into `out`.

    Args:
        out: a folder.
        model: whose VAE and text encoder are used.
        adapter: whose bank is scored.
        scenes: of the world.
        clips: of each scene and kind.
        size: height and width in pixels.
        processes: jobs at once, one thread each.

    Raises:
        InputError: too few clips.
    """
    if clips < 2:
        raise InputError(f"clips is {clips}; take at least 2 of each kind")
    kinds = [(s, v) for s in scenes for v in (None, *SCENES[s].violations)]
    jobs = [
        Job(model=model, adapter=adapter, scene=s, violation=v, clips=clips, size=size)
        for s, v in kinds
    ]
    rows = rows_of(jobs, _scores_of, _key, name="score", processes=processes)
    found = dict(zip(kinds, rows, strict=True))
    from pila.pipelines.locate import find_adapter, find_model

    folder = find_adapter(adapter)
    results = tabulate(found) | {
        "adapter": None if folder is None else weights_hash(folder),
        "vae": weights_hash(find_model(model) / "vae"),
        "model": model,
        "clips": clips,
        "first_seed": FIRST_SEED,
        "size": size,
        "commit": commit(),
    }
    with atomic_write(out / "score.json") as part:
        part.write_text(json.dumps(results, indent=1) + "\n")
    with atomic_write(out / "score.md") as part:
        part.write_text(markdown(results))
    return results


def tabulate(found: dict[tuple[str, str | None], Rows]) -> dict[str, Any]:
    """Areas and limits by category from rows of scores by scene and violation."""
    categories: dict[str, Any] = {}
    for category in Category:
        scenes = sorted({s for s, _ in found if category in SCENES[s].categories})
        if not scenes:
            continue
        true = {s: _of(found[s, None], category) for s in scenes}
        broken = {
            s: np.concatenate(
                [_of(rows, category) for (scene, v), rows in found.items() if scene == s and v]
            )
            for s in scenes
        }
        categories[category] = _Told(true=true, broken=broken).summary() | {
            "transfer": _transfer(true, broken)
        }
    return {"categories": categories, "change": _change(found)}


def pooled_area(
    true: Sequence[np.ndarray], broken: Sequence[np.ndarray], seed: int = 0
) -> Estimate:
    """Chance that a broken clip scores above a true one of its scene, mean over scenes.

    Ties count half; the interval resamples the clips of every scene.
    """
    rng = np.random.default_rng(seed)
    values, draws = [], []
    for t, b in zip(true, broken, strict=True):
        above = (b[:, None] > t) + 0.5 * (b[:, None] == t)
        rows = rng.multinomial(len(b), np.full(len(b), 1 / len(b)), size=RESAMPLES) / len(b)
        columns = rng.multinomial(len(t), np.full(len(t), 1 / len(t)), size=RESAMPLES) / len(t)
        values.append(above.mean())
        draws.append(((rows @ above) * columns).sum(1))
    low, high = np.quantile(np.mean(draws, 0), [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high))


def markdown(results: dict[str, Any]) -> str:
    """The table that people read; simulated world, never Wan."""
    lines = [
        "# What the plausibility score is worth",
        "",
        f"Simulated world, {results['clips']} clips of each scene and kind through the VAE, seeds "
        f"from {results['first_seed']} on; commit {results['commit'][:10]}. Area: chance that a "
        "broken clip scores above a true one of its scene (0.5 is chance), mean over scenes, 95 % "
        "bootstrap over clips. Transfer: share of clips told apart rightly by the median of true "
        "clips of the *other* scenes. These are results on the simulated world, not on real video.",
        "",
        "| category | area | transfer | true clips, 5 to 95 % | broken, median | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for name, c in results["categories"].items():
        q = c["true_quantiles"]
        transfer = "-" if c["transfer"] is None else f"{c['transfer']:.3f}"
        lines.append(
            f"| {name.replace('_', ' ')} | {Estimate(*c['area'])} | {transfer} "
            f"| {q[0]:.3f} to {q[-1]:.3f} | {c['broken_median']:.3f} "
            f"| {_verdict(c)} |"
        )
    change = results["change"]
    if change:
        q, alone = change["true_quantiles"], change["measures"]
        lines += [
            "",
            "How steadily clips change, whatever they show: log odds of broken against true, from "
            f"{', '.join(f'{n} (alone {v:.3f})' for n, v in alone.items())}. Each scene is asked "
            "with weights from the other scenes.",
            "",
            "| scenes of | area | transfer | true clips, 5 to 95 % | broken, median | verdict |",
            "|---|---|---|---|---|---|",
            f"| every category | {Estimate(*change['area'])} | {change['transfer']:.3f} "
            f"| {q[0]:.2f} to {q[-1]:.2f} | {change['broken_median']:.2f} | {_verdict(change)} |",
        ]
        lines += [
            f"| {name.replace('_', ' ')} | {Estimate(*area)} | | | | |"
            for name, area in change["categories"].items()
        ]
    return "\n".join(lines) + "\n"


def _verdict(about: dict[str, Any]) -> str:
    return "near chance" if about["near_chance"] else "tells"


def _change(found: dict[tuple[str, str | None], Rows]) -> dict[str, Any] | None:
    """How well the steadiness of change tells, in scenes that its weights have not seen.

    A clip that is short or still has none and is left out. None for a single scene.
    """
    clips = [
        (scene, violation is not None, row["change"])
        for (scene, violation), rows in found.items()
        for row in rows
        if row["change"] is not None
    ]
    seen = {(scene, bad) for scene, bad, _ in clips}
    scenes = sorted(s for s, bad in seen if bad and (s, False) in seen)
    if len(scenes) < 2:
        return None
    clips = [clip for clip in clips if clip[0] in scenes]

    def scored(score: Callable[[str, dict[str, float]], float]) -> _Told:
        true, broken = (
            {
                scene: np.array([score(s, c) for s, bad, c in clips if s == scene and bad == kind])
                for scene in scenes
            }
            for kind in (False, True)
        )
        return _Told(true=true, broken=broken)

    unseen = {s: _weighed([clip for clip in clips if clip[0] != s]) for s in scenes}
    told = scored(lambda scene, change: unseen[scene](change))
    return told.summary() | {
        "weighing": asdict(_weighed(clips)),
        "transfer": float(np.mean([_rights(told.true[s], told.broken[s], 0) for s in scenes])),
        "measures": {
            name: scored(lambda _, change, name=name: change[name]).among(scenes).value
            for name in MEASURES
        },
        "categories": {
            category: list(astuple(told.among(some)))
            for category in Category
            if (some := [s for s in scenes if category in SCENES[s].categories])
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A score of true and of broken clips, by scene."""

    true: dict[str, np.ndarray]
    broken: dict[str, np.ndarray]

    def among(self, scenes: Collection[str]) -> Estimate:
        """The area within each of some scenes, mean over them."""
        return pooled_area([self.true[s] for s in scenes], [self.broken[s] for s in scenes])

    def summary(self) -> dict[str, Any]:
        """What `score.json` says of any score."""
        area = self.among(self.true)
        true, broken = (np.concatenate([*kind.values()]) for kind in (self.true, self.broken))
        return {
            "area": list(astuple(area)),
            "near_chance": area.low < CHANCE,
            "true_quantiles": np.quantile(true, QUANTILES).tolist(),
            "broken_median": float(np.median(broken)),
            "scenes": {scene: self.among([scene]).value for scene in self.true},
        }


def _weighed(clips: Sequence[tuple[str, bool, dict[str, float]]]) -> Weighing:
    scenes, broken, changes = zip(*clips, strict=True)
    return weigh(changes, broken, scenes)


def _transfer(true: dict[str, np.ndarray], broken: dict[str, np.ndarray]) -> float | None:
    """Balanced accuracy in each scene of a limit taken from the others; None for one scene."""
    if len(true) < 2:
        return None
    rights = []
    for scene in true:
        limit = np.median(np.concatenate([v for s, v in true.items() if s != scene]))
        rights.append(_rights(true[scene], broken[scene], limit))
    return float(np.mean(rights))


def _rights(true: np.ndarray, broken: np.ndarray, limit: float) -> float:
    """Share of clips that a limit tells apart rightly, as many of each kind."""
    return float(((true <= limit).mean() + (broken > limit).mean()) / 2)


def _of(rows: Rows, category: Category) -> np.ndarray:
    return np.array([row["scores"][category] for row in rows])


_scorers: dict[str, Any] = {}


def _scores_of(job: Job) -> Rows:
    import torch

    from pila.labels.parser import make_parser
    from pila.score.plausibility import load_scorer

    key = f"{job.model}|{job.adapter}"
    if key not in _scorers:
        _scorers.clear()
        _scorers[key] = load_scorer(job.adapter, job.model, device=torch.device("cpu"))
    scorer, parser = _scorers[key], make_parser("offline")
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + job.clips):
        clip = simulate(job.scene, seed, job.violation, canvas=Canvas(size=job.size))
        labels = parser(clip.caption).categories
        scored = scorer.frames(clip.frames, caption=clip.caption, labels=labels)
        rows.append({"seed": seed, "scores": scored.categories, "change": scored.change})
    return rows


def _key(job: Job) -> list[Any]:
    from pila.lab.world.corpus import source_of
    from pila.pipelines.locate import find_adapter, find_model
    from pila.pipelines.repository import own_config

    model, adapter = find_model(job.model), find_adapter(job.adapter)
    return [
        ROWS,
        [weights_hash(model / part) for part in ("vae", "text_encoder")],
        None if adapter is None else [weights_hash(adapter), own_config(adapter)],
        job.scene,
        job.violation,
        source_of(job.scene),
        job.clips,
        job.size,
        FIRST_SEED,
    ]
