"""`pila.attach`: on a stock pipeline it is the subclass, bit for bit, and leaves no trace."""

import copy
from typing import Any

import PIL.Image
import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    FlowMatchHeunDiscreteScheduler,
    SkyReelsV2Pipeline,
    WanImageToVideoPipeline,
    WanPipeline,
    WanVideoToVideoPipeline,
)
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

import pila
from pila.adapter import PilaAdapter
from pila.errors import InputError
from pila.pipelines.wan import PilaWanPipeline
from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline

IMAGE = PIL.Image.new("RGB", (32, 32), (200, 60, 30))
VIDEO = [PIL.Image.new("RGB", (32, 32), (20 * i, 60, 30)) for i in range(9)]
KINDS = {
    "T2V": (WanPipeline, {}, {}, {}),
    "T2V 2.2": (WanPipeline, {"wan22": True}, {}, {}),
    "I2V": (WanImageToVideoPipeline, {"in_channels": 36}, {}, {"image": IMAGE}),
    "I2V 2.2": (WanImageToVideoPipeline, {"in_channels": 36, "wan22": True}, {}, {"image": IMAGE}),
    "TI2V": (WanImageToVideoPipeline, {}, {"expand_timesteps": True}, {"image": IMAGE}),
    "V2V": (WanVideoToVideoPipeline, {}, {}, {"video": VIDEO, "strength": 1.0}),
    "SkyReels-V2": (SkyReelsV2Pipeline, {}, {}, {}),
}
SUBCLASS = {WanPipeline: PilaWanPipeline, WanImageToVideoPipeline: PilaWanImageToVideoPipeline}


