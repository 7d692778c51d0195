"""What an adapter does on noised held-out true clips: routing, bank, correction, by noise level.

No sampling: the frozen generator's estimate of a known clip, as in training. Plain adapters have
no router and no bank; of them only the flow error is read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pila.lab.experiments.clip_jobs import ClipJob, blocks, clip_jobs, gathered
from pila.lab.experiments.pairs import LEVELS, TRUE, noise, pairs
from pila.lab.experiments.sampling import Method, Protocol, pipeline, told
from pila.lab.experiments.store import Rows
from pila.lab.world import SCENES
from pila.physics.layout import Category, Slot

ROWS = 1
"""Version of what a row holds; files of another version are not read."""


def probed(
    methods: Sequence[Method], protocol: Protocol, clips: int, *, processes: int
) -> list[dict[str, Any]]:
    """A row for each method, clip and noise level.

    Returns:
        {"method", "training_seed", "scene", "seed", "sigma", "flow", "flow_frozen" (mean squared
        errors of the velocity), "correction" (its RMS over v's), "gate", and where there is a
        router "weights" [8] in `Category` order and "std" {slot: of the bank before the experts}}.
    """
    jobs = clip_jobs(methods, protocol, blocks(clips), adapters_only=True)
    return gathered(jobs, _probe, name="probe", version=[ROWS], processes=processes)


def routing(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the router shares its weight, by the categories that are truly at work.

    Returns:
        `weights` {category: {expert: mean weight given prompts of the category}}, `own` [prompts]
        (weight on the experts of the scene's categories), `chance` [prompts] (what equal weights
        for all experts would give) and `first` [prompts] (share in which the heaviest expert is one
        of the scene's); by prompt, means over levels and training seeds.
    """
    routed = [row for row in rows if row.get("weights") is not None]
    order = [c.value for c in Category]
    given = {
        category: [r["weights"] for r in routed if Category(category) in categories_of(r)]
        for category in order
    }
    figures_of: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for r in routed:
        at_work = np.array([Category(c) in categories_of(r) for c in order])
        w = np.array(r["weights"])
        figures = (float(w @ at_work), float(at_work.mean()), float(at_work[w.argmax()]))
        figures_of.setdefault((r["scene"], r["seed"]), []).append(figures)
    means = np.array([np.mean(figures_of[p], axis=0) for p in sorted(figures_of)]).reshape(-1, 3)
    return {
        "weights": {
            category: dict(zip(order, np.mean(some, axis=0).tolist(), strict=True))
            for category, some in given.items()
            if some
        },
        "own": means[:, 0],
        "chance": means[:, 1],
        "first": means[:, 2],
    }


def by_prompt(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Routing weights [prompts, 8] in `Category` order, means over levels and training seeds."""
    found: dict[tuple[str, int], list[Any]] = {}
    for row in rows:
        if row.get("weights") is not None:
            found.setdefault((row["scene"], row["seed"]), []).append(row["weights"])
    return np.array([np.mean(found[p], axis=0) for p in sorted(found)]).reshape(-1, len(Category))


def spread_of_weight(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How evenly the router uses its experts.

    Returns:
        `use` and `selected` {expert: mean weight, share of passes with any weight}, `effective`
        (mean over passes of exp(entropy of the weights): 1 is one expert, 8 all alike) and
        `effective_overall` (the same of the mean weights: 1 is a collapsed router).
    """
    weights = np.array([r["weights"] for r in rows if r.get("weights") is not None])
    order = [c.value for c in Category]
    return {
        "use": dict(zip(order, weights.mean(0).tolist(), strict=True)),
        "selected": dict(zip(order, (weights > 0).mean(0).tolist(), strict=True)),
        "effective": float(np.mean([_effective(w) for w in weights])),
        "effective_overall": _effective(weights.mean(0)),
    }


def correlation(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Pearson correlation [8, 8] of the experts' weights over prompts; NaN for one that is even."""
    weights = by_prompt(rows)
    centred = weights - weights.mean(0)
    size = np.sqrt((centred**2).sum(0))
    # An expert that is used alike by all prompts goes with no other.
    scaled = np.divide(centred, size, out=np.full_like(centred, np.nan), where=size > 1e-9)
    return scaled.T @ scaled


def _effective(weights: np.ndarray) -> float:
    some = weights[weights > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


def by_level(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Means at each of `LEVELS`: flow error over the frozen one's, correction over v, gate."""
    figures: dict[str, list[float]] = {"flow": [], "correction": [], "gate": []}
    for level in LEVELS:
        mine = [r for r in rows if r["sigma"] == level]
        frozen = np.mean([r["flow_frozen"] for r in mine])
        figures["flow"].append(float(np.mean([r["flow"] for r in mine]) / frozen))
        for name in ("correction", "gate"):
            figures[name].append(float(np.mean([r[name] for r in mine])))
    return figures


def slots(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean standard deviation of each slot of the bank before the experts; empty without one."""
    held = [r["std"] for r in rows if r.get("std") is not None]
    return {s.value: float(np.mean([h[s] for h in held])) for s in Slot} if held else {}


def routed(
    adapter: Any, text: Any, flags: Any, *, told: bool, scene: str, seed: int
) -> list[dict[str, Any]]:
    """Rows as `probed` has them, with weights alone, of a prompt whose embedding is at hand.

    The router reads prompt, labels and noise level, never the clip, so that no generator is needed.

    Args:
        adapter: a PilaAdapter.
        text: token embeddings [n, d].
        flags: the prompt's categories, bool [8].
        told: whether the router is told them, as in training.
        scene, seed: what the rows say of the prompt.
    """
    import torch

    from pila.adapter import pool_text

    sigma = torch.tensor(LEVELS)
    with torch.no_grad():
        pooled = pool_text(text[None].float()).expand(len(LEVELS), -1)
        labels = (flags & told)[None].expand(len(LEVELS), -1)
        route = adapter.router(
            adapter.condition(pooled, sigma), labels, top_k=adapter.config["top_k"]
        )
    at_work = [c.value for c, on in zip(Category, flags.tolist(), strict=True) if on]
    return [
        {"scene": scene, "seed": seed, "sigma": level, "weights": w, "categories": at_work}
        for level, w in zip(LEVELS, route.weights.tolist(), strict=True)
    ]


def categories_of(row: Mapping[str, Any]) -> tuple[Category, ...]:
    """Categories truly at work: the row's own, or its scene's."""
    if "categories" in row:
        return tuple(Category(c) for c in row["categories"])
    return SCENES[row["scene"]].categories


def _probe(job: ClipJob) -> Rows:
    import torch

    from pila.flow import noised, velocity_target
    from pila.lab.experiments.velocity import adapter_output, frozen_velocity, text_of

    protocol, method = job.protocol, job.method
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    device = pipe.vae.device
    sigma = torch.tensor(LEVELS, device=device)
    # Of what is probed only an adapter has details; a branch or LoRA acts in v itself.
    pila = type(pipe.adapter).__name__ == "PilaAdapter"
    rows: Rows = []
    with torch.no_grad():
        for pair in pairs(protocol, job.scene, job.seeds, pipe.vae, twins=False):
            n = len(LEVELS)
            tokens = protocol.settings["max_sequence_length"]
            text = text_of(pipe, [pair["caption"]], tokens).expand(n, -1, -1)
            latents = pair["latents"][TRUE]
            x_0 = torch.from_numpy(latents).to(device).expand(n, -1, -1, -1, -1)
            eps = torch.stack([noise(latents.shape, pair["seed"], i) for i in range(n)]).to(device)
            x_t, target = noised(x_0, eps, sigma), velocity_target(x_0, eps)
            v = frozen_velocity(pipe, x_t, sigma, text)
            labels = told(method, [pair["caption"]], [pair["seed"]]) * n
            out = adapter_output(pipe, method, x_t, v, sigma, text, labels, details=True)
            dv = method.adapter_scale * out.correction
            size = dv.square().mean((1, 2, 3, 4)) / v.square().mean((1, 2, 3, 4))
            error, before = ((w - target).square().mean((1, 2, 3, 4)) for w in (v + dv, v))
            for i, level in enumerate(LEVELS):
                row = {
                    "seed": pair["seed"],
                    "sigma": level,
                    "flow": error[i].item(),
                    "flow_frozen": before[i].item(),
                    "correction": size[i].sqrt().item(),
                    "gate": out.gate[i].item(),
                }
                if pila:
                    row["weights"] = out.route.weights[i].tolist()
                    row["std"] = {s.value: out.bank[i, s.channels].std().item() for s in Slot}
                rows.append(row)
    return rows
