"""A stand-in for the VAE's round trip, for tests without one: blur in space and time, and noise."""

import numpy as np


def degraded(frames: np.ndarray, seed: int = 0) -> np.ndarray:
    """Frames [t, h, w, 3] uint8 as a small VAE returns them, about 34 dB from the original."""
    f = frames.astype(np.float64)
    for axis in (1, 2):
        f = 0.5 * f + 0.25 * (np.roll(f, 1, axis) + np.roll(f, -1, axis))
    early, late = np.concatenate([f[:1], f[:-1]]), np.concatenate([f[1:], f[-1:]])
    f = 0.8 * f + 0.1 * (early + late)
    rng = np.random.default_rng(seed)
    # Errors of a decoder are smooth over a few pixels rather than white.
    noise = rng.normal(0, 6, f.shape)
    for axis in (1, 2):
        noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    return np.clip(np.rint(f + noise), 0, 255).astype(np.uint8)
