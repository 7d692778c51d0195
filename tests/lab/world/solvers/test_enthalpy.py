"""The enthalpy method against Neumann's front, the quasi-steady disc, and kept energy."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.enthalpy import Medium, cells, largest_step, neumann_coefficient, solve

WATER = Medium(diffusivity=1.2e-6, latent=159.0)
TIMES = np.linspace(0.0, 2.0, 9)
WIDTH = 2.5e-3


def frozen_depth(num_cells, stefan, medium=WATER):
    start = np.full(num_cells, medium.latent)
    course = solve(medium, start, TIMES, width=WIDTH, near=-stefan * medium.latent)
    return (1 - medium.liquid_fraction(course.enthalpy)) @ course.volumes


@pytest.mark.parametrize("stefan", [0.1, 0.5])
def test_flat_front_is_neumanns(stefan):
    """Within 0.6 % on 200 cells at every time, and 5 % off with a Stefan number 10 % off."""
    exact = 2 * neumann_coefficient(stefan) * np.sqrt(WATER.diffusivity * TIMES)
    depth = frozen_depth(200, stefan)
    assert depth[1:] == pytest.approx(exact[1:], rel=6e-3)
    wrong = 2 * neumann_coefficient(1.1 * stefan) * np.sqrt(WATER.diffusivity * TIMES)
    assert np.abs(depth[1:] / wrong[1:] - 1).min() > 0.03


def test_error_of_the_front_falls_with_the_cells():
    exact = 2 * neumann_coefficient(0.3) * np.sqrt(WATER.diffusivity * TIMES[1:])
    errors = [np.abs(frozen_depth(n, 0.3)[1:] - exact).max() for n in (50, 200)]
    assert errors[1] < errors[0] / 3


def test_a_thin_rim_melts_by_the_quasi_steady_law():
    """F(q) = q (1 - ln q) of the solid's share q falls by 4 St a t / P² as St goes to 0."""
    medium, radius, stefan = Medium(diffusivity=1.4e-7, latent=80.0), 1e-3, 0.02
    course = solve(
        medium,
        disc_start(medium, 80, radius, 0.8 * radius, stefan),
        np.linspace(0, 60.0, 5),
        width=radius,
        geometry="cylindrical",
        far=stefan * medium.latent,
    )
    share = 1 - medium.liquid_fraction(course.enthalpy) @ course.volumes / course.volumes.sum()
    fall = share[0] * (1 - np.log(share[0])) - share[1:] * (1 - np.log(share[1:]))
    times = np.linspace(0, 60.0, 5)[1:]
    assert fall == pytest.approx(4 * stefan * 1.4e-7 * times / radius**2, rel=0.015)
    assert share[-1] < 0.5


def disc_start(medium, num_cells, outer, inner, stefan):
    r = (np.arange(num_cells) + 0.5) / num_cells * outer
    warm = stefan * medium.latent * (1 - np.log(r / outer) / np.log(inner / outer))
    return np.where(r < inner, 0.0, medium.latent + np.maximum(warm, 0))


@pytest.mark.parametrize(("geometry", "near"), [("planar", -60.0), ("cylindrical", None)])
def test_energy_is_what_came_through_the_walls(geometry, near):
    start = np.linspace(-20.0, WATER.latent + 20.0, 80)
    course = solve(WATER, start, TIMES, width=WIDTH, geometry=geometry, near=near, far=35.0)
    gained = (course.enthalpy - course.enthalpy[0]) @ course.volumes
    assert np.abs(gained).max() > 0
    assert gained == pytest.approx(course.heat, abs=float(1e-12 * np.abs(start) @ course.volumes))


def test_an_insulated_layer_keeps_its_heat_and_evens_out():
    start = np.linspace(-20.0, WATER.latent + 20.0, 40)
    course = solve(WATER, start, np.array([0.0, 2.0, 20.0]), width=WIDTH)
    total = course.enthalpy @ course.volumes
    assert total == pytest.approx(total[0], rel=1e-10)
    assert np.ptp(WATER.temperature(course.enthalpy[-1])) < 1e-3


def test_the_bound_is_sharp():
    """Stable at the bound, refused above it: the walls stay the extremes of temperature."""
    areas, volumes = cells(WIDTH, 40, "planar")
    bound = largest_step(areas, volumes, WIDTH / 40, WATER.diffusivity)
    assert bound == pytest.approx((WIDTH / 40) ** 2 / (3 * WATER.diffusivity))
    start = np.full(40, WATER.latent)
    course = solve(WATER, start, TIMES, width=WIDTH, near=-40.0, step=bound)
    assert WATER.temperature(course.enthalpy).min() >= -40.0
    with pytest.raises(InputError, match=r"step is .* stable above 0 up to"):
        solve(WATER, start, TIMES, width=WIDTH, near=-40.0, step=1.01 * bound)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Medium(diffusivity=-1e-6, latent=80.0), "diffusivity is -1e-06"),
        (lambda: Medium(diffusivity=1e-6, latent=0.0), "latent is 0.0"),
        (lambda: neumann_coefficient(-0.1), "stefan is -0.1"),
        (lambda: solve(WATER, np.zeros(1), TIMES, width=1.0), "1 cells on 1.0 m"),
        (lambda: solve(WATER, np.zeros(9), TIMES, width=-1.0), "9 cells on -1.0 m"),
        (lambda: solve(WATER, np.zeros(9), TIMES[::-1], width=1.0), "run backwards"),
        (
            lambda: cells(1.0, 9, "spherical"),  # pyright: ignore[reportArgumentType]
            "geometry is 'spherical'",
        ),
        (
            lambda: solve(WATER, np.zeros(9), TIMES, width=1.0, geometry="cylindrical", near=-4.0),
            "near is -4.0 K",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
