"""Each slot's proxy beside the true field over time, and how much of the truth it holds."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.maps import Sheet, picks
from pila.lab.diagnose.run_folder import Run
from pila.lab.diagnose.style import AMOUNT, FIRST, INK, SECOND, SIGNED, THIRD, grid, words
from pila.lab.diagnose.subject import Look, Setting, prepared
from pila.lab.experiments import bank
from pila.lab.experiments.store import Rows, rows_of
from pila.physics.layout import Slot

ROWS = 1
"""Version of what a row of shown fields holds."""
SHOWN = 0
"""Which noise level is drawn: the least, where the clip is clearest."""
CLIPS = 3
"""Scenes that are drawn unless some are named: those whose fields fill the most slots together."""
COLUMNS = 5
"""Latent frames that are drawn of a clip, in either half."""
COMPONENTS = {1: ("",), 2: (" x", " y"), 3: (" xx", " yy", " xy")}
COVERED = 0.05
"""Least share of a cell in which a field must be defined to be drawn there."""


def diagnose(run: Run, look: Look) -> Diagnosis:
    """Read R^2 on all clips, and draw one clip of some scenes.

    Raises:
        InputError: no bank, or see `pila.lab.diagnose.subject.prepared`.
    """
    setting = prepared(run, look, "PilaAdapter", what="bank")
    name = "bank"
    rows = bank.read(
        {name: str(setting.adapter)},
        model=setting.protocol.model,
        clips=setting.clips,
        processes=setting.processes,
        scenes=setting.protocol.scenes,
    )
    r2 = bank.tabulate(rows, [name])["r2"][name]
    counts = {s.value: len({(r["scene"], r["seed"]) for r in rows if s in r["r2"]}) for s in Slot}
    shown = _fields(setting, look.show or _chosen(rows))
    numbers = {
        "levels": list(bank.LEVELS),
        "r2": r2,
        "clips_of": counts,
        "shown": [{"scene": s, "r2": {f["slot"]: f["r2"] for f in fs}} for s, fs in shown.items()],
        "shown_sigma": bank.LEVELS[SHOWN],
    }
    return Diagnosis(
        name="bank",
        title="Bank",
        about=f"{setting.about} R² is that of the best affine fit of the true field to the proxy, "
        "a fit a clip, where the field is defined.",
        numbers=numbers,
        pictures=_pictures(setting, shown, r2, counts),
        tables=[_table(r2, counts)],
    )


def _chosen(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Scenes that fill the most slots, one after another."""
    slots: dict[str, set[str]] = {}
    for row in rows:
        slots.setdefault(row["scene"], set()).update(row["r2"])
    chosen: list[str] = []
    missing = set().union(*slots.values())
    while missing and len(chosen) < CLIPS:
        best = max(slots, key=lambda scene: len(slots[scene] & missing))
        chosen.append(best)
        missing -= slots[best]
    return chosen


