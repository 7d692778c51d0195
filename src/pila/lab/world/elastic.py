"""What the elastic scenes share: a body's soft mask, the damped oscillator, and its fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CHROMA = 50.0
"""Least difference between a body's strongest and weakest channel [0, 255]."""

ZIGZAG = 1 / 9
"""Third harmonic of a triangle wave, relative to its first."""


def body_mask(frames: np.ndarray) -> np.ndarray:
    """Soft mask [t, h, w] of the saturated body, balanced about half coverage.

    Colour mixed with grey keeps a chroma in proportion to its share. The body's own chroma is
    the median over its pixels, so that a blurred edge neither widens nor narrows the body.
    """
    rgb = frames.astype(np.float32)
    chroma = rgb.max(-1) - rgb.min(-1)
    coloured = chroma[chroma > CHROMA]
    if coloured.size == 0:
        return np.zeros(chroma.shape)
    share = chroma / np.median(coloured)
    return np.clip((share - 0.15) / 0.7, 0.0, 1.0).astype(np.float64)


def released(
    t: np.ndarray, amplitude: float, omega: float, decay: float, sign: float = 1.0
) -> np.ndarray:
    """Displacement at times t [s] of a damped oscillator let go at rest, `amplitude` off balance.

    Solves x'' + 2 decay x' + omega^2 x = 0 with x(0) = sign amplitude and x'(0) = 0, where omega
    [rad/s] is the undamped frequency and decay [1/s] is below it.
    """
    damped = np.sqrt(omega**2 - decay**2)
    wave = np.cos(damped * t) + decay / damped * np.sin(damped * t)
    return sign * amplitude * np.exp(-decay * t) * wave


def growing(t: np.ndarray, amplitude: float, omega: float, most: float) -> np.ndarray:
    """An oscillation that grows to 2.5 times its start, `most` at the end, as none does alone."""
    start = min(amplitude, most / 2.5)
    return start * 2.5 ** (t / 2.0) * np.cos(omega * t)


def rate_of(motion: Callable[[np.ndarray], np.ndarray], t: np.ndarray) -> np.ndarray:
    """Time derivative of a motion at times t by central differences a millisecond wide."""
    step = 5e-4
    return (motion(t + step) - motion(t - step)) / (2 * step)


@dataclass(frozen=True, slots=True)
class DampedCosine:
    """y = offset + amplitude exp(-decay t) cos(omega t + phase), and how well it fits.

    `swing` is the root mean square of the oscillating part, `misfit` that of the rest.
    """

    omega: float
    decay: float
    offset: float
    swing: float
    misfit: float

    def growth(self, duration: float) -> float:
        """By how much the amplitude grows over `duration` [s], relative to its start; 0 or more."""
        return max(float(np.exp(-self.decay * duration)) - 1.0, 0.0)


def fit_damped_cosine(t: np.ndarray, y: np.ndarray, *, offset: bool = True) -> DampedCosine:
    """The damped or growing cosine closest to y(t), found over a grid that is then refined.

    Args:
        t: times [s], shape [t].
        y: values, shape [t].
        offset: whether the balance lies anywhere, or at zero.
    """
    span, step = t[-1] - t[0], float(np.median(np.diff(t)))
    slowest, fastest = 1.5 * np.pi / span, 0.6 * np.pi / step
    omegas = np.linspace(slowest, fastest, max(int((fastest - slowest) * span / 0.4), 8))
    decays = np.linspace(-1.0, 2.0, 9)
    wide_omega, wide_decay = omegas[1] - omegas[0], decays[1] - decays[0]
    for _ in range(6):
        w, k = (g.ravel() for g in np.meshgrid(omegas, decays))
        basis = _basis(t, w, k, offset)
        normal = basis.transpose(0, 2, 1) @ basis + 1e-12 * np.eye(basis.shape[2])
        found = np.linalg.solve(normal, basis.transpose(0, 2, 1) @ y[:, None])
        misfits = ((y[:, None] - basis @ found) ** 2).mean((1, 2))
        best = int(np.argmin(misfits))
        omega, decay = w[best], k[best]
        wide_omega, wide_decay = wide_omega / 2, wide_decay / 2
        omegas = np.clip(omega + wide_omega * np.linspace(-1, 1, 5), slowest, fastest)
        decays = np.clip(decay + wide_decay * np.linspace(-1, 1, 5), -1.5, 2.5)
    part = basis[best] @ found[best]
    middle = float(found[best, 2, 0]) if offset else 0.0
    swing = float(np.sqrt(((part[:, 0] - middle) ** 2).mean()))
    return DampedCosine(float(omega), float(decay), middle, swing, float(np.sqrt(misfits[best])))


def overtone(t: np.ndarray, y: np.ndarray, fit: DampedCosine) -> float:
    """Share of the third harmonic in y(t) that is in step with the oscillation `fit`, signed.

    0 for a cosine, `ZIGZAG` where the motion goes straight from turn to turn, below 0 where it
    lingers there. It tells a zigzag where noise of the reading hides the misfit.
    """
    tone = _basis(t, np.array([fit.omega]), np.array([fit.decay]), True)[0]
    third = _basis(t, np.array([3 * fit.omega]), np.array([fit.decay]), False)[0]
    a, b, _, c, d = np.linalg.lstsq(np.concatenate([tone, third], 1), y, rcond=None)[0]
    first, high = complex(a, -b), complex(c, -d)
    size = max(abs(first), 1e-12)
    return float((high * (first.conjugate() / size) ** 3).real / size)


def _basis(t: np.ndarray, omega: np.ndarray, decay: np.ndarray, offset: bool) -> np.ndarray:
    angle = omega[:, None] * t
    fall = np.exp(-decay[:, None] * t)
    parts = [fall * np.cos(angle), fall * np.sin(angle)]
    return np.stack([*parts, np.ones_like(angle)] if offset else parts, axis=-1)
