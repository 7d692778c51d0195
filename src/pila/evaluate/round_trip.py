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
            x = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
            back = vae.decode(vae.encode(x).latent_dist.mode()).sample
            out.append(((back[0] + 1) * 127.5).clamp(0, 255).round().byte().permute(1, 2, 3, 0))
    return torch.stack(out).numpy()


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of two clips of the same shape, uint8."""
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-12)))
