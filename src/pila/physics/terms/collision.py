"""Collision: impulse and response instead of a contact solver (paper, A.3 item 6)."""

import torch

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.physics.terms.rigid_body import kinematic_consistency
from pila.types import Scalar, Vector


@residual(Family.CLOSURE, "∂u/∂t = j up to latent scale", free_scale=True)
def impulse_response(
    fd: Calculus, k: Coefficients, *, velocity: Vector, impulse: Vector
) -> tuple[Vector, ...]:
    """Velocity changes where and along which an impulse acts, mass being absorbed in its scale."""
    return fd.t(velocity), -impulse


@residual(Family.CLOSURE, "(-∇·d)₊ ~ |j| up to latent scale", free_scale=True)
def contact_compression(
    fd: Calculus, k: Coefficients, *, displacement: Vector, impulse: Vector
) -> tuple[Scalar, ...]:
    """Converging displacement goes with impact activity."""
    compression = torch.relu(-fd.div(displacement))
    return compression, -torch.linalg.vector_norm(impulse, dim=1, keepdim=True)


@residual(Family.STABILIZER, "j smooth in space: j = ⟨j⟩", free_offset=True)
def impulse_propagation(fd: Calculus, k: Coefficients, *, impulse: Vector) -> tuple[Vector, ...]:
    """An impact spreads to its neighbours instead of appearing as isolated noise."""
    return impulse, -fd.local_mean(impulse)


TERMS = (kinematic_consistency, impulse_response, contact_compression, impulse_propagation)
