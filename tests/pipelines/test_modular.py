"""The modular front end on tiny real Wan components: the same clips as `PilaWanPipeline`."""

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from diffusers import ClassifierFreeGuidance
from diffusers.modular_pipelines import Wan22Blocks, WanBlocks
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.adapter import PilaAdapter
from pila.errors import InputError
from pila.pipelines.modular import PilaLoopDenoiser, with_adapter
from pila.pipelines.wan import PilaWanPipeline

SCALE = 4.0


def modular(
    components: dict[str, Any], adapter: Any, *, plain: bool = False, blocks: Any = None
) -> Any:
    """A modular pipeline of the parts that `PilaWanPipeline` takes."""
    parts = dict(components)
    wan22 = parts["transformer_2"] is not None
    chosen = (blocks or (Wan22Blocks if wan22 else WanBlocks))()
    pipeline = (chosen if plain else with_adapter(chosen)).init_pipeline()
    guider = ClassifierFreeGuidance(guidance_scale=SCALE)
    given = {k: v for k, v in parts.items() if v is not None} | {"guider": guider}
    given |= {"guider_2": ClassifierFreeGuidance(guidance_scale=SCALE)} if wan22 else {}
    given |= {} if plain else {"adapter": adapter}
    pipeline.update_components(**given)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latents(pipeline: Any, prompt: Any = tiny.PROMPT, **options: Any) -> torch.Tensor:
    call = {k: v for k, v in tiny.CALL.items() if k != "output_type"}
    generator = torch.Generator().manual_seed(1)
    return pipeline(prompt=prompt, generator=generator, output="latents", **call, **options)


@pytest.fixture(scope="module", params=["unipc", "euler"])
def parts(request: pytest.FixtureRequest, components: dict[str, Any]) -> dict[str, Any]:
    return components | {"scheduler": tiny.scheduler(request.param)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"categories": ["fluid"], "top_k": 1},
        {"adapter_scale": 2.0, "step_window": (2, 3)},
        {"velocity_source": "cond"},
    ],
    ids=str,
)
def test_same_latents_as_the_pipeline(
    parts: dict[str, Any], live: PilaAdapter, options: dict[str, Any]
):
    expected = tiny.latents(PilaWanPipeline(**parts, adapter=live), guidance_scale=SCALE, **options)
    assert torch.equal(latents(modular(parts, live), **options), expected)
    assert not torch.equal(latents(modular(parts, None)), expected)


@pytest.mark.parametrize("velocity_source", ["guided", "cond"])
def test_same_latents_with_two_denoisers(
    components_22: dict[str, Any], live: PilaAdapter, velocity_source: str
):
    expected = tiny.latents(
        PilaWanPipeline(**components_22, adapter=live),
        guidance_scale=SCALE,
        velocity_source=velocity_source,
    )
    pipeline = modular(components_22, live)
    assert torch.equal(latents(pipeline, velocity_source=velocity_source), expected)


def test_same_latents_of_a_batch(components: dict[str, Any], live: PilaAdapter):
    prompts = [tiny.PROMPT, tiny.OTHER_PROMPT]
    labels = [["fluid"], ["collision"]]
    noise = torch.randn(4, 16, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    expected = tiny.latents(
        PilaWanPipeline(**components, adapter=live),
        prompts,
        guidance_scale=SCALE,
        categories=labels,
        latents=noise,
        num_videos_per_prompt=2,
    )
    found = latents(
        modular(components, live),
        prompts,
        categories=labels,
        latents=noise,
        num_videos_per_prompt=2,
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wan22", [False, True])
def test_untrained_adapter_changes_no_bit(wan22: bool, dtype: torch.dtype):
    parts = tiny.components(wan22=wan22)
    seen: list[Any] = []
    pipeline = modular(parts, small_adapter())
    pipeline.to(dtype)
    found = latents(pipeline, categories=["fluid"], record=seen)
    assert len(seen) == tiny.CALL["num_inference_steps"]
    assert torch.equal(found, latents(modular(parts, None, plain=True)))


def test_scale_zero_is_the_frozen_pipeline(components: dict[str, Any], live: PilaAdapter):
    frozen = latents(modular(components, None, plain=True))
    assert torch.equal(latents(modular(components, live), adapter_scale=0.0), frozen)
    assert torch.equal(latents(modular(components, None)), frozen)


def test_record_and_repeated_calls(components: dict[str, Any], live: PilaAdapter):
    pipeline = modular(components, live)
    gates: list[float] = []
    first = latents(pipeline, record=lambda output: gates.append(float(output.gate[0])))
    assert gates == [1.0, 1.0, 1.0]
    assert torch.equal(latents(pipeline), first)


def test_clip_is_decoded(components: dict[str, Any], live: PilaAdapter):
    call = {k: v for k, v in tiny.CALL.items() if k != "output_type"}
    (video,) = modular(components, live)(prompt=tiny.PROMPT, **call, output="videos")
    assert video.shape == (9, 32, 32, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 9}, "top_k is 9"),
        ({"step_window": (2, 4)}, "the steps run from 1 to 3"),
        ({"categories": ["fluids"]}, "unknown category 'fluids'"),
        ({"velocity_source": "uncond"}, "use 'guided' or 'cond'"),
    ],
)
def test_wrong_options_are_refused(
    components: dict[str, Any], live: PilaAdapter, options: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        latents(modular(components, live), **options)


def test_unfit_adapter_is_refused(components: dict[str, Any]):
    with pytest.raises(InputError, match="text_dim is 64"):
        latents(modular(components, small_adapter(text_dim=64)))


def test_hooks_are_gone_after_an_exception(components: dict[str, Any], live: PilaAdapter):
    def stop(output: Any) -> None:
        raise KeyboardInterrupt

    pipeline = modular(components, live)
    with pytest.raises(KeyboardInterrupt):
        latents(pipeline, record=stop, velocity_source="cond")
    assert not components["transformer"]._forward_hooks


def test_blocks_without_a_loop_are_refused():
    with pytest.raises(InputError, match="has no loop with a block named denoiser"):
        with_adapter(WanBlocks().sub_blocks["decode"])
    blocks = with_adapter(WanBlocks())
    loop = blocks.sub_blocks["denoise"].sub_blocks["denoise"]
    assert isinstance(loop.sub_blocks["denoiser"], PilaLoopDenoiser)
    with pytest.raises(InputError, match="hold an adapter already"):
        with_adapter(blocks)


def test_same_latents_from_an_image(live: PilaAdapter):
    from diffusers.modular_pipelines import Wan22Image2VideoBlocks

    from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline

    image = PIL.Image.new("RGB", (32, 32), (200, 60, 30))
    parts = tiny.components(in_channels=36, wan22=True)
    pipeline = modular(parts, live, blocks=Wan22Image2VideoBlocks)
    expected = tiny.latents(
        PilaWanImageToVideoPipeline(**parts, adapter=live), image=image, guidance_scale=SCALE
    )
    assert torch.equal(latents(pipeline, image=image), expected)


def test_attaches_to_a_repository(wan_folder: Path, live: PilaAdapter):
    """As docs/nodes.md has it: the adapter is no component of a plain Wan repository."""
    pipeline = with_adapter(WanBlocks()).init_pipeline(str(wan_folder))
    pipeline.load_components()
    assert pipeline.adapter is None
    pipeline.update_components(adapter=live)
    pipeline.set_progress_bar_config(disable=True)
    gates: list[float] = []
    latents(pipeline, record=lambda output: gates.append(float(output.gate[0])))
    assert gates == [1.0, 1.0, 1.0]
