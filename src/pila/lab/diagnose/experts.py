"""Where experts act over time, beside where their category is active: the paper's Figure 7."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.maps import Beside, beside_truth
from pila.lab.diagnose.run_folder import Run
from pila.lab.diagnose.style import FIRST, INK, SECOND, grid, words
from pila.lab.diagnose.subject import Look, Setting, prepared
from pila.lab.experiments.clip_jobs import ClipJob, gathered
from pila.lab.experiments.expert_maps import LEVELS, acted, iou_of_map, overlaps, roc_of_map
from pila.lab.experiments.pairs import LEVELS as EVERY
from pila.lab.experiments.store import Rows
from pila.lab.experiments.tables.map_table import summary
from pila.physics.layout import Category

SHOWN = LEVELS[1]
"""Noise level of the maps, as an index of the pairs'; the middle one of those that are measured."""
ROWS = 1
"""Version of what a row of `seen_maps` holds."""
ON_A_PAGE = 4
"""Categories of one figure."""


def diagnose(run: Run, look: Look) -> Diagnosis:
    """Measure the overlap on all clips, and draw the first clip of one scene a category.

    Raises:
        InputError: no experts, or see `pila.lab.diagnose.subject.prepared`.
    """
    setting = prepared(run, look, "PilaAdapter", what="experts")
    rows = overlaps([setting.method], setting.protocol, setting.clips, processes=setting.processes)
    categories = {
        c.value: summary(mine) | {"clips": len({(r["scene"], r["seed"]) for r in mine})}
        for c in Category
        if (mine := [r for r in rows if r["category"] == c])
    }
    levels = {
        EVERY[level]: summary(mine)
        for level in LEVELS
        if (mine := [r for r in rows if r["sigma"] == EVERY[level]])
    }
    shown = _shown(setting)
    numbers = {
        "all": summary(rows) if rows else None,
        "by_category": categories,
        "by_level": levels,
        "shown": [{k: v for k, v in one.items() if k not in ("truth", "action")} for one in shown],
        "shown_sigma": EVERY[SHOWN],
    }
    return Diagnosis(
        name="experts",
        title="Experts",
        about=f"{setting.about} An expert's action is the size of its weighted update of the "
        "bank; chance is the same action against the truth of other clips of the scene.",
        numbers=numbers,
        pictures=_pictures(setting, shown, categories),
        tables=[_table(numbers)],
    )


