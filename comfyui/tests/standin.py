"""The part of ComfyUI that the nodes touch, small, for machines without a checkout.

Written after reading ComfyUI 0.3.64 (commit a125cd84): `comfy/model_sampling.py` (CONST,
ModelSamplingDiscreteFlow), `comfy/model_patcher.py` (ModelPatcher), `comfy/samplers.py`
(cfg_function, CFGGuider, KSAMPLER), `comfy/model_base.py` (BaseModel) and `folder_paths.py`.
`real_comfyui.py` runs the same checks in the real one.
"""

import copy
import sys
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

SAMPLER_SAMPLE = "sampler_sample"


class CONST:
    """Flow parametrisation: the model sees x_t, and x0_hat = x_t - sigma v."""


class Flow(CONST):
    """Noise levels of a flow model with a shift."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def percent_to_sigma(self, percent: float) -> float:
        if percent <= 0:
            return 1.0
        t = max(0.0, 1 - percent)
        return self.shift * t / (1 + (self.shift - 1) * t)


class Eps:
    """The noise levels of a diffusion model that is no flow."""

    def percent_to_sigma(self, percent: float) -> float:
        return 14.6 * (1 - percent)


class Model:
    """BaseModel around a denoiser of diffusers; `apply_model` returns x0_hat in fp32."""

    def __init__(self, transformer: Any, *, shift: float = 3.0) -> None:
        self.transformer = transformer
        self.diffusion_model = SimpleNamespace(text_dim=transformer.config.text_dim)
        self.model_sampling = Flow(shift)
        self.latent_format = SimpleNamespace(latent_channels=transformer.config.out_channels)

    def apply_model(self, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        context = context.expand(len(x), -1, -1)
        v = self.transformer(x, 1000 * sigma, context, return_dict=False)[0].float()
        return x - v * sigma.reshape(-1, 1, 1, 1, 1)


class ModelPatcher:
    """MODEL: `clone` deep-copies the options and copies the lists of wrappers."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.wrappers: dict[str, dict[str, list[Any]]] = {}

    def clone(self) -> "ModelPatcher":
        other = ModelPatcher(self.model)
        other.model_options = copy.deepcopy(self.model_options)
        for kind, by_key in self.wrappers.items():
            other.wrappers[kind] = {key: list(found) for key, found in by_key.items()}
        return other

    def get_model_object(self, name: str) -> Any:
        return getattr(self.model, name)

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Any) -> None:
        self.wrappers.setdefault(kind, {}).setdefault(key, []).append(wrapper)

    def set_model_sampler_post_cfg_function(self, function: Any) -> None:
        found = self.model_options.get("sampler_post_cfg_function", [])
        self.model_options["sampler_post_cfg_function"] = [*found, function]


def conditioning(embeds: Tensor, **model_conds: Tensor) -> list[dict[str, Any]]:
    """What CONDITIONING has become when a post-cfg function sees it."""
    conds = {name: SimpleNamespace(cond=value) for name, value in model_conds.items()}
    return [{"cross_attn": embeds, "model_conds": conds}]


def predict(
    patcher: ModelPatcher, x: Tensor, sigma: Tensor, positive: Any, negative: Any, cfg: float
) -> Tensor:
    """Guided x0_hat after all post-cfg functions; without guidance the second pass is left out."""
    cond = patcher.model.apply_model(x, sigma, positive[0]["cross_attn"])
    uncond = cond
    if cfg != 1:
        uncond = patcher.model.apply_model(x, sigma, negative[0]["cross_attn"])
    denoised = uncond + (cond - uncond) * cfg
    for function in patcher.model_options.get("sampler_post_cfg_function", []):
        denoised = function(
            {
                "denoised": denoised,
                "cond": positive,
                "uncond": negative if cfg != 1 else None,
                "cond_scale": cfg,
                "model": patcher.model,
                "uncond_denoised": uncond,
                "cond_denoised": cond,
                "sigma": sigma,
                "model_options": patcher.model_options,
                "input": x,
            }
        )
    return denoised


def sample(
    patcher: ModelPatcher,
    noise: Tensor,
    sigmas: Tensor,
    positive: Any,
    negative: Any,
    cfg: float = 4.0,
) -> Tensor:
    """Euler's method through the wrappers of a MODEL, from pure noise to latents."""

    def euler(guider: Any, sigmas: Tensor, *rest: Any) -> Tensor:
        x = sigmas[0] * noise
        for now, then in pairwise(sigmas):
            denoised = predict(patcher, x, now.expand(len(x)), positive, negative, cfg)
            x = x + (x - denoised) / now * (then - now)
        return x

    run: Any = euler
    for wrappers in reversed(patcher.wrappers.get(SAMPLER_SAMPLE, {}).values()):
        for wrapper in reversed(wrappers):
            run = _around(wrapper, run)
    with torch.inference_mode():  # as ComfyUI's executor
        return run(None, sigmas, {}, None, noise, None, None, True)


def _around(wrapper: Any, inner: Any) -> Any:
    return lambda *args: wrapper(inner, *args)


def install(monkeypatch: Any, models: Any) -> None:
    """Put the modules that the nodes import in place; `models` is ComfyUI's models folder."""
    comfy, sampling, extension, paths = (
        ModuleType(name)
        for name in ("comfy", "comfy.model_sampling", "comfy.patcher_extension", "folder_paths")
    )
    sampling.CONST = CONST  # type: ignore[attr-defined]
    extension.WrappersMP = SimpleNamespace(SAMPLER_SAMPLE=SAMPLER_SAMPLE)  # type: ignore[attr-defined]
    places: dict[str, list[str]] = {}

    def add_model_folder_path(name: str, place: str) -> None:
        if place not in places.setdefault(name, []):
            places[name].append(place)

    paths.models_dir = str(models)  # type: ignore[attr-defined]
    paths.add_model_folder_path = add_model_folder_path  # type: ignore[attr-defined]
    paths.get_folder_paths = lambda name: list(places[name])  # type: ignore[attr-defined]
    for module in (comfy, sampling, extension, paths):
        monkeypatch.setitem(sys.modules, module.__name__, module)
