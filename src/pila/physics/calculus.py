"""Second-order finite differences on the latent grid, shape-preserving, one-sided at borders.

Stencils: central inside, (-3, 4, -1)/2h and (2, -5, 4, -1)/h^2 at borders (Fornberg, Math. Comp.
51, 1988). They are applied to a field less its first value along the axis, so that a constant field
gives exactly zero in every precision: the relative loss depends on it. One product with a matrix a
derivative, forward and backward: losses of many relations on small grids cost what their operations
cost to launch.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

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


def _first(f: Field, axis: int, step: float | int) -> Field:
    return _applied(_first_stencil, f, axis, 1, 0.5 / step)


def _second(f: Field, axis: int, step: float | int) -> Field:
    return _applied(_second_stencil, f, axis, 2, 1 / step**2)


def _bend(f: Field, axis: int) -> Field:
    """f₋ - 2f + f₊ along an axis; zero at the border, where f is continued linearly."""
    return _applied(_bend_stencil, f, axis, 1, 1.0)


def _applied(
    stencil: Callable[[int], Tensor], f: Field, axis: int, order: int, factor: float
) -> Field:
    """A stencil times a factor along an axis, by its matrix whose rows sum to zero."""
    points = f.shape[axis]
    if points < order + 2:
        raise InputError(
            f"the grid has {points} points in {_AXES[axis]}; a derivative of order {order} "
            f"needs at least {order + 2}: use a longer or larger clip"
        )
    # Rows sum to zero, so that no gradient belongs to the value that is taken away.
    away = f - f.narrow(axis, 0, 1).detach()
    matrix = _placed(stencil, points, factor, f.dtype, f.device)
    # Autocast would take the product, unlike differences, in half precision.
    device = f.device.type
    there = torch.amp.is_autocast_available(device)
    with torch.autocast(device, enabled=False) if there else nullcontext():
        if axis == -1:
            return away @ matrix.mT
        if axis == -2:
            return matrix @ away
        return (matrix @ away.flatten(-2)).unflatten(-1, f.shape[-2:])


@cache
def _placed(
    stencil: Callable[[int], Tensor],
    points: int,
    factor: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    # Kept for all calls, also those with gradients.
    with torch.inference_mode(False):
        return (stencil(points) * factor).to(dtype).to(device)


def _first_stencil(points: int) -> Tensor:
    """Twice the first derivative on a grid of spacing 1, [points, points]."""
    matrix = _shifted(points, 1) - _shifted(points, -1)
    matrix[0, :3] = torch.tensor([-3.0, 4.0, -1.0])
    matrix[-1, -3:] = torch.tensor([1.0, -4.0, 3.0])
    return matrix


def _second_stencil(points: int) -> Tensor:
    """The second derivative on a grid of spacing 1, [points, points]."""
    matrix = _bend_stencil(points)
    matrix[0, :4] = torch.tensor([2.0, -5.0, 4.0, -1.0])
    matrix[-1, -4:] = torch.tensor([-1.0, 4.0, -5.0, 2.0])
    return matrix


def _bend_stencil(points: int) -> Tensor:
    matrix = _shifted(points, 1) - 2 * torch.eye(points) + _shifted(points, -1)
    matrix[0], matrix[-1] = 0, 0
    return matrix


def _shifted(points: int, by: int) -> Tensor:
    """Takes each point's neighbour, [points, points]."""
    return torch.diag(torch.ones(points - 1), by)
