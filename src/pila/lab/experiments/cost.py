"""What a method's denoising steps cost: counted floating-point operations, not seconds.

torch's FlopCounterMode counts matrix products, convolutions and attention of one clip's whole
sampling, its text encoding left out; elementwise work is not counted. A ratio to the frozen guided
step says nothing of a device's speed: `benchmarks/` measures that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pila.lab.experiments.sampling import (
    Method,
    Protocol,
    call_options,
    method_key,
    noise_of,
    pipeline,
    protocol_key,
)
from pila.lab.experiments.store import Rows, rows_of

ROWS = 1
PROMPT = "a red ball is thrown high and fast to the right"
"""Its words are not what is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One method's sampling."""

    protocol: Protocol
    method: Method


def per_step(methods: Sequence[Method], protocol: Protocol, *, processes: int) -> dict[str, float]:
    """Operations of a method's mean step over those of the frozen generator's guided step.

    By name; of training seeds the first counts, as they have one architecture.
    """
    first: dict[str, Method] = {}
    for m in methods:
        first.setdefault(m.name, m)
    jobs = [Job(protocol=protocol, method=m) for m in [Method(name="frozen"), *first.values()]]
    fresh = not protocol.device.startswith("cpu")
    made = rows_of(jobs, _count, _key, name="cost", processes=processes, fresh=fresh)
    frozen, *counts = (rows[0]["flops"] for rows in made)
    return {name: count / frozen for name, count in zip(first, counts, strict=True)}


def _count(job: Job) -> Rows:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    protocol, method = job.protocol, job.method
    pipe = pipeline(protocol.model, method.adapter, protocol.device)
    settings = protocol.settings
    with torch.no_grad():
        embeds, negative = pipe.encode_prompt(
            prompt=PROMPT,
            negative_prompt="",
            do_classifier_free_guidance=True,
            max_sequence_length=settings["max_sequence_length"],
        )
    options = call_options(protocol, method, [PROMPT], [0])
    with FlopCounterMode(display=False) as counter:
        pipe(
            prompt_embeds=embeds,
            negative_prompt_embeds=negative,
            generator=noise_of([0], 0),
            **options,
        )
    # Several noises are as many whole samplings; reading their residuals once is left out.
    return [{"flops": counter.get_total_flops() * method.best_of / settings["steps"]}]


def _key(job: Job) -> list[object]:
    return [ROWS, protocol_key(job.protocol), method_key(job.method)]
