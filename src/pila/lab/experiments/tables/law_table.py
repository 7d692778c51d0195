"""The law table of an experiment: gap closed, quality, motion, adherence, cost, and comparisons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.json_files import read_object
from pila.lab.experiments import cost, laws, paths
from pila.lab.experiments.clips import (
    CONTROLS,
    FROZEN,
    MANIFEST,
    TRUE,
    clips_of,
    facts,
    read_clips,
    tolerances,
    write_clips,
)
from pila.lab.experiments.sampling import Method, is_generator
from pila.lab.experiments.table import holm, mean_estimate, paired_difference
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.law_page import markdown
from pila.lab.experiments.tables.prepared import Setting
from pila.physics.layout import Category
from pila.pipelines.locate import find_attachments

PATH_CLIPS = 2
"""Held-out true clips of each scene that a row's paths are measured on."""


def run(setting: Setting) -> dict[str, Any]:
    """Generate what is missing, measure, tabulate, compare, draw and write."""
    methods, protocol, processes = setting.methods, setting.protocol, setting.processes
    # Gaps are counted from the frozen generator, whichever rows were asked for.
    if FROZEN not in setting.arms:
        methods = [Method(name=FROZEN), *methods]
    clips = clips_of(methods, protocol, processes=processes)
    tolerance = tolerances(protocol, processes=processes)
    costs = cost.per_step(methods, protocol, processes=processes)
    results = laws.tabulate(clips, list(dict.fromkeys(m.name for m in methods)), tolerance)
    for row in results["rows"]:
        row["cost_per_step"] = costs.get(row["method"])
        row["x"] = setting.axis.get(row["method"])
        row |= _trained(row["method"], setting)
        row["path_share"] = _path_share(row["method"], setting)
    trained = {name: [m.training_seed for m in ms] for name, ms in setting.arms.items()}
    results["comparisons"] = comparisons(clips, trained, setting.against, protocol.scenes)
    results |= report.described(setting) | {"weights": facts(methods, protocol)["weights"]}
    write_clips(clips, setting.out)
    report.write(setting.out, results, markdown(results))
    draw(results, setting)
    draw_differences(setting.out, results)
    return results


def _trained(name: str, setting: Setting) -> dict[str, float | None]:
    """What a row's trainings took, all that it is made of; None where nothing was trained."""
    recipes = next((a.recipes for a in setting.experiment.arms if a.name == name), ())
    seeds = [m.training_seed for m in setting.arms.get(name, ()) if m.training_seed is not None]
    if not (recipes and seeds):
        return {"train_operations": None, "train_core_minutes": None}
    return {
        "train_operations": setting.runs.operations(recipes),
        "train_core_minutes": setting.runs.core_minutes(recipes, seeds),
    }


def _path_share(name: str, setting: Setting) -> dict[str, list[float]] | None:
    """Shares of a row's gain in flow error that its parts carry (`paths.shares`, by their means).

    Of its first training seed, and of PILA's adapters alone.
    """
    methods = setting.arms.get(name, ())
    place = methods[0].adapter if methods else None
    if place is None or "+" in place or is_generator(place):
        return None
    if find_attachments(place)[0].config.get("_class_name") != "PilaAdapter":
        return None
    protocol, processes = setting.probed.protocol, setting.processes
    rows = paths.measured(methods[0], protocol, PATH_CLIPS, processes=processes)
    return {part: list(share) for part, share in paths.shares(rows, "mean").items()}


def retabulate(folder: Path) -> dict[str, Any]:
    """A table's figures anew from its kept clips, with today's measures; nothing is generated.

    What clips.parquet does not hold (Frechet distances, costs, weights, protocol) stays as it is.
    Writes results.json, results.md, results.csv and differences.png.

    Args:
        folder: of a table of law errors: results.json and clips.parquet.

    Raises:
        InputError: the folder holds no such table.
    """
    path = folder / "results.json"
    if not (path.is_file() and (folder / MANIFEST).is_file()):
        raise InputError(
            f"{folder} has no results.json beside a {MANIFEST}; name the folder of a table of law "
            "errors, such as results/main"
        )
    results, clips = read_object(path), read_clips(folder)
    before = {row["method"]: row for row in results["rows"]}
    own = [name for name in before if name != TRUE and name not in CONTROLS]
    fresh = laws.tabulate(clips, own, results["tolerance"])
    kept = ("frechet", "cost_per_step", "x", "train_operations", "train_core_minutes", "path_share")
    for row in fresh["rows"]:
        row |= {name: before[row["method"]].get(name) for name in kept}
    against = list(dict.fromkeys(c["against"] for c in results.get("comparisons", ())))
    trained = {r["method"]: r["seeds"] or [None] for r in fresh["rows"] if r["method"] in own}
    results |= fresh
    results["comparisons"] = comparisons(clips, trained, against, list(fresh["tolerance"]))
    report.write(folder, results, markdown(results))
    draw_differences(folder, results)
    return results


