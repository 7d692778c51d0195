"""Bubbles' growth, rise, flow and the level above them, against closed forms."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.bubbles import boil, rise_speed, surface

LARGEST = np.array([0.10, 0.14])
CLOCK = np.arange(400) / 200


def two_sites(clock=CLOCK, **broken):
    begin, across = np.array([0.0, 0.5]), np.array([0.5, 1.1])
    return boil(clock, begin, across, LARGEST, 0.15, 1.0, **broken)


def test_area_grows_linearly_and_then_stays():
    path = two_sites()
    first = (LARGEST[0] / 0.15) ** 2
    growing = (first * 0.02 < CLOCK) & (first > CLOCK)
    area = np.pi * path.radii[:, 0] ** 2
    assert area[growing] == pytest.approx(np.pi * 0.15**2 * CLOCK[growing])
    assert area[first < CLOCK] == pytest.approx(np.pi * LARGEST[0] ** 2)


def test_velocity_and_swelling_are_the_rates_of_what_is_shown():
    """To 1e-3 of the speed, by central differences, away from birth and departure."""
    path = two_sites()
    rates = np.gradient(path.centres[1], CLOCK, axis=0), np.gradient(path.radii, CLOCK, axis=0)
    first = (LARGEST[0] / 0.15) ** 2
    for smooth in ((CLOCK > 0.1) & (first - 0.01 > CLOCK), first + 0.01 < CLOCK):
        assert rates[0][smooth, 0] == pytest.approx(path.velocity[1, smooth, 0], rel=3e-3)
        assert rates[1][smooth, 0] == pytest.approx(path.swelling[smooth, 0], rel=3e-3, abs=1e-9)
    rising = path.velocity[1, first + 0.01 < CLOCK, 0]
    assert rising == pytest.approx(0.5 * np.sqrt(9.81 * LARGEST[0]))


def test_a_clock_that_runs_backwards_turns_all_speeds():
    forth, back = two_sites(), two_sites(CLOCK[::-1])
    assert back.velocity[1, ::-1] == pytest.approx(-forth.velocity[1])
    assert back.swelling[::-1] == pytest.approx(-forth.swelling)


def test_level_keeps_the_liquids_area():
    """Beside bubbles under, across and above it, to 1e-9, counted on fine slices."""
    height, radius = np.array([[0.2, 0.45, 1.5]]), np.array([[0.1, 0.12, 0.1]])
    level = float(surface(np.array([0.8]), 1.6, height, radius)[0])
    slices = (np.arange(40000) + 0.5) / 40000 * level
    chords = 2 * np.sqrt(np.clip(radius**2 - (slices[:, None] - height) ** 2, 0, None))
    assert float((1.6 - chords.sum(1)).mean() * level) == pytest.approx(0.8, rel=1e-5)
    assert 0.45 < level < 0.57


def test_flow_has_no_sources_but_the_growth():
    """What crosses a ring around a growing bubble is its area's growth, to 0.1 %; while it
    rises, the flow at its rim goes with it."""
    path = two_sites()
    for frame in (40, 300):
        cx, cy = path.centres[:, frame, 0]
        r, swelling = path.radii[frame, 0], path.swelling[frame, 0]
        angle = np.linspace(0, 2 * np.pi, 721)[:-1][None]
        n = np.stack([np.cos(angle), np.sin(angle)])
        one = boil(CLOCK, np.zeros(1), np.full(1, 0.5), LARGEST[:1], 0.15, 1.0)
        for ring in (1.001, 2.0):
            flow = one.flow(cx + ring * r * n[0], cy + ring * r * n[1])[:, frame]
            out = (flow * n).sum(0).mean() * 2 * np.pi * ring * r
            assert out == pytest.approx(2 * np.pi * r * swelling, rel=1e-3, abs=1e-9)
        rim = one.flow(cx + 1.0001 * r * n[0], cy + 1.0001 * r * n[1])[:, frame]
        moves = n[1] * path.velocity[1, frame, 0] + swelling
        assert (rim * n).sum(0) == pytest.approx(moves, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_sites(slow=0.0), "slow is 0.0"),
        (lambda: two_sites(shrink=1.0), "shrink 1.0"),
        (lambda: boil(CLOCK, np.zeros(2), np.zeros(2), np.zeros(2), 0.1, 1.0), "largest is 0.0"),
        (
            lambda: surface(np.ones(1), 0.4, np.zeros((1, 2)), np.full((1, 2), 0.1)),
            "0.4 m wide together",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_larger_bubble_rises_faster_by_the_root_of_its_size():
    assert rise_speed(0.4) == pytest.approx(2 * rise_speed(0.1))
