"""phyworld's errors in and out of distribution, of clips that go on from given frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.experiments import cost
from pila.lab.experiments.clips import CONTROLS, TRUE, clips_of, write_clips
from pila.lab.experiments.phyworld import WORLDS
from pila.lab.experiments.table import mean_estimate, paired_difference, spread
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.markdown import table

RANGES = ("in", "out")


def run(setting: Setting) -> dict[str, Any]:
    """Generate clips of phyworld's three worlds, measure, tabulate, compare, draw and write.

    Raises:
        InputError: the model was trained on none of them.
    """
    worlds = tuple(scene for scene in WORLDS if scene in setting.protocol.scenes)
    if not worlds:
        raise InputError(
            f"{setting.protocol.model} knows none of phyworld's worlds, {', '.join(WORLDS)}; use a "
            "model that was trained on one"
        )
    clips = []
    for within in RANGES:
        protocol = replace(setting.protocol, scenes_only=worlds, out_of_range=within == "out")
        made = clips_of(setting.methods, protocol, processes=setting.processes)
        clips += [c | {"range": within} for c in made]
    costs = cost.per_step(setting.methods, setting.protocol, processes=setting.processes)
    names = [TRUE, *setting.arms, *CONTROLS]
    by_name = {name: [c for c in clips if c["method"] == name] for name in names}
    results = {
        "rows": [
            _row(name, by_name[name], worlds) | {"cost_per_step": costs.get(name)} for name in names
        ],
        "comparisons": [
            {"method": name, "against": other, "range": within, "world": world, **found}
            for other in setting.against
            for name in setting.arms
            if name != other
            for within in RANGES
            for world in worlds
            for found in _compared(by_name[other], by_name[name], within, world)
        ],
    } | report.described(setting)
    write_clips(clips, setting.out)
    report.write(setting.out, results, markdown(results))
    _draw(results, setting)
    return results


def by_prompt(
    clips: Sequence[Mapping[str, Any]], within: str, world: str, error: str
) -> dict[int, float]:
    """Mean error of each prompt that has one: a ball that was lost has none."""
    found: dict[int, list[float]] = {}
    for c in clips:
        if c["range"] == within and c["scene"] == world:
            value = c["phyworld"][error]
            if value is not None:
                found.setdefault(c["seed"], []).append(value)
    return {seed: float(np.mean(values)) for seed, values in sorted(found.items())}


def _row(name: str, clips: Sequence[Mapping[str, Any]], worlds: Sequence[str]) -> dict[str, Any]:
    seeds = sorted({c["training_seed"] for c in clips if c["training_seed"] is not None})
    figures: dict[str, Any] = {}
    for within in RANGES:
        for world in worlds:
            mine = [c for c in clips if c["range"] == within and c["scene"] == world]
            errors = list(mine[0]["phyworld"])
            entry: dict[str, Any] = {
                "lost": float(
                    np.mean([any(v is None for v in c["phyworld"].values()) for c in mine])
                )
            }
            for error in errors:
                values = np.array(list(by_prompt(clips, within, world, error).values()))
                by_seed = [
                    float(np.mean(some))
                    for seed in seeds
                    if (
                        some := list(
                            by_prompt(
                                [c for c in mine if c["training_seed"] == seed],
                                within,
                                world,
                                error,
                            ).values()
                        )
                    )
                ]
                e = mean_estimate(values) if len(values) else None
                entry[error] = None if e is None else [e.value, e.low, e.high]
                entry[f"{error}_spread"] = spread(by_seed)
            figures.setdefault(within, {})[world] = entry
    prompts = {(c["range"], c["scene"], c["seed"]) for c in clips}
    return {
        "method": name,
        "seeds": seeds,
        "prompts": len(prompts),
        **figures,
        "quality": float(np.mean([c["quality"] for c in clips])),
        "motion": sum(c["motion"] for c in clips) / sum(c["true_motion"] for c in clips),
        "adherence": float(np.mean([c["adherence"] for c in clips])),
    }


def _compared(
    other: Sequence[Mapping[str, Any]], mine: Sequence[Mapping[str, Any]], within: str, world: str
) -> list[dict[str, Any]]:
    """Of each error, how much lower it is on the prompts where neither lost its ball."""
    names = next(list(c["phyworld"]) for c in mine if c["scene"] == world)
    found = []
    for error in names:
        two, one = (by_prompt(clips, within, world, error) for clips in (other, mine))
        both = [seed for seed in two if seed in one]
        if len(both) > 1:
            d = paired_difference(
                np.array([two[s] for s in both]), np.array([one[s] for s in both])
            )
            found.append({"error": error, "difference": [d.value, d.low, d.high, d.p]})
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    p, rows = results["protocol"], results["rows"]
    lines = report.heading(results, "phyworld's errors")
    lines += [
        f"Every clip goes on from the true clip's first {p['given_frames']} latent frames, which "
        "are not measured. Lengths are tenths of the view, times seconds; errors are against the "
        "true clip in pixels, its velocities fitted. Lost: share of clips in which a disc is in "
        "full view too rarely; they have no error. Out: speeds and radii outside of what the model "
        "was trained on.",
    ]
    for within in RANGES:
        for world in rows[0][within]:
            names = [n for n in rows[0][within][world] if not n.endswith("_spread") and n != "lost"]
            lines += ["", f"## {world.replace('_', ' ')}, {within} of distribution", ""]
            if within == "in":
                lines[-2] = f"## {world.replace('_', ' ')}, in distribution"
            lines += table(
                ["method", "lost", *(n.replace("_", " ") for n in names)],
                [
                    [r["method"], r[within][world]["lost"], *(r[within][world][n] for n in names)]
                    for r in rows
                ],
            )
    if results["comparisons"]:
        lines += ["", "## Paired differences (above 0 the row errs less)", ""]
        lines += table(
            ["method", "against", "range", "world", "error", "lower by", "p"],
            [
                [
                    *(c["method"], c["against"], c["range"]),
                    *(c["world"].replace("_", " "), c["error"].replace("_", " ")),
                    *(c["difference"][:3], c["difference"][3]),
                ]
                for c in results["comparisons"]
            ],
        )
    return "\n".join(lines) + "\n"


def _draw(results: Mapping[str, Any], setting: Setting) -> None:
    rows = [r for r in results["rows"] if r["method"] in (TRUE, *setting.arms)]
    for world in rows[0]["in"]:
        error = "velocity_after" if world == "ball_collision" else "velocity"
        values = {
            f"{r['method']}, {within}": r[within][world][error]
            for r in rows
            for within in RANGES
            if r[within][world][error] is not None
        }
        report.picture(
            setting.out / f"{world}.png",
            lambda axes, values=values, error=error: report.bars(
                axes, values, f"{error.replace('_', ' ')} error [tenths of the view / s]"
            ),
            height=1.2 + 0.35 * len(values),
        )
