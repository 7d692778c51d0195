"""What adapters do inside: routing by category, slots of the bank, flow error and gate by noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pila.lab.experiments.pairs import LEVELS
from pila.lab.experiments.probe import by_level, probed, routing, slots
from pila.lab.experiments.table import mean_estimate, paired_difference, spread
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.markdown import table


def run(setting: Setting) -> dict[str, Any]:
    """Probe every adapter of the experiment, tabulate, draw and write.

    As an experiment's second measure it writes `probe.*` beside `results.*`.
    """
    setting = setting.probed
    made = probed(setting.methods, setting.protocol, setting.clips, processes=setting.processes)
    rows = []
    for name, methods in setting.arms.items():
        mine = [row for row in made if row["method"] == name]
        if not mine:
            continue
        seeds = [m.training_seed for m in methods if m.training_seed is not None]
        row: dict[str, Any] = {
            "method": name,
            "seeds": seeds,
            "prompts": len({(r["scene"], r["seed"]) for r in mine}),
            "by_level": by_level(mine),
            "slots": slots(mine),
        }
        shares = routing(mine)
        if len(shares["own"]):
            own = mean_estimate(shares["own"])
            above = paired_difference(shares["own"], shares["chance"])
            by_seed = [
                float(routing([r for r in mine if r["training_seed"] == seed])["own"].mean())
                for seed in seeds
            ]
            row |= {
                "own_weight": own.value,
                "own_weight_low": own.low,
                "own_weight_high": own.high,
                "chance": float(shares["chance"].mean()),
                "above_chance": [above.value, above.low, above.high, above.p],
                "first": float(shares["first"].mean()),
                "by_seed": by_seed,
                "spread": spread(by_seed),
                "weights": shares["weights"],
            }
        rows.append(row)
    results = {"rows": rows, "levels": list(LEVELS)} | report.described(setting)
    first = setting.experiment.measures[0] == "probe"
    report.write(setting.out, results, markdown(results), "results" if first else "probe")
    _draw(results, setting)
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    rows = results["rows"]
    lines = report.heading(results, "Inside the adapters")
    lines += [
        f"{rows[0]['prompts'] if rows else 0} held-out true clips at ten noise levels each, as in "
        "training.",
        "",
    ]
    routed = [r for r in rows if "weights" in r]
    if routed:
        lines += [
            "## Routing",
            "",
            "Own weight: on the experts of the categories at work; chance: what equal weights "
            "give. First: how often the heaviest expert is one of them.",
            "",
        ]
        lines += table(
            ["method", "seeds", "own weight", "spread", "chance", "above chance", "p", "first"],
            [
                [
                    r["method"],
                    len(r["seeds"]) or "",
                    [r["own_weight"], r["own_weight_low"], r["own_weight_high"]],
                    r["spread"],
                    r["chance"],
                    r["above_chance"][:3],
                    r["above_chance"][3],
                    r["first"],
                ]
                for r in routed
            ],
        )
        for r in routed:
            names = list(next(iter(r["weights"].values())))
            lines += [
                "",
                f"### {r['method']}: mean weight of each expert, by prompts' category",
                "",
            ]
            lines += table(
                ["prompts of", *(n.replace("_", " ") for n in names)],
                [[c.replace("_", " "), *w.values()] for c, w in r["weights"].items()],
            )
        lines += ["", "## Standard deviation of each slot of the bank", ""]
        lines += table(
            ["method", *routed[0]["slots"]], [[r["method"], *r["slots"].values()] for r in routed]
        )
    for figure, title in (
        ("flow", "Flow error over the frozen generator's"),
        ("correction", "Size of the correction over the velocity's"),
        ("gate", "Gate"),
    ):
        lines += ["", f"## {title}, by noise level", ""]
        lines += table(
            ["method", *(f"{level:.2f}" for level in results["levels"])],
            [[r["method"], *r["by_level"][figure]] for r in rows],
        )
    return "\n".join(lines) + "\n"


def _draw(results: Mapping[str, Any], setting: Setting) -> None:
    """levels.png, and routing-NAME.png of each row with a router."""
    rows = results["rows"]
    if not rows:
        return

    def levels(axes: Any) -> None:
        for r in rows:
            axes.plot(results["levels"], r["by_level"]["flow"], marker=".", label=r["method"])
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_xlabel("noise level")
        axes.set_ylabel("flow error over the frozen generator's")
        axes.legend(fontsize=8)

    report.picture(setting.out / "levels.png", levels)
    for r in rows:
        if "weights" not in r:
            continue
        table = np.array([list(w.values()) for w in r["weights"].values()])
        names = list(next(iter(r["weights"].values())))

        def heat(axes: Any, table: np.ndarray = table, row: Any = r, names: Any = names) -> None:
            image = axes.imshow(table, vmin=0, cmap="viridis", aspect="auto")
            axes.set_xticks(range(len(names)), [n.replace("_", " ") for n in names], rotation=45)
            axes.set_yticks(range(len(table)), [c.replace("_", " ") for c in row["weights"]])
            axes.set_xlabel("expert")
            axes.set_ylabel("prompts of")
            axes.figure.colorbar(image, ax=axes, label="mean weight")

        report.picture(setting.out / f"routing-{r['method']}.png", heat, height=5)
