"""A new relation: flow that keeps its volume, in the fluid category beside the four it has."""

import torch

from pila.physics import TERMS, Calculus, Category, Coefficients, Family, Slot, residual_loss
from pila.physics.residual import residual
from pila.types import Scalar, Vector


@residual(Family.PDE_ANCHOR, "∇·u = 0")
def incompressibility(fd: Calculus, k: Coefficients, *, velocity: Vector) -> tuple[Scalar, ...]:
    """What flows in along x flows out along y: the pieces sum to zero."""
    return fd.x(velocity[:, :1]), fd.y(velocity[:, 1:])


# Try it on fields whose answer is known: a vortex keeps its volume, a source does not.
y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
flows = {"vortex": [x.sin() * y.cos(), -x.cos() * y.sin()], "source": [x, y]}
for name, parts in flows.items():
    u = torch.stack(parts)[None, :, None].expand(1, 2, 5, 16, 16)  # b c t h w
    told = residual_loss({Slot.VELOCITY: u}, [incompressibility], Calculus(), Coefficients())
    print(f"{name} {told.total.item():.4f}")  # 0 obeys, 1 does not

# From here on, in this process, training scores it among the fluid relations.
TERMS[Category.FLUID] += (incompressibility,)
print("fluid:", ", ".join(term.name for term in TERMS[Category.FLUID]))
