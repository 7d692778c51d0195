"""Phase change: a transported phase indicator with Stefan-like heat (paper, A.3 item 5)."""

import torch
from torch import Tensor

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.types import Scalar, Vector


def front_advance(fd: Calculus, k: Coefficients, *, phase: Scalar, **_: Tensor) -> Scalar:
    """|∇φ|: what a front that advances through the matter at unit speed adds to ∂φ/∂t."""
    return torch.linalg.vector_norm(fd.grad(phase), dim=1, keepdim=True)


@residual(Family.PDE_ANCHOR, "∂φ/∂t + u·∇φ = S, S unresolved (S ∝ |∇φ|)", source=front_advance)
def phase_transport(
    fd: Calculus, k: Coefficients, *, velocity: Vector, phase: Scalar
) -> tuple[Scalar, ...]:
    """The phase moves with the matter, save for an unresolved source.

    Our choice: the source acts only where the phase changes in space, as a front that melts or
    freezes its way through the matter at one normal speed, S = s|∇φ| (the level-set equation of
    Osher and Sethian, J. Comput. Phys. 79, 1988). The loss fits the latent speed s per sample.
    The pieces are those of pure transport, s = 0.
    """
    return fd.t(phase), fd.advect(velocity, phase)


@residual(Family.PDE_ANCHOR, "∂T/∂t + u·∇T - a∇²T = -L∂φ/∂t")
def thermal_phase_coupling(
    fd: Calculus, k: Coefficients, *, velocity: Vector, temperature: Scalar, phase: Scalar
) -> tuple[Scalar, ...]:
    """Storage, advection and diffusion of heat pay for the change of phase: one balance."""
    return (
        fd.t(temperature),
        fd.advect(velocity, temperature),
        -k.diffusivity * fd.laplacian(temperature),
        k.latent_heat * fd.t(phase),
    )


@residual(Family.CLOSURE, "ρ ~ φ up to latent scale", free_scale=True, free_offset=True)
def density_phase_closure(
    fd: Calculus, k: Coefficients, *, density: Scalar, phase: Scalar
) -> tuple[Scalar, ...]:
    """Density varies with the phase's occupancy."""
    return density, -phase


@residual(Family.STABILIZER, "φ smooth: φ = ⟨φ⟩ in space and time", free_offset=True)
def support_regularity(fd: Calculus, k: Coefficients, *, phase: Scalar) -> tuple[Scalar, ...]:
    """The support neither speckles in space nor flickers in time."""
    return phase, -fd.local_mean_in_time(phase)


TERMS = (phase_transport, thermal_phase_coupling, density_phase_closure, support_regularity)
