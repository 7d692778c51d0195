"""What an adapter's correction rests on: the gain that is lost where one part says nothing.

The frozen generator's estimates of held-out true clips, as in training. Each part that the
correction is computed from is replaced by its mean over all clips and places, or by another
clip's, and the flow error of what moves is taken again. Replaced are what the decoder reads (the
refined bank, one slot of it, c, v, the encoder's feature where it sees it), the experts' updates,
the labels, and the feature that the experts see.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pila.lab.experiments.pairs import FIRST_SEED, LEVELS, TRUE, noise, pairs
from pila.lab.experiments.sampling import Method, Protocol, method_key, pipeline, protocol_key, told
from pila.lab.experiments.store import Rows, rows_of
from pila.lab.experiments.table import resampled_means
from pila.lab.world import SCENES
from pila.lab.world.corpus import source_of
from pila.physics.layout import Category, Slot

ROWS = 1
"""Version of what a row holds; files of another version are not read."""
MOVING = 0.75
"""Share of the flow error's weight that goes where the estimate changes, as in training."""
ALL_SLOTS = "bank"
"""The path through the whole refined bank."""
PARTS = (ALL_SLOTS, "experts", "labels", "c", "v", "decoder's feature", "experts' feature")
"""What is replaced beside each slot; of the features only those that the adapter's parts see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip of every scene, as one adapter corrects them."""

    protocol: Protocol
    method: Method
    seed: int


def measured(
    method: Method, protocol: Protocol, clips: int, *, processes: int
) -> list[dict[str, Any]]:
    """A row for each clip and noise level.

    Args:
        method: with a PilaAdapter; its correction counts as it was learnt.
        protocol: model, scenes and size.
        clips: held-out true clips of each scene.
        processes: jobs at once, one thread each.

    Returns:
        {"scene", "seed", "sigma", "frozen", "full" (motion-weighted flow errors), "mean" and
        "other" {part or slot: the flow error where it is replaced}}.
    """
    seeds = range(FIRST_SEED, FIRST_SEED + clips)
    jobs = [Job(protocol=protocol, method=method, seed=seed) for seed in seeds]
    fresh = not protocol.device.startswith("cpu")
    made = rows_of(jobs, _measure, _key, name="paths", processes=processes, fresh=fresh)
    return [row for rows in made for row in rows]


def shares(rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, tuple[float, float, float]]:
    """Share of the gain over the frozen generator that is lost, by part and slot.

    Args:
        rows: of `measured`.
        by: "mean" or "other": what parts are replaced by.

    Returns:
        {part or slot: (share, and its 95 % bootstrap interval over clips)}; over 1 where the
        correction does harm without the part. NaN where the adapter gains nothing.
    """
    names = list(rows[0][by])
    clips: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        clips.setdefault((row["scene"], row["seed"]), []).append(row)
    gain = np.array([sum(r["frozen"] - r["full"] for r in clip) for clip in clips.values()])
    lost = np.array(
        [[sum(r[by][n] - r["full"] for r in clip) for n in names] for clip in clips.values()]
    )
    whole, drawn = lost.sum(0) / gain.sum(), resampled_means(np.column_stack([gain, lost]))
    low, high = np.quantile(drawn[:, 1:] / drawn[:, :1], (0.025, 0.975), axis=0)
    return {n: (float(whole[i]), float(low[i]), float(high[i])) for i, n in enumerate(names)}


def of_category(rows: Sequence[Mapping[str, Any]], category: Category) -> list[Mapping[str, Any]]:
    """Rows of the scenes in which a category is at work."""
    return [row for row in rows if category in SCENES[row["scene"]].categories]


def gain(rows: Sequence[Mapping[str, Any]]) -> float:
    """Flow error with the correction over that of the frozen generator."""
    return sum(r["full"] for r in rows) / sum(r["frozen"] for r in rows)


def _key(job: Job) -> list[Any]:
    sources = [source_of(scene) for scene in job.protocol.scenes]
    return [ROWS, MOVING, protocol_key(job.protocol), method_key(job.method), sources, job.seed]


