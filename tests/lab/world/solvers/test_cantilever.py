"""The first mode of a clamped strip: its equation, its ends, its frequency and its length."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.cantilever import NODES, ROOT, bend, first_frequency, mode

RUBBER = {"modulus": 4.6e6, "density": 1200.0, "thickness": 0.07, "length": 0.6}


def test_mode_meets_the_beam_equation_and_its_ends():
    assert np.cos(ROOT) * np.cosh(ROOT) == pytest.approx(-1, abs=1e-12)
    ends = np.array([0.0, 1.0])
    assert mode(ends) == pytest.approx([0, 1], abs=1e-12)
    assert mode(ends, 1)[0] == pytest.approx(0, abs=1e-12)
    assert mode(ends, 2)[1] == pytest.approx(0, abs=1e-12)
    # phi'''' = root^4 phi, with the second derivative of phi'' by central differences.
    x, h = np.linspace(0.1, 0.9, 9), 1e-3
    fourth = (mode(x + h, 2) - 2 * mode(x, 2) + mode(x - h, 2)) / h**2
    assert fourth == pytest.approx(ROOT**4 * mode(x), rel=1e-4)
    slope = (mode(x + h) - mode(x - h)) / (2 * h)
    assert slope == pytest.approx(mode(x, 1), rel=1e-5)


def test_frequency_is_rayleighs_quotient_of_the_mode():
    """By quadrature: omega^2 = E I int w''^2 / rho A int w^2."""
    x = (np.arange(2000) + 0.5) / 2000
    length, thickness = RUBBER["length"], RUBBER["thickness"]
    bending = RUBBER["modulus"] * thickness**2 / 12 * (mode(x, 2) ** 2).mean() / length**4
    inertia = RUBBER["density"] * (mode(x) ** 2).mean()
    assert first_frequency(**RUBBER) == pytest.approx(np.sqrt(bending / inertia), rel=1e-6)


@pytest.mark.parametrize("rigid", [False, True])
def test_a_bend_keeps_the_length(rigid):
    """Arc length is the length within 1e-5 (512 chords), and the tip is where asked."""
    tip, length = np.array([-0.15, 0.0, 0.1]), np.full(3, 0.6)
    along, aside, angle = bend(tip, length, rigid=rigid)
    arc = np.hypot(np.diff(along), np.diff(aside)).sum(1)
    assert arc == pytest.approx(length, rel=1e-5)
    assert aside[:, -1] == pytest.approx(tip)
    assert along[1] == pytest.approx(0.6 * NODES)
    assert (np.ptp(angle[0]) < 1e-12) == rigid


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modulus": -1.0}, "modulus is -1.0; it must be above 0"),
        ({"length": float("nan")}, "length is nan"),
        ({"thickness": 0.2}, "at most a fifth: make it 0.12"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        first_frequency(**RUBBER | change)


def test_too_strong_a_bend_is_refused():
    with pytest.raises(InputError, match=r"2 lengths aside; at most 0\.69"):
        bend(np.array([1.2]), np.array([0.6]))
