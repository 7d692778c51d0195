"""Physics-IQ's components and PISA's measures of clips that go on from given frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pila.lab.experiments import cost
from pila.lab.experiments.clips import CONTROLS, TRUE, clips_of, write_clips
from pila.lab.experiments.physics_iq import COMPONENTS, score
from pila.lab.experiments.pisa import MEASURES
from pila.lab.experiments.table import mean_estimate, paired_difference, spread
from pila.lab.experiments.tables import report
from pila.lab.experiments.tables.prepared import Setting
from pila.lab.world import SCENES
from pila.markdown import table
from pila.physics.layout import Category


def run(setting: Setting) -> dict[str, Any]:
    """Generate what is missing, measure, tabulate, compare, draw and write."""
    clips = clips_of(setting.methods, setting.protocol, processes=setting.processes)
    costs = cost.per_step(setting.methods, setting.protocol, processes=setting.processes)
    names = [TRUE, *setting.arms, *CONTROLS]
    by_name = {name: [c for c in clips if c["method"] == name] for name in names}
    takes = _components(by_name[TRUE])
    results = {
        "rows": [
            row(name, by_name[name], takes) | {"cost_per_step": costs.get(name)} for name in names
        ],
        "comparisons": [
            {"method": name, "against": other, "measure": measure, "difference": difference}
            for other in setting.against
            for name in setting.arms
            if name != other
            for measure, difference in _compared(by_name[other], by_name[name])
        ],
    } | report.described(setting)
    write_clips(clips, setting.out)
    report.write(setting.out, results, markdown(results))
    rows = [r for r in results["rows"] if r["method"] in (TRUE, *setting.arms)]
    for measure in ("st", "iou"):
        report.picture(
            setting.out / f"{measure}.png",
            lambda axes, measure=measure: report.bars(
                axes, {r["method"]: r[measure] for r in rows}, measure.upper()
            ),
            height=1.2 + 0.35 * len(rows),
        )
    return results


def row(
    name: str, clips: Sequence[Mapping[str, Any]], takes: Mapping[str, float]
) -> dict[str, Any]:
    """A method's figures: each with its interval over prompts; the total from their means."""
    seeds = sorted({c["training_seed"] for c in clips if c["training_seed"] is not None})
    figures = {}
    for measure in (*COMPONENTS, *MEASURES):
        values = np.array(list(by_prompt(clips, measure).values()))
        e = mean_estimate(values) if len(values) else None
        figures[measure] = None if e is None else [e.value, e.low, e.high]
    by_seed = [
        score(_components([c for c in clips if c["training_seed"] == s]), takes) for s in seeds
    ]
    return {
        "method": name,
        "seeds": seeds,
        "prompts": len({(c["scene"], c["seed"]) for c in clips}),
        "acting": len({(c["scene"], c["seed"]) for c in clips if c["acts"]}),
        "iq": score(_components(clips), takes),
        "by_seed": by_seed,
        "spread": spread(by_seed),
        **figures,
        "by_category": {
            category.value: {
                m: float(np.mean(list(by_prompt(some, m).values()))) for m in ("st", "iou")
            }
            for category in Category
            if (some := [c for c in clips if category in SCENES[c["scene"]].categories])
        },
        "quality": float(np.mean([c["quality"] for c in clips])),
        "motion": sum(c["motion"] for c in clips) / sum(c["true_motion"] for c in clips),
        "adherence": float(np.mean([c["adherence"] for c in clips])),
    }


def by_prompt(clips: Sequence[Mapping[str, Any]], measure: str) -> dict[tuple[str, int], float]:
    """Mean of a measure over each prompt's clips that have one."""
    kind = "iq" if measure in COMPONENTS else "pisa"
    found: dict[tuple[str, int], list[float]] = {}
    for c in _acting(clips) if kind == "iq" else clips:
        if c[kind][measure] is not None:
            found.setdefault((c["scene"], c["seed"]), []).append(c[kind][measure])
    return {prompt: float(np.mean(values)) for prompt, values in sorted(found.items())}


def _components(clips: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {m: float(np.mean([c["iq"][m] for c in _acting(clips)])) for m in COMPONENTS}


def _acting(clips: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Clips whose true twin has action for the masks; all of them where none has."""
    return [c for c in clips if c["acts"]] or clips


def _compared(
    other: Sequence[Mapping[str, Any]], mine: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[float]]]:
    """By how much each measure is better, prompt by prompt; above 0 it is."""
    found = []
    for measure in (*COMPONENTS, *MEASURES):
        two, one = by_prompt(other, measure), by_prompt(mine, measure)
        both = [prompt for prompt in two if prompt in one]
        if len(both) > 1:
            sign = 1 if measure in ("st", "s", "ws", "iou") else -1
            values, held = (np.array([of[p] for p in both]) * sign for of in (one, two))
            d = paired_difference(values, held)
            found.append((measure, [d.value, d.low, d.high, d.p]))
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    p, rows = results["protocol"], results["rows"]
    lines = report.heading(results, "Physics-IQ's and PISA's measures")
    given = (
        f"Every clip goes on from the true clip's first {p['given_frames']} latent frames, "
        "which are not measured. "
        if p["given_frames"]
        else "Clips share the prompt alone with the true ones. "
    )
    lines += [
        f"{rows[0]['prompts']} prompts, of which {rows[0]['acting']} have action for Physics-IQ's "
        f"masks; its components are over these. {given}IQ hardly sees time's direction: read ST. "
        "100 is the true clip through the VAE, which stands for a second take. L2, Chamfer and "
        "lost: less is better.",
        "",
    ]
    lines += table(
        ["method", "seeds", "IQ", "spread", "ST", "S", "WS", "MSE", "IoU", "L2", "Chamfer", "lost"],
        [
            [r["method"], len(r["seeds"]) or "", r["iq"], r["spread"]]
            + [r[m] for m in (*COMPONENTS, *MEASURES)]
            for r in rows
        ],
    )
    if results["comparisons"]:
        lines += ["", "## Paired differences (above 0 the row is better)", ""]
        lines += table(
            ["method", "against", "measure", "better by", "p"],
            [
                [c["method"], c["against"], c["measure"], c["difference"][:3], c["difference"][3]]
                for c in results["comparisons"]
            ],
        )
    return "\n".join(lines) + "\n"
