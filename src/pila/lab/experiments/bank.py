"""How much of the true fields an adapter's bank holds: R^2 by slot, on simulated clips.

A proxy may have any offset, scale and sign, so R^2 is that of the best affine fit of the true field
to the proxy, one fit a clip, inside the slot's mask. The proxies are read off the frozen
generator's estimates of held-out clips at several noise levels, as in sampling. Displacement and
strain are held against those that follow from the true velocity by the adapter's own rules.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.experiments.table import Estimate, mean_estimate
from pila.lab.world import SCENES, Canvas, Clip, simulate
from pila.physics.layout import Category, Slot
from pila.pipelines.locate import find_adapter, find_model
from pila.pipelines.repository import own_config, own_settings
from pila.provenance import commit, weights_hash

ROWS = 1
"""Version of what a clip's row holds; files of another version are not read."""
FIRST_SEED = 550_000
"""First seed of the clips; prompts of law errors begin at 500,000, training at 1,000,000."""
LEVELS = (0.3, 0.6, 0.9)
"""Noise levels at which the bank is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Clips of one scene as one adapter reads them."""

    model: str
    adapter: str
    scene: str
    clips: int
    size: int
    num_frames: int


def run(
    adapters: dict[str, str],
    out: Path,
    *,
    model: str = "embedded",
    clips: int = 8,
    processes: int = 2,
    scenes: Sequence[str] = (),
) -> dict[str, Any]:
    """Read, compare and tabulate; writes `bank.json` and `bank.md` into `out`.

    What was read before under the same settings is kept.

    Args:
        adapters: places of PILA adapters by name.
        out: the folder.
        model: the generator, which names its scenes in `pila.json`.
        clips: held-out true clips of each scene.
        processes: jobs at once, one thread each.
        scenes: some of the model's; none named stands for all.

    Raises:
        InputError: too few clips.
    """
    rows = read(adapters, model=model, clips=clips, processes=processes, scenes=scenes)
    results = tabulate(rows, list(adapters)) | {
        "commit": commit(),
        "clips": clips,
        "first_seed": FIRST_SEED,
        "scenes": list(dict.fromkeys(row["scene"] for row in rows)),
        "weights": {name: weights_hash(adapter_folder(place)) for name, place in adapters.items()},
    }
    with atomic_write(out / "bank.json") as part:
        part.write_text(json.dumps(results, indent=1))
    with atomic_write(out / "bank.md") as part:
        part.write_text(markdown(results))
    return results


