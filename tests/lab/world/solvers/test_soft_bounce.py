"""Free fall and soft contact: energy, restitution, smoothness and rest."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world.solvers.soft_bounce import damping_ratio, soft_bounce

T = np.linspace(0, 3, 30001)


def test_fall_and_contact_obey_newtons_law():
    """v and a are the derivatives of the height, away from the dashpot's jump at the touch."""
    x, v, a = soft_bounce(T, drop=3.0, omega=18.0, restitution=0.7)
    calm = (np.abs(x) > 0.01)[1:-1]
    for value, rate in ((x, v), (v, a)):
        slope = (value[2:] - value[:-2]) / (2 * T[1])
        assert slope[calm] == pytest.approx(rate[1:-1][calm], abs=1e-3)
    assert a[x > 1e-3] == pytest.approx(-9.81)
    damping = 18.0 * damping_ratio(0.7)
    below = x < -1e-3
    assert a[below] == pytest.approx(-9.81 - 18.0**2 * x[below] - 2 * damping * v[below])


def test_without_loss_every_rebound_reaches_the_drop():
    x, v, _ = soft_bounce(T, drop=3.0, omega=18.0, restitution=1.0)
    energy = 9.81 * x + v**2 / 2 + (x < 0) * 18.0**2 * x**2 / 2
    assert energy == pytest.approx(9.81 * 3.0, rel=1e-9)


@pytest.mark.parametrize("restitution", [0.45, 0.8, 1.2])
def test_rebound_has_the_restitution_asked_for(restitution):
    """Without weight: a stiff contact leaves the share e of the speed, within 2 %."""
    x, v, _ = soft_bounce(T, drop=3.0, omega=400.0, restitution=restitution)
    touch = int(np.argmax(x < 0))
    off = touch + int(np.argmax(x[touch:] > 0))
    assert -v[off] / v[touch] == pytest.approx(restitution, rel=0.02)


def test_contact_lasts_half_a_period_and_squashes_by_speed_over_frequency():
    """Of a stiff lossless contact, where weight is small beside the spring: within 1 %."""
    omega = 200.0
    x, _, _ = soft_bounce(T, drop=3.0, omega=omega, restitution=1.0)
    touch = int(np.argmax(x < 0))
    off = touch + int(np.argmax(x[touch:] > 0))
    assert T[off] - T[touch] == pytest.approx(np.pi / omega, rel=0.01)
    assert -x.min() == pytest.approx(np.sqrt(2 * 9.81 * 3.0) / omega, rel=0.01)


def test_a_body_that_cannot_lift_off_rests_where_the_spring_carries_it():
    x, v, _ = soft_bounce(np.linspace(0, 30, 3001), drop=0.5, omega=15.0, restitution=0.1)
    assert x[-1] == pytest.approx(-9.81 / 15.0**2, rel=1e-6)
    assert v[-1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": -1.0}, "drop is -1.0; it must be above 0"),
        ({"omega": float("inf")}, "omega is inf"),
        ({"restitution": 0.0}, "restitution is 0.0; it must be above 0"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        soft_bounce(T, **{"drop": 3.0, "omega": 18.0, "restitution": 0.7} | change)
    with pytest.raises(InputError, match="t starts at -1 s"):
        soft_bounce(T - 1, drop=3.0, omega=18.0, restitution=0.7)
