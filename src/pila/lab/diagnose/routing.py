"""Whom the router sends prompts of each category to: the paper's Figure 6.

Prompts are grouped by the categories that are truly at work in them. The weights are read with
the label prior (the parser's categories) and without, at ten noise levels. A run on a latent cache
is asked about the cache's own held-out captions: the router reads prompt, labels and noise level,
so that no generator is needed.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.run_folder import Run
from pila.lab.diagnose.style import AMOUNT, FIRST, INK, PAGE, SECOND, SIGNED, grid, heat, words
from pila.lab.diagnose.subject import Look, prepared
from pila.lab.experiments.pairs import LEVELS
from pila.lab.experiments.table import mean_estimate, paired_difference
from pila.physics.layout import Category

ARMS = ("labels", "no labels")
MOST_CAPTIONS = 400
"""Captions of a latent cache that are read; the last ones, of which some are held out."""
TITLES = {"labels": "with the label prior", "no labels": "without labels"}


def diagnose(run: Run, look: Look) -> Diagnosis:
    """Read the router's weights and compare them with the truth.

    Raises:
        InputError: no router, or see `pila.lab.diagnose.subject.prepared`.
    """
    rows, about = _rows(run, look)
    found = {arm: _summary([r for r in rows if r["method"] == arm]) for arm in ARMS}
    return Diagnosis(
        name="routing",
        title="Routing",
        about=about,
        numbers={"levels": list(LEVELS), "arms": found},
        pictures=_pictures(found),
        tables=_tables(found),
    )


def _rows(run: Run, look: Look) -> tuple[list[dict[str, Any]], str]:
    """The weights of every prompt at every level, and which prompts these are."""
    data = run.stages[-1].config.get("data") if run.stages else None
    if data is not None and look.model is None:
        return _of_cache(run, Path(data))
    from pila.lab.experiments.probe import probed

    setting = prepared(run, look, "PilaAdapter", what="router")
    methods = [setting.method, setting.untold]
    rows = probed(methods, setting.protocol, setting.clips, processes=setting.processes)
    return rows, setting.about


def _of_cache(run: Run, cache: Path) -> tuple[list[dict[str, Any]], str]:
    from pila.adapter import PilaAdapter
    from pila.data.shards import Shards
    from pila.lab.experiments.probe import routed

    folder = run.require("PilaAdapter", what="router")
    adapter = PilaAdapter.from_pretrained(folder, use_safetensors=True).eval()
    shards = Shards(cache)
    chosen = range(max(0, len(shards) - MOST_CAPTIONS), len(shards))
    rows = []
    for index in chosen:
        batch = shards.batch([index])
        of = {"scene": cache.name, "seed": index}
        for arm, told in zip(ARMS, (True, False), strict=True):
            made = routed(adapter, batch["text"][0], batch["flags"][0], told=told, **of)
            rows += [{"method": arm, **row} for row in made]
    return rows, f"the last {len(chosen)} captions of the latent cache {cache}."


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the numbers are of one arm."""
    from pila.lab.experiments.probe import by_prompt, correlation, routing, spread_of_weight

    shares = routing(rows)
    own, above = mean_estimate(shares["own"]), paired_difference(shares["own"], shares["chance"])
    levels = [routing([r for r in rows if r["sigma"] == level]) for level in LEVELS]
    return {
        "prompts": len(by_prompt(rows)),
        "weights": shares["weights"],
        "prompts_of": _counts(rows),
        "own": [own.value, own.low, own.high],
        "chance": float(shares["chance"].mean()),
        "above_chance": [above.value, above.low, above.high],
        "p": above.p,
        "first": float(shares["first"].mean()),
        "own_by_level": [float(found["own"].mean()) for found in levels],
        "correlation": correlation(rows).tolist(),
        **spread_of_weight(rows),
        "effective_by_level": [
            spread_of_weight([r for r in rows if r["sigma"] == level])["effective"]
            for level in LEVELS
        ],
    }


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Prompts in which each category is at work."""
    from pila.lab.experiments.probe import categories_of

    prompts = {(r["scene"], r["seed"]): categories_of(r) for r in rows}
    return {c.value: sum(c in own for own in prompts.values()) for c in Category}


def _pictures(found: Mapping[str, Any]) -> list[Picture]:
    told, untold = (found[arm] for arm in ARMS)
    return [
        Picture(
            name="routing-weights",
            title="Weight of each expert, by the prompts' true category",
            look="A bright diagonal: prompts of a category go to its expert; what is left of it "
            "without labels is what the router has learnt itself.",
            alt="Two heat maps of prompts' category against expert. "
            + " ".join(f"{TITLES[arm]}: {_diagonal(found[arm])}." for arm in ARMS),
            draw=partial(_draw_weights, found),
        ),
        Picture(
            name="routing-levels",
            title="Routing over noise, and use of the experts",
            look="The weight on the prompts' own categories lies above chance at every noise "
            "level, and no expert is left without use.",
            alt=f"Weight on own categories {told['own'][0]:.2f} with labels and "
            f"{untold['own'][0]:.2f} without, chance {told['chance']:.2f}; effective number of "
            f"experts {told['effective']:.1f} and {untold['effective']:.1f}.",
            draw=partial(_draw_levels, found),
        ),
        Picture(
            name="routing-correlation",
            title="Experts that are used together",
            look="Related categories, such as thermal and phase change, go together; without "
            "labels this is the router's own sense of them.",
            alt="Two heat maps of the correlation between experts' weights over prompts; thermal "
            f"with phase change {_pair(told):.2f} with labels and {_pair(untold):.2f} without.",
            draw=partial(_draw_correlation, found),
        ),
    ]


def _diagonal(arm: Mapping[str, Any]) -> str:
    own = [f"{words(c)} {w[c]:.2f}" for c, w in arm["weights"].items()]
    return "on its own expert " + ", ".join(own)


def _pair(arm: Mapping[str, Any]) -> float:
    order = list(Category)
    return arm["correlation"][order.index(Category.THERMAL)][order.index(Category.PHASE_CHANGE)]


def _tables(found: Mapping[str, Any]) -> list[Table]:
    columns = ("labels", "prompts", "own weight", "chance", "above chance", "p", "first")
    tables = [
        Table(
            name="routing",
            title="Weight on the experts of the categories at work; first: how often the heaviest "
            "expert is one of them; effective: exp(entropy), of a prompt and of the mean",
            columns=(*columns, "effective", "effective of mean"),
            rows=[
                (
                    TITLES[arm],
                    f["prompts"],
                    f["own"],
                    f["chance"],
                    f["above_chance"],
                    f["p"],
                    f["first"],
                    f["effective"],
                    f["effective_overall"],
                )
                for arm, f in found.items()
            ],
        )
    ]
    for arm, f in found.items():
        rows = [
            (words(c), f["prompts_of"][c], *(weights[e.value] for e in Category))
            for c, weights in f["weights"].items()
        ]
        rows.append(("all", f["prompts"], *f["use"].values()))
        tables.append(
            Table(
                name=f"routing-weights-{arm.replace(' ', '-')}",
                title=f"Mean weight of each expert, {TITLES[arm]}",
                columns=("prompts of", "prompts", *(words(c) for c in Category)),
                rows=rows,
            )
        )
    return tables


def _draw_weights(found: Mapping[str, Any]) -> Any:
    figure, axes = grid(1, 2, height=3.4, sharey=True)
    highest = max(w for arm in ARMS for row in found[arm]["weights"].values() for w in row.values())
    image = None
    for panel, arm in zip(axes[0], ARMS, strict=True):
        weights = found[arm]["weights"]
        rows = [f"{words(c)} (n = {found[arm]['prompts_of'][c]})" for c in weights]
        values = [list(w.values()) for w in weights.values()]
        scale = {"vmin": 0, "vmax": highest, "cmap": AMOUNT}
        image = heat(panel, values, rows, [words(c) for c in Category], **scale)
        panel.set_title(TITLES[arm])
        panel.set_xlabel("expert")
        for i, category in enumerate(weights):
            j = list(Category).index(Category(category))
            _frame_cell(panel, i, j)
    axes[0, 0].set_ylabel("prompts of (n prompts)")
    figure.colorbar(image, ax=axes, label="mean routing weight", shrink=0.8)
    return figure


def _frame_cell(panel: Any, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    box = (column - 0.48, row - 0.48), 0.96, 0.96
    panel.add_patch(Rectangle(*box, fill=False, edgecolor=SECOND, linewidth=1))


def _draw_levels(found: Mapping[str, Any]) -> Any:
    figure, axes = grid(1, 3, height=2.4, width=PAGE, width_ratios=(1, 1, 1.2))
    looks = {"labels": (FIRST, "-", "o"), "no labels": (SECOND, "--", "s")}
    own, effective, use = axes[0]
    for arm, (colour, style, marker) in looks.items():
        f = found[arm]
        look = {"color": colour, "linestyle": style, "marker": marker, "markersize": 2.5}
        own.plot(LEVELS, f["own_by_level"], label=TITLES[arm], **look)
        effective.plot(LEVELS, f["effective_by_level"], **look)
    chance, n = found["labels"]["chance"], found["labels"]["prompts"]
    own.axhline(chance, color=INK, linewidth=0.6)
    own.annotate("chance", (LEVELS[0], chance), (0, 2), textcoords="offset points", fontsize=6)
    own.set_ylim(0, 1)
    own.set_ylabel(f"weight on own categories (n = {n})")
    own.legend(loc="upper left")
    effective.set_ylim(1, 8)
    effective.set_ylabel("effective number of experts")
    for panel in (own, effective):
        panel.set_xlabel("noise level σ")
        panel.grid(axis="y")
    places = np.arange(len(Category))
    for offset, arm in ((-0.2, "labels"), (0.2, "no labels")):
        values = list(found[arm]["use"].values())
        use.barh(places + offset, values, height=0.38, color=looks[arm][0])
    use.set_yticks(places, [words(c) for c in Category])
    use.invert_yaxis()
    use.axvline(1 / len(Category), color=INK, linewidth=0.6)
    use.set_xlabel("mean weight (line: even use)")
    return figure


def _draw_correlation(found: Mapping[str, Any]) -> Any:
    figure, axes = grid(1, 2, height=3.3, sharey=True)
    names = [words(c) for c in Category]
    image = None
    for panel, arm in zip(axes[0], ARMS, strict=True):
        scale = {"vmin": -1, "vmax": 1, "cmap": SIGNED}
        image = heat(panel, found[arm]["correlation"], names, names, **scale)
        panel.set_title(f"{TITLES[arm]} (n = {found[arm]['prompts']} prompts)")
        panel.set_xlabel("expert")
    axes[0, 0].set_ylabel("expert")
    figure.colorbar(image, ax=axes, label="correlation of weights over prompts", shrink=0.8)
    return figure
