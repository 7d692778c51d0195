import inspect
from typing import Any

import pytest
import torch
from tests.pipelines import tiny

from pila.pipelines.scheduler_hook import ConditionalVelocity, velocity_correction

SHAPE = (2, 16, 3, 4, 4)


def sample(scheduler: Any, v: torch.Tensor, steps: int = 4) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        x = scheduler.step(v, t, x, return_dict=False)[0]
    return x


@pytest.fixture
def v() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_sees_the_exact_sigma_and_index(name: str, v: torch.Tensor):
    scheduler, seen = tiny.scheduler(name), []
    with velocity_correction(scheduler, lambda x_t, v, sigma, index: seen.append((index, sigma))):
        sample(scheduler, v)
    assert [index for index, _ in seen] == [0, 1, 2, 3]
    assert [sigma for _, sigma in seen] == scheduler.sigmas[:4].tolist()


@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_partial_schedule_starts_at_its_own_sigma(name: str, v: torch.Tensor):
    scheduler, seen = tiny.scheduler(name), []
    scheduler.set_timesteps(6)
    x = torch.zeros(SHAPE)
    with velocity_correction(scheduler, lambda x_t, v, sigma, index: seen.append(sigma)):
        for t in scheduler.timesteps[2:]:
            x = scheduler.step(v, t, x, return_dict=False)[0]
    assert seen == scheduler.sigmas[2:6].tolist()


@pytest.mark.parametrize("name", ["unipc", "euler"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_or_no_correction_changes_no_bit(name: str, dtype: torch.dtype, v: torch.Tensor):
    plain = sample(tiny.scheduler(name), v.to(dtype))
    for dv in (None, torch.zeros(SHAPE)):
        scheduler = tiny.scheduler(name)
        with velocity_correction(scheduler, lambda *_, dv=dv: dv):
            corrected = sample(scheduler, v.to(dtype))
        assert corrected.dtype == plain.dtype
        assert torch.equal(corrected, plain)


@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_adds_the_correction(name: str, v: torch.Tensor):
    scheduler = tiny.scheduler(name)
    with velocity_correction(scheduler, lambda x_t, v, sigma, index: 0.5 * v):
        corrected = sample(scheduler, v)
    assert torch.equal(corrected, sample(tiny.scheduler(name), 1.5 * v))


@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_live_correction_is_not_rounded_to_bf16(name: str, v: torch.Tensor):
    low, dv = v.bfloat16(), 1e-3 * v  # below half a bf16 digit nearly everywhere
    scheduler = tiny.scheduler(name)
    with velocity_correction(scheduler, lambda *_: dv):
        corrected = sample(scheduler, low)
    assert torch.equal(corrected, sample(tiny.scheduler(name), low.float() + dv))


def test_restores_the_step_after_an_exception(v: torch.Tensor):
    scheduler = tiny.scheduler()

    def fail(*_: Any) -> torch.Tensor:
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), velocity_correction(scheduler, fail):
        sample(scheduler, v)
    assert "step" not in vars(scheduler)


def test_nests_and_restores_in_order(v: torch.Tensor):
    scheduler = tiny.scheduler("euler")
    with velocity_correction(scheduler, lambda x_t, v, *_: v):
        with velocity_correction(scheduler, lambda x_t, v, *_: 2 * v):
            both = sample(scheduler, v)  # v -> 3 v -> 6 v
        one = sample(scheduler, v)
    torch.testing.assert_close(both, sample(tiny.scheduler("euler"), 6 * v))
    assert torch.equal(one, sample(tiny.scheduler("euler"), 2 * v))
    assert "step" not in vars(scheduler)


def test_keeps_the_signature_that_pipelines_inspect():
    scheduler = tiny.scheduler("euler")
    plain = inspect.signature(scheduler.step)
    with velocity_correction(scheduler, lambda *_: None):
        assert inspect.signature(scheduler.step) == plain


def test_takes_arguments_by_keyword(v: torch.Tensor):
    scheduler = tiny.scheduler("euler")
    scheduler.set_timesteps(2)
    with velocity_correction(scheduler, lambda x_t, v, *_: v):
        scheduler.step(model_output=v, timestep=scheduler.timesteps[0], sample=torch.zeros(SHAPE))


@pytest.mark.parametrize("compiled", [False, True])
def test_conditional_velocity_is_the_first_pass_of_a_step(compiled: bool):
    denoiser = torch.nn.Linear(2, 2)
    conditional, first, second = ConditionalVelocity(), torch.ones(1, 2), torch.zeros(1, 2)

    class Denoiser(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (denoiser(x),)

    module = Denoiser()
    if compiled:
        module.compile(backend="eager")
        module(first)
    before = vars(module).get("_compiled_call_impl")
    with conditional.watch(module, None):
        for x in (first, 2 * first):
            module(x)
            module(second)
            assert torch.equal(conditional.take(), denoiser(x))
    module(first)
    assert vars(module).get("_compiled_call_impl") is before
    with pytest.raises(RuntimeError, match="no denoiser ran"):
        conditional.take()
