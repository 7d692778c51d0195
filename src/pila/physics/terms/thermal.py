"""Thermal: heat that is carried and that spreads (paper, A.3 item 7)."""

from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, residual
from pila.types import Scalar, Vector


@residual(Family.PDE_ANCHOR, "∂T/∂t + ∇·(uT) - a∇²T = 0")
def heat_transport(
    fd: Calculus, k: Coefficients, *, velocity: Vector, temperature: Scalar
) -> tuple[Scalar, ...]:
    """Storage, transport and diffusion of heat balance: one combined relation."""
    return (
        fd.t(temperature),
        fd.div(velocity * temperature),
        -k.diffusivity * fd.laplacian(temperature),
    )


@residual(Family.STABILIZER, "∇T bounded: T = ⟨T⟩", free_offset=True)
def thermal_regularity(fd: Calculus, k: Coefficients, *, temperature: Scalar) -> tuple[Scalar, ...]:
    """No isolated temperature spikes: each cell is near its neighbours' mean."""
    return temperature, -fd.local_mean(temperature)


TERMS = (heat_transport, thermal_regularity)
