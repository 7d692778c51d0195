"""Diffusers' Wan image-to-video pipeline with an adapter; apart from `wan`, since importing the
image processor is slow and warns where torchvision is missing."""

from typing import Any, ClassVar, cast

from diffusers import (
    AutoencoderKLWan,
    ModelMixin,
    SchedulerMixin,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    PreTrainedTokenizerBase,
    UMT5EncoderModel,
)

from pila.pipelines.wan import CorrectedPipeline


class PilaWanImageToVideoPipeline(CorrectedPipeline, WanImageToVideoPipeline):
    """Image-to-video with Wan 2.1 or 2.2, TI2V-5B among them; otherwise as `PilaWanPipeline`."""

    _optional_components: ClassVar[list[str]] = [
        *WanImageToVideoPipeline._optional_components,
        "adapter",
    ]
    _exclude_from_cpu_offload: ClassVar[list[str]] = [
        *WanImageToVideoPipeline._exclude_from_cpu_offload,
        "adapter",
    ]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        scheduler: SchedulerMixin,
        image_processor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModel | None = None,
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
            image_processor=cast(Any, image_processor),
            image_encoder=cast(Any, image_encoder),
            transformer=cast(Any, transformer),
            transformer_2=cast(Any, transformer_2),
            boundary_ratio=boundary_ratio,
            expand_timesteps=expand_timesteps,
        )
        self.register_modules(adapter=adapter)

    def prepare_latents(self, *args: Any, **kwargs: Any) -> Any:
        """As diffusers does; during a call the correction learns which frames are given."""
        prepared: Any = super().prepare_latents(*args, **kwargs)
        if self._correction is not None and self.config["expand_timesteps"]:
            _, clean, generated = prepared
            self._correction.frozen_frames = (clean, generated)
        return prepared
