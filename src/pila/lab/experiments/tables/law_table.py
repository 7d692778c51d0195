"""The law table of an experiment: gap closed, quality, motion, adherence, cost, and comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pila.lab.experiments import cost, laws
from pila.lab.experiments.clips import FROZEN, TRUE, clips_of, facts, tolerances, write_clips
from pila.lab.experiments.sampling import Method
from pila.lab.experiments.table import paired_difference
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.markdown import table
from pila.physics.layout import Category


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
    results["comparisons"] = comparisons(clips, setting, protocol.scenes)
    results |= report.described(setting) | {"weights": facts(methods, protocol)["weights"]}
    write_clips(clips, setting.out)
    report.write(setting.out, results, markdown(results))
    draw(results, setting)
    return results


def comparisons(
    clips: Sequence[Mapping[str, Any]], setting: Setting, scenes: Sequence[str]
) -> list[dict[str, Any]]:
    """How much lower each row's error is than that of the rows it is held against, and p.

    Overall and by category; the same prompts and noise, means over training seeds. Above 0 the
    row is better than the one it is held against. Where both were trained with the same seeds, the
    difference of each of them stands beside: intervals and p are of these trainings, and do not
    say what others would give.
    """
    found = []
    trained = {name: [m.training_seed for m in ms] for name, ms in setting.arms.items()}
    for other in setting.against:
        for name in setting.arms:
            if name == other:
                continue

            def better(some: Sequence[str], one: str = name, two: str = other) -> list[float]:
                held, mine = (laws.errors_of(clips, m, some) for m in (two, one))
                d = paired_difference(held, mine)
                return [d.value, d.low, d.high, d.p]

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
                    "by_seed": by_seed(),
                    "by_category": {
                        category.value: better(some)
                        for category in Category
                        if (some := laws.scenes_of(category, scenes))
                    },
                }
            )
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    lines = report.heading(results, results["experiment"])
    p, rows = results["protocol"], results["rows"]
    lines += [
        f"{rows[0]['prompts']} {p['split']} prompts, {p['noise_seeds']} clips of each, the same "
        "noise for every row. Gap closed: 1 is true clips through the VAE, 0 the frozen "
        "generator. Motion, sharpness and grain are ratios to true clips; quality and adherence "
        "go to 1; Frechet is over latents, 0 for true clips; cost is operations of a step over "
        "the frozen guided step's.",
        "",
    ]
    columns = (
        "method",
        "seeds",
        "law error",
        "passed",
        "gap closed",
        "spread",
        "quality",
        "Frechet",
        "motion",
        "sharpness",
        "grain",
        "found",
        "adherence",
        "cost",
    )
    lines += table(
        columns,
        [
            [
                r["method"],
                len(r["seeds"]) or "",
                r["error"],
                r["passed"],
                [r["gap_closed"], r["gap_closed_low"], r["gap_closed_high"]],
                r["spread"],
                *(r[k] for k in ("quality", "frechet", "motion", "sharpness", "grain")),
                *(r[k] for k in ("found", "adherence", "cost_per_step")),
            ]
            for r in rows
        ],
    )
    categories = list(rows[0]["by_category"])
    lines += ["", "## Gap closed, by category", ""]
    lines += table(
        ["method", *(c.replace("_", " ") for c in categories)],
        [[r["method"], *(r["by_category"][c]["gap_closed"] for c in categories)] for r in rows],
    )
    if results["comparisons"]:
        lines += [
            "",
            "## Paired differences",
            "",
            "How much lower the row's law error is, prompt by prompt with the same noise; p by "
            "flipping signs. `by seed` has the difference of each training seed: interval and p "
            "are of these trainings. `better in` counts categories whose interval is above 0.",
            "",
        ]
        lines += table(
            ["method", "against", "lower by", "p", "by seed", "better in", "worse in"],
            [_compared(c) for c in results["comparisons"]],
        )
    return "\n".join(lines) + "\n"


def _compared(c: Mapping[str, Any]) -> list[Any]:
    *estimate, p = c["difference"]
    intervals = list(c["by_category"].values())
    better, worse = (sum(v[1] > 0 for v in intervals), sum(v[2] < 0 for v in intervals))
    by_seed = ", ".join(f"{value:.3f}" for value in c["by_seed"])
    counted = f"{better} of {len(intervals)}"
    return [c["method"], c["against"], estimate, p, by_seed, counted, worse]


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


__all__ = ["TRUE", "comparisons", "draw", "markdown", "run"]
