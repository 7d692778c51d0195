"""How much an error of the latents shows in the picture."""

from typing import Any

import torch
from torch import Tensor

from pila.data.latents import denormalise

STEP = 0.05
"""Change of the latents that the decoder is asked about, in standard deviations."""
STILL = 0.1
"""What a pixel counts that hardly changes over a clip; one that does counts 1."""
CHANGES = 0.1
"""Standard deviation over a clip, of pixels in -1..1, from which on a pixel changes."""
SEED = 11


@torch.no_grad()
def pixel_metric(vae: Any, latents: Tensor) -> Tensor:
    """Mean of J^T J over cells, J being the decoder's derivative: [c, c], its trace c.

    An error e of one latent cell makes a squared pixel error in proportion to e^T M e. M is the
    same for every clip, so a loss that uses it has the same best prediction as a plain one; it
    says which of its errors to mend first.

    Args:
        vae: decodes latents [b, c, t, h, w] and has their means and spreads in its config.
        latents: true ones of some clips, normalised as a transformer has them.
    """
    channels = latents.shape[1]
    rng = torch.Generator().manual_seed(SEED)
    total = torch.zeros(channels, channels, device=latents.device)
    for clip in latents.split(1):
        # One sign a cell, the same in all channels: terms across cells vanish on average.
        sign = (torch.randint(0, 2, (1, *clip.shape[2:]), generator=rng) * 2.0 - 1).to(clip)
        moved = clip.repeat(channels + 1, 1, 1, 1, 1)
        for channel in range(channels):
            moved[channel + 1, channel] += STEP * sign[0]
        raw = denormalise(moved, vae.config.latents_mean, vae.config.latents_std)
        video = vae.decode(raw).sample
        counts = STILL + (1 - STILL) * (video[:1].std(2, keepdim=True) > CHANGES)
        change = ((video[1:] - video[:1]) * counts.sqrt()).flatten(1)
        total += change @ change.T
    return total * (channels / total.trace())
