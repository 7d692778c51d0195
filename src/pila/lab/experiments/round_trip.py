"""Clips through a VAE and back: what a generator that knew all physics could show at best."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def through_vae(vae: Any, clips: Iterable[np.ndarray]) -> np.ndarray:
    """Clips [t, h, w, 3] uint8 encoded to the posterior's mode and decoded, [n, t, h, w, 3]."""
    import torch

    out = []
    with torch.no_grad():
        for frames in clips:
            x = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
            x = x.to(vae.device).float() / 127.5 - 1
            back = vae.decode(vae.encode(x).latent_dist.mode()).sample
            out.append(_pixels(back)[0])
    return np.stack(out)


def decoded(vae: Any, latents: Any) -> np.ndarray:
    """Latents as the transformer has them, [b, c, t, h, w], as frames [b, t, h, w, 3] uint8."""
    import torch

    from pila.data.latents import denormalise

    z = denormalise(latents, vae.config.latents_mean, vae.config.latents_std)
    with torch.no_grad():
        return _pixels(vae.decode(z.to(vae.dtype)).sample)


def encoded(vae: Any, frames: np.ndarray) -> Any:
    """Frames [t, h, w, 3] uint8 as latents [1, c, t, h, w] of the posterior's mode, normalised."""
    import torch

    from pila.data.latents import normalise

    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        z = vae.encode(x.to(vae.device).float() / 127.5 - 1).latent_dist.mode().float().cpu()
    return normalise(z, vae.config.latents_mean, vae.config.latents_std)


def _pixels(video: Any) -> np.ndarray:
    """Decoded [b, 3, t, h, w] in -1..1 as [b, t, h, w, 3] uint8."""
    whole = ((video.float() + 1) * 127.5).clamp(0, 255).round().byte()
    return whole.permute(0, 2, 3, 4, 1).cpu().numpy()


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of two clips of the same shape, uint8."""
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-12)))
