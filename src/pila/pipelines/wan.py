"""Diffusers' Wan pipelines with an adapter that corrects the velocity at each step."""

import inspect
from typing import Any, ClassVar, cast

from diffusers import (
    AutoencoderKLWan,
    ModelMixin,
    SchedulerMixin,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from pila.adapter.condition import pool_text
from pila.pipelines.backbone import check_fit
from pila.pipelines.correction import CategoryNames, Correction, CorrectionOptions, Record
from pila.pipelines.scheduler_hook import check_flow, schedule_length, velocity_correction


class CorrectedPipeline:
    """What the corrected pipelines share; goes before a diffusers Wan pipeline in the bases."""

    adapter: ModelMixin | None
    _correction: Correction | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Also reached through `register_modules`, so an unfit adapter is refused when the pipeline
        # is built, when it is loaded, and when a component is exchanged later.
        if value is not None:
            if name == "adapter":
                for denoiser in self._denoisers():
                    check_fit(value, denoiser)
            elif name in ("transformer", "transformer_2") and self._adapter() is not None:
                check_fit(self._adapter(), value)
        super().__setattr__(name, value)

    def _adapter(self) -> ModelMixin | None:
        # Not getattr: diffusers answers for a component that is not set yet from its config.
        return vars(self).get("adapter")

    def _denoisers(self) -> list[Any]:
        both = (vars(self).get("transformer"), vars(self).get("transformer_2"))
        return [denoiser for denoiser in both if denoiser is not None]

    def __call__(
        self,
        *args: Any,
        categories: CategoryNames | None = None,
        top_k: int | None = None,
        adapter_scale: float = 1.0,
        step_window: tuple[int, int] | None = None,
        velocity_source: str = "cond",
        condition_prompt: str | list[str] | None = None,
        record: Record | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as the diffusers pipeline does, with the adapter's correction at each step.

        Without an adapter, with an untrained one, or at `adapter_scale=0` the result is the frozen
        pipeline's, bit for bit. All arguments of the diffusers pipeline are taken as they are.

        Args:
            categories: physical categories for all prompts, or one list of them per prompt; None
                leaves the routing without a prior.
            top_k: number of routed experts, 0..8; None takes the adapter's own.
            adapter_scale: factor on the correction, beside the adapter's own `default_scale`.
            step_window: first and last scheduler step to correct, counted from 1, inclusive; a
                scheduler of second order has two for nearly every denoising step.
            velocity_source: velocity that the adapter reads: that of the conditional pass
                ("cond"), as in training, or the "guided" one. The correction comes after guidance
                in both cases.
            condition_prompt: what the adapter's condition is encoded from, a text for each prompt;
                the prompt itself by default.
            record: a list, or a function, that receives each corrected step's AdapterOutput.

        Raises:
            InputError: a value is out of its bounds.
            FloatingPointError: the velocity or its correction is not finite.
        """
        run = super().__call__  # type: ignore[misc]
        call = inspect.signature(run).bind(*args, **kwargs)
        call.apply_defaults()
        adapter = self._adapter()
        scheduler = cast(Any, self).scheduler
        steps = call.arguments["num_inference_steps"]
        if adapter is not None and adapter_scale != 0:
            check_flow(scheduler)
            steps = schedule_length(scheduler, steps) if steps > 0 else steps
        options = CorrectionOptions.checked(
            categories=categories,
            top_k=top_k,
            adapter_scale=adapter_scale,
            step_window=step_window,
            velocity_source=velocity_source,
            num_prompts=_num_prompts(call.arguments),
            num_steps=steps,
        )
        if adapter is None or adapter_scale == 0:
            return run(*args, **kwargs)
        correction = Correction(adapter, options, record)
        correction.prompt = condition_prompt
        watched = self._denoisers() if velocity_source == "cond" else []
        outer, self._correction = self._correction, correction
        try:
            with (
                correction.conditional.watch(*watched),
                velocity_correction(scheduler, correction),
            ):
                result = run(*args, **kwargs)
        finally:
            self._correction = outer
        correction.raise_if_not_finite()
        return result

    def encode_prompt(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Encode as diffusers does; during a call the adapter gets the pooled positive prompt."""
        embeds, negative = super().encode_prompt(*args, **kwargs)  # type: ignore[misc]
        if self._correction is not None:
            own = embeds
            if self._correction.prompt is not None:
                call = inspect.signature(super().encode_prompt).bind(*args, **kwargs)  # type: ignore[misc]
                own, _ = super().encode_prompt(  # type: ignore[misc]
                    **call.arguments
                    | {
                        "prompt": self._correction.prompt,
                        "prompt_embeds": None,
                        "do_classifier_free_guidance": False,
                    }
                )
            self._correction.text = pool_text(own.float())
        return embeds, negative


def _num_prompts(arguments: dict[str, Any]) -> int:
    prompt, embeds = arguments.get("prompt"), arguments.get("prompt_embeds")
    if prompt is None:
        return 1 if embeds is None else embeds.shape[0]  # diffusers refuses the first case itself
    return 1 if isinstance(prompt, str) else len(prompt)


class PilaWanPipeline(CorrectedPipeline, WanPipeline):
    """Text-to-video with Wan 2.1 or 2.2 and an optional adapter; see `__call__`.

    `PilaWanPipeline.from_pretrained(wan_repository, adapter=adapter)` attaches an adapter to a
    plain Wan repository; `save_pretrained` keeps it, and `from_pretrained` finds it again.

    Raises:
        InputError: the adapter's latent channels or text width are not the denoisers'.
    """

    _optional_components: ClassVar[list[str]] = [*WanPipeline._optional_components, "adapter"]
    # Small and used between the denoisers' passes: moving it at each step would cost more.
    _exclude_from_cpu_offload: ClassVar[list[str]] = [
        *WanPipeline._exclude_from_cpu_offload,
        "adapter",
    ]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        scheduler: SchedulerMixin,
        transformer: WanTransformer3DModel | None = None,
        transformer_2: WanTransformer3DModel | None = None,
        adapter: ModelMixin | None = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool = False,
    ) -> None:
        super().__init__(
            tokenizer=cast(Any, tokenizer),
            text_encoder=text_encoder,
            vae=vae,
            scheduler=cast(Any, scheduler),
            transformer=transformer,
            transformer_2=transformer_2,
            boundary_ratio=boundary_ratio,
            expand_timesteps=expand_timesteps,
        )
        self.register_modules(adapter=adapter)