def _measure(job: Job) -> Rows:
    import torch

    from pila.adapter import pool_text
    from pila.flow import clean_estimate, noised, velocity_target
    from pila.lab.experiments.velocity import frozen_velocity, text_of
    from pila.pipelines.correction import category_mask_of
    from pila.train.masks import motion_weight

    protocol, method, scenes = job.protocol, job.method, job.protocol.scenes
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    device = pipe.vae.device
    found = [pairs(protocol, s, [job.seed], pipe.vae, twins=False)[0] for s in scenes]
    captions = [pair["caption"] for pair in found]
    tokens = protocol.settings["max_sequence_length"]
    latents = torch.stack([torch.from_numpy(pair["latents"][TRUE]) for pair in found]).to(device)
    rows: Rows = []
    with torch.no_grad():
        text = torch.cat([text_of(pipe, [caption], tokens) for caption in captions])
        pooled = pool_text(text.float())
        labels = told(method, captions, [job.seed] * len(captions))
        flags = category_mask_of(labels, num_prompts=len(captions)).to(device)
        for level, sigma in enumerate(LEVELS):
            sigmas = torch.full((len(scenes),), sigma, device=device)
            # One noise a clip, not one for all: "another clip's" is to differ in all respects.
            eps = [
                noise(latents.shape[1:], job.seed + 10_000 * i, level) for i in range(len(scenes))
            ]
            eps = torch.stack(eps).to(device)
            x_t, target = noised(latents, eps, sigmas), velocity_target(latents, eps)
            v = frozen_velocity(pipe, x_t, sigmas, text)
            weight = motion_weight(clean_estimate(x_t, v, sigmas), MOVING)

            def error(
                dv: Any, v: Any = v, target: Any = target, weight: Any = weight
            ) -> list[float]:
                return ((v + dv - target).square() * weight).mean((1, 2, 3, 4)).tolist()

            full, without = corrections(pipe.adapter, x_t, v, sigmas, pooled, flags)
            errors = {by: {n: error(dv) for n, dv in some.items()} for by, some in without.items()}
            before, after = error(torch.zeros_like(v)), error(full)
            rows += [
                {
                    "scene": scene,
                    "seed": job.seed,
                    "sigma": sigma,
                    "frozen": before[i],
                    "full": after[i],
                    **{by: {n: e[i] for n, e in some.items()} for by, some in errors.items()},
                }
                for i, scene in enumerate(scenes)
            ]
    return rows


def corrections(
    adapter: Any, x_t: Any, v: Any, sigma: Any, text: Any, flags: Any
) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The correction as it is, and with each part replaced by its mean or by another clip's.

    Args:
        adapter: a PilaAdapter.
        x_t, v: noisy latents and velocity [b, c, t, h, w] of different clips.
        sigma: noise levels [b], all alike: a mean over clips is one at a noise level.
        text: pooled embeddings [b, d].
        flags: labels, bool [b, 8].

    Returns:
        dv [b, c, t, h, w], and {"mean" and "other": {part or slot: dv}}.
    """
    from pila import flow

    out = adapter(x_t, v, sigma, text, flags, return_details=True)
    gate = flow.grid(out.gate)

    def decoded(
        bank: Any = out.refined, c: Any = out.condition, v: Any = v, feature: Any = out.feature
    ) -> Any:
        return gate * adapter.decoder(bank, c, v, feature).float()

    def refined(feature: Any = out.feature, c: Any = out.condition, route: Any = out.route) -> Any:
        return adapter.experts(out.bank, feature, c, route).bank

    def routed(c: Any, flags: Any) -> Any:
        return adapter.router(c, flags, top_k=adapter.config["top_k"])

    def replaced(by: Callable[[Any], Any]) -> dict[str, Any]:
        bank, c = by(out.refined), by(out.condition)
        found = {
            ALL_SLOTS: decoded(bank=bank),
            "experts": decoded(bank=out.bank + by(out.refined - out.bank)),
            "c": decoded(bank=refined(c=c, route=routed(c, flags)), c=c),
            "v": decoded(v=by(v)),
        }
        if adapter.decoder.sees_feature:
            found["decoder's feature"] = decoded(feature=by(out.feature))
        if adapter.experts.see_feature:
            found["experts' feature"] = decoded(bank=refined(feature=by(out.feature)))
        for slot in Slot:
            one = out.refined.clone()
            one[:, slot.channels] = bank[:, slot.channels]
            found[slot.value] = decoded(bank=one)
        return found

    found = {"mean": replaced(_mean), "other": replaced(_other)}
    # Labels have no mean: a router that is told nothing stands for it.
    for by, told_flags in (("mean", flags & False), ("other", _other(flags))):
        route = routed(out.condition, told_flags)
        found[by]["labels"] = decoded(bank=refined(route=route))
    return out.correction, found


def _mean(x: Any) -> Any:
    """The mean over clips and places, as if it were each one's own."""
    over = (0, *range(2, x.ndim))
    return x.mean(over, keepdim=True).expand_as(x)


def _other(x: Any) -> Any:
    """Of each clip another one's; scenes that lie side by side are often of one category."""
    return x.roll(max(len(x) // 3, 1), 0)
