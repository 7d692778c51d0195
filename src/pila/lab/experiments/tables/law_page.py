"""The page of a law table: what people read, from the results alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pila.lab.experiments.tables import report
from pila.markdown import table

Row = Mapping[str, Any]


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    rows = results["rows"]
    lines = [
        *report.heading(results, results["experiment"]),
        *_errors(rows, results["protocol"]),
        *_looks(rows),
        *_paths(rows),
        *_categories(rows),
        *_differences(results["comparisons"]),
    ]
    return "\n".join(lines) + "\n"


def _errors(rows: Sequence[Row], protocol: Mapping[str, Any]) -> list[str]:
    return [
        f"{rows[0]['prompts']} {protocol['split']} prompts, {protocol['noise_seeds']} clips of "
        "each, the same noise for every row. Gap closed: 1 is true clips through the VAE, 0 the "
        "frozen generator; by mean law error, by the share of clips that pass, and by each clip's "
        "worst law. `over scenes` is the first one's interval where scenes are drawn instead of "
        "prompts; `spread` its deviation over training seeds.",
        "",
        *table(
            (
                *("method", "seeds", "law error", "passed", "gap closed", "over scenes", "spread"),
                *("gap closed by passes", "gap closed by the worst law"),
            ),
            [
                [
                    r["method"],
                    len(r["seeds"]) or "",
                    r["error"],
                    r["passed"],
                    [r["gap_closed"], r["gap_closed_low"], r["gap_closed_high"]],
                    f"[{r['scene_low']:.3f}, {r['scene_high']:.3f}]",
                    r["spread"],
                    r["pass_gap_closed"],
                    r["worst_gap_closed"],
                ]
                for r in rows
            ],
        ),
    ]


def _looks(rows: Sequence[Row]) -> list[str]:
    figures = ("quality", "frechet", "motion", "sharpness", "grain", "found", "adherence")
    return [
        "",
        "## Looks and cost",
        "",
        "Motion, sharpness and grain are ratios to true clips; quality and adherence go to 1; "
        "Frechet is over latents, 0 for true clips; cost is operations of a step over the frozen "
        "guided step's. Training counts operations (1e15) and minutes of one processor core, of "
        "all stages.",
        "",
        *table(
            (
                *("method", "quality", "Frechet", "motion", "sharpness", "grain", "found"),
                *("adherence", "cost", "training operations", "training core-minutes"),
            ),
            [
                [
                    r["method"],
                    *(r[figure] for figure in figures),
                    r["cost_per_step"],
                    _rounded(r["train_operations"], 1e15, 2),
                    _rounded(r["train_core_minutes"], 1, 0),
                ]
                for r in rows
            ],
        ),
    ]


def _rounded(value: float | None, unit: float, digits: int) -> str | None:
    return None if value is None else f"{value / unit:.{digits}f}"


def _paths(rows: Sequence[Row]) -> list[str]:
    shares = {r["method"]: r["path_share"] for r in rows if r["path_share"]}
    if not shares:
        return []
    parts = list(dict.fromkeys(part for share in shares.values() for part in share))
    return [
        "",
        "## What the correction rests on",
        "",
        "Share of the gain in flow error (of what moves) over the frozen generator that is lost "
        "where a part says its mean: held-out true clips of each scene, ten noise levels, the "
        "first training seed. 1 is all of the gain.",
        "",
        *table(
            ["method", *parts],
            [[name, *(share.get(part) for part in parts)] for name, share in shares.items()],
        ),
    ]


def _categories(rows: Sequence[Row]) -> list[str]:
    categories = list(rows[0]["by_category"])
    return [
        "",
        "## Gap closed, by category",
        "",
        *table(
            ["method", *(c.replace("_", " ") for c in categories)],
            [[r["method"], *(r["by_category"][c]["gap_closed"] for c in categories)] for r in rows],
        ),
    ]


def _differences(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    if not comparisons:
        return []
    return [
        "",
        "## Paired differences",
        "",
        "How much lower the row's law error is, prompt by prompt with the same noise; p by "
        "flipping signs, and corrected for the number of rows here (Holm). `over scenes` is the "
        "interval where scenes are drawn instead of prompts. `by seed` has the difference of each "
        "training seed: intervals and p are of these trainings. `better in` counts categories "
        "whose interval is above 0.",
        "",
        *table(
            [
                *("method", "against", "lower by", "over scenes", "p", "p (Holm)", "by seed"),
                *("better in", "worse in"),
            ],
            [_compared(c) for c in comparisons],
        ),
    ]


def _compared(c: Mapping[str, Any]) -> list[Any]:
    *estimate, p = c["difference"]
    intervals = list(c["by_category"].values())
    better, worse = (sum(v[1] > 0 for v in intervals), sum(v[2] < 0 for v in intervals))
    by_seed = ", ".join(f"{value:.3f}" for value in c["by_seed"])
    counted = f"{better} of {len(intervals)}"
    low, high = c["scene_interval"]
    scenes = f"[{low:.3f}, {high:.3f}]"
    return [
        *(c["method"], c["against"], estimate, scenes, p, c["p_holm"], by_seed),
        *(counted, worse),
    ]
