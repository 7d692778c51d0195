"""What the correction rests on: the gain that is lost where a part of the adapter says nothing."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.run_folder import Run
from pila.lab.diagnose.style import FIRST, INK, SECOND, SIGNED, grid, heat, words
from pila.lab.diagnose.subject import Look, Setting, prepared
from pila.lab.experiments.paths import ALL_SLOTS, gain, measured, of_category, shares
from pila.physics import recipe_mask
from pila.physics.layout import Category, Slot

BY = ("mean", "other")
"""What a part is replaced by: its mean, another clip's."""


def diagnose(run: Run, look: Look) -> Diagnosis:
    """Measure the shares on all clips, over all and by category.

    Raises:
        InputError: no PILA adapter, or see `pila.lab.diagnose.subject.prepared`.
    """
    setting = prepared(run, look, "PilaAdapter", what="bank")
    rows = measured(setting.method, setting.protocol, setting.clips, processes=setting.processes)
    categories: dict[str, Any] = {}
    for category in Category:
        if mine := of_category(rows, category):
            reads = _read_by(category)
            found = {by: shares(mine, by) for by in BY}
            unused = [s for s in reads if found["other"][s][1] <= 0]
            categories[category.value] = {**found, "reads": reads, "not_shown_to_count": unused}
    numbers = {
        "flow_over_frozen": gain(rows),
        "share": {by: shares(rows, by) for by in BY},
        "by_category": categories,
    }
    return Diagnosis(
        name="paths",
        title="Paths",
        about=f"{setting.about} A share is the part of the gain in flow error (of what moves) over "
        "the frozen generator that is lost where one part is replaced by its mean, or by that of "
        "another clip. Shares need not add up to 1, and one above 1 does harm.",
        numbers=numbers,
        pictures=_pictures(setting, numbers),
        tables=_tables(numbers),
    )


def printed(numbers: Mapping[str, Any]) -> str:
    """The shares as lines for a terminal."""
    share = numbers["share"]
    width = max(map(len, share["mean"]))
    lines = [
        f"{'share of the gain lost':<{width + 2}}  {'by its mean':>22}  {'by another clip':>22}"
    ]
    for name in share["mean"]:
        two = ["{:.3f} [{:.3f}, {:.3f}]".format(*share[by][name]) for by in BY]
        lines.append(f"  {words(name):<{width}}  {two[0]:>22}  {two[1]:>22}")
    ratio = numbers["flow_over_frozen"]
    lines.append(f"flow error of what moves, over the frozen generator's: {ratio:.3f}")
    return "\n".join(lines)


def _read_by(category: Category) -> list[str]:
    """The slots that a category's relations read."""
    row = recipe_mask()[list(Category).index(category)]
    return [slot.value for slot in Slot if bool(row[slot.channels].any())]


def _pictures(setting: Setting, numbers: Mapping[str, Any]) -> list[Picture]:
    share = numbers["share"]
    bank = {by: share[by][ALL_SLOTS][0] for by in BY}
    return [
        Picture(
            name="paths",
            title="Share of the gain that is lost without a part",
            look="The bank's share is near 1 where all of the correction passes through it, as in "
            "the paper; near 0, the correction goes around it.",
            alt=f"Bank {bank['mean']:.2f} by its mean and {bank['other']:.2f} by another clip's; "
            + "; ".join(f"{n} {share['mean'][n][0]:.2f}" for n in share["mean"] if n != ALL_SLOTS)
            + ".",
            draw=partial(_draw_shares, share),
        ),
        Picture(
            name="paths-slots",
            title="Share of each slot, by category of the clip",
            look="A slot that a category's relations read (framed) counts in clips of that "
            "category.",
            alt="Shares lost where the slot is another clip's, largest of each category: "
            + "; ".join(map(_largest, numbers["by_category"].items()))
            + ".",
            draw=partial(_draw_slots, numbers["by_category"]),
        ),
    ]


def _largest(item: tuple[str, Mapping[str, Any]]) -> str:
    category, found = item
    slot = max(Slot, key=lambda s: found["other"][s.value][0])
    return f"{words(category)} {words(slot)} {found['other'][slot.value][0]:.2f}"


def _tables(numbers: Mapping[str, Any]) -> list[Table]:
    share = numbers["share"]
    return [
        Table(
            name="paths",
            title="Share of the gain that is lost where a part is replaced",
            columns=("part", "by its mean", "by another clip's"),
            rows=[(words(n), share["mean"][n], share["other"][n]) for n in share["mean"]],
        ),
        Table(
            name="paths-slots",
            title="The same of the slots that a category's relations read, in its clips, by "
            "another clip's",
            columns=("category", "slot", "share"),
            rows=[
                (words(category), words(slot), found["other"][slot])
                for category, found in numbers["by_category"].items()
                for slot in found["reads"]
            ],
        ),
    ]


def _draw_shares(share: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Any:
    names = list(share["mean"])
    figure, axes = grid(1, 1, height=0.8 + 0.22 * len(names))
    panel = axes[0, 0]
    places = np.arange(len(names))
    for by, colour, marker, shift in (("mean", FIRST, "o", -0.12), ("other", SECOND, "s", 0.12)):
        middle, low, high = np.array([share[by][n] for n in names]).T
        panel.errorbar(
            middle,
            places + shift,
            xerr=[middle - low, high - middle],
            fmt=marker,
            color=colour,
            markersize=3.5,
            capsize=2,
            label="its mean" if by == "mean" else "another clip's",
        )
    for at in (0, 1):
        panel.axvline(at, color=INK, linewidth=0.6)
    panel.set_yticks(places, [words(n) for n in names])
    panel.invert_yaxis()
    panel.set_xlabel("share of the gain lost (95 % intervals over clips); 0 nothing, 1 all of it")
    panel.grid(axis="x")
    panel.set_axisbelow(True)
    figure.legend(title="replaced by", loc="outside upper center", ncols=2)
    return figure


def _draw_slots(categories: Mapping[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    figure, axes = grid(1, 1, height=2.9)
    panel = axes[0, 0]
    values = np.array([[f["other"][s.value][0] for s in Slot] for f in categories.values()])
    most = max(float(np.abs(values).max()), 1e-9)
    shown = values.clip(-1, 1)
    image = heat(
        panel,
        shown,
        [words(c) for c in categories],
        [words(s) for s in Slot],
        cmap=SIGNED,
        vmin=-min(most, 1),
        vmax=min(most, 1),
    )
    for i, found in enumerate(categories.values()):
        for j, slot in enumerate(Slot):
            if slot.value in found["reads"]:
                panel.add_patch(
                    Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1)
                )
    figure.colorbar(image, ax=panel, label="share of the gain lost")
    return figure
