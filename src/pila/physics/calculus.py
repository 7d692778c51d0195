"""Second-order finite differences on the latent grid, shape-preserving, one-sided at borders.

Stencils: central inside, (-3, 4, -1)/2h and (2, -5, 4, -1)/h^2 at borders (Fornberg, Math. Comp.
51, 1988). They are written as sums of neighbouring differences, so that a constant field gives
exactly zero in every precision: the relative loss depends on it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pila.errors import InputError
from pila.types import Field, Scalar, SymTensor, Vector

_AXES = {-3: "time", -2: "height", -1: "width"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculus:
    """Differential operators on `b c t h w` with spacing dt [frames], dx and dy [latent cells].

    First derivatives need 3 points along their axis and second derivatives 4; a smaller grid
    raises InputError.
    """

    dt: float | int = 1.0
    dx: float | int = 1.0
    dy: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("dt", "dx", "dy"):
            step = getattr(self, name)
            if not (math.isfinite(step) and step > 0):
                raise InputError(f"Calculus.{name} is {step}; a grid spacing must be above 0")

    def t(self, f: Field) -> Field:
        """∂f/∂t."""
        return _first(f, -3, self.dt)

    def x(self, f: Field) -> Field:
        """∂f/∂x, along the width."""
        return _first(f, -1, self.dx)

    def y(self, f: Field) -> Field:
        """∂f/∂y, along the height."""
        return _first(f, -2, self.dy)

    def tt(self, f: Field) -> Field:
        """∂²f/∂t²."""
        return _second(f, -3, self.dt)

    def grad(self, f: Scalar) -> Vector:
        """∇f."""
        return torch.cat([self.x(f), self.y(f)], dim=1)

    def div(self, v: Vector) -> Scalar:
        """∇·v."""
        vx, vy = v.split(1, dim=1)
        return self.x(vx) + self.y(vy)

    def curl(self, v: Vector) -> Scalar:
        """∂v_y/∂x - ∂v_x/∂y, the out-of-plane component."""
        vx, vy = v.split(1, dim=1)
        return self.x(vy) - self.y(vx)

    def laplacian(self, f: Field) -> Field:
        """∇²f, channel by channel."""
        return _second(f, -1, self.dx) + _second(f, -2, self.dy)

    def advect(self, v: Vector, f: Field) -> Field:
        """(v·∇)f, channel by channel."""
        vx, vy = v.split(1, dim=1)
        return vx * self.x(f) + vy * self.y(f)

    def sym_grad(self, v: Vector) -> SymTensor:
        """(∇v + ∇vᵀ)/2 as (xx, yy, xy)."""
        vx, vy = v.split(1, dim=1)
        return torch.cat([self.x(vx), self.y(vy), (self.y(vx) + self.x(vy)) / 2], dim=1)

    def local_mean(self, f: Field) -> Field:
        """⟨f⟩, the mean of the four neighbouring cells, continued linearly past the border.

        f = ⟨f⟩ holds exactly for linear f and to second order for smooth f. Central differences
        are blind to a checkerboard; f - ⟨f⟩ is largest there.
        """
        return f + (_bend(f, -1) + _bend(f, -2)) / 4

    def local_mean_in_time(self, f: Field) -> Field:
        """The mean of the six neighbours in space and time, continued linearly."""
        return f + (_bend(f, -1) + _bend(f, -2) + _bend(f, -3)) / 6


def _steps(f: Field, axis: int, order: int) -> tuple[Tensor, int]:
    """Differences of neighbours along an axis, and the number of points."""
    points = f.shape[axis]
    if points < order + 2:
        raise InputError(
            f"the grid has {points} points in {_AXES[axis]}; a derivative of order {order} "
            f"needs at least {order + 2}: use a longer or larger clip"
        )
    return f.narrow(axis, 1, points - 1) - f.narrow(axis, 0, points - 1), points


def _first(f: Field, axis: int, step: float | int) -> Field:
    d, n = _steps(f, axis, 1)
    inner = d.narrow(axis, 0, n - 2) + d.narrow(axis, 1, n - 2)
    start = 3 * d.narrow(axis, 0, 1) - d.narrow(axis, 1, 1)
    end = 3 * d.narrow(axis, n - 2, 1) - d.narrow(axis, n - 3, 1)
    return torch.cat([start, inner, end], dim=axis) / (2 * step)


def _second(f: Field, axis: int, step: float | int) -> Field:
    d, n = _steps(f, axis, 2)
    s = d.narrow(axis, 1, n - 2) - d.narrow(axis, 0, n - 2)
    start = 2 * s.narrow(axis, 0, 1) - s.narrow(axis, 1, 1)
    end = 2 * s.narrow(axis, n - 3, 1) - s.narrow(axis, n - 4, 1)
    return torch.cat([start, s, end], dim=axis) / step**2


def _bend(f: Field, axis: int) -> Field:
    """f₋ - 2f + f₊ along an axis; zero at the border, where f is continued linearly."""
    d, n = _steps(f, axis, 1)
    s = d.narrow(axis, 1, n - 2) - d.narrow(axis, 0, n - 2)
    edge = torch.zeros_like(s.narrow(axis, 0, 1))
    return torch.cat([edge, s, edge], dim=axis)