def read(
    adapters: dict[str, str],
    *,
    model: str = "embedded",
    clips: int = 8,
    processes: int = 2,
    scenes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """A row for each adapter, clip and noise level: {adapter, scene, seed, sigma, r2}.

    Args:
        adapters, model, clips, processes: as `run` takes them.
        scenes: some of the model's; none named stands for all.

    Raises:
        InputError: too few clips.
    """
    if clips < 2:
        raise InputError(f"clips is {clips}; an interval takes at least 2 clips a scene")
    own = own_settings(find_model(model))
    view = {"size": own["height"], "num_frames": own["num_frames"]}
    jobs = [
        (name, Job(model=model, adapter=place, scene=scene, clips=clips, **view))
        for name, place in adapters.items()
        for scene in scenes or own["scenes"]
    ]
    made = rows_of([job for _, job in jobs], _read, key, name="bank", processes=processes)
    return [
        {"adapter": name, "scene": job.scene, **row}
        for (name, job), mine in zip(jobs, made, strict=True)
        for row in mine
    ]


def tabulate(rows: Sequence[dict[str, Any]], adapters: Sequence[str]) -> dict[str, Any]:
    """Mean R^2 with its interval over clips: by adapter, slot and noise level; by category.

    By category it is the mean over noise levels of each clip that counts once.

    Args:
        rows: {adapter, scene, seed, sigma, r2: {slot: value}}; a clip has the slots of its scene.
        adapters: in the table's order.
    """

    def mean(some: Sequence[dict[str, Any]], slot: Slot) -> list[float] | None:
        by_clip: dict[tuple[str, int], list[float]] = {}
        for row in some:
            if slot in row["r2"]:
                by_clip.setdefault((row["scene"], row["seed"]), []).append(row["r2"][slot])
        values = [float(np.mean(levels)) for levels in by_clip.values()]
        return _flat(mean_estimate(np.array(values))) if values else None

    def table(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {slot.value: m for slot in Slot if (m := mean(some, slot)) is not None}

    found: dict[str, Any] = {}
    for adapter in adapters:
        mine = [row for row in rows if row["adapter"] == adapter]
        found[adapter] = {
            "by_level": {
                str(level): table([r for r in mine if r["sigma"] == level]) for level in LEVELS
            },
            "by_category": {
                category.value: table(
                    [r for r in mine if category in SCENES[r["scene"]].categories]
                )
                for category in Category
            },
        }
    return {"r2": found}


def markdown(results: dict[str, Any]) -> str:
    """The table that people read; simulated world, never Wan."""
    lines = [
        "# The bank against true fields",
        "",
        "R^2 of the best affine fit of the true field to the proxy, a fit a clip, mean over "
        f"clips; {results['clips']} held-out true clips of each scene that has the field; commit "
        f"{results['commit'][:10]}. Brackets are 95 % bootstrap intervals over clips. Simulated "
        "world, not Wan.",
    ]
    adapters = list(results["r2"])
    for level in LEVELS:
        lines += ["", f"## Noise level {level}", "", f"| slot | {' | '.join(adapters)} |"]
        lines.append("|---" * (1 + len(adapters)) + "|")
        tables = [results["r2"][name]["by_level"][str(level)] for name in adapters]
        lines += [
            f"| {slot} | " + " | ".join(_shown(t.get(slot)) for t in tables) + " |"
            for slot in Slot
            if any(slot in t for t in tables)
        ]
    for name in adapters:
        by_category = results["r2"][name]["by_category"]
        lines += ["", f"## {name}, by category, all levels", ""]
        lines.append(f"| slot | {' | '.join(c.replace('_', ' ') for c in by_category)} |")
        lines.append("|---" * (1 + len(by_category)) + "|")
        lines += [
            f"| {slot} | "
            + " | ".join(f"{t[slot][0]:.2f}" if slot in t else "" for t in by_category.values())
            + " |"
            for slot in Slot
            if any(slot in t for t in by_category.values())
        ]
    return "\n".join(lines) + "\n"


def _shown(flat: list[float] | None) -> str:
    return "" if flat is None else str(Estimate(*flat))


def _flat(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def _read(job: Job) -> Rows:
    """R^2 of every slot of every clip of one job at every noise level."""
    return [
        {"seed": seen.seed, "sigma": sigma, "r2": agreement(fields, seen.wanted)}
        for seen in seen_clips(job)
        for sigma, fields in seen.proxies.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A true clip, its fields, and what the adapter reads of it."""

    seed: int
    clip: Clip
    wanted: dict[Slot, tuple[Any, Any]]
    """True fields [1, c, t, h, w] with their masks [1, 1, t, h, w], on the latent grid."""
    proxies: dict[float, dict[Slot, Any]]
    """Of each noise level the adapter's fields [1, c, t, h, w]."""


def seen_clips(job: Job) -> Iterator[Seen]:
    """The clips of a job, one after another."""
    import torch

    from pila.adapter import PilaAdapter
    from pila.data.encoders import Encoders, ModelFacts
    from pila.lab.world.true_targets import true_targets
    from pila.train.frozen import FrozenGenerator, WanBackbone

    folder = find_model(job.model)
    encoders = Encoders(ModelFacts.of(folder), torch.device("cpu"))
    frozen = FrozenGenerator(WanBackbone(folder))
    adapter = PilaAdapter.from_pretrained(adapter_folder(job.adapter), use_safetensors=True).eval()
    canvas = Canvas(size=job.size, num_frames=job.num_frames)
    for seed in range(FIRST_SEED, FIRST_SEED + job.clips):
        clip = simulate(job.scene, seed, canvas=canvas, held_out=True)
        x_0 = encoders.latents(clip.frames)[None]
        text = encoders.padded_text(clip.caption)[None]
        noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(seed))
        proxies = {}
        for sigma in LEVELS:
            level = torch.tensor([sigma])
            with torch.no_grad():
                said = frozen.predict(x_0, noise, level, text)
                feature = adapter.encoder(said.x0_hat, level)
                proxies[sigma] = adapter.fields(feature).fields
        yield Seen(seed=seed, clip=clip, wanted=_wanted(true_targets(clip)), proxies=proxies)


def agreement(fields: dict[Slot, Any], wanted: dict[Slot, tuple[Any, Any]]) -> dict[str, float]:
    """R^2 of a clip's slots that both sides have; a true field without variance is left out.

    Args:
        fields: proxies [1, c, t, h, w].
        wanted: true fields [1, c, t, h, w] with their masks [1, 1, t, h, w].
    """
    from pila.train.recover import unexplained, varies

    return {
        slot.value: 1 - unexplained(fields[slot], true, mask).item()
        for slot, (true, mask) in wanted.items()
        if slot in fields and varies(true, mask).all()
    }


def best_fit(field: Any, true: Any, mask: Any) -> Any:
    """The affine function of a proxy [1, c, t, h, w] that is nearest to the true field, as R^2 has
    it: one scale for all components, an offset for each.

    Args:
        field: the proxy.
        true: the field.
        mask: where it counts, [1, 1, t, h, w].
    """
    from pila.train.recover import centred, weighted

    a, b = centred(field, mask), centred(true, mask)
    scale = weighted(a, b, mask) / weighted(a, a, mask).clamp_min(1e-24)
    return scale[:, None, None, None, None] * a + (true.float() - b)


def _wanted(true: Any) -> dict[Slot, tuple[Any, Any]]:
    """True fields with masks; displacement and strain as they follow from the true velocity."""
    import torch

    from pila.data.flow_targets import deformation_targets

    found = {
        slot: (torch.from_numpy(field)[None], torch.from_numpy(true.masks[slot])[None])
        for slot, field in true.fields.items()
    }
    derived = (Slot.DISPLACEMENT, Slot.STRAIN)
    found = {slot: pair for slot, pair in found.items() if slot not in derived}
    if Slot.VELOCITY in found:
        d = deformation_targets(*found[Slot.VELOCITY])
        found[Slot.DISPLACEMENT] = (d.displacement, d.displacement_confidence)
        found[Slot.STRAIN] = (d.strain, d.strain_confidence)
    return found


def adapter_folder(place: str) -> Path:
    """Where an adapter lies; InputError for `none`."""
    folder = find_adapter(place)
    if folder is None:
        raise InputError(f"an adapter is {place!r}; the bank is an adapter's")
    return folder


def key(job: Job) -> list[Any]:
    """Everything that decides what is read of a job's clips."""
    from pila.lab.world.corpus import source_of

    model, adapter = find_model(job.model), adapter_folder(job.adapter)
    parts = ("vae", "text_encoder", "transformer", "transformer_2")
    return [
        ROWS,
        [weights_hash(model / part) for part in parts if (model / part).is_dir()],
        weights_hash(adapter),
        own_config(adapter),
        job.scene,
        source_of(job.scene),
        job.clips,
        job.size,
        job.num_frames,
        FIRST_SEED,
        LEVELS,
    ]
