"""How large the correction is, when and where: by noise level, denoising step, frame and place.

How a clip changes with the steps that are corrected (the paper's Figure 10 and Table 13) is
measured on whole generations: `pila experiment step-window`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pila.lab.diagnose.diagnosis import Diagnosis, Picture, Table
from pila.lab.diagnose.experts import SHOWN, seen_maps
from pila.lab.diagnose.maps import Beside, beside_truth
from pila.lab.diagnose.run_folder import Run
from pila.lab.diagnose.style import AMOUNT, FIRST, GRID, INK, SECOND, THIRD, grid, words
from pila.lab.diagnose.subject import Look, Setting, prepared
from pila.lab.experiments.clip_jobs import ClipJob, gathered
from pila.lab.experiments.expert_maps import held_against
from pila.lab.experiments.pairs import LEVELS
from pila.lab.experiments.probe import by_level, probed
from pila.lab.experiments.sampling import call_options, noise_of, pipeline
from pila.lab.experiments.store import Rows

ROWS = 1
"""Version of what a row of sampled corrections holds."""
CLIPS = 4
"""Scenes that are sampled and drawn, unless some are named."""


def diagnose(run: Run, look: Look) -> Diagnosis:
    """Read the correction on all true clips, record it in some generations, and map it.

    Raises:
        InputError: no adapter, or see `pila.lab.diagnose.subject.prepared`.
    """
    setting = prepared(run, look, "PilaAdapter", "PlainAdapter", what="correction")
    rows = probed([setting.method], setting.protocol, setting.clips, processes=setting.processes)
    levels = {"sigma": list(LEVELS), **by_level(rows), **_spread(rows)}
    scenes = list(dict.fromkeys(scene for scene, _ in setting.shown()))
    scenes = scenes if look.show else scenes[:CLIPS]
    steps = _sampled(setting, scenes)
    shown = _shown(setting, scenes)
    numbers = {
        "clips": len({(r["scene"], r["seed"]) for r in rows}),
        "by_level": levels,
        "by_step": steps,
        "where": [{k: v for k, v in one.items() if k not in ("map", "truth")} for one in shown],
        "where_sigma": LEVELS[SHOWN],
    }
    return Diagnosis(
        name="correction",
        title="Correction",
        about=f"{setting.about} By step: {len(scenes)} generations, prompts of "
        f"{', '.join(map(words, scenes))}.",
        numbers=numbers,
        pictures=_pictures(setting, numbers, shown),
        tables=_tables(numbers),
    )


def _spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Tenths of the clips with the least and the largest correction, at each level."""
    found: dict[str, list[float]] = {"correction_low": [], "correction_high": []}
    for level in LEVELS:
        sizes = [r["correction"] for r in rows if r["sigma"] == level]
        for name, part in zip(found, np.quantile(sizes, [0.1, 0.9]), strict=True):
            found[name].append(float(part))
    return found


def _sampled(setting: Setting, scenes: Sequence[str]) -> dict[str, Any]:
    """Means over one generation of each scene: RMS [steps, t], and over v's, gate, sigma."""
    jobs = setting.jobs(scenes)
    made = gathered(jobs, _sample, name="correction", version=[ROWS], processes=setting.processes)
    frames = np.mean([row["frame_rms"] for row in made], axis=0)
    return {
        "prompts": len(made),
        "sigma": made[0]["sigma"],
        "gate": np.mean([row["gate"] for row in made], axis=0).tolist(),
        "rms": np.sqrt(np.mean(frames**2, axis=1)).tolist(),
        "over_v": np.mean([row["over_v"] for row in made], axis=0).tolist(),
        "frame_rms": frames.tolist(),
    }


def _sample(job: ClipJob) -> Rows:
    """The correction in one generation: of the job's first prompt."""
    from pila.generate.recorder import Recorder

    protocol, method = job.protocol, job.method
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    seeds = job.seeds[:1]
    captions = [clip.caption for clip in protocol.true_clips(job.scene, seeds)]
    recorder = Recorder(first_step=1)
    sigmas, sizes = [], []

    def read(adapter: Any, args: tuple[Any, ...], output: Any) -> None:
        _, v, sigma = args[:3]
        sigmas.append(float(sigma[0]))
        sizes.append(float(v[0].float().square().mean().sqrt()))

    handle = pipe.adapter.register_forward_hook(read)
    try:
        pipe(
            prompt=captions,
            negative_prompt="",
            generator=noise_of(seeds, 0),
            record=recorder,
            **call_options(protocol, method, captions, seeds),
        )
    finally:
        handle.remove()
    frames = np.stack(recorder.frame_rms)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    return [
        {
            "frame_rms": frames.tolist(),
            "gate": recorder.gates,
            "sigma": sigmas,
            "over_v": (rms / np.array(sizes)).tolist(),
        }
    ]


