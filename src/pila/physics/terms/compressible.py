"""Compressible flow: expansion and compression, acoustically linearized (paper, A.3 item 4)."""

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.physics.terms.fluid import mass_continuity
from pila.types import Scalar, Vector


@residual(Family.PDE_ANCHOR, "∂(∇·u)/∂t = -∇²p/ρ₀")
def compression_dynamics(
    fd: Calculus, k: Coefficients, *, velocity: Vector, pressure: Scalar
) -> tuple[Scalar, ...]:
    """Pressure drives expansion (divergence of the linearized momentum balance)."""
    return fd.t(fd.div(velocity)), fd.laplacian(pressure) / k.rest_density


@residual(Family.CLOSURE, "p ~ c²ρ up to latent scale", free_scale=True, free_offset=True)
def pressure_density_closure(
    fd: Calculus, k: Coefficients, *, pressure: Scalar, density: Scalar
) -> tuple[Scalar, ...]:
    """Pressure varies with density (a barotropic equation of state)."""
    return pressure, -(k.wave_speed**2) * density


@residual(Family.STABILIZER, "∇(∇·u) bounded: ∇·u = ⟨∇·u⟩")
def gradient_regularity(fd: Calculus, k: Coefficients, *, velocity: Vector) -> tuple[Scalar, ...]:
    """No cell's expansion stands out from its neighbours' mean; uniform expansion is free."""
    expansion = fd.div(velocity)
    return expansion, -fd.local_mean(expansion)


TERMS = (mass_continuity, compression_dynamics, pressure_density_closure, gradient_regularity)