def built(kind: str, **changes: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A stock pipeline, its parts, and what its call takes beside a prompt."""
    cls, options, more, call = KINDS[kind]
    parts = tiny.components(**options) | more | changes
    if cls in (WanVideoToVideoPipeline, SkyReelsV2Pipeline):
        parts = {k: v for k, v in parts.items() if k not in ("transformer_2", "boundary_ratio")}
    call = dict(call)
    if cls is WanVideoToVideoPipeline:
        call["num_frames"] = None
    return cls(**parts), parts, call


def latents(pipe: Any, call: dict[str, Any], **options: Any) -> torch.Tensor:
    given = call | options
    if "num_frames" in given and given["num_frames"] is None:
        kept: dict[str, Any] = {k: v for k, v in tiny.CALL.items() if k != "num_frames"}
        given.pop("num_frames")
        pipe.set_progress_bar_config(disable=True)
        kept |= {"generator": torch.Generator().manual_seed(1), "guidance_scale": 4.0}
        return pipe(**kept | {"prompt": tiny.PROMPT} | given).frames
    return tiny.latents(pipe, **given)


@pytest.fixture
def traces():
    """What a pipeline's parts carry: nothing of ours may be left."""

    def found(pipe: Any) -> list[str]:
        left = ["step"] if "step" in vars(pipe.scheduler) else []
        for name in ("transformer", "transformer_2"):
            part = getattr(pipe, name, None)
            if part is not None:
                left += [n for n in vars(part) if n.startswith("_pila") or n == "cache_context"]
                left += [name] * (len(part._forward_hooks) + len(part._forward_pre_hooks))
        return left

    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_untrained_off_or_at_scale_0_no_bit_changes_and_removed_nothing_is_left(
    kind, dtype, traces, live
):
    pipe, _, call = built(kind)
    pipe.to(dtype)
    stock = latents(pipe, call)
    before = traces(pipe)
    seen: list[Any] = []
    with pila.attach(pipe, small_adapter(), record=seen):
        assert torch.equal(latents(pipe, call), stock)
    assert len(seen) == 3, "it acts at every step, once"
    with pila.attach(pipe, live, scale=0.0) as physics:
        assert torch.equal(latents(pipe, call), stock)
        physics.scale, physics.enabled = 1.0, False
        assert torch.equal(latents(pipe, call), stock)
        physics.enabled = True
        assert not torch.equal(latents(pipe, call), stock)
    assert torch.equal(latents(pipe, call), stock)
    assert traces(pipe) == before == []


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("name", ["unipc", "euler"])
@pytest.mark.parametrize("kind", [k for k, v in KINDS.items() if v[0] in SUBCLASS])
def test_it_is_the_subclass_bit_for_bit(kind, name, guidance_scale, live):
    pipe, parts, call = built(kind, scheduler=tiny.scheduler(name))
    own = SUBCLASS[type(pipe)](**parts, adapter=live)
    how = {"guidance_scale": guidance_scale}
    options: Any
    for options in ({}, {"categories": ["fluid"], "top_k": 1}, {"velocity_source": "guided"}):
        expected = latents(own, call, **how, **options)
        with pila.attach(pipe, live, **options):
            assert torch.equal(latents(pipe, call, **how), expected)
            assert torch.equal(latents(pipe, call, **how), expected), "and again"


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_the_conditional_velocity_and_the_right_noise_level(kind, live):
    """x_t - sigma v of what it is given is the clean estimate that the scheduler itself makes."""
    pipe, _, call = built(kind, scheduler=tiny.scheduler("euler"))
    given: list[Any] = []
    handle = live.register_forward_pre_hook(lambda module, args: given.append(args))
    with pila.attach(pipe, live, scale=1e-9):
        latents(pipe, call, guidance_scale=1.0)
    handle.remove()
    assert [float(args[2][0]) for args in given] == pytest.approx(
        pipe.scheduler.sigmas[:3].tolist()
    )
    x_t, v, sigma = given[-1][:3]
    last = pipe.scheduler.sigmas[-1]  # 0: the last step lands on the clean estimate
    assert last == 0
    torch.testing.assert_close(
        x_t - sigma[0] * v, latents(pipe, call, guidance_scale=1.0), atol=1e-3, rtol=1e-3
    )


def test_every_step_of_a_scheduler_of_second_order(live):
    pipe, _, call = built("T2V", scheduler=FlowMatchHeunDiscreteScheduler(shift=3.0))
    seen: list[Any] = []
    with pila.attach(pipe, live, record=seen, step_window=(2, 5)):
        latents(pipe, call)
    assert len(seen) == 4  # of 5 scheduler steps for 3 inference steps
    seen.clear()
    with pila.attach(pipe, live, record=seen):
        latents(pipe, call)
    assert len(seen) == 5


def test_prompts_videos_and_categories_for_each(live):
    pipe, parts, _ = built("T2V")
    own = PilaWanPipeline(**parts, adapter=live)
    prompts, categories = [tiny.PROMPT, tiny.OTHER_PROMPT], [["fluid"], ["optical"]]
    how = {"num_videos_per_prompt": 2}
    expected = tiny.latents(own, prompts, categories=categories, **how)
    without = tiny.latents(own, prompts, **how)
    with pila.attach(pipe, live, categories=categories) as physics:
        assert torch.equal(tiny.latents(pipe, prompts, **how), expected)
        physics.categories = None
        assert torch.equal(tiny.latents(pipe, prompts, **how), without)
        embeds = pipe.encode_prompt(prompts, max_sequence_length=16)[0]
        none = torch.zeros_like(embeds)
        assert tiny.latents(pipe, embeds, negative_prompt_embeds=none).isfinite().all()


def test_options_may_change_at_any_step(live):
    pipe, _, call = built("T2V")
    seen: list[Any] = []
    physics = pila.attach(pipe, live, record=seen)

    def stop(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        physics.enabled = index != 0
        return given

    latents(pipe, call, callback_on_step_end=stop)
    assert len(seen) == 2
    physics.remove()


def test_another_scheduler_a_copy_of_it_and_from_pipe(live, traces):
    pipe, parts, call = built("T2V")
    physics = pila.attach(pipe, live)
    first = pipe.scheduler
    pipe.scheduler = tiny.scheduler("euler")
    expected = latents(
        PilaWanPipeline(**parts | {"scheduler": tiny.scheduler("euler")}, adapter=live), call
    )
    assert torch.equal(latents(pipe, call), expected)
    assert "step" not in vars(first)
    twin = copy.deepcopy(pipe.scheduler)
    twin.set_timesteps(3)
    x, v = torch.ones(2, 1, 16, 3, 4, 4)
    plain = tiny.scheduler("euler")
    plain.set_timesteps(3)
    stepped = [s.step(v, s.timesteps[0], x).prev_sample for s in (twin, plain)]
    assert torch.equal(*stepped), "a copy drives itself"
    physics.remove()
    assert traces(pipe) == []


def test_two_on_one_pipeline_and_removed_in_any_order(live, traces):
    pipe, _, call = built("T2V")
    stock = latents(pipe, call)
    for order in ((0, 1), (1, 0)):
        both = [pila.attach(pipe, live, scale=s) for s in (0.5, 1.0)]
        together = latents(pipe, call)
        both[order[0]].remove()
        one = latents(pipe, call)
        assert not torch.equal(together, one)
        with pila.attach(pipe, live, scale=(0.5, 1.0)[order[1]]) as alone:
            both[order[1]].remove()
            assert torch.equal(latents(pipe, call), one)
        both[order[1]].remove()
        alone.remove()
        assert torch.equal(latents(pipe, call), stock)
        assert traces(pipe) == []


def test_lora_and_a_cache_stay_the_pipelines_own(live):
    from diffusers import FirstBlockCacheConfig

    parts: Any = tiny.components() | {"transformer": tiny.transformer(layers=2)}
    pipe, own = WanPipeline(**parts), PilaWanPipeline(**parts, adapter=live)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    expected = tiny.latents(own)
    with pila.attach(pipe, live):
        assert torch.equal(tiny.latents(pipe), expected)
    pipe.transformer.disable_cache()


class Other:
    """No pipeline of any family."""


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"scheduler": CogVideoXDDIMScheduler()}, {}, "which is no flow matching"),
        ({"transformer": None, "transformer_2": None}, {}, "has no transformer"),
        ({}, {"scale": float("nan")}, "adapter_scale is nan"),
        ({}, {"top_k": 9}, "top_k is 9"),
        ({}, {"step_window": (3, 2)}, "step_window is 3-2"),
        ({}, {"velocity_source": "uncond"}, "use 'guided' or 'cond'"),
    ],
)
def test_wrong_input_is_named_before_anything_is_hooked(change, options, message, live, traces):
    pipe, _, _ = built("T2V", **change)
    with pytest.raises(InputError, match=message):
        pila.attach(pipe, live, **options)
    if getattr(pipe, "transformer", None) is not None:
        assert traces(pipe) == []


def test_what_does_not_fit_is_refused(live):
    pipe, _, call = built("T2V")
    for channels, width, words in (
        (8, tiny.TEXT_WIDTH, "latent_channels is 8"),
        (16, 7, "text_dim is 7"),
    ):
        odd = PilaAdapter(latent_channels=channels, text_dim=width, hidden_width=8)
        with pytest.raises(InputError, match=words):
            pila.attach(pipe, odd)
    with pytest.raises(InputError, match=r"pipe is a Other; pila\.attach serves WanPipeline"):
        pila.attach(Other(), live)
    with pytest.raises(InputError, match="adapter is 'none'"):
        pila.attach(pipe, "none")
    odd: Any = {}
    with pytest.raises(InputError, match="adapter is a dict"):
        pila.attach(pipe, odd)
    with (
        pila.attach(pipe, live, categories=["fluids"]),
        pytest.raises(InputError, match="unknown category"),
    ):
        latents(pipe, call)
