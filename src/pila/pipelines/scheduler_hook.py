"""The seam: a flow scheduler's `step`, where the guided velocity and the exact sigma meet.

Everything upstream (guidance, Wan 2.2's two denoisers, caches, LoRA, offload) is done by then, so
one patch on the scheduler instance serves every diffusers flow pipeline with Wan latents.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from pila.errors import InputError

Correct = Callable[[Tensor, Tensor, float, int], Tensor | None]
"""`correct(x_t, v, sigma, index)` -> dv, or None to leave v: latents and velocity [b, c, t, h, w]
in the dtypes that the pipeline passes, the noise level, and the 0-based index in the schedule."""


def check_flow(scheduler: Any) -> None:
    """Refuse a scheduler whose noise levels are not those of flow matching, from 1 to 0.

    Raises:
        InputError: names the scheduler and what to use in its place.
    """
    config = scheduler.config
    flow = (
        type(scheduler).__name__.startswith("FlowMatch")
        or config.get("use_flow_sigmas")
        or config.get("prediction_type") == "flow_prediction"
    )
    if not flow or config.get("prediction_type", "flow_prediction") != "flow_prediction":
        raise InputError(
            f"the scheduler is a {type(scheduler).__name__} with prediction_type="
            f"{config.get('prediction_type')!r} and use_flow_sigmas="
            f"{config.get('use_flow_sigmas')!r}, which is no flow matching, so its noise levels "
            "say nothing to the adapter; use FlowMatchEulerDiscreteScheduler, or UniPC with "
            "prediction_type='flow_prediction' and use_flow_sigmas=True"
        )


def schedule_length(scheduler: Any, num_inference_steps: int) -> int:
    """How often a sampling calls the scheduler: Heun's, say, twice a step but for the last.

    Args:
        scheduler: asked through a copy, so that it stays as it is.
        num_inference_steps: as the pipeline is told.
    """
    copy = type(scheduler).from_config(scheduler.config)
    dynamic = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    copy.set_timesteps(num_inference_steps, **dynamic)
    return len(copy.timesteps)


class CorrectedVelocity:
    """v + dv, step after step of one sampling.

    v is handed on untouched, dtype included, where dv is None or still exactly zero, so that an
    untrained adapter leaves every bit as it was. Once dv has been non-zero the sum is taken and
    handed on in fp32: rounding v + dv back to bf16 would lose most of a small dv, and both UniPC
    and Euler compute with an fp32 velocity as it is.

    Args:
        scheduler: a flow-matching scheduler with `sigmas`, where 1 is noise.
        correct: see `Correct`; called once per step, under the pipeline's own `no_grad`.
    """

    def __init__(self, scheduler: Any, correct: Correct) -> None:
        self._noise_levels = _NoiseLevels(scheduler)
        self._correct = correct
        self._live = False

    def __call__(self, x_t: Tensor, v: Tensor, timestep: Any) -> Tensor:
        """The velocity [b, c, t, h, w] for the scheduler's next step, which is at `timestep`."""
        index, sigma = self._noise_levels.at(timestep)
        dv = self._correct(x_t, v, sigma, index)
        if dv is None:
            return v
        exact = torch.promote_types(v.dtype, torch.float32)
        # Adding zeros to fp32 changes nothing, so only a lower precision needs the look at dv. It
        # waits for the device, hence never again after the first live step.
        self._live = self._live or v.dtype == exact or bool(dv.any())
        return v.to(exact) + dv.to(exact) if self._live else v


@contextmanager
def velocity_correction(scheduler: Any, correct: Correct) -> Iterator[None]:
    """Hand every `scheduler.step` in this context a `CorrectedVelocity`.

    Contexts nest (the innermost corrects first) and restore the step on any exit.
    """
    original = scheduler.step
    replaced = vars(scheduler).get("step")
    corrected = CorrectedVelocity(scheduler, correct)

    @functools.wraps(original)  # pipelines look for options in the signature of `step`
    def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        v = corrected(sample, model_output, timestep)
        return original(v, timestep, sample, *args, **kwargs)

    scheduler.step = step
    try:
        yield
    finally:
        if replaced is None:
            del scheduler.step
        else:
            scheduler.step = replaced


class _NoiseLevels:
    """Reads a scheduler's sigma for the step that is about to run.

    `timesteps` would not do: UniPC truncates them to integers.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._sigmas: Tensor | None = None
        self._values: list[float] = []

    def at(self, timestep: Any) -> tuple[int, float]:
        """Index in the schedule and sigma of the next step."""
        scheduler = self._scheduler
        if self._sigmas is not scheduler.sigmas:  # once per set_timesteps: it waits for the device
            self._sigmas = scheduler.sigmas
            self._values = scheduler.sigmas.tolist()
        index = scheduler.step_index
        if index is None:
            index = scheduler.begin_index
        if index is None:  # the pipeline set no start, so the scheduler will look it up as well
            index = scheduler.index_for_timestep(timestep)
        return index, self._values[index]


class ConditionalVelocity:
    """Keeps the velocity of the conditional pass while denoisers run inside `watch`.

    Convention: between two scheduler steps the first pass of a denoiser is the conditional one, as
    in every Wan pipeline of diffusers; a second pass, if any, is the unconditional one.
    """

    def __init__(self) -> None:
        self._value: Tensor | None = None

    def take(self) -> Tensor:
        """The conditional velocity of the current step; call it once per step."""
        value, self._value = self._value, None
        if value is None:
            raise RuntimeError("no denoiser ran since the last step, so no velocity was captured")
        return value

    @contextmanager
    def watch(self, *denoisers: torch.nn.Module | None) -> Iterator[None]:
        """Look at the outputs of these modules; None entries are skipped."""
        with ExitStack() as stack:
            for denoiser in denoisers:
                if denoiser is not None:
                    stack.enter_context(self._watch(denoiser))
            yield

    @contextmanager
    def _watch(self, denoiser: torch.nn.Module) -> Iterator[None]:
        compiled = denoiser._compiled_call_impl
        if compiled is None:
            handle = denoiser.register_forward_hook(lambda module, args, output: self._keep(output))
            try:
                yield
            finally:
                handle.remove()
            return

        # `module.compile()` runs hooks inside the compiled graph, which does not see new ones.
        def call(*args: Any, **kwargs: Any) -> Any:
            output = compiled(*args, **kwargs)
            self._keep(output)
            return output

        denoiser._compiled_call_impl = call  # type: ignore[assignment]
        try:
            yield
        finally:
            denoiser._compiled_call_impl = compiled

    def keep(self, velocity: Tensor) -> None:
        """Take in the velocity of a pass; of those since the last step the first one counts."""
        if self._value is None:
            self._value = velocity

    def _keep(self, output: Any) -> None:
        self.keep(output[0] if isinstance(output, tuple) else output.sample)
