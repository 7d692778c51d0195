"""What people put on Wan beside an adapter: the seam neither disturbs it nor is disturbed.

Of each companion three things are asked: an untrained adapter changes no bit of what the companion
gives, a live one acts at every step, and what it reads is the companion's own velocity.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig, WanPipeline
from tests.pipelines import tiny

from pila.adapter import PilaAdapter
from pila.lab.profiling.accelerations import COMPANIONS
from pila.pipelines.scheduler_hook import velocity_correction
from pila.pipelines.wan import PilaWanPipeline

STEPS = tiny.CALL["num_inference_steps"]


def compiled(denoiser: Any) -> None:
    # Not the default backend, which needs a compiler and half a minute.
    denoiser.compile(backend="eager", fullgraph=False)


def cached(denoiser: Any) -> None:
    # So high a threshold that every step after the first takes its later blocks from the cache.
    denoiser.enable_cache(FirstBlockCacheConfig(threshold=10.0))


def put(name: str) -> Callable[[Any], None]:
    """As `pila profile --beside` does."""
    return lambda denoiser: COMPANIONS[name](denoiser, torch.device("cpu"), torch.float32)


BESIDE: dict[str, Callable[[Any], None]] = {
    "compile": compiled,
    "first-block-cache": cached,
    "fp8": put("fp8"),
    "lora": put("lora"),
}


def parts() -> dict[str, Any]:
    made = tiny.components()
    made["transformer"] = tiny.transformer(layers=3)
    return made


@pytest.fixture(params=BESIDE)
def components(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A tiny Wan with one companion on its transformer."""
    torch.manual_seed(0)
    made = parts()
    BESIDE[request.param](made["transformer"])
    yield made
    torch.compiler.reset()


def velocities(pipeline: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The final latents, and the velocity that the denoiser and its companion gave at each step."""
    seen: list[torch.Tensor] = []

    def look(x_t: Any, v: torch.Tensor, sigma: float, index: int) -> None:
        seen.append(v.clone())

    with velocity_correction(pipeline.scheduler, look):
        return tiny.latents(pipeline), seen


def test_companions_and_adapters_leave_each_other_alone(
    components: dict[str, Any], untrained: PilaAdapter, live: PilaAdapter
):
    alone, plain = velocities(WanPipeline(**components))
    assert torch.equal(tiny.latents(PilaWanPipeline(**components, adapter=untrained)), alone)

    record: list[Any] = []
    pipeline = PilaWanPipeline(**components, adapter=live)
    corrected = tiny.latents(pipeline, record=record)
    assert len(record) == STEPS
    assert (corrected - alone).abs().max() > 1e-4

    # The pipeline's own correction is the inner one, so that the look sees v + dv. At the first
    # step nothing has been corrected before, and v is what the companion gave.
    _, summed = velocities(pipeline)
    torch.testing.assert_close(summed[0] - plain[0], record[0].correction, rtol=1e-4, atol=1e-5)
    assert torch.equal(tiny.latents(WanPipeline(**components)), alone)


def test_every_companion_acts(components: dict[str, Any], request: pytest.FixtureRequest):
    """A companion that does nothing would prove nothing."""
    torch.manual_seed(0)
    bare = tiny.latents(WanPipeline(**parts()))
    same = torch.equal(tiny.latents(WanPipeline(**components)), bare)
    name = request.node.callspec.params["components"]
    # Eager graphs compute the same.
    assert same == (name == "compile")
