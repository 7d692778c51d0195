"""Law errors on the simulated world: frozen, corrected, controls, and true clips through the VAE.

Prompts are held-out caption forms of held-out seeds; every method starts from the same noise.
A clip's error is the mean of its scene's law errors (0 perfect, 1 at most). A clip passes where
every law's error is within its tolerance, which 95 % of true clips through the VAE are. The gap is
also counted by the share of clips that fail, and by each clip's worst law.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pila.files import atomic_write
from pila.lab.experiments import quality
from pila.lab.experiments.clips import (
    CONTROLS,
    FROZEN,
    TRUE,
    clips_of,
    facts,
    tolerances,
    write_clips,
)
from pila.lab.experiments.sampling import HELD_OUT_SEED, Method, Protocol, is_generator
from pila.lab.experiments.table import Estimate, gap_closed, mean_estimate, spread
from pila.lab.world import SCENES
from pila.physics.layout import Category

__all__ = ["FROZEN", "HELD_OUT_SEED", "TRUE", "Method", "Protocol", "is_generator", "run"]

_Figure = Callable[[Mapping[str, Any]], float]
_Clips = dict[tuple[str, str], list[Mapping[str, Any]]]


def run(
    methods: Sequence[Method], out: Path, protocol: Protocol | None = None, *, processes: int = 2
) -> dict[str, Any]:
    """Generate, measure and tabulate; what was generated before under the same settings is kept.

    Writes `results.json`, `results.md` and `clips.parquet` (every clip's seed, caption and law
    errors) into `out`.
    """
    protocol = protocol or Protocol()
    methods = [Method(name=FROZEN), *(m for m in methods if m.name != FROZEN)]
    clips = clips_of(methods, protocol, processes=processes)
    tolerance = tolerances(protocol, processes=processes)
    results = tabulate(clips, list(dict.fromkeys(m.name for m in methods)), tolerance)
    results |= facts(methods, protocol)
    write_clips(clips, out)
    with atomic_write(out / "results.json") as part:
        part.write_text(json.dumps(results, indent=1))
    with atomic_write(out / "results.md") as part:
        part.write_text(markdown(results))
    return results


def tabulate(
    clips: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    tolerance: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Errors, pass shares, gap closed and motion: overall, by category and by scene.

    Args:
        clips: a row for each, as `clips.parquet` holds them.
        methods: in the table's order; true clips come first and controls last by themselves.
        tolerance: the largest error that passes, by scene and law.
    """
    rows: _Clips = {}
    for c in sorted(clips, key=lambda c: c["seed"]):
        rows.setdefault((c["method"], c["scene"]), []).append(c)
    figures = _Figures(rows, tolerance)
    some = next(iter(tolerance))
    last = [control for control in CONTROLS if (control, some) in rows]
    shown = [figures.row(method) for method in [TRUE, *methods, *last]]
    return {"rows": shown, "tolerance": dict(tolerance)}


