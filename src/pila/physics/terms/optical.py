"""Optical: a scalar wave inside a support (paper, A.3 item 8)."""

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.types import Scalar


@residual(Family.PDE_ANCHOR, "∂²w/∂t² = c²∇²w")
def wave_propagation(fd: Calculus, k: Coefficients, *, wave: Scalar) -> tuple[Scalar, ...]:
    """Light-like activity propagates coherently at the wave speed."""
    return fd.tt(wave), -(k.wave_speed**2) * fd.laplacian(wave)


@residual(Family.STABILIZER, "(1 - φ)w = 0", free_offset=True)
def support_gating(
    fd: Calculus, k: Coefficients, *, wave: Scalar, phase: Scalar
) -> tuple[Scalar, ...]:
    """The wave stays inside its support."""
    return wave, -phase * wave


@residual(Family.STABILIZER, "φ smooth: φ = ⟨φ⟩", free_offset=True)
def support_smoothness(fd: Calculus, k: Coefficients, *, phase: Scalar) -> tuple[Scalar, ...]:
    """No cell of the support stands out from its neighbours' mean."""
    return phase, -fd.local_mean(phase)


TERMS = (wave_propagation, support_gating, support_smoothness)
