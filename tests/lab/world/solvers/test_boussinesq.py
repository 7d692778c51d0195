"""The buoyant-flow solver: what it keeps, how a puff starts, how it converges, what it refuses."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.boussinesq import (
    CFL_BOUND,
    Flow,
    Gas,
    _poisson,
    advance,
    divergence,
    pressure,
    project,
    step,
    still,
)

AIR = Gas(buoyancy=0.8, viscosity=4e-4, diffusivity=4e-4)


def puff(n, radius=0.1, x0=0.5, y0=0.5, edge=0.03):
    s = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(s, s)
    return 0.5 * (1 - np.tanh((np.hypot(x - x0, y - y0) - radius) / edge)), x, y


def swirl(n):
    """A steady cell of turning air: psi = sin(pi x) sin(pi y) / pi, free of divergence."""
    s = np.arange(n + 1) / n
    psi = np.sin(np.pi * s)[:, None] * np.sin(np.pi * s) / np.pi
    return (psi[1:] - psi[:-1]) * n, -(psi[:, 1:] - psi[:, :-1]) * n


def test_the_projection_leaves_no_divergence_and_changes_nothing_twice():
    rng = np.random.default_rng(0)
    u, v = np.zeros((32, 33)), np.zeros((33, 32))
    u[:, 1:-1], v[1:-1] = rng.normal(size=(32, 31)), rng.normal(size=(31, 32))
    once = project(u, v, 1 / 32)
    assert np.abs(divergence(*once, 1 / 32)).max() < 1e-13 * np.abs(divergence(u, v, 1 / 32)).max()
    twice = project(*once, 1 / 32)
    assert np.abs(twice[0] - once[0]).max() < 1e-13


def test_poisson_is_solved_exactly_on_the_grid():
    source = np.random.default_rng(1).normal(size=(24, 24))
    source -= source.mean()
    p = np.pad(_poisson(source, 0.1), 1, mode="edge")
    laplacian = p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * p[1:-1, 1:-1]
    assert np.abs(laplacian / 0.01 - source).max() < 1e-11


def test_gas_is_kept_to_rounding_and_stays_a_share():
    start, _, y = puff(32, radius=0.15, y0=0.3)
    flow = advance(still(start), AIR, 1 / 32, 1.5)
    assert flow.gas.sum() == pytest.approx(start.sum(), rel=1e-13)
    assert flow.gas.min() > -1e-12
    assert flow.gas.max() < 1
    assert np.abs(divergence(flow.u, flow.v, 1 / 32)).max() < 1e-12
    assert (flow.gas * y).sum() > 1.2 * (start * y).sum()


def test_a_puff_starts_against_the_added_mass_of_a_cylinder():
    """A light cylinder sets as much air in motion as it displaces: half of its buoyancy is left.

    In the open, a round puff with a soft edge starts with b/2 times the mean share within it
    (half of each wave number's force has no curl and only makes pressure). A closed box also
    takes all of the mean force: the mean share in the box is subtracted.
    """
    gas, _, _ = puff(96, edge=0.02)
    free = Gas(buoyancy=0.8, viscosity=0, diffusivity=0)
    dt = 1e-3
    flow = step(still(gas), free, 1 / 96, dt)
    rise = (gas * 0.5 * (flow.v[1:] + flow.v[:-1])).sum() / gas.sum() / dt
    share = (gas**2).sum() / gas.sum() - gas.mean()
    assert rise == pytest.approx(0.4 * share, rel=0.01)


def test_pressure_and_buoyancy_make_the_first_acceleration():
    gas, _, _ = puff(48)
    free = Gas(buoyancy=0.8, viscosity=0, diffusivity=0)
    p = pressure(still(gas), free, 1 / 48)
    force = 0.4 * (gas[1:] + gas[:-1]) - (p[1:] - p[:-1]) * 48
    flow = step(still(gas), free, 1 / 48, 1e-4)
    assert np.abs(flow.v[1:-1] / 1e-4 - force).max() < 1e-4 * np.abs(force).max()


def test_transport_converges_at_second_order():
    """Gas turned in a steady swirl, against the same on a grid four times as fine."""

    def turned(n, dt):
        u, v = swirl(n)
        flow = Flow(u, v, puff(n, radius=0.12, x0=0.35, edge=0.08)[0])
        # No buoyancy: the swirl is let go on and barely changes in this time.
        inert = Gas(buoyancy=0.0, viscosity=0.0, diffusivity=0.0)
        for _ in range(round(0.2 / dt)):
            flow = step(flow, inert, 1 / n, dt)
        return flow.gas

    def coarse(f, n):
        return f.reshape(n, len(f) // n, n, len(f) // n).mean((1, 3))

    fine = turned(96, 0.002)
    errors = [np.abs(turned(n, 0.192 / n) - coarse(fine, n)).mean() for n in (24, 48)]
    assert np.log2(errors[0] / errors[1]) > 1.6


def test_diffusion_spreads_by_two_d_t():
    gas, x, _ = puff(48, radius=0.08, edge=0.04)
    calm = Gas(buoyancy=0.0, viscosity=0.0, diffusivity=2e-3)
    flow = advance(still(gas), calm, 1 / 48, 0.5)

    def variance(f):
        mean = (f * x).sum() / f.sum()
        return (f * (x - mean) ** 2).sum() / f.sum()

    assert variance(flow.gas) - variance(gas) == pytest.approx(2 * 2e-3 * 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gas(buoyancy=1.0, viscosity=-1e-3, diffusivity=0.0), "viscosity is -0.001"),
        (lambda: Gas(buoyancy=np.nan, viscosity=0.0, diffusivity=0.0), "buoyancy is nan"),
        (lambda: still(np.ones((8, 6))), r"gas is \[8, 6\]; the box is square"),
        (lambda: still(np.full((8, 8), 2.0)), "gas goes from 2 to 2"),
        (
            lambda: step(Flow(*swirl(16), np.zeros((16, 16))), AIR, 1 / 16, 0.1),
            f"CFL number is 3.*at most {CFL_BOUND}: take dt 0.015",
        ),
        (lambda: step(still(np.zeros((16, 16))), AIR, 0.01, 0.1), "diffusion number is 0.4"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
