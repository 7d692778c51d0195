"""Law errors on the simulated world: frozen, corrected, controls, and true clips through the VAE.

Prompts are held-out caption forms of held-out seeds; every method starts from the same noise.
A clip's error is the mean of its scene's law errors (0 perfect, 1 at most). A clip passes where
every law's error is within its tolerance, which 95 % of true clips through the VAE are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.backbones.embedded import find_attachments, find_model
from pila.errors import InputError
from pila.evaluate import measures
from pila.evaluate.round_trip import through_vae
from pila.evaluate.store import Rows, rows_of
from pila.evaluate.table import Estimate, gap_closed, mean_estimate
from pila.physics.layout import Category
from pila.provenance import commit, weights_hash
from pila.video import written_whole
from pila.world import SCENES, Canvas, Clip, measure, simulate

_Figure = Callable[[Mapping[str, Any]], float]

BATCH = 6
HELD_OUT_SEED = 500_000
"""First seed of the evaluated prompts; training starts at 1,000,000."""
ROWS = 2
"""Version of what a clip's row holds; files of another version are not read."""
TRUE, FROZEN = "true-through-vae", "frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is put on the generator, under a name, and how it is called."""

    name: str
    adapter: str | None = None
    """As `load_pipeline` takes it, several joined by "+"; or the folder of another generator with
    the same VAE and text encoder, such as a fine-tuned one."""
    adapter_scale: float = 1.0
    step_window: tuple[int, int] | None = None
    reference: str = "guided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is generated, the same for all methods."""

    model: str = "embedded"
    prompts: int = 96
    noise_seeds: int = 3
    first_seed: int = HELD_OUT_SEED
    steps: int | None = None
    """None takes the model's own default."""
    guidance_scale: float | None = None

    def __post_init__(self) -> None:
        if self.noise_seeds < 1:
            raise InputError(f"noise_seeds is {self.noise_seeds}; take at least 1")
        if self.prompts < len(self.scenes):
            raise InputError(
                f"prompts is {self.prompts}; take at least {len(self.scenes)}, one a scene"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The model's own sizes, steps and scenes (`pila.json`), with this protocol's changes."""
        settings = json.loads((find_model(self.model) / "pila.json").read_text())
        if self.steps is not None:
            settings["steps"] = self.steps
        if self.guidance_scale is not None:
            settings["guidance_scale"] = self.guidance_scale
        return settings

    @property
    def scenes(self) -> tuple[str, ...]:
        """The scenes that the model was trained on."""
        return tuple(self.settings["scenes"])

    def true_clips(self, scene: str) -> list[Clip]:
        """The true clip of every prompt of a scene, with its held-out caption."""
        each = self.prompts // len(self.scenes)
        seeds = range(self.first_seed, self.first_seed + each)
        canvas = Canvas(size=self.settings["height"])
        return [simulate(scene, s, canvas=canvas, held_out=True) for s in seeds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file of results: a method, a scene and a noise seed."""

    protocol: Protocol
    method: Method
    scene: str
    noise: int


def run(
    methods: Sequence[Method], out: Path, protocol: Protocol | None = None, *, processes: int = 2
) -> dict[str, Any]:
    """Generate, measure and tabulate; what was generated before under the same settings is kept.

    Writes `results.json`, `results.md` and `clips.jsonl` (every clip's seed, caption and law
    errors) into `out`.
    """
    protocol = protocol or Protocol()
    methods = [Method(name=FROZEN), *(m for m in methods if m.name != FROZEN)]
    jobs = [
        Job(protocol=protocol, method=m, scene=s, noise=n)
        for m in [Method(name=TRUE), *methods]
        for s in protocol.scenes
        # True clips have no noise: one pass of them serves all.
        for n in (range(protocol.noise_seeds) if m.name != TRUE else [0])
    ]
    rows = rows_of(jobs, _clips_of, _key, name="laws", processes=processes)
    clips = [
        {"method": job.method.name, "scene": job.scene, "noise_seed": job.noise, **row}
        for job, kept in zip(jobs, rows, strict=True)
        for row in kept
    ]
    kinds = [(scene, None) for scene in protocol.scenes]
    true = measures.measured(
        kinds,
        measures.TRUE_CLIPS,
        size=protocol.settings["height"],
        vae=find_model(protocol.model) / "vae",
        processes=processes,
    )
    tolerance = {
        scene: measures.tolerances(true[scene, measures.TRUE], scene, "vae") for scene, _ in kinds
    }
    results = tabulate(clips, [m.name for m in methods], tolerance)
    results |= {
        "commit": commit(),
        "protocol": {
            "model": protocol.model,
            "prompts": protocol.prompts,
            "noise_seeds": protocol.noise_seeds,
            "first_seed": protocol.first_seed,
            **protocol.settings,
        },
        "weights": {m.name: _weights(m) for m in methods if m.adapter},
    }
    with written_whole(out / "clips.jsonl") as part:
        part.write_text("".join(json.dumps(c) + "\n" for c in clips))
    with written_whole(out / "results.json") as part:
        part.write_text(json.dumps(results, indent=1))
    with written_whole(out / "results.md") as part:
        part.write_text(markdown(results))
    return results


def tabulate(
    clips: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    tolerance: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Errors, pass shares, gap closed and motion: overall, by category and by scene.

    Args:
        clips: a row for each, as `clips.jsonl` holds them.
        methods: in the table's order; true clips come first by themselves.
        tolerance: the largest error that passes, by scene and law.
    """
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for c in sorted(clips, key=lambda c: c["seed"]):
        rows.setdefault((c["method"], c["scene"]), []).append(c)
    scenes = list(tolerance)

    def per_prompt(method: str, some: Sequence[str], value: _Figure) -> np.ndarray:
        """Means over noise seeds, by prompt in order of scene and seed."""
        found = []
        for scene in some:
            prompts: dict[int, list[float]] = {}
            for c in rows[method, scene]:
                prompts.setdefault(c["seed"], []).append(value(c))
            found += [np.mean(values) for values in prompts.values()]
        return np.array(found)

    def passed(c: Mapping[str, Any]) -> float:
        return float(all(c["laws"][law] <= most for law, most in tolerance[c["scene"]].items()))

    def figures(method: str, some: Sequence[str]) -> dict[str, Any]:
        errors = {m: per_prompt(m, some, _error) for m in (FROZEN, method, TRUE)}
        closed = gap_closed(errors[FROZEN], errors[method], errors[TRUE])
        return {
            "error": _flat(mean_estimate(errors[method])),
            "passed": _flat(mean_estimate(per_prompt(method, some, passed))),
            "gap_closed": _flat(closed),
        }

    def row(method: str) -> dict[str, Any]:
        mine = [c for scene in scenes for c in rows[method, scene]]

        def to_true(figure: str) -> float:
            # Ratio of means: a mean of ratios would swing with the stillest true clips.
            return sum(c[figure] for c in mine) / sum(c[f"true_{figure}"] for c in mine)

        by_category = {
            category: figures(method, some)
            for category in Category
            if (some := [s for s in scenes if category in SCENES[s].categories])
        }
        by_scene = {
            scene: figures(method, [scene])
            | {
                "laws": {
                    law: float(per_prompt(method, [scene], lambda c, k=law: c["laws"][k]).mean())
                    for law in SCENES[scene].laws
                }
            }
            for scene in scenes
        }
        every = figures(method, scenes)
        closed = every.pop("gap_closed")
        return {
            "method": method,
            "prompts": len(per_prompt(method, scenes, _error)),
            "clips": len(mine),
            **every,
            **dict(zip(("gap_closed", "gap_closed_low", "gap_closed_high"), closed, strict=True)),
            "motion": to_true("motion"),
            "sharpness": to_true("sharpness"),
            "found": float(np.mean([c["found"] for c in mine])),
            "by_category": by_category,
            "by_scene": by_scene,
        }

    return {"rows": [row(method) for method in [TRUE, *methods]], "tolerance": dict(tolerance)}


def _error(c: Mapping[str, Any]) -> float:
    return float(np.mean(list(c["laws"].values())))


def markdown(results: Mapping[str, Any]) -> str:
    """The table that people read; simulated world, never Wan."""
    p = results["protocol"]
    lines = [
        "# Law errors on the simulated world",
        "",
        f"{p['prompts']} held-out prompts x {p['noise_seeds']} noise seeds; {p['steps']} steps, "
        f"guidance {p['guidance_scale']}; commit {results['commit'][:10]}. Brackets are 95 % "
        "bootstrap intervals over prompts. These are results on the simulated world, not on Wan.",
        "",
        "| method | law error | clips that pass | gap closed | motion | sharpness | scene found |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results["rows"]:
        lines.append(
            f"| {r['method']} | {_shown(r['error'])} | {_shown(r['passed'])} "
            f"| {r['gap_closed']:.3f} [{r['gap_closed_low']:.3f}, {r['gap_closed_high']:.3f}] "
            f"| {r['motion']:.2f} | {r['sharpness']:.2f} | {r['found']:.2f} |"
        )
    categories = list(results["rows"][0]["by_category"])
    for figure, title in (
        ("passed", "Clips that pass, by category"),
        ("gap_closed", "Gap closed, by category"),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| category | " + " | ".join(r["method"] for r in results["rows"]) + " |",
            "|---" * (1 + len(results["rows"])) + "|",
        ]
        lines += [
            f"| {category.replace('_', ' ')} | "
            + " | ".join(_shown(r["by_category"][category][figure]) for r in results["rows"])
            + " |"
            for category in categories
        ]
    for scene in results["tolerance"]:
        laws = SCENES[scene].laws
        lines += ["", f"## {scene}", ""]
        lines.append("| method | error | pass | gap closed | " + " | ".join(laws) + " |")
        lines.append("|---" * (4 + len(laws)) + "|")
        for r in results["rows"]:
            s = r["by_scene"][scene]
            values = " | ".join(f"{s['laws'][law]:.3f}" for law in laws)
            lines.append(
                f"| {r['method']} | {_shown(s['error'])} | {s['passed'][0]:.2f} "
                f"| {_shown(s['gap_closed'])} | {values} |"
            )
        limits = ", ".join(f"{law} {most:.3f}" for law, most in results["tolerance"][scene].items())
        lines += ["", f"Tolerances: {limits}."]
    return "\n".join(lines) + "\n"


def _clips_of(job: Job) -> Rows:
    """Make and measure the clips of one job."""
    truths = job.protocol.true_clips(job.scene)
    if job.method.name == TRUE:
        vae = _pipeline(job.protocol.model, None).vae
        clips = through_vae(vae, [truth.frames for truth in truths])
    else:
        prompts = [(truth.parameters["seed"], truth.caption) for truth in truths]
        clips = _sampled_clips(job, prompts)
    rows = []
    for truth, frames in zip(truths, clips, strict=True):
        laws = measure(job.scene, frames)
        rows.append(
            {
                "seed": truth.parameters["seed"],
                "caption": truth.caption,
                "laws": laws,
                "motion": _motion(frames),
                "true_motion": _motion(truth.frames),
                "sharpness": _sharpness(frames),
                "true_sharpness": _sharpness(truth.frames),
                "found": float(min(laws.values()) < 1.0),
            }
        )
    return rows


_pipelines: dict[str, Any] = {}


def _pipeline(model: str, adapter: str | None) -> Any:
    from pila.backbones.embedded import load_pipeline

    key = f"{model}|{adapter}"
    if key not in _pipelines:
        _pipelines.clear()
        if is_generator(adapter):
            _pipelines[key] = load_pipeline(str(adapter), None)
        else:
            _pipelines[key] = load_pipeline(model, adapter)
        _pipelines[key].set_progress_bar_config(disable=True)
    return _pipelines[key]


def _sampled_clips(job: Job, prompts: list[tuple[int, str]]) -> np.ndarray:
    import torch

    from pila.labels.parser import make_parser

    pipe = _pipeline(job.protocol.model, job.method.adapter)
    parser = make_parser("offline")
    settings = job.protocol.settings
    out = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        # The noise of a clip is its own, whatever batch it is made in.
        generators = [torch.Generator().manual_seed(10_000 * job.noise + s) for s, _ in part]
        extra = {}
        if job.method.adapter:
            extra = {
                "labels": [list(parser(caption).categories) for _, caption in part],
                "adapter_scale": job.method.adapter_scale,
                "step_window": job.method.step_window,
                "reference": job.method.reference,
            }
        frames = pipe(
            prompt=[caption for _, caption in part],
            negative_prompt="",
            generator=generators,
            height=settings["height"],
            width=settings["width"],
            num_frames=settings["num_frames"],
            num_inference_steps=settings["steps"],
            guidance_scale=settings["guidance_scale"],
            max_sequence_length=settings["max_sequence_length"],
            output_type="np",
            **extra,
        ).frames
        out.append(np.rint(frames * 255).astype(np.uint8))
    return np.concatenate(out)


def _key(job: Job) -> list[Any]:
    """Settings, weights, prompts, noise."""
    from pila.backbones.embedded import find_model

    model = find_model(job.protocol.model)
    return [
        ROWS,
        repr(job.protocol),
        job.protocol.settings,
        [weights_hash(model / part) for part in ("vae", "text_encoder", "transformer")],
        repr(job.method),
        _weights(job.method),
        job.scene,
        measures.source_of(job.scene),
        job.noise,
    ]


def _weights(method: Method) -> str | list[str] | None:
    if is_generator(method.adapter):
        return weights_hash(Path(str(method.adapter)) / "transformer")
    found = [weights_hash(a.folder) for a in find_attachments(method.adapter)]
    return found if len(found) > 1 else found[0] if found else None


def is_generator(place: str | None) -> bool:
    """Whether a method's place is a generator of its own."""
    return place is not None and (Path(place) / "model_index.json").is_file()


def _motion(frames: np.ndarray) -> float:
    """Mean absolute change from frame to frame [grey levels]."""
    return float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean())


def _sharpness(frames: np.ndarray) -> float:
    """Mean absolute difference between neighbouring pixels [grey levels]."""
    f = frames.astype(np.float32)
    return float(np.abs(np.diff(f, axis=1)).mean() + np.abs(np.diff(f, axis=2)).mean())


def _flat(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def _shown(flat: Sequence[float]) -> str:
    return str(Estimate(*flat))
