"""The leapfrog wave solver: exact modes, measured order, energy, Snell's law, wrong input."""

import numpy as np
import pytest
from tests.lab.world.leapfrog import propagate, wave_energy

from pila.errors import InputError


def _mode(cells: int) -> tuple[np.ndarray, float]:
    """The lowest standing mode but one of a unit box with mirror borders, and its spacing."""
    i = np.arange(1, cells + 1) / (cells + 1)
    return np.sin(np.pi * i)[:, None] * np.sin(2 * np.pi * i)[None], 1 / (cells + 1)


def _packet(cells: int, angle: float, wavelength: float, width: float):
    """A Gaussian packet at (0.25, 0.25) of a unit box, flying at `angle` from +y, and its rate."""
    x, y = np.meshgrid(*(2 * [(np.arange(cells) + 0.5) / cells]))
    nx, ny = np.sin(angle), np.cos(angle)
    along = (x - 0.25) * nx + (y - 0.25) * ny
    across = (x - 0.25) * ny - (y - 0.25) * nx
    envelope = np.exp(-(along**2 + across**2) / (2 * width**2))
    k = 2 * np.pi / wavelength
    wave = envelope * np.cos(k * along)
    # Flying at unit speed without change of shape: w_t = -∂w/∂along.
    rate = envelope * (along / width**2 * np.cos(k * along) + k * np.sin(k * along))
    return x, y, wave, rate


def _centre(wave: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Centre of the intensity w²."""
    return np.array([(wave**2 * x).sum(), (wave**2 * y).sum()]) / (wave**2).sum()


def test_a_standing_mode_has_the_frequency_of_the_discrete_dispersion_relation():
    wave, h = _mode(31)
    c, dt, steps = 2.0, 0.3 * h / 2.0, 400
    frames = propagate(wave, 0 * wave, c + 0 * wave, spacing=h, step=dt, num_steps=steps)
    # sin²(ω dt / 2) = (c dt / h)² (sin²(kx h / 2) + sin²(ky h / 2))
    sines = np.sin(np.pi * h / 2) ** 2 + np.sin(np.pi * h) ** 2
    omega = 2 / dt * np.arcsin(c * dt / h * np.sqrt(sines))
    expected = np.cos(omega * dt * np.arange(steps + 1))
    assert np.abs(frames[:, 9, 5] / wave[9, 5] - expected).max() < 1e-9
    assert omega == pytest.approx(c * np.pi * np.sqrt(5), rel=5e-3)


def test_the_scheme_is_of_second_order():
    errors = []
    for cells in (15, 31, 63):
        wave, h = _mode(cells)
        c, dt = 1.0, 0.5 * h
        steps = 2 * (cells + 1)  # one second
        late = propagate(wave, 0 * wave, c + 0 * wave, spacing=h, step=dt, num_steps=steps)[-1]
        errors.append(np.abs(late - wave * np.cos(np.pi * np.sqrt(5))).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx(2.0, abs=0.1)


def test_mirrors_keep_the_energy_to_rounding_in_any_medium():
    rng = np.random.default_rng(0)
    speed = rng.uniform(0.5, 2.0, (24, 40))
    wave, rate = rng.normal(size=(2, 24, 40))
    h, dt = 0.1, 0.7 * 0.1 / 2.0
    frames = propagate(wave, rate, speed, spacing=h, step=dt, num_steps=600)
    energy = [
        wave_energy(a, b, speed, spacing=h, step=dt)
        for a, b in zip(frames[:-1:50], frames[1::50], strict=True)
    ]
    assert np.abs(np.array(energy) / energy[0] - 1).max() < 1e-11


def test_a_sponge_swallows_what_reaches_it():
    x, _, wave, rate = _packet(96, 0.4, 0.1, 0.06)
    h, speed = 1 / 96, np.ones_like(x)
    frames = propagate(
        wave, rate, speed, spacing=h, step=0.6 * h, num_steps=288, border="sponge", sponge=20
    )
    assert np.abs(frames[-1]).max() < 0.01


def test_a_packet_flies_at_the_speed_of_its_medium():
    x, y, wave, rate = _packet(192, 0.5, 0.09, 0.07)
    h, dt = 1 / 192, 0.6 / 192
    frames = propagate(wave, rate, np.ones_like(x), spacing=h, step=dt, num_steps=128, every=128)
    flown = (_centre(frames[1], x, y) - _centre(frames[0], x, y)) / (128 * dt)
    assert np.hypot(*flown) == pytest.approx(1.0, abs=0.02)
    assert np.arctan2(*flown) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("index", [1.33, 1.6])
def test_a_packet_bends_by_snells_law_at_a_border(index):
    angle, cells = 0.6, 288
    x, y, wave, rate = _packet(cells, angle, 0.07, 0.06)
    h, dt = 1 / cells, 0.6 / cells
    speed = np.where(y < 0.45, 1.0, 1 / index)
    frames = propagate(
        wave, rate, speed, spacing=h, step=dt, num_steps=360, every=120, border="sponge"
    )
    # At 0.5 s the packet has crossed, at 0.75 s it has not reached the sponge.
    early, late = (_centre(frames[i] * (y > 0.45), x, y) for i in (2, 3))
    flown = (late - early) / (120 * dt)
    assert np.sin(np.arctan2(*flown)) == pytest.approx(np.sin(angle) / index, rel=0.03)
    assert np.hypot(*flown) == pytest.approx(1 / index, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.08}, r"Courant number c dt / dx is 0.800; .* up to 0.707: .* at most 0.0707 s"),
        ({"speed": np.zeros((8, 8))}, "speed is 0.0 m/s"),
        ({"rate": np.zeros((8, 9))}, r"\[8, 8\], \[8, 9\], \[8, 8\]"),
        ({"spacing": -1.0}, "spacing is -1.0"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"border": "open"}, "border is 'open'; choose from mirror, sponge"),
        ({"border": "sponge", "sponge": 4}, "sponge is 4 cells"),
        ({"wave": np.full((8, 8), np.nan)}, "not finite"),
    ],
)
def test_wrong_input_is_named(change, message):
    flat = np.zeros((8, 8))
    given = {"wave": flat, "rate": flat, "speed": flat + 1, "spacing": 0.1, "step": 0.05}
    with pytest.raises(InputError, match=message):
        propagate(**(given | {"num_steps": 2} | change))