def _shown(setting: Setting, scenes: Sequence[str]) -> list[dict[str, Any]]:
    """Of each scene the first clip's map of the correction, and its overlap with all activity."""
    found = []
    for scene, clips in seen_maps(setting, scenes).items():
        truths = [clip["truth"].max(0) for clip in clips]
        overlap = held_against([c["correction"] for c in clips], [t > 0 for t in truths])
        known = [o for o in overlap if o is not None]
        means = {n: float(np.mean([o[n] for o in known])) for n in (known[0] if known else ())}
        first = {"map": clips[0]["correction"], "truth": truths[0]}
        found.append({"scene": scene, "clips": len(known), **means, **first})
    return found


def _pictures(
    setting: Setting, numbers: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]
) -> list[Picture]:
    levels, steps = numbers["by_level"], numbers["by_step"]
    return [
        Picture(
            name="correction-levels",
            title="Size and worth of the correction, by noise level",
            look="The correction is small beside v where the gate lets it be, and the flow error "
            "lies below 1, the frozen generator's, at the levels where it acts.",
            alt=f"From noise level {LEVELS[0]:.2f} to {LEVELS[-1]:.2f}: correction over v "
            f"{levels['correction'][0]:.3f} to {levels['correction'][-1]:.3f}, gate "
            f"{levels['gate'][0]:.2f} to {levels['gate'][-1]:.2f}, flow error over the frozen "
            f"generator's {levels['flow'][0]:.3f} to {levels['flow'][-1]:.3f}.",
            draw=partial(_draw_levels, numbers),
        ),
        Picture(
            name="correction-steps",
            title="The correction in sampling, by denoising step and frame",
            look="Whether the correction works throughout sampling or in some steps alone (a gate "
            "dims the early, noisy ones), and whether one frame takes most of it.",
            alt=f"Heat map of {len(steps['rms'])} denoising steps by latent frames; RMS "
            f"{steps['rms'][0]:.3f} at the first step and {steps['rms'][-1]:.3f} at the last, "
            f"over v {steps['over_v'][0]:.3f} and {steps['over_v'][-1]:.3f}.",
            draw=partial(_draw_steps, steps),
        ),
        Picture(
            name="correction-where",
            title="Where the correction acts",
            look="Bright cells lie on what moves or changes; an even map is a global change.",
            alt=f"Maps over time at noise level {LEVELS[SHOWN]:.2f}: "
            + "; ".join(map(_said, shown))
            + ".",
            draw=partial(_draw_where, setting, shown),
        ),
    ]


def _said(one: Mapping[str, Any]) -> str:
    if not one["clips"]:
        return f"{words(one['scene'])} without activity"
    return f"{words(one['scene'])} area {one['area']:.2f}, chance {one['area_chance']:.2f}"


def _tables(numbers: Mapping[str, Any]) -> list[Table]:
    levels, steps = numbers["by_level"], numbers["by_step"]
    names = ("sigma", "correction", "correction_low", "correction_high", "gate", "flow")
    in_steps = ("sigma", "gate", "rms", "over_v")
    frames = np.array(steps["frame_rms"])
    return [
        Table(
            name="correction-levels",
            title="By noise level, means over clips",
            columns=("σ", "RMS over v's", "10 %", "90 %", "gate", "flow error over frozen"),
            rows=list(zip(*(levels[n] for n in names), strict=True)),
        ),
        Table(
            name="correction-steps",
            title="By denoising step, means over generations; f0, f1, ... are latent frames",
            columns=(
                *("step", "σ", "gate", "RMS", "RMS over v's"),
                *(f"f{t}" for t in range(frames.shape[1])),
            ),
            rows=[
                (i, *figures, *map(float, by_frame))
                for i, (figures, by_frame) in enumerate(
                    zip(zip(*(steps[n] for n in in_steps), strict=True), frames, strict=True), 1
                )
            ],
        ),
        Table(
            name="correction-where",
            title="Area under the ROC curve of the correction for cells with any true activity",
            columns=("scene", "clips", "area", "chance", "IoU", "IoU chance"),
            rows=[
                (
                    words(one["scene"]),
                    one["clips"],
                    *(one.get(n) for n in ("area", "area_chance", "iou", "iou_chance")),
                )
                for one in numbers["where"]
            ],
        ),
    ]


