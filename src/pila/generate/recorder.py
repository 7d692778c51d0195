"""What the adapter did in one generation, summed up step by step."""

from typing import Any

import numpy as np
import torch

from pila.physics.layout import Category


class Recorder:
    """Receives each corrected step's AdapterOutput and keeps what pictures and figures need.

    Sums and one bank are kept rather than every tensor: at Wan's size fifty steps of features
    would take gigabytes.
    """

    def __init__(self, *, first_step: int) -> None:
        self.first_step = first_step
        self.frame_rms: list[np.ndarray] = []
        """Root mean square of the correction in each latent frame, [t] per step."""
        self.gates: list[float] = []
        self.weights: list[np.ndarray] = []
        """Routing weights [8] in `Category` order per step; empty without a router."""
        self.refined: torch.Tensor | None = None
        """Refined bank [1, 32, t, h, w] of the last corrected step, where the clip is clearest."""
        self.passes: list[Any] = []
        """`Routing` of a ProPhy branch in each pass through its denoiser."""
        self._energy: torch.Tensor | None = None

    def __call__(self, output: Any) -> None:
        """Take in one step; of a batch, the first clip."""
        square = output.correction[:1].detach().float().square().mean(dim=1)[0].cpu()  # [t, h, w]
        self.frame_rms.append(square.mean(dim=(1, 2)).sqrt().numpy())
        self._energy = square if self._energy is None else self._energy + square
        self.gates.append(float(output.gate[0]))
        if getattr(output, "route", None) is not None:
            self.weights.append(output.route.weights[0].detach().float().cpu().numpy())
            self.refined = output.refined[:1].detach().float().cpu()

    @property
    def steps(self) -> range:
        """The corrected steps, counted from 1."""
        return range(self.first_step, self.first_step + len(self.frame_rms))

    @property
    def correction_rms(self) -> float:
        """Root mean square of g(sigma) dv over all corrected steps; latents have about 1."""
        if not self.frame_rms:
            return 0.0
        return float(np.sqrt(np.mean(np.square(self.frame_rms))))

    @property
    def routing(self) -> dict[str, float]:
        """Mean routing weight per category over the corrected steps."""
        if not self.weights:
            return {}
        return {str(c): float(w) for c, w in zip(Category, np.mean(self.weights, 0), strict=True)}

    @property
    def where(self) -> np.ndarray:
        """Root mean square of the correction over steps at each latent cell, [t, h, w]."""
        assert self._energy is not None, "no step was corrected"
        return (self._energy / len(self.frame_rms)).sqrt().numpy()