class _Figures:
    """The figures of each method, from clips by method and scene."""

    def __init__(self, rows: _Clips, tolerance: Mapping[str, Mapping[str, float]]) -> None:
        self.rows, self.tolerance, self.scenes = rows, tolerance, list(tolerance)

    def row(self, method: str) -> dict[str, Any]:
        """All figures of a method."""
        mine = [c for scene in self.scenes for c in self.rows[method, scene]]
        every = self.among(method, self.scenes)
        closed = every.pop("gap_closed")
        return {
            "method": method,
            "prompts": len(self.per_prompt(method, self.scenes, _error)),
            "clips": len(mine),
            **every,
            **dict(zip(("gap_closed", "gap_closed_low", "gap_closed_high"), closed, strict=True)),
            **self.other_gaps(method),
            **self.by_training_seed(method),
            **self.looks(method),
            "by_category": {
                category: self.among(method, some)
                for category in Category
                if (some := scenes_of(category, self.scenes))
            },
            "by_scene": {scene: self.of_scene(method, scene) for scene in self.scenes},
        }

    def per_prompt(self, method: str, scenes: Sequence[str], value: _Figure) -> np.ndarray:
        """Means [prompts] over noise and training seeds."""
        return _per_prompt(self.rows, method, scenes, value)

    def passed(self, c: Mapping[str, Any]) -> float:
        """1 where a clip keeps within the tolerance of each law of its scene."""
        return float(all(c["laws"][k] <= most for k, most in self.tolerance[c["scene"]].items()))

    def gap(
        self,
        method: str,
        figure: _Figure,
        scenes: Sequence[str],
        groups: Sequence[str] | None = None,
    ) -> list[float]:
        """Gap closed by some figure of a clip, and its interval."""
        frozen, mine, true = (self.per_prompt(m, scenes, figure) for m in (FROZEN, method, TRUE))
        return _flat(gap_closed(frozen, mine, true, groups))

    def among(self, method: str, scenes: Sequence[str]) -> dict[str, Any]:
        """Errors, pass share and gap closed in some scenes."""
        return {
            "error": _flat(mean_estimate(self.per_prompt(method, scenes, _error))),
            "passed": _flat(mean_estimate(self.per_prompt(method, scenes, self.passed))),
            "gap_closed": self.gap(method, _error, scenes),
        }

    def of_scene(self, method: str, scene: str) -> dict[str, Any]:
        """The same of one scene, and the mean error of each of its laws."""
        laws = {
            law: float(self.per_prompt(method, [scene], lambda c, k=law: c["laws"][k]).mean())
            for law in SCENES[scene].laws
        }
        return self.among(method, [scene]) | {"laws": laws}

    def other_gaps(self, method: str) -> dict[str, Any]:
        """The interval over scenes, and the gap by passes and by the worst law."""
        scenes = self.scenes
        of_prompt = [s for s in scenes for _ in self.per_prompt(method, [s], _error)]
        _, low, high = self.gap(method, _error, scenes, of_prompt)
        return {
            "scene_low": low,
            "scene_high": high,
            "pass_gap_closed": self.gap(method, lambda c: 1 - self.passed(c), scenes),
            "worst_gap_closed": self.gap(method, _worst, scenes),
        }

    def by_training_seed(self, method: str) -> dict[str, Any]:
        """Training seeds, the gap that each closes, and their spread."""
        mine = [c for scene in self.scenes for c in self.rows[method, scene]]
        seeds = sorted({c["training_seed"] for c in mine if c["training_seed"] is not None})
        frozen, true = (self.per_prompt(m, self.scenes, _error) for m in (FROZEN, TRUE))
        closed = []
        for seed in seeds:
            some = {
                (method, s): [c for c in self.rows[method, s] if c["training_seed"] == seed]
                for s in self.scenes
            }
            error = _per_prompt(some, method, self.scenes, _error)
            closed.append(gap_closed(frozen, error, true).value)
        return {"seeds": seeds, "by_seed": closed, "spread": spread(closed)}

    def looks(self, method: str) -> dict[str, Any]:
        """How clips move and look beside true ones."""
        mine, truths = (
            [c for scene in self.scenes for c in self.rows[m, scene]] for m in (method, TRUE)
        )
        # Kept clips have no features: a table that is made from them keeps the distance it had.
        known = "features" in mine[0]
        return {
            **{name: _to_true(mine, name) for name in ("motion", "sharpness", "grain")},
            **{
                name: float(np.mean([c[name] for c in mine]))
                for name in ("quality", "found", "colours", "adherence")
            },
            "frechet": quality.frechet(_features(mine), _features(truths)) if known else None,
        }


def _per_prompt(rows: _Clips, method: str, scenes: Sequence[str], value: _Figure) -> np.ndarray:
    """Means over noise and training seeds, by prompt in order of scene and seed."""
    found = []
    for scene in scenes:
        prompts: dict[int, list[float]] = {}
        for c in rows[method, scene]:
            prompts.setdefault(c["seed"], []).append(value(c))
        found += [np.mean(values) for values in prompts.values()]
    return np.array(found)


def _to_true(clips: Sequence[Mapping[str, Any]], figure: str) -> float:
    """Ratio of means: a mean of ratios would swing with the stillest true clips."""
    return sum(c[figure] for c in clips) / sum(c[f"true_{figure}"] for c in clips)