def _draw_levels(numbers: Mapping[str, Any]) -> Any:
    levels, n = numbers["by_level"], numbers["clips"]
    figure, axes = grid(1, 3, height=2.3)
    size, gate, flow = axes[0]
    size.fill_between(
        LEVELS, levels["correction_low"], levels["correction_high"], color=FIRST, alpha=0.2, lw=0
    )
    size.plot(LEVELS, levels["correction"], color=FIRST, marker="o", markersize=2.5)
    size.set_ylabel(f"RMS of the correction over v's\n(mean, 10 to 90 % of n = {n} clips)")
    size.set_ylim(bottom=0)
    gate.plot(LEVELS, levels["gate"], color=THIRD, marker="^", markersize=2.5)
    gate.set_ylabel("gate g(σ)")
    gate.set_ylim(0, max(1.05, *levels["gate"]))
    flow.plot(LEVELS, levels["flow"], color=SECOND, marker="s", markersize=2.5)
    flow.axhline(1, color=INK, linewidth=0.6)
    flow.set_ylabel("flow error over the frozen\ngenerator's (below 1 helps)")
    for panel in axes[0]:
        panel.set_xlabel("noise level σ")
        panel.grid(axis="y")
    return figure


def _draw_steps(steps: Mapping[str, Any]) -> Any:
    frames = np.array(steps["frame_rms"])
    count = len(frames)
    figure, axes = grid(2, 1, height=3.6, sharex=True, height_ratios=(1.3, 1))
    heat, line = axes[:, 0]
    extent = (0.5, count + 0.5, -0.5, frames.shape[1] - 0.5)
    look = {"aspect": "auto", "origin": "lower", "cmap": AMOUNT, "vmin": 0}
    image = heat.imshow(frames.T, extent=extent, vmax=float(frames.max()) or 1.0, **look)
    figure.colorbar(image, ax=heat, label="RMS [latent units]")
    heat.set_ylabel("latent frame")
    places = np.arange(1, count + 1)
    line.plot(places, steps["over_v"], color=FIRST, marker="o", markersize=2.5)
    line.set_ylabel("RMS of the correction\nover v's")
    line.set_ylim(bottom=0)
    line.grid(axis="y", color=GRID)
    line.set_xlabel(
        f"denoising step, noise to clean; above, its noise level σ (n = {steps['prompts']} prompts)"
    )
    beside = line.twinx()
    beside.plot(places, steps["gate"], color=SECOND, linestyle="--")
    beside.set_ylim(0, max(1.05, *steps["gate"]))
    beside.set_ylabel("gate g(σ), dashed", color=SECOND)
    beside.spines["right"].set_visible(True)
    above = heat.secondary_xaxis("top")
    some = [int(i) for i in np.linspace(0, count - 1, min(count, 8)).round()]
    above.set_xticks([places[i] for i in some], [f"{steps['sigma'][i]:.2f}" for i in some])
    return figure


def _draw_where(setting: Setting, shown: Sequence[Mapping[str, Any]]) -> Any:
    return beside_truth(
        [
            Beside(
                frames=setting.first_clip(one["scene"]).frames,
                truth=one["truth"],
                seen=one["map"],
                low=0,
                names=(
                    words(one["scene"]),
                    "truly active,\nany category",
                    f"correction,\n0 to {one['map'].max():.2g}",
                ),
                said=f"area {one['area']:.2f}\nchance {one['area_chance']:.2f}\nn = {one['clips']}"
                if one["clips"]
                else "",
            )
            for one in shown
        ],
        title=f"RMS of the correction over channels at σ = {LEVELS[SHOWN]:.2f}; t in latent "
        "frames; area under the ROC curve, mean over n clips of the scene",
    )
