"""The frozen generator in training: one forward pass a step, without a graph, never changed."""

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pila.errors import InputError
from pila.flow import clean_estimate, noised, velocity_target
from pila.pipelines.backbone import Backbone
from pila.pipelines.loading import load_model
from pila.pipelines.repository import read_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the frozen generator says of noised clips."""

    x_t: Tensor
    """Noisy latents [b, c, t, h, w]."""
    sigma: Tensor
    """Noise levels [b]."""
    v: Tensor
    """Predicted velocity [b, c, t, h, w]; no gradient."""
    target: Tensor
    """The velocity that leads to the clean clips, eps - x_0."""

    @property
    def x0_hat(self) -> Tensor:
        """The clean latents that v points at (Eq. 1)."""
        return clean_estimate(self.x_t, self.v, self.sigma)


class WanBackbone(nn.Module):
    """A Wan repository's denoiser, or both of Wan 2.2's with their boundary; a `Backbone`.

    Args:
        folder: a diffusers Wan repository.
        device: where it computes.
        dtype: of its weights; training reads predictions in float32.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        index = read_index(folder, required=())
        self.boundary: float | None = index.get("boundary_ratio")
        self.parts = nn.ModuleList()
        for name in ("transformer", "transformer_2"):
            if (index.get(name) or [None])[0] is not None:
                part = load_model(folder / name, "WanTransformer3DModel", dtype=dtype)
                self.parts.append(part.to(device))
        config: Any = self.parts[0].config
        self.latent_channels: int = config["in_channels"]
        self.text_width: int = config["text_dim"]

    def velocity(self, x_t: Tensor, sigma: Tensor, prompt_embeds: Tensor) -> Tensor:
        """As `Backbone.velocity`; with a graph where something that learns is attached."""
        if len(self.parts) == 1:
            return _velocity(self.parts[0], x_t, sigma, prompt_embeds)
        above = sigma >= (self.boundary or 0.0)
        v = torch.zeros_like(x_t)
        for part, mine in zip(self.parts, (above, ~above), strict=True):
            if mine.any():
                v[mine] = _velocity(part, x_t[mine], sigma[mine], prompt_embeds[mine])
        return v


def _velocity(part: Any, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """One denoiser's velocity, in the precision of the latents."""
    with as_it_is(x_t) if part.dtype != torch.float32 else nullcontext():
        given = (x_t.to(part.dtype), sigma * 1000, text.to(part.dtype))
        return part(*given, return_dict=False)[0].to(x_t.dtype)


class FrozenGenerator:
    """A backbone that rests: what it says of noised clips, and the proof that it never changed.

    Args:
        backbone: a module that is a `Backbone`: Wan's, or any other that predicts a velocity.

    Raises:
        InputError: it is no such module.
    """

    def __init__(self, backbone: nn.Module) -> None:
        if not (isinstance(backbone, nn.Module) and isinstance(backbone, Backbone)):
            raise InputError(
                f"the backbone is a {type(backbone).__name__}; it must be a torch module with "
                "latent_channels, text_width and velocity (pila.pipelines.backbone.Backbone)"
            )
        self.backbone: Any = backbone.eval().requires_grad_(False)
        self._hash = self.hash()

    @property
    def parts(self) -> list[Any]:
        """The denoisers: two for Wan 2.2's A14B, else one."""
        return list(getattr(self.backbone, "parts", [self.backbone]))

    @torch.no_grad()
    def predict(self, x_0: Tensor, noise: Tensor, sigma: Tensor, text: Tensor) -> Prediction:
        """Noise clean latents [b, c, t, h, w] to levels [b] and predict their velocity.

        Args:
            x_0: clean latents.
            noise: of the same shape.
            sigma: noise levels in [0, 1].
            text: token embeddings [b, n, d].
        """
        x_t = noised(x_0, noise, sigma)
        with as_it_is(x_t):
            v = self.velocity(x_t, sigma, text)
        return Prediction(x_t=x_t, sigma=sigma, v=v, target=velocity_target(x_0, noise))

    def velocity(self, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The velocity at noisy latents; with a graph where something that learns is attached."""
        return self.backbone.velocity(x_t, sigma, text)

    @staticmethod
    def given(x_0: Tensor, noise: Tensor, sigma: Tensor, v: Tensor) -> Prediction:
        """The same with a velocity that was predicted before."""
        target = velocity_target(x_0, noise)
        return Prediction(x_t=noised(x_0, noise, sigma), sigma=sigma, v=v, target=target)

    def hash(self) -> str:
        """SHA-256 over all weights."""
        return module_hash(nn.ModuleList(self.parts))

    def check_unchanged(self) -> str:
        """The hash of the weights, which must be that of the start."""
        if self.hash() != self._hash:
            raise AssertionError("the frozen generator changed during training")
        return self._hash


def as_it_is(x: Tensor) -> torch.autocast:
    """A generator in its own precision, as in sampling: autocast is for what is trained."""
    return torch.autocast(x.device.type, enabled=False)


def module_hash(module: nn.Module) -> str:
    """SHA-256 over a module's weights: equal before and after a run that leaves it alone."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
