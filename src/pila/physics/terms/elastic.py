"""Elastic: small-deformation waves of a homogeneous medium (paper, A.3 item 2)."""

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.physics.terms.rigid_body import stress_strain_closure
from pila.types import SymTensor, Vector


@residual(Family.PDE_ANCHOR, "∂²d/∂t² = c²∇²d")
def displacement_wave(fd: Calculus, k: Coefficients, *, displacement: Vector) -> tuple[Vector, ...]:
    """Deformation travels at the wave speed."""
    return fd.tt(displacement), -(k.wave_speed**2) * fd.laplacian(displacement)


@residual(Family.PDE_ANCHOR, "∂²u/∂t² = c²∇²u")
def velocity_wave(fd: Calculus, k: Coefficients, *, velocity: Vector) -> tuple[Vector, ...]:
    """Motion travels at the speed at which deformation does."""
    return fd.tt(velocity), -(k.wave_speed**2) * fd.laplacian(velocity)


@residual(Family.KINEMATIC, "ε = (∇d + ∇dᵀ)/2")
def deformation_compatibility(
    fd: Calculus, k: Coefficients, *, strain: SymTensor, displacement: Vector
) -> tuple[SymTensor, ...]:
    """Strain is the symmetric gradient of displacement."""
    return strain, -fd.sym_grad(displacement)


TERMS = (displacement_wave, velocity_wave, deformation_compatibility, stress_strain_closure)
