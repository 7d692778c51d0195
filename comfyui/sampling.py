# pyright: reportMissingImports=false
"""PILA's correction inside ComfyUI's sampling: from x_t and `denoised` to v and back.

How ComfyUI's quantities are pila's:

- Sampling runs on what the latent format's `process_in` returns. For Wan 2.1 that is
  (latents - mean) / std (`scale_factor` is 1), the same normalised latents that diffusers' Wan
  pipelines denoise and adapters are trained on. So nothing is rescaled here.
- Wan is a flow model (`ModelSamplingDiscreteFlow` with `CONST`): sigma runs from 1 (noise) to 0,
  x_t = sigma noise + (1 - sigma) latents, the model sees x_t as it is, and
  `denoised` = x_t - sigma v. Thus `denoised` is pila's x0_hat and v = (x_t - denoised) / sigma.
- Hooks behind the guidance (`set_model_sampler_post_cfg_function`) get x_t as `input`, the guided
  `denoised` and that of the positive pass as `cond_denoised`; guidance is linear, so guided
  `denoised` belongs to the guided v. A correction dv of v is -sigma dv of `denoised`.
- dv is thus added once per evaluation of the model, after guidance, as at diffusers'
  `scheduler.step`. Samplers of higher order evaluate the model more than once a step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pila.adapter.condition import pool_text
from pila.errors import InputError
from pila.generate.pictures import Recorder
from pila.pipelines.backbone import check_fit
from pila.pipelines.correction import Correction, CorrectionOptions

KEY = "pila"


@dataclass
class SamplingRecord:
    """What the adapter did in the latest sampling of a model; `PilaExplain` draws it."""

    categories: tuple[str, ...]
    recorder: Recorder | None = None
    sigmas: list[float] = field(default_factory=list)
    """Noise level of each corrected evaluation."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is corrected; see `CorrectionOptions` for the first four.

    `first_sigma` and `last_sigma` bound the corrected noise levels, both included, falling.
    """

    categories: tuple[str, ...]
    top_k: int | None
    strength: float
    velocity_source: str
    first_sigma: float
    last_sigma: float


def check_model(model: Any, adapter: Any) -> None:
    """Refuse a MODEL that is no Wan flow model, or whose latents or text the adapter cannot read.

    Raises:
        InputError: with what was found.
    """
    from comfy.model_sampling import CONST

    inner, denoiser = model.model, model.get_model_object("diffusion_model")
    sampling = model.get_model_object("model_sampling")
    text_dim = getattr(denoiser, "text_dim", None)
    if text_dim is None or not isinstance(sampling, CONST):
        raise InputError(
            f"the model is a {type(inner).__name__} with {type(sampling).__name__}, not a Wan flow "
            "model; load Wan 2.1 or 2.2"
        )
    channels = inner.latent_format.latent_channels
    check_fit(adapter, {"in_channels": channels, "text_dim": text_dim})


def corrected(model: Any, adapter: Any, settings: Settings, record: SamplingRecord) -> Any:
    """A clone of a MODEL whose samplings `adapter` corrects.

    Raises:
        InputError: the model does not fit.
    """
    from comfy.patcher_extension import WrappersMP

    check_model(model, adapter)
    running: list[_Run] = []

    # Both are plain functions on purpose: cloning a MODEL deep-copies its options, and a method
    # would take its object, adapter included, along.
    def sample(executor: Callable[..., Any], guider: Any, sigmas: Tensor, *rest: Any) -> Any:
        device = sigmas.device
        run = _Run(adapter.to(device), settings, record, sigmas)
        running.append(run)
        try:
            result = executor(guider, sigmas, *rest)
        finally:
            running.pop()
            adapter.to("cpu")
        run.correction.raise_if_not_finite()
        return result

    def after_guidance(args: dict[str, Any]) -> Tensor:
        return running[-1].denoised(args)

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, sample)
    clone.set_model_sampler_post_cfg_function(after_guidance)
    return clone


class _Run:
    """One sampling, from its first noise level to its last."""

    def __init__(
        self, adapter: Any, settings: Settings, record: SamplingRecord, sigmas: Tensor
    ) -> None:
        self._settings = settings
        self._record = record
        record.recorder, record.sigmas = None, []
        self._sigmas = sigmas.tolist()
        options = CorrectionOptions.checked(
            categories=list(settings.categories) or None,
            top_k=settings.top_k,
            adapter_scale=settings.strength,
            step_window=None,  # noise levels bound the correction here, in `denoised`
            velocity_source=settings.velocity_source,
            num_prompts=1,
            num_steps=max(1, len(self._sigmas) - 1),
        )
        self.correction = Correction(adapter, options, self._take)

    def denoised(self, args: dict[str, Any]) -> Tensor:
        """Corrected x0_hat [b, c, t, h, w]; args as ComfyUI hands them to a post-cfg function."""
        x_t, denoised = args["input"], args["denoised"]
        sigma = float(args["sigma"].flatten()[0])  # the same for the whole batch
        settings = self._settings
        if settings.strength == 0 or sigma <= 0:
            return denoised
        if not settings.last_sigma <= sigma <= settings.first_sigma:
            return denoised
        x, positive = x_t.float(), args["cond"][0]
        if settings.velocity_source == "cond":
            self.correction.conditional.keep((x - args["cond_denoised"].float()) / sigma)
        self.correction.text = pool_text(positive["cross_attn"].to(x.device).float())
        # Wan 2.2 5B keeps given frames clean in x_t and tells its denoiser so by this mask.
        mask = positive.get("model_conds", {}).get("denoise_mask")
        self.correction.frozen_frames = None if mask is None else (x, mask.cond.to(x))
        # An evaluation between two levels of the schedule belongs to the step that it is in.
        index = max(0, sum(level >= sigma for level in self._sigmas) - 1)
        if self._record.recorder is None:
            self._record.recorder = Recorder(first_step=index + 1)
        v = (x - denoised.float()) / sigma
        dv = self.correction(x, v, sigma, index)
        assert dv is not None, "the window spans all steps"
        self._record.sigmas.append(sigma)
        return (denoised.float() - sigma * dv).to(denoised.dtype)

    def _take(self, output: Any) -> None:
        assert self._record.recorder is not None
        self._record.recorder(output)


def picture_batch(pictures: list[Any]) -> Tensor:
    """PIL images as one IMAGE batch [n, h, w, 3] in 0..1, smaller ones filled up with white."""
    import numpy as np

    arrays = [np.asarray(p.convert("RGB"), dtype=np.float32) / 255 for p in pictures]
    height, width = (max(a.shape[axis] for a in arrays) for axis in (0, 1))
    batch = torch.ones(len(arrays), height, width, 3)
    for row, array in zip(batch, arrays, strict=True):
        row[: array.shape[0], : array.shape[1]] = torch.from_numpy(array)
    return batch
