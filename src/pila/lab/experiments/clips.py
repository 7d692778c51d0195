"""Clips made by each method, and everything that is measured on one: kept, so never made twice.

Every clip is measured in all ways at once (laws, looks, Physics-IQ, PISA, phyworld), so that no
experiment makes it anew. True clips through the VAE come along with their controls.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.files import atomic_write
from pila.lab.experiments import measures, physics_iq, phyworld, pisa, quality
from pila.lab.experiments.round_trip import encoded, through_vae
from pila.lab.experiments.sampling import (
    Method,
    Protocol,
    method_key,
    pipeline,
    protocol_key,
    sampled,
    weights_of,
)
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.world import Clip, measure
from pila.lab.world.corpus import source_of
from pila.pipelines.locate import find_model
from pila.provenance import commit

BATCH = 6
"""Clips of one job, made together."""
ROWS = 4
"""Version of what a clip's row holds; files of another version are not read."""
TRUE, FROZEN = "true-through-vae", "frozen"
CONTROLS = measures.CONTROLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file of results: some prompts of a scene, with a method and a noise seed."""

    protocol: Protocol
    method: Method
    scene: str
    noise: int
    seeds: tuple[int, ...]


def facts(methods: Sequence[Method], protocol: Protocol) -> dict[str, Any]:
    """What results came from: commit, protocol and weights."""
    return {
        "commit": commit(),
        "protocol": protocol.facts,
        "weights": {
            m.name if m.training_seed is None else f"{m.name}-{m.training_seed}": weights_of(place)
            for m in methods
            if (place := m.adapter or m.scorer) is not None
        },
    }


MANIFEST = "clips.parquet"
"""A row for each clip, in a table's folder; any reader of Parquet opens it."""


def write_clips(clips: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write `MANIFEST`: a row for each clip, without the features of its latents.

    Figures have six significant digits: further ones differ between machines, and would be most of
    the file.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [_short({k: v for k, v in c.items() if k != "features"}) for c in clips]
    with atomic_write(out / MANIFEST) as part:
        table = pyarrow.Table.from_pylist(rows)
        parquet.write_table(table, part, compression="zstd", compression_level=19)


def read_clips(out: Path) -> list[dict[str, Any]]:
    """The rows of a table's `MANIFEST`.

    Figures that a clip has not, such as laws of other scenes, are not among its own.
    """
    from pyarrow import parquet

    return [_present(row) for row in parquet.read_table(out / MANIFEST).to_pylist()]


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {
        k: {n: v for n, v in value.items() if v is not None} if isinstance(value, dict) else value
        for k, value in row.items()
    }


def _short(row: Any) -> Any:
    """The same with floats of six significant digits."""
    return json.loads(json.dumps(row), parse_float=lambda digits: float(f"{float(digits):.6g}"))


def tolerances(protocol: Protocol, *, processes: int) -> dict[str, dict[str, float]]:
    """The largest error that passes, by scene and law; see `measures.tolerances`."""
    kinds = [(scene, None) for scene in protocol.scenes]
    true = measures.measured(
        kinds,
        measures.TRUE_CLIPS,
        size=protocol.settings["height"],
        vae=find_model(protocol.model) / "vae",
        processes=processes,
    )
    return {
        scene: measures.tolerances(true[scene, measures.TRUE], scene, "vae") for scene, _ in kinds
    }


def clips_of(
    methods: Sequence[Method], protocol: Protocol, *, processes: int, controls: bool = True
) -> list[dict[str, Any]]:
    """A row for each clip of each method; true clips through the VAE and their controls come first.

    Methods of one name are the training seeds of one row of the table.
    """
    seeds = list(protocol.seeds)
    parts = [tuple(seeds[i : i + BATCH]) for i in range(0, len(seeds), BATCH)]
    jobs = [
        Job(protocol=protocol, method=m, scene=s, noise=n, seeds=part)
        for m in [Method(name=TRUE), *methods]
        for s in protocol.scenes
        # True clips have no noise: one pass of them serves all.
        for n in (range(protocol.noise_seeds) if m.name != TRUE else [0])
        for part in parts
    ]
    fresh = not protocol.device.startswith("cpu")
    rows = rows_of(jobs, _clips_of, _key, name="laws", processes=processes, fresh=fresh)
    return [
        {
            "method": row.get("kind", job.method.name),
            "training_seed": job.method.training_seed,
            "scene": job.scene,
            "noise_seed": job.noise,
            **row,
        }
        for job, kept in zip(jobs, rows, strict=True)
        for row in kept
        if controls or row.get("kind", TRUE) == TRUE
    ]


def _clips_of(job: Job) -> Rows:
    """Make and measure the clips of one job; a true clip brings its controls along."""
    protocol = job.protocol
    truths = protocol.true_clips(job.scene, job.seeds)
    if job.method.name != TRUE:
        frames, latents = sampled(protocol, job.method, truths, job.noise)
        return [
            _row(job.scene, truth, shown, latent, protocol)
            for shown, latent, truth in zip(frames, latents, truths, strict=True)
        ]
    vae = pipeline(protocol.model, None, protocol.device).vae
    rows = []
    backs = through_vae(vae, [truth.frames for truth in truths])
    for truth, back in zip(truths, backs, strict=True):
        kinds = {TRUE: back} | measures.controls(back)
        for kind, frames in kinds.items():
            # Of true clips the latents that were decoded; a control is a clip of its own.
            latents = encoded(vae, truth.frames if kind == TRUE else frames)[0].numpy()
            rows.append({"kind": kind} | _row(job.scene, truth, frames, latents, protocol))
    return rows


def _row(
    scene: str, truth: Clip, frames: np.ndarray, latents: np.ndarray, protocol: Protocol
) -> dict[str, Any]:
    """All that is measured on one clip; what is held against its twin, where it was not given."""
    first = protocol.first_frame
    laws = measure(scene, frames)
    looks = quality.looks(frames, truth.frames)
    row: dict[str, Any] = {
        "seed": truth.parameters["seed"],
        "caption": truth.caption,
        "laws": laws,
        **looks,
        "found": float(min(laws.values()) < 1.0),
        "adherence": quality.adherence(laws, looks["colours"]),
        "iq": physics_iq.components(frames, truth.frames, first=first),
        "acts": physics_iq.acts(truth.frames, first=first),
        "pisa": pisa.errors(frames[first:], truth.frames[first:]),
        "features": [round(value, 5) for value in quality.features(latents)],
    }
    if scene in phyworld.WORLDS and first:
        errors = phyworld.errors(scene, frames, truth.frames, first=first)
        row["phyworld"] = {k: None if np.isnan(v) else v for k, v in errors.items()}
    return row


def _key(job: Job) -> list[Any]:
    """Settings, weights, prompts, noise."""
    return [
        ROWS,
        job.method.name == TRUE,
        protocol_key(job.protocol),
        method_key(job.method),
        job.scene,
        source_of(job.scene),
        job.seeds,
        job.noise,
        # What is measured of clips that go on from given frames has a version of its own.
        *([phyworld.VERSION] if job.protocol.given_frames else []),
    ]