def seen_maps(setting: Setting, scenes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Of each scene and clip what acts where, and what is truly active.

    Returns:
        {scene: [{"experts" [8, t, h, w], "weights" [8], "correction" [t, h, w], "truth"
        [8, t, h, w]}, ...]} as arrays, at `SHOWN`'s noise level.
    """
    jobs = setting.jobs(list(dict.fromkeys(scenes)))
    made = gathered(
        jobs, _see, name="seen-maps", version=[ROWS, SHOWN], processes=setting.processes
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in made:
        maps = {k: np.array(row[k]) for k in ("experts", "correction", "truth")}
        found.setdefault(row["scene"], []).append(maps | {"weights": row["weights"]})
    return found


def _see(job: ClipJob) -> Rows:
    from pila.lab.world.activity_maps import active_maps

    clips = job.protocol.true_clips(job.scene, job.seeds)
    return [
        {
            "experts": a.experts.tolist(),
            "weights": a.weights,
            "correction": a.correction.tolist(),
            "truth": active_maps(clip).tolist(),
        }
        for a, clip in zip(acted(job, SHOWN), clips, strict=True)
    ]


def _shown(setting: Setting) -> list[dict[str, Any]]:
    """The first clip of each shown scene: truth and action of the category, and their overlap."""
    pairs = setting.shown()
    seen = seen_maps(setting, [scene for scene, _ in pairs])
    found = []
    for scene, category in pairs:
        k = list(Category).index(category)
        first, *others = seen[scene]
        action, truth = first["experts"][k], first["truth"][k]
        chance = [roc_of_map(action, other["truth"][k] > 0) for other in others]
        known = [c for c in chance if c is not None]
        found.append(
            {
                "scene": scene,
                "category": category.value,
                "weight": first["weights"][k],
                "area": roc_of_map(action, truth > 0),
                "area_chance": float(np.mean(known)) if known else None,
                "iou": iou_of_map(action, truth > 0),
                "truth": truth,
                "action": action,
            }
        )
    return found


def _pictures(
    setting: Setting, shown: list[dict[str, Any]], categories: Mapping[str, Any]
) -> list[Picture]:
    parts = [shown[i : i + ON_A_PAGE] for i in range(0, len(shown), ON_A_PAGE)]
    pictures = [
        Picture(
            name="experts-maps" + (f"-{i}" if len(parts) > 1 else ""),
            title="Experts over time beside true activity"
            + (f", part {i} of {len(parts)}" if len(parts) > 1 else ""),
            look="The expert's bright cells lie where and when the phenomenon is; an even map, or "
            "one that is the same at all times, follows nothing.",
            alt=f"At noise level {EVERY[SHOWN]:.2f}, rows of frames, true activity and the "
            "expert's action over time: " + "; ".join(map(_said, part)) + ".",
            draw=partial(_draw_maps, setting, part),
        )
        for i, part in enumerate(parts, 1)
    ]
    if categories:
        pictures.append(
            Picture(
                name="experts-overlap",
                title="Overlap with true activity, against chance",
                look="The dot lies right of its cross, with an interval that does not reach it: "
                "the expert acts where this clip's phenomenon is, not where such clips have it.",
                alt="Area under the ROC curve by category: "
                + "; ".join(
                    f"{words(c)} {v['area'][0]:.2f}, chance {v['area_chance']:.2f}"
                    for c, v in categories.items()
                )
                + ".",
                draw=partial(_draw_overlap, categories),
            )
        )
    return pictures


def _overlap(one: Mapping[str, Any]) -> str:
    """The overlap of a drawn map in two lines, or why there is none."""
    if one["area"] is None:
        return "no activity"
    if not one["weight"]:
        return "not routed"
    chance = one["area_chance"]
    return f"area {one['area']:.2f}" + ("" if chance is None else f"\nchance {chance:.2f}")


def _said(one: Mapping[str, Any]) -> str:
    overlap = _overlap(one).replace("\n", ", ")
    return f"{words(one['category'])} ({words(one['scene'])}) {overlap}"


def _table(numbers: Mapping[str, Any]) -> Table:
    def row(name: str, v: Mapping[str, Any], clips: Any) -> tuple[Any, ...]:
        area, iou = v["area_above"], v["iou_above"]
        return (
            *(name, clips, v["weight"], v["area"], v["area_chance"], area[:3], area[3]),
            *(v["iou"], v["iou_chance"], iou[:3]),
        )

    rows = [row(words(c), v, v["clips"]) for c, v in numbers["by_category"].items()]
    rows += [row(f"all, σ {level:.2f}", v, None) for level, v in numbers["by_level"].items()]
    if numbers["all"]:
        rows.append(row("all", numbers["all"], None))
    return Table(
        name="experts",
        title="Area under the ROC curve of an expert's action for the cells where its category is "
        "truly active, and IoU with as many cells",
        columns=(
            *("category", "clips", "weight", "area", "chance", "above", "p"),
            *("IoU", "IoU chance", "IoU above"),
        ),
        rows=rows,
    )


def _draw_maps(setting: Setting, shown: Sequence[Mapping[str, Any]]) -> Any:
    return beside_truth(
        [
            Beside(
                frames=setting.first_clip(one["scene"]).frames,
                truth=one["truth"],
                seen=one["action"],
                # Of the map's own range: what an expert does everywhere alike follows nothing.
                low=float(one["action"].min()),
                names=(
                    f"{words(one['category'])}\n({words(one['scene'])})",
                    "truly active",
                    f"expert acts\n(weight {one['weight']:.2f})",
                ),
                said=_overlap(one),
            )
            for one in shown
        ],
        title=f"t in latent frames, σ = {EVERY[SHOWN]:.2f}; true activity from 0 to 1, the "
        "expert's colours over its own range",
    )


def _draw_overlap(categories: Mapping[str, Any]) -> Any:
    figure, axes = grid(1, 2, height=0.9 + 0.24 * len(categories), sharey=True)
    places = np.arange(len(categories))
    for panel, name, label in (
        (axes[0, 0], "area", "area under the ROC curve"),
        (axes[0, 1], "iou", "IoU with as many cells"),
    ):
        middle, low, high = np.array([v[name] for v in categories.values()]).T
        chance = [v[f"{name}_chance"] for v in categories.values()]
        bars = [middle - low, high - middle]
        panel.errorbar(middle, places, xerr=bars, fmt="o", color=FIRST, markersize=4, capsize=2)
        panel.plot(chance, places, "x", color=SECOND, markersize=5)
        panel.set_xlabel(label)
        panel.grid(axis="x")
        panel.set_axisbelow(True)
        panel.margins(y=0.1)
    axes[0, 0].axvline(0.5, color=INK, linewidth=0.6)
    names = [f"{words(c)} (n = {v['clips']})" for c, v in categories.items()]
    axes[0, 0].set_yticks(places, names)
    axes[0, 0].invert_yaxis()
    from matplotlib.lines import Line2D

    dot = {"marker": "o", "color": FIRST, "linestyle": "", "markersize": 4}
    cross = {"marker": "x", "color": SECOND, "linestyle": "", "markersize": 5}
    figure.legend(
        handles=[
            Line2D([], [], label="own clip, 95 % interval over n clips", **dot),
            Line2D([], [], label="chance: other clips of the scene", **cross),
        ],
        loc="outside upper center",
        ncols=2,
    )
    return figure
