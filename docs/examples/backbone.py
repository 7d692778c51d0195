"""A new backbone: any denoiser that predicts a velocity. Train an adapter on it, then sample."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from pila.adapter import PilaAdapter, pool_text
from pila.backbones.seam import velocity_correction
from pila.train import run


class Denoiser(nn.Module):
    """A `pila.backbones.base.Backbone` for the embedded model's latents and embeddings."""

    latent_channels, text_width = 16, 64

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv3d(16 + 64 + 1, 16, kernel_size=3, padding=1)

    def velocity(self, x_t: Tensor, sigma: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Predict v = eps - x_0 at x_t [b, c, t, h, w]; sigma [b] is 1 in pure noise."""
        told = torch.cat([pool_text(prompt_embeds), sigma[:, None]], dim=1)[:, :, None, None, None]
        return self.mix(torch.cat([x_t, told.expand(-1, -1, *x_t.shape[2:])], dim=1))


denoiser, text, x = Denoiser(), torch.randn(1, 7, 64), torch.randn(1, 16, 9, 12, 12)
done = run("embedded-couple", Path("run"), data=Path("cache"), backbone=denoiser, steps=2)
adapter = PilaAdapter.from_pretrained(done).eval()
scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
scheduler.set_timesteps(4)
with velocity_correction(
    scheduler, lambda x_t, v, s, step: adapter(x_t, v, torch.tensor([s]), pool_text(text))
), torch.no_grad():
    for t in scheduler.timesteps:
        x = scheduler.step(denoiser.velocity(x, t[None] / 1000, text), t, x).prev_sample
