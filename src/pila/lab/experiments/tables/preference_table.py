"""The table of plausibility preference errors; see `pila.lab.experiments.preference`."""

from collections.abc import Mapping
from typing import Any

from pila.lab.experiments.pairs import LEVELS
from pila.lab.experiments.preference import losses, preference
from pila.lab.experiments.table import mean_estimate, paired_difference, spread
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.lab.world import SCENES
from pila.markdown import table


def run(setting: Setting) -> dict[str, Any]:
    """See every pair with every method, tabulate, compare, draw and write."""
    setting = setting.probed
    made = losses(setting.methods, setting.protocol, setting.clips, processes=setting.processes)
    found = {
        name: preference([row for row in made if row["method"] == name]) for name in setting.arms
    }
    rows = []
    for name, methods in setting.arms.items():
        mine = found[name]
        ppe = mean_estimate(mine["by_prompt"])
        seeds = [m.training_seed for m in methods if m.training_seed is not None]
        by_seed = [
            float(
                preference([r for r in made if r["method"] == name and r["training_seed"] == seed])[
                    "by_prompt"
                ].mean()
            )
            for seed in seeds
        ]
        rows.append(
            {
                "method": name,
                "seeds": seeds,
                "prompts": len(mine["by_prompt"]),
                "ppe": ppe.value,
                "ppe_low": ppe.low,
                "ppe_high": ppe.high,
                "by_seed": by_seed,
                "spread": spread(by_seed),
                **{k: v for k, v in mine.items() if k != "by_prompt"},
            }
        )
    results = {
        "rows": rows,
        "levels": list(LEVELS),
        "comparisons": [
            {"method": name, "against": other, "difference": [d.value, d.low, d.high, d.p]}
            for other in setting.against
            for name in setting.arms
            if name != other
            for d in [paired_difference(found[other]["by_prompt"], found[name]["by_prompt"])]
        ],
    } | report.described(setting)
    report.write(setting.out, results, markdown(results))
    _draw(results, setting)
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    rows = results["rows"]
    lines = report.heading(results, "Plausibility preference error")
    lines += [
        f"{rows[0]['prompts']} true clips, each with all its broken twins; 0.5 is chance, less is "
        "better. Biased where a violation is simply harder to denoise: read it by violation, and "
        "beside the mix-trained adapter. Corrections count once, as they were learnt, however "
        "strongly sampling adds them. The last columns pair true clips with controls.",
        "",
    ]
    controls = list(rows[0]["by_control"])
    lines += table(
        ["method", "seeds", "PPE", "spread", *controls],
        [
            [
                r["method"],
                len(r["seeds"]) or "",
                [r["ppe"], r["ppe_low"], r["ppe_high"]],
                r["spread"],
                *r["by_control"].values(),
            ]
            for r in rows
        ],
    )
    if results["comparisons"]:
        lines += ["", "## Paired differences (above 0 the row errs less)", ""]
        lines += table(
            ["method", "against", "lower by", "p"],
            [
                [c["method"], c["against"], c["difference"][:3], c["difference"][3]]
                for c in results["comparisons"]
            ],
        )
    lines += ["", "## By noise level", "", "Each level's loss alone decides.", ""]
    lines += table(
        ["method", *(f"{level:.2f}" for level in results["levels"])],
        [[r["method"], *r["by_level"]] for r in rows],
    )
    lines += ["", "## By violation", ""]
    names = [r["method"] for r in rows]
    lines += table(
        ["scene", "violation", *names],
        [
            [scene.replace("_", " "), kind.replace("_", " ")]
            + [r["by_violation"][scene][kind] for r in rows]
            for scene in rows[0]["by_violation"]
            for kind in SCENES[scene].violations
            if kind in rows[0]["by_violation"][scene]
        ],
    )
    return "\n".join(lines) + "\n"


def _draw(results: Mapping[str, Any], setting: Setting) -> None:
    rows = results["rows"]
    values = {r["method"]: [r["ppe"], r["ppe_low"], r["ppe_high"]] for r in rows}
    report.picture(
        setting.out / "preference.png",
        lambda axes: report.bars(axes, values, "preference error (0.5 is chance)", line=0.5),
        height=1.2 + 0.35 * len(rows),
    )
    first = next((r for r in rows if r["method"] == "frozen"), rows[0])

    def by_level(axes: Any) -> None:
        for r in rows:
            ratio = [a / b for a, b in zip(r["flow_loss"], first["flow_loss"], strict=True)]
            axes.plot(results["levels"], ratio, marker=".", label=r["method"])
        axes.set_xlabel("noise level")
        axes.set_ylabel(f"flow loss on true clips over that of {first['method']}")
        axes.legend(fontsize=7)

    report.picture(setting.out / "flow_loss.png", by_level)
