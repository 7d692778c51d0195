"""Corrected text-to-video pipelines on tiny real Wan components."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.adapter import PilaAdapter
from pila.errors import InputError
from pila.physics.bank import Category
from pila.pipelines.wan import PilaWanPipeline


def corrected(components: dict[str, Any], adapter: Any) -> PilaWanPipeline:
    return PilaWanPipeline(**components, adapter=adapter)


def aligned(pipeline: Any) -> Any:
    """The pipeline with its weights moved off the mapped file.

    There they lie at other offsets from a cache line, and CPU kernels then round the last bit
    otherwise, for a plain WanPipeline too.
    """
    for module in pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            for parameter in module.parameters():
                parameter.data = parameter.data.clone()
    return pipeline


@pytest.fixture(scope="module")
def pipeline(components: dict[str, Any], live: PilaAdapter) -> PilaWanPipeline:
    return corrected(components, live)


@pytest.fixture(scope="module")
def frozen(components: dict[str, Any]) -> torch.Tensor:
    return tiny.latents(WanPipeline(**components))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("wan22", [False, True])
@pytest.mark.parametrize("scheduler", ["unipc", "euler"])
def test_untrained_adapter_changes_no_bit(
    scheduler: str, wan22: bool, guidance_scale: float, dtype: torch.dtype
):
    parts = tiny.components(wan22=wan22) | {"scheduler": tiny.scheduler(scheduler)}
    plain = WanPipeline(**parts)
    pipeline = corrected(parts, small_adapter(gate="quadratic"))
    pipeline.to(dtype)  # the components are shared
    options = {"guidance_scale": guidance_scale, "categories": ["fluid"], "record": (seen := [])}
    with_adapter = tiny.latents(pipeline, **options)
    without = tiny.latents(plain, guidance_scale=guidance_scale)
    assert len(seen) == tiny.CALL["num_inference_steps"]
    assert with_adapter.dtype == without.dtype
    assert torch.equal(with_adapter, without)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheduler", ["unipc", "euler"])
def test_live_adapter_changes_the_result(scheduler: str, dtype: torch.dtype):
    parts = tiny.components() | {"scheduler": tiny.scheduler(scheduler)}
    adapter = small_adapter()
    torch.nn.init.normal_(adapter.decoder.out.weight, std=0.05)
    pipeline = corrected(parts, adapter)
    pipeline.to(dtype)
    difference = tiny.latents(pipeline).float() - tiny.latents(WanPipeline(**parts)).float()
    assert 1e-3 < difference.abs().mean() < 1.0


def test_denoisers_of_wan_22_are_both_corrected(components_22: dict[str, Any], live: PilaAdapter):
    pipeline = corrected(components_22, live)
    frozen = tiny.latents(pipeline, adapter_scale=0.0)
    used: list[str] = []
    handles = [
        getattr(pipeline, name).register_forward_hook(lambda *_, name=name: used.append(name))
        for name in ("transformer", "transformer_2")
    ]
    for step in (1, 3):  # a high-noise step and the low-noise one
        assert not torch.equal(tiny.latents(pipeline, step_window=(step, step)), frozen)
    for handle in handles:
        handle.remove()
    assert used == (["transformer"] * 4 + ["transformer_2"] * 2) * 2


def test_scale_zero_and_no_adapter_are_the_frozen_pipeline(
    components: dict[str, Any], pipeline: PilaWanPipeline, frozen: torch.Tensor
):
    assert torch.equal(tiny.latents(pipeline, adapter_scale=0.0), frozen)
    assert torch.equal(tiny.latents(corrected(components, None)), frozen)
    assert not torch.equal(tiny.latents(pipeline), frozen)


def test_scale_multiplies_the_correction(pipeline: PilaWanPipeline, frozen: torch.Tensor):
    # One corrected last step is linear in dv: it goes straight into the final latents.
    once = tiny.latents(pipeline, step_window=(3, 3)) - frozen
    twice = tiny.latents(pipeline, step_window=(3, 3), adapter_scale=2.0) - frozen
    torch.testing.assert_close(twice, 2 * once, rtol=1e-3, atol=1e-5)


def test_an_adapter_has_a_factor_of_its_own(
    components: dict[str, Any], pipeline: PilaWanPipeline, live: PilaAdapter
):
    strong = small_adapter(default_scale=3.0)
    strong.load_state_dict(live.state_dict())
    record: list[Any] = []
    own = tiny.latents(corrected(components, strong), record=record)
    assert torch.equal(own, tiny.latents(pipeline, adapter_scale=3.0))
    # What is recorded is what was added.
    plain: list[Any] = []
    tiny.latents(pipeline, record=plain)
    torch.testing.assert_close(record[0].correction, 3 * plain[0].correction)


def test_step_window_limits_the_steps(pipeline: PilaWanPipeline, frozen: torch.Tensor):
    results = [frozen]
    for window in [(1, 3), (2, 3), (3, 3), (1, 1)]:
        seen: list[Any] = []
        results.append(tiny.latents(pipeline, step_window=window, record=seen))
        assert len(seen) == window[1] - window[0] + 1
    assert torch.equal(results[1], tiny.latents(pipeline))
    for i, a in enumerate(results):
        assert not any(torch.equal(a, b) for b in results[i + 1 :])


def test_prompt_embeds_give_what_the_prompt_gives(pipeline: PilaWanPipeline):
    length = tiny.CALL["max_sequence_length"]
    with torch.no_grad():  # as inside a call: attention takes another kernel under autograd
        embeds, negative = pipeline.encode_prompt(
            tiny.PROMPT, max_sequence_length=length, device=torch.device("cpu")
        )
    by_embeds = tiny.latents(pipeline, embeds, negative_prompt_embeds=negative)
    assert torch.equal(by_embeds, tiny.latents(pipeline))


def test_text_is_pooled_without_padding(components: dict[str, Any]):
    texts: list[torch.Tensor] = []
    adapter = small_adapter()
    adapter.register_forward_pre_hook(lambda module, args: texts.append(args[3]))
    for length in (16, 24):
        tiny.latents(corrected(components, adapter), max_sequence_length=length)
    torch.testing.assert_close(texts[0], texts[-1])
    assert texts[0].abs().max() > 0


def test_several_prompts_and_videos_match_their_rows(pipeline: PilaWanPipeline):
    noise = torch.randn(4, 16, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    labels = [["fluid"], [Category.COLLISION, "rigid_body"]]
    seen: list[Any] = []
    options = {"num_videos_per_prompt": 2, "max_sequence_length": 16, "record": seen}
    prompts = [tiny.PROMPT, tiny.OTHER_PROMPT]
    batch = tiny.latents(pipeline, prompts, latents=noise, categories=labels, **options)
    assert batch.shape == noise.shape
    prior = seen[0].route.scores - seen[0].route.logits
    order = list(Category)
    expected = torch.zeros(4, 8)
    expected[:2, order.index(Category.FLUID)] = 2.0
    for category in (Category.COLLISION, Category.RIGID_BODY):
        expected[2:, order.index(category)] = 2.0
    torch.testing.assert_close(prior, expected)
    for i in range(4):
        alone = tiny.latents(
            pipeline, prompts[i // 2], latents=noise[i : i + 1], categories=labels[i // 2]
        )
        torch.testing.assert_close(batch[i : i + 1], alone, rtol=1e-3, atol=1e-4)


def test_videos_per_prompt_with_prompt_embeds(pipeline: PilaWanPipeline):
    embeds, negative = pipeline.encode_prompt(
        tiny.PROMPT, max_sequence_length=16, device=torch.device("cpu")
    )
    assert negative is not None
    seen: list[Any] = []
    tiny.latents(
        pipeline,
        embeds.repeat(2, 1, 1),
        negative_prompt_embeds=negative.repeat(2, 1, 1),
        categories=[["fluid"], ["optical"]],
        record=seen,
    )
    assert seen[0].route.weights.shape == (2, 8)


def test_labels_and_top_k_change_the_route(pipeline: PilaWanPipeline):
    def weights(**options: Any) -> torch.Tensor:
        seen: list[Any] = []
        tiny.latents(pipeline, record=seen, **options)
        return seen[0].route.weights[0]

    fluid = list(Category).index(Category.FLUID)
    neutral, prior = weights(), weights(categories=["fluid"])
    assert prior[fluid] > neutral[fluid]
    assert torch.equal(weights(categories=[]), neutral)
    assert torch.equal(weights(categories="fluid"), prior)
    for k in (0, 1, 8):
        assert (weights(top_k=k) > 0).sum() == k


def test_record_takes_a_function_too(pipeline: PilaWanPipeline, frozen: torch.Tensor):
    gates: list[float] = []
    recorded = tiny.latents(pipeline, record=lambda output: gates.append(float(output.gate[0])))
    assert gates == [1.0, 1.0, 1.0]
    assert torch.equal(recorded, tiny.latents(pipeline))


def test_reference_is_the_guided_or_the_conditional_velocity(components: dict[str, Any]):
    def velocities(velocity_source: str, guidance_scale: float) -> list[torch.Tensor]:
        adapter = small_adapter()  # untrained: both references then meet the same latents
        seen: list[torch.Tensor] = []
        adapter.register_forward_pre_hook(lambda module, args: seen.append(args[1].clone()))
        pipeline = corrected(components, adapter)
        tiny.latents(pipeline, velocity_source=velocity_source, guidance_scale=guidance_scale)
        return seen

    passes: list[torch.Tensor] = []
    handle = components["transformer"].register_forward_hook(
        lambda module, args, output: passes.append(output[0].clone())
    )
    conditional = velocities("cond", 4.0)
    handle.remove()
    guided = velocities("guided", 4.0)
    for step in range(3):
        cond, uncond = passes[2 * step], passes[2 * step + 1]
        assert torch.equal(conditional[step], cond)
        assert torch.equal(guided[step], uncond + 4.0 * (cond - uncond))
    without_guidance = zip(velocities("cond", 1.0), velocities("guided", 1.0), strict=True)
    assert all(torch.equal(a, b) for a, b in without_guidance)


def test_reference_changes_the_result_under_guidance(pipeline: PilaWanPipeline):
    for window in (None, (2, 3)):
        guided = tiny.latents(pipeline, step_window=window, velocity_source="guided")
        assert not torch.equal(tiny.latents(pipeline, step_window=window), guided)


def test_reference_cond_with_a_compiled_transformer(live: PilaAdapter):
    parts = tiny.components()
    eager = tiny.latents(corrected(parts, live), velocity_source="cond")
    parts["transformer"].compile(backend="eager")
    pipeline = corrected(parts, live)
    tiny.latents(pipeline)  # compiled before anything watches it
    compiled = tiny.latents(pipeline, velocity_source="cond")
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


def test_everything_is_restored_after_an_exception(pipeline: PilaWanPipeline):
    def stop(output: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.latents(pipeline, record=stop, velocity_source="cond")
    assert "step" not in vars(pipeline.scheduler)
    assert not pipeline.transformer._forward_hooks
    assert pipeline._correction is None


def test_non_finite_correction_names_step_and_sigma(components: dict[str, Any]):
    adapter = small_adapter()
    torch.nn.init.constant_(adapter.decoder.out.bias, torch.nan)
    with pytest.raises(FloatingPointError, match=r"adapter's correction .* step 2 \(sigma 0\.8"):
        tiny.latents(corrected(components, adapter), step_window=(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 9}, "top_k is 9; there are 8 experts"),
        ({"top_k": -1}, "top_k is -1"),
        ({"adapter_scale": float("nan")}, "adapter_scale is nan"),
        ({"step_window": (0, 2)}, "step_window is 0-2, but the steps run from 1 to 3"),
        ({"step_window": (2, 4)}, "step_window is 2-4"),
        ({"step_window": (3, 2)}, "step_window is 3-2"),
        ({"velocity_source": "uncond"}, "velocity_source is 'uncond'; use 'guided' or 'cond'"),
        ({"categories": ["fluids"]}, "unknown category 'fluids'; use rigid_body, elastic"),
        ({"categories": [["fluid"], ["fluid"]]}, "categories has 2 lists for 1 prompts"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
    ],
)
def test_wrong_options_are_refused(
    pipeline: PilaWanPipeline, options: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        tiny.latents(pipeline, **options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"latent_channels": 48}, "latent_channels is 48, but the transformer denoises 16"),
        ({"text_dim": 64}, "text_dim is 64, but the transformer's prompt embeddings are 32"),
    ],
)
def test_unfit_adapter_is_refused(
    components: dict[str, Any], live: PilaAdapter, config: dict[str, Any], message: str
):
    unfit = small_adapter(**config)
    with pytest.raises(InputError, match=message):
        corrected(components, unfit)
    pipeline = corrected(components, live)
    with pytest.raises(InputError, match=message):
        pipeline.adapter = unfit
    assert pipeline.adapter is live
    without = corrected({**components, "transformer": None}, unfit)
    with pytest.raises(InputError, match=message):
        without.transformer = components["transformer"]


def test_a_module_that_is_no_adapter_is_refused(components: dict[str, Any]):
    with pytest.raises(InputError, match="no latent_channels in its config"):
        corrected(components, torch.nn.Linear(1, 1))


def test_adapter_attaches_to_a_plain_repository(
    components: dict[str, Any], live: PilaAdapter, pipeline: PilaWanPipeline, tmp_path: Path
):
    WanPipeline(**components).save_pretrained(tmp_path)
    loaded = aligned(PilaWanPipeline.from_pretrained(tmp_path, adapter=live))
    assert torch.equal(tiny.latents(loaded), tiny.latents(pipeline))
    assert PilaWanPipeline.from_pretrained(tmp_path).adapter is None


def test_saved_form_round_trips(components_22: dict[str, Any], live: PilaAdapter, tmp_path: Path):
    pipeline = corrected(components_22, live)
    pipeline.save_pretrained(tmp_path)
    loaded = aligned(PilaWanPipeline.from_pretrained(tmp_path))
    assert type(loaded.adapter) is PilaAdapter
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["adapter"] == ["pila.adapter", "PilaAdapter"]
    assert loaded.config["boundary_ratio"] == 0.8
    assert torch.equal(tiny.latents(loaded), tiny.latents(pipeline))
    as_plain_wan = tiny.latents(aligned(WanPipeline.from_pretrained(tmp_path)))
    assert torch.equal(as_plain_wan, tiny.latents(pipeline, adapter_scale=0.0))


def test_adapter_is_a_component_that_stays_in_place(pipeline: PilaWanPipeline, live: PilaAdapter):
    assert pipeline.components["adapter"] is live
    assert "adapter" in pipeline._exclude_from_cpu_offload
