"""Corrected image-to-video pipelines: extra condition channels, and TI2V's given first frame."""

from typing import Any

import PIL.Image
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.adapter import PilaAdapter
from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline

IMAGE = PIL.Image.new("RGB", (32, 32), (200, 60, 30))
LATENT_PLUS_CONDITION = 16 + 4 + 16
"""Noisy latents, the mask of given frames, and the image's latents."""


def parts(kind: str) -> dict[str, Any]:
    if kind == "ti2v":
        return tiny.components() | {"expand_timesteps": True}
    return tiny.components(in_channels=LATENT_PLUS_CONDITION, wan22=kind == "wan22")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["wan21", "wan22", "ti2v"])
def test_untrained_adapter_changes_no_bit(kind: str, dtype: torch.dtype):
    shared = parts(kind)
    plain = WanImageToVideoPipeline(**shared)
    pipeline = PilaWanImageToVideoPipeline(**shared, adapter=small_adapter())
    pipeline.to(dtype)
    seen: list[Any] = []
    with_adapter = tiny.latents(pipeline, image=IMAGE, record=seen)
    assert len(seen) == 3
    assert torch.equal(with_adapter, tiny.latents(plain, image=IMAGE))


@pytest.mark.parametrize("velocity_source", ["guided", "cond"])
@pytest.mark.parametrize("kind", ["wan21", "wan22", "ti2v"])
def test_live_adapter_changes_the_result(kind: str, velocity_source: str, live: PilaAdapter):
    pipeline = PilaWanImageToVideoPipeline(**parts(kind), adapter=live)
    frozen = tiny.latents(pipeline, image=IMAGE, adapter_scale=0.0)
    corrected = tiny.latents(pipeline, image=IMAGE, velocity_source=velocity_source)
    assert (corrected - frozen).abs().mean() > 1e-3


def test_given_first_frame_is_read_clean_and_not_written(live: PilaAdapter):
    """TI2V keeps noise in frame 0 of the latents and shows its denoiser the image instead."""
    pipeline = PilaWanImageToVideoPipeline(**parts("ti2v"), adapter=live)
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = live.register_forward_pre_hook(lambda module, args: inputs.append(args[:2]))
    final = tiny.latents(pipeline, image=IMAGE)
    handle.remove()
    for x_t, v in inputs:  # hence x0_hat = x_t - sigma v is the image's latent at any sigma
        torch.testing.assert_close(x_t[:, :, 0], final[:, :, 0])
        assert not v[:, :, 0].any()
        assert v[:, :, 1:].all()

    correction: list[torch.Tensor] = []
    step = pipeline.scheduler.step

    def spy(v: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        correction.append(v)
        return step(v, *args, **kwargs)

    pipeline.scheduler.step = spy
    for scale in (0.0, 1.0):
        tiny.latents(pipeline, image=IMAGE, adapter_scale=scale)
    del pipeline.scheduler.step
    difference = correction[3] - correction[0]
    assert not difference[:, :, 0].any()
    assert difference[:, :, 1:].any()
