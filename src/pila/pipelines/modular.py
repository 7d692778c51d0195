"""A second front end: the correction as a block of diffusers' modular pipelines.

    blocks = with_adapter(WanBlocks())
    pipeline = blocks.init_pipeline(wan_repository)
    pipeline.load_components()
    pipeline.update_components(adapter=adapter)
    pipeline(prompt=..., categories=["fluid"], output="videos")

Modular diffusers calls itself experimental; `pila.pipelines.wan` is the front end that the command
line uses.
"""

from typing import Any

import torch
from diffusers import ModelMixin, UniPCMultistepScheduler
from diffusers.modular_pipelines import (
    BlockState,
    ComponentSpec,
    InputParam,
    LoopSequentialPipelineBlocks,
    ModularPipelineBlocks,
)
from torch import Tensor

from pila.adapter.condition import pool_text
from pila.errors import InputError
from pila.pipelines.attachments import denoisers_of
from pila.pipelines.backbone import check_fit
from pila.pipelines.correction import CategoryNames, Correction, CorrectionOptions, Record
from pila.pipelines.scheduler_hook import CorrectedVelocity, check_flow

DENOISER = "denoiser"
"""What diffusers' Wan loops call the block that leaves the guided velocity in `noise_pred`."""


def with_adapter(blocks: Any) -> Any:
    """The same blocks, the denoiser of each of their loops put into a `PilaLoopDenoiser`.

    Args:
        blocks: blocks of a Wan pipeline, such as `WanBlocks()`, or a denoising loop alone.

    Raises:
        InputError: there is no denoising loop in them, or they hold an adapter already.
    """
    found = list(_loops(blocks))
    if not found:
        raise InputError(
            f"{type(blocks).__name__} has no loop with a block named {DENOISER}; pass blocks of a "
            "Wan pipeline, such as diffusers.modular_pipelines.WanBlocks()"
        )
    for loop in found:
        if isinstance(loop.sub_blocks[DENOISER], PilaLoopDenoiser):
            raise InputError("these blocks hold an adapter already; pass fresh ones")
        loop.sub_blocks[DENOISER] = PilaLoopDenoiser(loop.sub_blocks[DENOISER])
    return blocks


def _loops(blocks: Any) -> Any:
    if isinstance(blocks, LoopSequentialPipelineBlocks) and DENOISER in blocks.sub_blocks:
        yield blocks
        return
    for block in blocks.sub_blocks.values():
        yield from _loops(block)


class PilaLoopDenoiser(ModularPipelineBlocks):
    """Runs a loop's denoiser block, then corrects the guided velocity that it leaves.

    It stands around the denoiser rather than behind it, since `velocity_source="cond"` has to see
    the conditional pass. The options are those of `PilaWanPipeline.__call__`. Without an adapter,
    with an untrained one, or at `adapter_scale=0` the result is the frozen pipeline's, bit for bit.

    Args:
        denoiser: a block such as diffusers' `WanLoopDenoiser` or `Wan22LoopDenoiser`.
    """

    model_name = "wan"

    def __init__(self, denoiser: ModularPipelineBlocks) -> None:
        self._denoiser: Any = denoiser
        super().__init__()

    @property
    def description(self) -> str:
        """What diffusers prints of this block."""
        return f"{self._denoiser.description} PILA's adapter then corrects the guided velocity."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """The denoiser's, the scheduler, and the adapter, which may stay None."""
        return [
            *self._denoiser.expected_components,
            ComponentSpec("scheduler", UniPCMultistepScheduler),
            ComponentSpec("adapter", ModelMixin),
        ]

    @property
    def expected_configs(self) -> Any:
        """The denoiser's."""
        return self._denoiser.expected_configs

    @property
    def inputs(self) -> list[InputParam]:
        """The denoiser's, what the adapter reads, and its options."""
        own = [
            InputParam("latents", required=True, type_hint=Tensor, description="x_t."),
            InputParam("timesteps", required=True, type_hint=Tensor),
            InputParam("batch_size", required=True, type_hint=int, description="Prompts."),
            InputParam("categories", type_hint=CategoryNames, description="Of the prompts."),
            InputParam("top_k", type_hint=int, description="Routed experts, 0..8."),
            InputParam("adapter_scale", default=1.0, type_hint=float),
            InputParam("step_window", type_hint=tuple, description="Corrected steps, from 1."),
            InputParam("velocity_source", default="cond", type_hint=str, description="Or guided."),
            InputParam("record", type_hint=Record, description="Receives each AdapterOutput."),
        ]
        names = {param.name for param in self._denoiser.inputs}
        return [*self._denoiser.inputs, *(param for param in own if param.name not in names)]

    @torch.no_grad()
    def __call__(
        self, components: Any, block_state: BlockState, i: int, t: Tensor
    ) -> tuple[Any, BlockState]:
        """Denoise step `i`, counted from 0, at timestep `t`.

        Raises:
            InputError: an option is out of its bounds, or the adapter does not fit.
            FloatingPointError: the velocity or its correction is not finite.
        """
        state: Any = block_state
        if i == 0:  # a block serves many calls, so that what belongs to one lies in its state
            state.correction = _correction(components, state)
            state.corrected = CorrectedVelocity(components.scheduler, state.correction)
        if components.adapter is None or state.adapter_scale == 0:
            return self._denoiser(components, block_state, i=i, t=t)
        watched = denoisers_of(components) if state.velocity_source == "cond" else []
        with state.correction.conditional.watch(*watched):
            components, block_state = self._denoiser(components, block_state, i=i, t=t)
        state.noise_pred = state.corrected(state.latents, state.noise_pred, t)
        if i == len(state.timesteps) - 1:
            state.correction.raise_if_not_finite()
        return components, block_state


def _correction(components: Any, state: Any) -> Correction:
    options = CorrectionOptions.checked(
        categories=state.categories,
        top_k=state.top_k,
        adapter_scale=state.adapter_scale,
        step_window=state.step_window,
        velocity_source=state.velocity_source,
        num_prompts=state.batch_size,
        num_steps=len(state.timesteps),
    )
    if components.adapter is not None:
        if state.adapter_scale != 0:
            check_flow(components.scheduler)
        for denoiser in denoisers_of(components):
            check_fit(components.adapter, denoiser)
    correction = Correction(components.adapter, options, state.record)
    # By now diffusers has repeated each prompt for its videos.
    correction.text = pool_text(state.prompt_embeds.float())
    return correction
