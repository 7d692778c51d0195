"""Every step of every flow scheduler is corrected, and others are refused."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.errors import InputError
from pila.pipelines.scheduler_hook import schedule_length
from pila.pipelines.wan import PilaWanPipeline

# diffusers makes NumPy arrays of tensors in a way that NumPy announces the end of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
FLOWS = [
    FlowMatchEulerDiscreteScheduler(shift=3.0),
    FlowMatchHeunDiscreteScheduler(shift=3.0),
    UniPCMultistepScheduler(**FLOW, flow_shift=3.0),
    DPMSolverMultistepScheduler(**FLOW, flow_shift=3.0),
]
OTHERS = [
    UniPCMultistepScheduler(),
    EulerDiscreteScheduler(),
    DDIMScheduler(),
    DPMSolverMultistepScheduler(prediction_type="v_prediction"),
]


def named(scheduler) -> str:
    return type(scheduler).__name__


def pipeline(scheduler, adapter=None) -> PilaWanPipeline:
    parts = tiny.components() | {"scheduler": scheduler}
    return PilaWanPipeline(**parts, adapter=adapter or small_adapter())


@pytest.mark.parametrize("scheduler", FLOWS, ids=named)
def test_every_step_is_corrected_once_at_its_noise_level(scheduler):
    adapter, sigmas, passes = small_adapter(), [], []
    adapter.register_forward_pre_hook(lambda module, given: sigmas.append(float(given[2][0])))
    pipe = pipeline(scheduler, adapter)
    pipe.transformer.register_forward_pre_hook(lambda *_: passes.append(1))
    tiny.latents(pipe, num_inference_steps=6, guidance_scale=1.0)
    assert len(sigmas) == len(passes) == schedule_length(scheduler, 6)
    assert sigmas == pytest.approx(scheduler.sigmas[: len(sigmas)].tolist())
    assert all(0 < sigma <= 1 for sigma in sigmas)


def test_windows_count_the_schedulers_steps():
    pipe = pipeline(FlowMatchHeunDiscreteScheduler(shift=3.0))
    tiny.latents(pipe, num_inference_steps=6, step_window=(1, 11), record=(seen := []))
    assert len(seen) == 11
    with pytest.raises(InputError, match="the steps run from 1 to 11"):
        tiny.latents(pipe, num_inference_steps=6, step_window=(1, 12))


@pytest.mark.parametrize("scheduler", OTHERS, ids=named)
def test_what_is_no_flow_is_refused_before_anything_runs(scheduler):
    pipe, passes = pipeline(scheduler), []
    pipe.text_encoder.register_forward_pre_hook(lambda *_: passes.append(1))
    with pytest.raises(InputError, match=f"{named(scheduler)} .* no flow matching"):
        tiny.latents(pipe)
    assert not passes


def test_at_scale_zero_any_scheduler_runs_as_it_is():
    pipe = pipeline(UniPCMultistepScheduler())
    assert torch.isfinite(tiny.latents(pipe, adapter_scale=0.0)).all()


def test_asking_for_the_length_leaves_the_scheduler_alone():
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    before = torch.as_tensor(scheduler.sigmas).clone()
    assert schedule_length(scheduler, 4) == 4
    assert torch.equal(torch.as_tensor(scheduler.sigmas), before)
