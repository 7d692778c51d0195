"""The gas solver against exact solutions: Sod's tube, Sedov's cylinder, and what it conserves."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.euler import CYLINDRICAL, PLANAR, solve_euler
from pila.lab.world.solvers.riemann import GasState, riemann_solution, star_state

DENSE, THIN = GasState(1.0, 0.0, 1.0), GasState(0.125, 0.0, 0.1)


def sod(n: int, time: float = 0.2):
    x = (np.arange(n) + 0.5) / n
    dense = x < 0.5
    density, pressure = np.where(dense, 1.0, 0.125), np.where(dense, 1.0, 0.1)
    found = solve_euler(density, np.zeros(n), pressure, spacing=1 / n, times=np.array([time]))
    exact = riemann_solution(DENSE, THIN, (x - 0.5) / time)
    return x, [f[0] for f in found], exact


def test_the_exact_middle_of_sods_tube_is_the_published_one():
    star = star_state(DENSE, THIN)
    assert star.pressure == pytest.approx(0.30313, abs=1e-5)
    assert star.velocity == pytest.approx(0.92745, abs=1e-5)
    assert star.density_left == pytest.approx(0.42632, abs=1e-5)
    assert star.density_right == pytest.approx(0.26557, abs=1e-5)


def test_sods_tube_converges_to_the_exact_solution():
    errors = {
        n: [np.abs(f - e).mean() for f, e in zip(*sod(n)[1:], strict=True)] for n in (100, 400)
    }
    density, velocity, pressure = errors[400]
    assert density < 2.5e-3
    assert velocity < 4e-3
    assert pressure < 1.5e-3
    # Shocks and contacts limit the order in the mean error to about one.
    assert np.log(errors[100][0] / density) / np.log(4) > 0.7


def test_shock_and_contact_stand_where_they_should():
    x, (density, _, pressure), _ = sod(400)
    shock = np.interp(-(0.30313 + 0.1) / 2, -pressure, x)
    contact = np.interp(-(0.42632 + 0.26557) / 2, -density, x)
    assert shock == pytest.approx(0.5 + 0.2 * 1.75216, abs=2 / 400)
    assert contact == pytest.approx(0.5 + 0.2 * 0.92745, abs=2 / 400)


@pytest.mark.parametrize("symmetry", [PLANAR, CYLINDRICAL])
def test_mass_and_energy_are_kept_between_walls(symmetry):
    n = 120
    r = (np.arange(n) + 0.5) / n
    volume = np.diff((np.arange(n + 1) / n) ** (symmetry + 1))
    hot = r < 0.3
    gas = np.where(hot, 2.0, 1.0), np.zeros(n), np.where(hot, 5.0, 1.0)
    rho, u, p = solve_euler(*gas, spacing=1 / n, times=np.linspace(0, 1, 6), symmetry=symmetry)
    mass, energy = rho @ volume, (p / 0.4 + rho * u**2 / 2) @ volume
    assert mass == pytest.approx(mass[0], rel=1e-12)
    assert energy == pytest.approx(energy[0], rel=1e-12)


def test_a_strong_cylindrical_blast_follows_sedov():
    """R = (E t^2 / (0.984 rho))^(1/4) for gamma 1.4, E the energy per unit length."""
    n, hot = 500, 10
    pressure = np.full(n, 1e-5)
    energy = 1.0
    pressure[:hot] = 0.4 * energy / (np.pi * (hot / n) ** 2)
    times = np.array([0.1, 0.2, 0.4])
    rho, _, _ = solve_euler(
        np.ones(n), np.zeros(n), pressure, spacing=1 / n, times=times, symmetry=CYLINDRICAL
    )
    front = (rho.argmax(1) + 0.5) / n
    assert front == pytest.approx((energy * times**2 / 0.984) ** 0.25, rel=0.015)


def test_a_gas_at_rest_stays_at_rest_and_a_wave_leaves_an_open_end():
    n = 80
    still = np.ones(n), np.zeros(n), np.ones(n)
    rho, u, _ = solve_euler(*still, spacing=1 / n, times=np.array([1.0]), symmetry=CYLINDRICAL)
    assert np.abs(u).max() < 1e-13
    assert rho == pytest.approx(1.0, abs=1e-13)
    r = (np.arange(n) + 0.5) / n
    bump = 1 + 0.01 * np.exp(-(((r - 0.5) / 0.1) ** 2))
    gas = bump, np.zeros(n), bump**1.4
    _, _, p = solve_euler(*gas, spacing=1 / n, times=np.array([3.0]), open_end=True)
    assert np.abs(p - 1).max() < 2e-4


GAS = {"density": np.ones(8), "velocity": np.zeros(8), "pressure": np.ones(8), "spacing": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cfl": 0.8}, "cfl is 0.8.*up to 0.5.*lower it"),
        ({"cfl": 0.0}, "cfl is 0"),
        ({"symmetry": 2}, "symmetry is 2"),
        ({"density": np.array([1.0] * 7 + [-1.0])}, "density falls to -1"),
        ({"pressure": np.zeros(8)}, "pressure falls to 0"),
        ({"velocity": np.full(8, np.nan)}, "not finite"),
        ({"spacing": -0.1}, "spacing is -0.1"),
        ({"gamma": 1.0}, "gamma - 1 is 0"),
        ({"times": np.array([1.0, 0.5])}, "times must ascend"),
        ({"density": np.ones(2), "velocity": np.ones(2), "pressure": np.ones(2)}, "4 cells"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        solve_euler(**{"times": np.array([0.1]), **GAS, **change})


def test_a_vacuum_and_a_negative_pressure_are_refused():
    with pytest.raises(InputError, match="vacuum"):
        star_state(GasState(1.0, -9.0, 1.0), GasState(1.0, 9.0, 1.0))
    with pytest.raises(InputError, match="pressure is -1"):
        GasState(1.0, 0.0, -1.0)