def errors_of(
    clips: Sequence[Mapping[str, Any]],
    method: str,
    scenes: Sequence[str],
    training_seed: int | None = None,
) -> np.ndarray:
    """A method's error of each prompt [prompts], mean over noise and training seeds.

    With a training seed, of that one alone.
    """
    by_prompt: dict[tuple[int, int], list[float]] = {}
    for c in clips:
        if (
            c["method"] == method
            and c["scene"] in scenes
            and training_seed in (None, c["training_seed"])
        ):
            by_prompt.setdefault((scenes.index(c["scene"]), c["seed"]), []).append(_error(c))
    return np.array([np.mean(by_prompt[prompt]) for prompt in sorted(by_prompt)])


def scenes_of(category: Category, scenes: Sequence[str]) -> list[str]:
    """The scenes in which a category is at work."""
    return [s for s in scenes if category in SCENES[s].categories]


def _features(clips: Sequence[Mapping[str, Any]]) -> np.ndarray:
    # In an order of their own: sums over them depend on it in their last bits.
    return np.array(sorted(c["features"] for c in clips))


def _error(c: Mapping[str, Any]) -> float:
    return float(np.mean(list(c["laws"].values())))


def _worst(c: Mapping[str, Any]) -> float:
    return max(c["laws"].values())


def markdown(results: Mapping[str, Any]) -> str:
    """The table that people read; simulated world, never Wan."""
    p = results["protocol"]
    lines = [
        "# Law errors on the simulated world",
        "",
        f"{results['rows'][0]['prompts']} held-out prompts x {p['noise_seeds']} noise seeds; "
        f"{p['steps']} steps, "
        f"guidance {p['guidance_scale']}; commit {results['commit'][:10]}. Brackets are 95 % "
        "bootstrap intervals over prompts. These are results on the simulated world, not on Wan.",
        "",
        "| method | law error | clips that pass | gap closed | motion | sharpness | grain "
        "| quality | Frechet | scene found | adherence |",
        "|---" * 11 + "|",
    ]
    for r in results["rows"]:
        lines.append(
            f"| {r['method']} | {_shown(r['error'])} | {_shown(r['passed'])} "
            f"| {_shown([r['gap_closed'], r['gap_closed_low'], r['gap_closed_high']])} "
            f"| {r['motion']:.2f} | {r['sharpness']:.2f} | {r['grain']:.2f} | {r['quality']:.2f} "
            f"| {'' if r['frechet'] is None else format(r['frechet'], '.3f')} | {r['found']:.2f} "
            f"| {r['adherence']:.2f} |"
        )
    categories = list(results["rows"][0]["by_category"])
    for figure, title in (
        ("passed", "Clips that pass, by category"),
        ("gap_closed", "Gap closed, by category"),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| category | " + " | ".join(r["method"] for r in results["rows"]) + " |",
            "|---" * (1 + len(results["rows"])) + "|",
        ]
        lines += [
            f"| {category.replace('_', ' ')} | "
            + " | ".join(_shown(r["by_category"][category][figure]) for r in results["rows"])
            + " |"
            for category in categories
        ]
    for scene in results["tolerance"]:
        laws = SCENES[scene].laws
        lines += ["", f"## {scene}", ""]
        lines.append("| method | error | pass | gap closed | " + " | ".join(laws) + " |")
        lines.append("|---" * (4 + len(laws)) + "|")
        for r in results["rows"]:
            s = r["by_scene"][scene]
            values = " | ".join(f"{s['laws'][law]:.3f}" for law in laws)
            lines.append(
                f"| {r['method']} | {_shown(s['error'])} | {s['passed'][0]:.2f} "
                f"| {_shown(s['gap_closed'])} | {values} |"
            )
        limits = ", ".join(f"{law} {most:.3f}" for law, most in results["tolerance"][scene].items())
        lines += ["", f"Tolerances: {limits}."]
    return "\n".join(lines) + "\n"


def _flat(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def _shown(flat: Sequence[float]) -> str:
    return "" if np.isnan(flat[0]) else str(Estimate(*flat))