def comparisons(
    clips: Sequence[Mapping[str, Any]],
    trained: Mapping[str, Sequence[int | None]],
    against: Sequence[str],
    scenes: Sequence[str],
) -> list[dict[str, Any]]:
    """How much lower each row's error is than that of the rows it is held against, and p.

    Overall and by category; the same prompts and noise, means over training seeds. Above 0 the
    row is better than the one it is held against. Where both were trained with the same seeds, the
    difference of each of them stands beside: intervals and p are of these trainings, and do not
    say what others would give. `p_holm` is corrected for the number of rows.

    Args:
        clips: as `clips.parquet` holds them.
        trained: the training seeds of each row; [None] where nothing was trained.
        against: rows that all others are held against.
        scenes: of the table, in its order.
    """
    found = []
    for other in against:
        for name in trained:
            if name == other:
                continue

            def better(some: Sequence[str], one: str = name, two: str = other) -> list[float]:
                held, mine = (laws.errors_of(clips, m, some) for m in (two, one))
                d = paired_difference(held, mine)
                return [d.value, d.low, d.high, d.p]

            def over_scenes(one: str = name, two: str = other) -> list[float]:
                d = [
                    np.mean(laws.errors_of(clips, two, [s]) - laws.errors_of(clips, one, [s]))
                    for s in scenes
                ]
                found = mean_estimate(np.array(d))
                return [found.low, found.high]

            def by_seed(one: str = name, two: str = other) -> list[float]:
                if trained[one] != trained[two] or None in trained[one]:
                    return []
                return [
                    float(
                        np.mean(
                            laws.errors_of(clips, two, scenes, seed)
                            - laws.errors_of(clips, one, scenes, seed)
                        )
                    )
                    for seed in trained[one]
                ]

            found.append(
                {
                    "method": name,
                    "against": other,
                    "difference": better(scenes),
                    "scene_interval": over_scenes(),
                    "by_seed": by_seed(),
                    "by_category": {
                        category.value: better(some)
                        for category in Category
                        if (some := laws.scenes_of(category, scenes))
                    },
                }
            )
    for row, p in zip(found, holm([row["difference"][3] for row in found]), strict=True):
        row["p_holm"] = p
    return found


def draw(results: Mapping[str, Any], setting: Setting) -> None:
    """gap_closed.png, by_category.png and, of a curve, curve.png."""
    rows = [r for r in results["rows"] if r["method"] in setting.arms and r["method"] != FROZEN]
    if not rows:
        return
    values = {
        r["method"]: [r["gap_closed"], r["gap_closed_low"], r["gap_closed_high"]] for r in rows
    }
    height = 1.2 + 0.35 * len(rows)
    report.picture(
        setting.out / "gap_closed.png",
        lambda axes: report.bars(axes, values, "gap closed (0 frozen, 1 true through the VAE)"),
        height=height,
    )
    categories = list(rows[0]["by_category"])
    closed = np.array([[r["by_category"][c]["gap_closed"] for c in categories] for r in rows])
    shades = max(0.05, float(np.abs(np.nan_to_num(closed[..., 0])).max()))

    def by_category(axes: Any) -> None:
        image = axes.imshow(closed[..., 0], cmap="RdBu", vmin=-shades, vmax=shades, aspect="auto")
        for (row, column), (value, low, high) in zip(
            np.ndindex(closed.shape[:2]), closed.reshape(-1, 3), strict=True
        ):
            if np.isnan(value):  # no gap to close
                continue
            sure = "*" if low > 0 or high < 0 else ""
            dark = abs(value) > 0.6 * shades
            colour = "white" if dark else "black"
            said = f"{value:.2f}{sure}"
            axes.text(column, row, said, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(categories)), [c.replace("_", " ") for c in categories])
        axes.tick_params(axis="x", rotation=45)
        axes.set_yticks(range(len(rows)), [r["method"] for r in rows])
        axes.figure.colorbar(image, ax=axes, label="gap closed\n(* interval without 0)")

    report.picture(setting.out / "by_category.png", by_category, height=height + 1)
    if setting.axis:
        points = sorted((r for r in rows if r["x"] is not None), key=lambda r: r["x"])
        report.picture(setting.out / "curve.png", lambda axes: _curve(axes, points, setting))


def draw_differences(folder: Path, results: Mapping[str, Any]) -> None:
    """differences.png: by how much each row's law error is lower than the first control's.

    The control is the first row that others are held against and that is not the frozen generator,
    which gap_closed.png has already.
    """
    found = results["comparisons"]
    control = next((row["against"] for row in found if row["against"] != FROZEN), None)
    rows = [row for row in found if row["against"] == control and row["method"] != FROZEN]
    if not rows:
        return

    def forest(axes: Any) -> None:
        places = np.arange(len(rows))
        middle, low, high, _ = np.array([row["difference"] for row in rows]).T
        wide = np.array([row["scene_interval"] for row in rows]).T
        axes.hlines(places, *wide, color="#94a3b8", linewidth=4, label="over scenes")
        axes.hlines(places, low, high, color="#b34700", linewidth=1.5, label="over prompts")
        axes.plot(middle, places, "o", color="#1d4ed8", markersize=4)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(places, [row["method"] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(f"law error lower than that of {control}\n(right of 0 is better; 95 %)")
        axes.figure.legend(loc="outside upper center", ncols=2)

    report.picture(folder / "differences.png", forest, height=1.6 + 0.35 * len(rows))


def _curve(axes: Any, points: Sequence[Mapping[str, Any]], setting: Setting) -> None:
    x = [r["x"] for r in points]
    low, high = ([r[k] for r in points] for k in ("gap_closed_low", "gap_closed_high"))
    axes.fill_between(x, low, high, alpha=0.2, linewidth=0)
    axes.plot(x, [r["gap_closed"] for r in points], marker=".", label="gap closed")
    axes.plot(x, [r["quality"] for r in points], marker=".", linestyle="--", label="quality")
    axes.plot(x, [r["cost_per_step"] for r in points], linestyle=":", label="cost of a step")
    axes.set_xlabel(setting.experiment.axis)
    least = min((v for v in x if v > 0), default=0)
    if 0 < least < max(x) / 20:
        axes.set_xscale("symlog", linthresh=least)
    axes.legend(fontsize=8)


__all__ = ["TRUE", "comparisons", "draw", "draw_differences", "markdown", "retabulate", "run"]
