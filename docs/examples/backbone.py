"""A new backbone: any denoiser that predicts a velocity. Train an adapter on it, then sample."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from pila.adapter import PilaAdapter, pool_text
from pila.pipelines.scheduler_hook import velocity_correction
from pila.recipes.run import run


class Denoiser(nn.Module):
    """A `pila.pipelines.backbone.Backbone` for the embedded model's latents and embeddings."""

    latent_channels, text_width = 16, 64

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv3d(16 + 64 + 1, 16, kernel_size=3, padding=1)

    def velocity(self, x_t: Tensor, sigma: Tensor, prompt_embeds: Tensor) -> Tensor:  # eps - x_0
        told = torch.cat([pool_text(prompt_embeds), sigma[:, None]], dim=1)[..., None, None, None]
        return self.mix(torch.cat([x_t, told.expand(-1, -1, *x_t.shape[2:])], dim=1))


def correct(x_t: Tensor, v: Tensor, sigma: float, step: int) -> Tensor:
    return adapter(x_t, v, torch.tensor([sigma]), pool_text(text))


denoiser, text, x = Denoiser(), torch.randn(1, 7, 64), torch.randn(1, 16, 9, 12, 12)
few = {"optim.batch": 8}  # and 2 steps: enough to see it run
done = run(
    "embedded-couple", Path("run"), data=Path("cache"), backbone=denoiser, steps=2, changes=few
)
adapter = PilaAdapter.from_pretrained(done).eval()
scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
scheduler.set_timesteps(4)
with torch.no_grad(), velocity_correction(scheduler, correct):
    for t in scheduler.timesteps:
        x = scheduler.step(denoiser.velocity(x, t[None] / 1000, text), t, x).prev_sample
