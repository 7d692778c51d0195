"""Do experts act where their category is truly active? Overlap with true activity, against chance.

An expert's action is |w_k M_k O_k| summed over the bank's channels, on the frozen generator's
estimate of a noised held-out true clip. The truth is where the true fields of that clip are active
(`pila.lab.world.activity_maps`). Two figures, both in 0..1:

    area   under the ROC curve of the action as a score for active cells; 0.5 says nothing
    iou    of the truth with as many cells, those of the largest action

Activity sits in the middle of the picture more often than not, and a map that knew only this would
have an area over 0.5. Chance is therefore the same action held against the truth of other clips of
the scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.experiments.clip_jobs import ClipJob, blocks, clip_jobs, gathered
from pila.lab.experiments.pairs import TRUE, noise, pairs
from pila.lab.experiments.sampling import Method, Protocol, pipeline, told
from pila.lab.experiments.store import Rows
from pila.lab.world import SCENES
from pila.physics.layout import Category

ROWS = 1
"""Version of what a row holds; files of another version are not read."""
LEVELS = (2, 5, 8)
"""Which of the pairs' ten noise levels: 0.25, 0.55 and 0.85."""


def overlaps(
    methods: Sequence[Method], protocol: Protocol, clips: int, *, processes: int
) -> list[dict[str, Any]]:
    """A row for each method, clip, noise level and category at work that is somewhere active.

    Returns:
        {"method", "training_seed", "scene", "seed", "sigma", "category", "weight", "area",
        "area_chance", "iou", "iou_chance"}.

    Raises:
        InputError: fewer than two clips of a scene.
    """
    if clips < 2:
        raise InputError(f"clips is {clips}; chance takes at least 2 clips of each scene")
    # A last job of one clip would have no other to be held against.
    seeds = [seed for block in blocks(clips) for seed in block]
    jobs = clip_jobs(methods, protocol, [tuple(seeds)], adapters_only=True)
    return gathered(jobs, _hold, name="maps", version=[ROWS, LEVELS], processes=processes)


def roc_of_map(action: np.ndarray, active: np.ndarray) -> float | None:
    """Area under the ROC curve of an action [...] for active cells [...], bool.

    Ties count half. None where all cells are active or none is.
    """
    score, truth = action.ravel(), active.ravel()
    positives = int(truth.sum())
    if positives in (0, truth.size):
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (truth.size - positives)))


def iou_of_map(action: np.ndarray, active: np.ndarray) -> float | None:
    """IoU of the active cells with as many of the largest action; None where none is active.

    Cells of equal action share what is left of the number evenly.
    """
    score, truth = action.ravel(), active.ravel()
    count = int(truth.sum())
    if count == 0:
        return None
    least = np.sort(score)[-count]
    sure, tied = score > least, score == least
    share = (count - sure.sum()) / tied.sum()
    common = (truth & sure).sum() + share * (truth & tied).sum()
    return float(common / (2 * count - common))


def held_against(
    actions: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> list[dict[str, float] | None]:
    """Overlap of each clip's action with its own truth, and mean overlap with the others'.

    None for a clip whose own truth is empty or everywhere, or where no other's can stand for
    chance.

    Args:
        actions: of one category, [t, h, w] for each clip.
        truths: bool, likewise.
    """
    found: list[dict[str, float] | None] = []
    for i, action in enumerate(actions):
        own = roc_of_map(action, truths[i]), iou_of_map(action, truths[i])
        others = [
            (area, iou)
            for j, truth in enumerate(truths)
            if j != i
            and (area := roc_of_map(action, truth)) is not None
            and (iou := iou_of_map(action, truth)) is not None
        ]
        if own[0] is None or own[1] is None or not others:
            found.append(None)
            continue
        chance = np.mean(others, axis=0)
        found.append(
            {
                "area": own[0],
                "area_chance": float(chance[0]),
                "iou": own[1],
                "iou_chance": float(chance[1]),
            }
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What an adapter does at each cell of a clip's latent grid, at one noise level."""

    experts: np.ndarray
    """|w_k M_k O_k| summed over the bank's channels, [8, t, h, w] in `Category` order; 0 of what
    was not routed, and of a plain adapter."""
    weights: list[float]
    """Of the experts, [8]; of a plain adapter none."""
    correction: np.ndarray
    """RMS of the correction over channels, [t, h, w]."""


def acted(job: ClipJob, level: int) -> list[Acted]:
    """What the job's method does on each of its clips, noised to one of the pairs' levels."""
    import torch

    from pila.flow import noised
    from pila.lab.experiments.pairs import LEVELS as EVERY
    from pila.lab.experiments.velocity import adapter_output, frozen_velocity, text_of

    protocol, method = job.protocol, job.method
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    device = pipe.vae.device
    tokens = protocol.settings["max_sequence_length"]
    sigma = torch.tensor([EVERY[level]], device=device)
    found = []
    for pair in pairs(protocol, job.scene, job.seeds, pipe.vae, twins=False):
        latents = pair["latents"][TRUE]
        x_0 = torch.from_numpy(latents)[None].to(device)
        eps = noise(latents.shape, pair["seed"], level)[None].to(device)
        x_t = noised(x_0, eps, sigma)
        with torch.no_grad():
            text = text_of(pipe, [pair["caption"]], tokens)
            v = frozen_velocity(pipe, x_t, sigma, text)
            labels = told(method, [pair["caption"]], [pair["seed"]])
            out = adapter_output(pipe, method, x_t, v, sigma, text, labels, details=True)
        experts = np.zeros((len(Category), *latents.shape[1:]), np.float32)
        weights: list[float] = []
        if getattr(out, "route", None) is not None:
            weight = out.route.weights[0]
            weights = weight.tolist()
            for place, k in enumerate(out.route.indices[0].tolist()):
                update = (weight[k] * out.updates[0, place]).abs().sum(0)
                experts[k] = update.float().cpu().numpy()
        size = out.correction[0].float().square().mean(0).sqrt()
        found.append(Acted(experts=experts, weights=weights, correction=size.cpu().numpy()))
    return found


def _hold(job: ClipJob) -> Rows:
    from pila.lab.experiments.pairs import LEVELS as EVERY
    from pila.lab.world.activity_maps import active_maps

    order = list(Category)
    truths = [active_maps(clip) for clip in _clips(job)]
    rows: Rows = []
    for level in LEVELS:
        seen = acted(job, level)
        for category in SCENES[job.scene].categories:
            k = order.index(category)
            found = held_against([a.experts[k] for a in seen], [t[k] > 0 for t in truths])
            rows += [
                {
                    "seed": seed,
                    "sigma": EVERY[level],
                    "category": category.value,
                    "weight": a.weights[k],
                    **overlap,
                }
                for seed, a, overlap in zip(job.seeds, seen, found, strict=True)
                if overlap is not None
            ]
    return rows


def _clips(job: ClipJob) -> list[Any]:
    """The true clips of a job's pairs, with their fields."""
    return job.protocol.true_clips(job.scene, job.seeds)