def _fields(setting: Setting, scenes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Of the first clip of each scene what is drawn of each slot."""
    jobs = [
        bank.Job(
            model=setting.protocol.model,
            adapter=str(setting.adapter),
            scene=scene,
            clips=1,
            size=setting.protocol.settings["height"],
            num_frames=setting.protocol.settings["num_frames"],
        )
        for scene in scenes
    ]
    made = rows_of(jobs, _see, _key, name="bank-fields", processes=setting.processes)
    return dict(zip(scenes, made, strict=True))


def _key(job: bank.Job) -> list[Any]:
    return [ROWS, SHOWN, *bank.key(job)]


def _see(job: bank.Job) -> Rows:
    """A row for each slot that has a true field: one component of both, and R^2 of all."""
    (seen,) = bank.seen_clips(job)
    proxies = seen.proxies[bank.LEVELS[SHOWN]]
    agreed = bank.agreement(proxies, seen.wanted)
    rows = []
    for slot in Slot:
        if slot not in agreed:
            continue
        true, mask = seen.wanted[slot]
        fitted = bank.best_fit(proxies[slot], true, mask)
        # The component with the most to explain stands for all.
        spread = (true * (mask > COVERED)).square().sum((0, 2, 3, 4))
        component = int(spread.argmax())
        rows.append(
            {
                "slot": slot.value,
                "component": COMPONENTS[true.shape[1]][component],
                "r2": agreed[slot],
                "true": true[0, component].tolist(),
                "fitted": fitted[0, component].tolist(),
                "mask": (mask[0, 0] > COVERED).int().tolist(),
            }
        )
    return rows


def _pictures(
    setting: Setting, shown: Mapping[str, Any], r2: Mapping[str, Any], counts: Mapping[str, int]
) -> list[Picture]:
    level = str(bank.LEVELS[SHOWN])
    pictures = [
        Picture(
            name="bank-r2",
            title="How much of the true fields the bank holds",
            look="Slots far right hold their field at that noise level; one at 0 holds nothing of "
            "it, whatever its residuals say.",
            alt=f"R² by slot at noise level {level}: "
            + ", ".join(f"{words(s)} {v[0]:.2f}" for s, v in r2["by_level"][level].items())
            + ".",
            draw=partial(_draw_r2, r2["by_level"], counts),
        )
    ]
    pictures += [
        Picture(
            name=f"bank-{scene}",
            title=f"True fields and proxies over time: {words(scene)}",
            look="The right half repeats the left: the same places at the same times; grey is "
            "where a field is not defined.",
            alt=f"First held-out clip of {words(scene)}, true fields left and fitted proxies "
            "right: " + ", ".join(f"{words(f['slot'])} R² {f['r2']:.2f}" for f in fields) + ".",
            draw=partial(_draw_fields, setting, scene, fields),
        )
        for scene, fields in shown.items()
        if fields
    ]
    return pictures


def _table(r2: Mapping[str, Any], counts: Mapping[str, int]) -> Table:
    levels = r2["by_level"]
    return Table(
        name="bank",
        title="R² by slot and noise level, mean over clips with 95 % intervals",
        columns=("slot", "clips", *(f"σ = {level}" for level in levels)),
        rows=[
            (words(s), counts[s], *(table.get(s) for table in levels.values()))
            for s in Slot
            if any(s in table for table in levels.values())
        ],
    )


def _draw_r2(levels: Mapping[str, Any], counts: Mapping[str, int]) -> Any:
    slots = [s.value for s in Slot if any(s in table for table in levels.values())]
    figure, axes = grid(1, 1, height=0.9 + 0.28 * len(slots), width=4.6)
    panel, places = axes[0, 0], np.arange(len(slots))
    looks = zip(levels.items(), (FIRST, SECOND, THIRD), "os^", (-0.22, 0, 0.22), strict=True)
    for (level, table), colour, marker, offset in looks:
        there = [i for i, s in enumerate(slots) if s in table]
        if not there:
            continue
        middle, low, high = np.array([table[slots[i]] for i in there]).T
        bars = [middle - low, high - middle]
        look = {"color": colour, "fmt": marker, "markersize": 3.5, "capsize": 1.5}
        panel.errorbar(middle, places[there] + offset, xerr=bars, label=f"σ = {level}", **look)
    panel.set_yticks(places, [f"{words(s)} (n = {counts[s]})" for s in slots])
    panel.invert_yaxis()
    panel.set_xlim(-0.02, 1)
    panel.axvline(0, color=INK, linewidth=0.6)
    panel.grid(axis="x")
    panel.set_axisbelow(True)
    panel.set_xlabel("R² of the true field (mean over n clips, 95 % interval)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _draw_fields(setting: Setting, scene: str, fields: Sequence[Mapping[str, Any]]) -> Any:
    times = picks(len(fields[0]["true"]), COLUMNS)
    n = len(times)
    sheet = Sheet(
        len(fields) + 1,
        2 * n,
        heads=(0, 1),
        halves=True,
        title=f"{words(scene)}: lengths in latent cells, times in latent frames (t), masses and "
        "temperatures of the scene; grey: not defined",
    )
    sheet.frames(0, setting.first_clip(scene, bank.FIRST_SEED).frames, times)
    sheet.before(0, "frames")
    sheet.times(0, times)
    sheet.times(1, times, start=n)
    sheet.note(0, n + n // 2, f"right: the proxy's best affine fit\nat σ = {bank.LEVELS[SHOWN]}")
    for row, field in enumerate(fields, 1):
        true, fitted, mask = (np.array(field[k]) for k in ("true", "fitted", "mask"))
        inside = true[mask > 0]
        low, high = float(inside.min()), float(inside.max())
        # Both halves on the scale of the truth; values with a sign are centred.
        if low < 0:
            high = max(-low, high)
            low = -high
        scale: dict[str, Any] = {"cmap": SIGNED if low < 0 else AMOUNT, "low": low, "high": high}
        sheet.maps(row, true, times, mask=mask, **scale)
        sheet.maps(row, fitted, times, mask=mask, start=n, **scale)
        bounds = f"{_short(low)} to {_short(high)}"
        sheet.before(row, f"{words(field['slot'])}{field['component']}\n{bounds}")
        sheet.behind(row, f"R² {field['r2']:.2f}", columns=2 * n)
    return sheet.figure


def _short(value: float) -> str:
    """A number of few digits, without an exponent where it is large."""
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
