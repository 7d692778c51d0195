"""Operators: exact on quadratics, second order everywhere, exactly zero on constants."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.physics.solutions import BOX
from torch import Tensor

from pila.errors import InputError
from pila.physics import Calculus

number = st.floats(-3, 3)


def grid(n: int) -> tuple[Calculus, Tensor, Tensor, Tensor]:
    t, y, x = torch.meshgrid(*(torch.linspace(*BOX[a], n) for a in "tyx"), indexing="ij")
    return Calculus(**{f"d{a}": (e - s) / (n - 1) for a, (s, e) in BOX.items()}), x, y, t


def scalar(f: Tensor) -> Tensor:
    return f[None, None]


def vector(u: Tensor, v: Tensor) -> Tensor:
    return torch.stack([u, v])[None]


def wave(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    return (x + 2 * y - 3 * t).sin()


def slope(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    return (x + 2 * y - 3 * t).cos()


# operator applied to f, or to (f, f²), and the closed form, with f = sin(s), g = cos(s)
F, G = wave, slope
CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "t": (lambda fd, f: fd.t(scalar(f)), lambda f, g: scalar(-3 * g)),
    "x": (lambda fd, f: fd.x(scalar(f)), lambda f, g: scalar(g)),
    "y": (lambda fd, f: fd.y(scalar(f)), lambda f, g: scalar(2 * g)),
    "tt": (lambda fd, f: fd.tt(scalar(f)), lambda f, g: scalar(-9 * f)),
    "grad": (lambda fd, f: fd.grad(scalar(f)), lambda f, g: vector(g, 2 * g)),
    "div": (lambda fd, f: fd.div(vector(f, f * f)), lambda f, g: scalar(g + 4 * f * g)),
    "curl": (lambda fd, f: fd.curl(vector(f, f * f)), lambda f, g: scalar(2 * f * g - 2 * g)),
    "laplacian": (
        lambda fd, f: fd.laplacian(vector(f, 2 * f)),
        lambda f, g: vector(-5 * f, -10 * f),
    ),
    "advect": (
        lambda fd, f: fd.advect(vector(f, f * f), scalar(f)),
        lambda f, g: scalar(f * g + 2 * f * f * g),
    ),
    "sym_grad": (
        lambda fd, f: fd.sym_grad(vector(f, f * f)),
        lambda f, g: torch.stack([g, 4 * f * g, g + f * g])[None],
    ),
    "local_mean": (lambda fd, f: fd.local_mean(scalar(f)), lambda f, g: scalar(f)),
    "local_mean_in_time": (
        lambda fd, f: fd.local_mean_in_time(scalar(f)),
        lambda f, g: scalar(f),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("region", ["borders", "inside"])
def test_every_operator_is_of_second_order(name: str, region: str):
    operator, closed = CASES[name]

    def error(n: int) -> float:
        fd, x, y, t = grid(n)
        gap = (operator(fd, F(x, y, t)) - closed(F(x, y, t), G(x, y, t))).abs()
        if region == "borders":
            return gap.max().item()
        q = n // 4  # the same part of the box on every grid
        return gap[..., q:-q, q:-q, q:-q].max().item()

    assert math.log2(error(33) / error(65)) == pytest.approx(2, abs=0.2)


@given(a=number, b=number, c=number, d=number)
def test_derivatives_of_quadratics_are_exact(a: float, b: float, c: float, d: float):
    fd, x, y, t = grid(5)
    f = scalar(a * x * x + b * y * y + c * t * t + d * x * y * t)
    for got, closed in (
        (fd.x(f), 2 * a * x + d * y * t),
        (fd.y(f), 2 * b * y + d * x * t),
        (fd.t(f), 2 * c * t + d * x * y),
        (fd.tt(f), torch.full_like(x, 2 * c)),
        (fd.laplacian(f), torch.full_like(x, 2 * (a + b))),
    ):
        torch.testing.assert_close(got, scalar(closed), rtol=0, atol=1e-10)


@given(value=st.floats(-1e4, 1e4, width=32), dtype=st.sampled_from(["float32", "bfloat16"]))
def test_a_constant_gives_exactly_zero_in_every_precision(value: float, dtype: str):
    f = torch.full((1, 1, 5, 6, 7), value, dtype=getattr(torch, dtype))
    fd = Calculus(dt=0.3, dx=0.7, dy=1.3)
    for derivative in (fd.t, fd.tt, fd.x, fd.y, fd.laplacian):
        assert not derivative(f).any()
    assert torch.equal(fd.local_mean(f), f)
    assert torch.equal(fd.local_mean_in_time(f), f)


@given(u=number, v=number, omega=number)
def test_rigid_motion_has_no_strain(u: float, v: float, omega: float):
    fd, x, y, _ = grid(6)
    motion = vector(u - omega * y, v + omega * x)
    assert fd.sym_grad(motion).abs().max() < 1e-12
    torch.testing.assert_close(fd.curl(motion), torch.full_like(scalar(x), 2 * omega))


def test_a_checkerboard_is_invisible_to_gradients_and_largest_to_the_local_mean():
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    f = ((-1.0) ** (x + y)).expand(1, 1, 3, 8, 8)
    inside = (..., slice(1, -1), slice(1, -1))
    fd = Calculus()
    assert not fd.grad(f)[inside].any()
    assert torch.equal(fd.local_mean(f)[inside], -f[inside])


def test_shapes_and_dtypes_are_kept():
    f = torch.randn(2, 3, 4, 5, 6, dtype=torch.bfloat16)
    fd = Calculus()
    for operator in (fd.t, fd.x, fd.y, fd.tt, fd.laplacian, fd.local_mean):
        assert operator(f).shape == f.shape
        assert operator(f).dtype == f.dtype


def test_a_grid_too_small_is_refused_with_the_numbers():
    fd = Calculus()
    with pytest.raises(InputError, match="2 points in time; a derivative of order 1 needs at l"):
        fd.t(torch.zeros(1, 1, 2, 8, 8))
    with pytest.raises(InputError, match="3 points in width; a derivative of order 2 needs at "):
        fd.laplacian(torch.zeros(1, 1, 8, 8, 3))


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_spacing_is_refused(step: float):
    with pytest.raises(InputError, match=r"Calculus.dx is .*; a grid spacing must be above 0"):
        Calculus(dx=step)
