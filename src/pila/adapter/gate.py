"""The gate g(sigma) that scales the correction by noise level (Eq. 10)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pila.errors import InputError
from pila.types import Sigma

Gain = Float[Tensor, " b"]


class QuadraticGate(nn.Module):
    """g = floor + (1 - floor)(1 - sigma)^2, the paper's: 1 when clean, the floor in pure noise."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, sigma: Sigma) -> Gain:
        """[b] -> [b], float32."""
        return self.floor + (1 - self.floor) * (1 - sigma.float()) ** 2


class OpenGate(nn.Module):
    """g = 1 at every noise level."""

    def __init__(self, floor: float) -> None:
        super().__init__()

    def forward(self, sigma: Sigma) -> Gain:
        """[b] -> [b], float32."""
        return torch.ones_like(sigma, dtype=torch.float32)


class MidGate(nn.Module):
    """g = floor + (1 - floor) (27/4) sigma^2 (1 - sigma): 1 at sigma = 2/3, the floor at both ends.

    Motion is decided at sigma 0.5 to 0.85, where the quadratic gate is nearly shut.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, sigma: Sigma) -> Gain:
        """[b] -> [b], float32."""
        s = sigma.float()
        return self.floor + (1 - self.floor) * 6.75 * s**2 * (1 - s)


class LearnedGate(nn.Module):
    """A positive curve through learned knots on a uniform grid of sigma; 1 everywhere at first."""

    num_knots = 17

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.knots = nn.Parameter(torch.zeros(self.num_knots))

    def forward(self, sigma: Sigma) -> Gain:
        """[b] -> [b], float32."""
        place = torch.linspace(0, 1, self.num_knots, device=sigma.device)
        distance = (sigma.float().unsqueeze(-1) - place).abs() * (self.num_knots - 1)
        hat = (1 - distance).clamp(min=0)  # linear interpolation between neighbours
        # From the floor to 2 - floor, and 1 at knot 0.
        return self.floor + 2 * (1 - self.floor) * torch.sigmoid(hat @ self.knots.float())


GATES: dict[str, type[nn.Module]] = {
    "quadratic": QuadraticGate,
    "none": OpenGate,
    "mid": MidGate,
    "learned": LearnedGate,
}


def make_gate(name: str, *, floor: float) -> nn.Module:
    """The gate of that name; it maps sigma [b] to its gain [b] in float32."""
    if name not in GATES:
        raise InputError(f"gate is {name!r}; choose one of {', '.join(GATES)}")
    if not 0 <= floor <= 1:
        raise InputError(f"gate_floor is {floor}; it must lie in 0..1")
    return GATES[name](floor)
