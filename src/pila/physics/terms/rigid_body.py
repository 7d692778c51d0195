"""Rigid body: kinematics of a body that moves without deforming (paper, A.3 item 1)."""

import torch

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.types import Field, SymTensor, Vector


@residual(Family.KINEMATIC, "∂d/∂t = u")
def kinematic_consistency(
    fd: Calculus, k: Coefficients, *, displacement: Vector, velocity: Vector
) -> tuple[Vector, ...]:
    """Displacement changes at the rate that the velocity says."""
    return fd.t(displacement), -velocity


@residual(Family.STABILIZER, "ε = 0 (ε + ω = ω, with ω the rotation of d)")
def low_strain(
    fd: Calculus, k: Coefficients, *, strain: SymTensor, displacement: Vector
) -> tuple[Field, ...]:
    """A rigid body has negligible internal strain beside the rotation it undergoes."""
    xx, yy, xy = strain.split(1, dim=1)
    rotation = fd.curl(displacement) / 2
    none = torch.zeros_like(rotation)
    spin = torch.cat([none, -rotation, rotation, none], dim=1)
    return torch.cat([xx, xy, xy, yy], dim=1) + spin, -spin


@residual(Family.CLOSURE, "s ~ Eε up to latent scale", free_scale=True, free_offset=True)
def stress_strain_closure(
    fd: Calculus, k: Coefficients, *, stress: SymTensor, strain: SymTensor
) -> tuple[SymTensor, ...]:
    """Stress varies with strain (Hooke's law with one latent stiffness, without a full tensor)."""
    return stress, -k.stiffness * strain


@residual(Family.STABILIZER, "(∇u + ∇uᵀ)/2 = 0")
def rigid_motion(fd: Calculus, k: Coefficients, *, velocity: Vector) -> tuple[Field, ...]:
    """Neighbouring points keep their distance; rotation is free."""
    u, v = velocity.split(1, dim=1)
    u_y, v_x = fd.y(u), fd.x(v)
    u_x, v_y = fd.x(u), fd.y(v)
    gradient = torch.cat([u_x, u_y, v_x, v_y], dim=1)
    transposed = torch.cat([u_x, v_x, u_y, v_y], dim=1)
    return gradient / 2, transposed / 2


TERMS = (kinematic_consistency, low_strain, stress_strain_closure, rigid_motion)
