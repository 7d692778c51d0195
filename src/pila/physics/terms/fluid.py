"""Fluid: mass and momentum balance of viscous flow (paper, A.3 item 3)."""

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.types import Scalar, Vector


@residual(Family.PDE_ANCHOR, "∂ρ/∂t + ∇·(ρu) = 0")
def mass_continuity(
    fd: Calculus, k: Coefficients, *, density: Scalar, velocity: Vector
) -> tuple[Scalar, ...]:
    """Mass is conserved: density changes by what flows in.

    The two directions are separate pieces, so that an incompressible flow, where they cancel,
    counts as a law obeyed and not as an empty field.
    """
    flux_x, flux_y = (density * velocity).split(1, dim=1)
    return fd.t(density), fd.x(flux_x), fd.y(flux_y)


@residual(Family.PDE_ANCHOR, "ρ(∂u/∂t + (u·∇)u) = -∇p + μ∇²u")
def momentum_balance(
    fd: Calculus, k: Coefficients, *, velocity: Vector, pressure: Scalar, density: Scalar
) -> tuple[Vector, ...]:
    """Acceleration follows pressure and viscosity (Navier-Stokes without body force)."""
    return (
        density * fd.t(velocity),
        density * fd.advect(velocity, velocity),
        fd.grad(pressure),
        -k.viscosity * fd.laplacian(velocity),
    )


@residual(Family.STABILIZER, "∇p bounded: p = ⟨p⟩", free_offset=True)
def pressure_regularity(fd: Calculus, k: Coefficients, *, pressure: Scalar) -> tuple[Scalar, ...]:
    """No cell's pressure stands out from its neighbours' mean; a steady slope is free."""
    return pressure, -fd.local_mean(pressure)


@residual(Family.STABILIZER, "ρ > 0 and smooth: ρ = ⟨|ρ|⟩", free_offset=True)
def density_stability(fd: Calculus, k: Coefficients, *, density: Scalar) -> tuple[Scalar, ...]:
    """Density is positive and locally smooth: it equals the mean of its neighbours' magnitudes."""
    return density, -fd.local_mean(density.abs())


TERMS = (mass_continuity, momentum_balance, pressure_regularity, density_stability)
