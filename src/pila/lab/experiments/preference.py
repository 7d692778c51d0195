"""LikePhys' plausibility preference error: does a model find the clip that breaks a law likelier?

Definition (Yuan et al., arXiv 2510.11512): a valid and an invalid clip of one scene get the same
noise, and the model errs where its denoising loss is larger on the valid one. For a flow model the
loss is |v_theta - (eps - x_0)|^2, here its mean at ten uniform noise levels.

    PPE = mean over (scenario, violation) of the share of pairs in which the model errs

with 0.5 for chance. It probes a model without sampling, and is biased: some violations are simply
harder to denoise, as jitter is. So it stands by violation, by level, and beside the mix-trained
control. Pairs of a true clip with its still, reversed or slowed self are the controls.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pila.lab.experiments import measures
from pila.lab.experiments.clip_jobs import ClipJob, blocks, clip_jobs, gathered
from pila.lab.experiments.pairs import LEVELS, TRUE, noise, pairs
from pila.lab.experiments.sampling import Method, Protocol, pipeline, told
from pila.lab.experiments.store import Rows
from pila.lab.world import SCENES

ROWS = 1
"""Version of what a row holds; files of another version are not read."""


def losses(
    methods: Sequence[Method], protocol: Protocol, clips: int, *, processes: int
) -> list[dict[str, Any]]:
    """A row for each method and true clip: its losses and its twins' at each level.

    Returns:
        {"method", "training_seed", "scene", "seed", "losses": {kind: [10]}}, kind `true`, a
        violation or a control.
    """
    jobs = clip_jobs(methods, protocol, blocks(clips))
    return gathered(jobs, _see, name="preference", version=[ROWS], processes=processes)


def errs(valid: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """1 where the loss on the valid clip is larger, 0.5 where both are equal, 0 elsewhere."""
    return (valid > invalid) + 0.5 * (valid == invalid)


def preference(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The error of one method, overall and apart.

    Args:
        rows: of one method, as `losses` gives them; training seeds are averaged.

    Returns:
        `by_prompt` [prompts] whose mean is the PPE, `by_violation` {scene: {violation: share}},
        `by_control` {control: share}, `by_level` [10] (each level's loss alone decides) and
        `flow_loss` [10], the mean loss on true clips.
    """
    outcomes: dict[tuple[str, int], dict[str, list[np.ndarray]]] = {}
    for row in rows:
        valid = np.array(row["losses"][TRUE])
        mine = outcomes.setdefault((row["scene"], row["seed"]), {})
        for kind, lost in row["losses"].items():
            if kind != TRUE:
                # The first figure is that of the mean over levels, then one for each level.
                invalid = np.array(lost)
                both = [np.concatenate([[x.mean()], x]) for x in (valid, invalid)]
                mine.setdefault(kind, []).append(errs(*both))
    means = {p: {k: np.mean(v, axis=0) for k, v in kinds.items()} for p, kinds in outcomes.items()}
    prompts = sorted(means)
    violations = {p: _violations(p[0], means[p]) for p in prompts}
    count = np.mean([len(v) for v in violations.values()])
    # A pair counts alike in every scene, though scenes differ in how many violations they know.
    by_prompt = np.array([np.sum(violations[p], axis=0) / count for p in prompts])
    scenes = list(dict.fromkeys(scene for scene, _ in prompts))
    return {
        "by_prompt": by_prompt[:, 0],
        "by_level": by_prompt[:, 1:].mean(0).tolist(),
        "by_violation": {
            scene: {kind: _share(means, kind, scene) for kind in SCENES[scene].violations}
            for scene in scenes
        },
        "by_control": {kind: _share(means, kind) for kind in measures.CONTROLS},
        "flow_loss": np.mean([row["losses"][TRUE] for row in rows], axis=0).tolist(),
    }


def _violations(scene: str, means: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [means[kind] for kind in SCENES[scene].violations]


def _share(means: dict[Any, dict[str, np.ndarray]], kind: str, scene: str | None = None) -> float:
    return float(
        np.mean([m[kind][0] for (s, _), m in means.items() if scene in (None, s) and kind in m])
    )


def _see(job: ClipJob) -> Rows:
    import torch

    from pila.flow import noised, velocity_target
    from pila.lab.experiments.velocity import corrected_velocity, text_of

    protocol, method = job.protocol, job.method
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    device = pipe.vae.device
    sigma = torch.tensor(LEVELS, device=device)
    rows: Rows = []
    with torch.no_grad():
        for pair in pairs(protocol, job.scene, job.seeds, pipe.vae):
            tokens = protocol.settings["max_sequence_length"]
            text = text_of(pipe, [pair["caption"]], tokens).expand(len(LEVELS), -1, -1)
            labels = told(method, [pair["caption"]], [pair["seed"]]) * len(LEVELS)
            lost = {}
            for kind, latents in pair["latents"].items():
                x_0 = torch.from_numpy(latents).to(device).expand(len(LEVELS), -1, -1, -1, -1)
                eps = torch.stack(
                    [noise(latents.shape, pair["seed"], i) for i in range(len(LEVELS))]
                ).to(device)
                v = corrected_velocity(pipe, method, noised(x_0, eps, sigma), sigma, text, labels)
                error = (v - velocity_target(x_0, eps)).square().mean((1, 2, 3, 4))
                lost[kind] = error.tolist()
            rows.append({"seed": pair["seed"], "losses": lost})
    return rows
