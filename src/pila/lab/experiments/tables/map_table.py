"""The table of expert maps against true activity; see `pila.lab.experiments.expert_maps`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pila.lab.experiments.expert_maps import overlaps
from pila.lab.experiments.table import mean_estimate, paired_difference, spread
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.markdown import table
from pila.physics.layout import Category

_FIGURES = ("area", "iou")


def run(setting: Setting) -> dict[str, Any]:
    """Hold every adapter's experts against the truth, tabulate, draw and write."""
    setting = setting.probed
    made = overlaps(setting.methods, setting.protocol, setting.clips, processes=setting.processes)
    rows = []
    for name, methods in setting.arms.items():
        mine = [row for row in made if row["method"] == name]
        if not mine:
            continue
        seeds = [m.training_seed for m in methods if m.training_seed is not None]
        by_seed = [
            summary([r for r in mine if r["training_seed"] == seed])["area_above"][0]
            for seed in seeds
        ]
        rows.append(
            {
                "method": name,
                "seeds": seeds,
                "prompts": len({(r["scene"], r["seed"]) for r in mine}),
                **summary(mine),
                "by_seed": by_seed,
                "spread": spread(by_seed),
                "by_category": {
                    c.value: summary(some)
                    for c in Category
                    if (some := [r for r in mine if r["category"] == c])
                },
                "by_level": {
                    str(level): summary([r for r in mine if r["sigma"] == level])["area_above"]
                    for level in sorted({r["sigma"] for r in mine})
                },
            }
        )
    results = {"rows": rows} | report.described(setting)
    report.write(setting.out, results, markdown(results))
    for row in rows:
        values = {c.replace("_", " "): v["area_above"][:3] for c, v in row["by_category"].items()}
        report.picture(
            setting.out / f"maps-{row['method']}.png",
            lambda axes, values=values: report.bars(axes, values, "area above chance"),
        )
    return results


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean overlap, chance, and by how much the one is above the other, over clips.

    Rows of one clip (levels, categories, training seeds) are averaged first.
    """
    clips: dict[tuple[str, int], list[list[float]]] = {}
    names = [n + end for n in _FIGURES for end in ("", "_chance")]
    for r in rows:
        figures = [r[n] for n in names] + [r["weight"]]
        clips.setdefault((r["scene"], r["seed"]), []).append(figures)
    means = np.array([np.mean(clips[c], axis=0) for c in sorted(clips)])
    found: dict[str, Any] = {"weight": float(means[:, -1].mean())}
    for i, name in enumerate(_FIGURES):
        own, chance = means[:, 2 * i], means[:, 2 * i + 1]
        value, above = mean_estimate(own), paired_difference(own, chance)
        found[name] = [value.value, value.low, value.high]
        found[f"{name}_chance"] = float(chance.mean())
        found[f"{name}_above"] = [above.value, above.low, above.high, above.p]
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    rows = results["rows"]
    lines = report.heading(results, "Experts against true activity")
    lines += [
        "Area under the ROC curve of an expert's action for the cells where its category is truly "
        "active, and IoU with as many cells; chance is the same action against the truth of other "
        "clips of the scene. Truth: the simulator's fields.",
        "",
    ]
    columns = ["area", "chance", "above", "p", "IoU", "chance", "above", "weight"]
    lines += table(
        ["method", "clips", *columns],
        [[r["method"], r["prompts"], *_cells(r)] for r in rows],
    )
    for r in rows:
        lines += ["", f"## {r['method']}, by category", ""]
        lines += table(
            ["category", *columns],
            [[c.replace("_", " "), *_cells(v)] for c, v in r["by_category"].items()],
        )
        lines += ["", f"## {r['method']}, area above chance by noise level", ""]
        lines += table(
            ["level", "above", "p"], [[k, v[:3], v[3]] for k, v in r["by_level"].items()]
        )
    return "\n".join(lines) + "\n"


def _cells(v: Mapping[str, Any]) -> list[Any]:
    area, iou = v["area_above"], v["iou_above"]
    return [
        *(v["area"], v["area_chance"], area[:3], area[3]),
        *(v["iou"], v["iou_chance"], iou[:3], v["weight"]),
    ]
