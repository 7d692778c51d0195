"""A freezing basin: Neumann's front in pixels and in the fields, and told from its violations."""

import numpy as np
import pytest
import torch
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.mixture import unmix
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.freezing_front import HUES, FreezingFront
from pila.lab.world.solvers.enthalpy import Medium, neumann_coefficient, solve
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.phase_change import thermal_phase_coupling

SCENE = FreezingFront()
SIZE = 48
CANVAS = Canvas(size=SIZE)


def very_cold(**canvas):
    """A clip whose wall is very cold."""
    every = (SCENE.simulate(s, None, Canvas(**canvas), False) for s in range(20))
    return next(c for c in every if c.parameters["wall"] == "very cold")


def test_true_clips_obey_and_stay_near_zero_when_degraded():
    raw, worn = true_errors(FreezingFront, SIZE).T
    assert raw.max() < 0.08  # 0.02 at 128 px
    assert worn.max() < 0.12


@pytest.mark.parametrize("violation", SCENE.violations)
def test_every_violation_is_told_from_the_truth(violation):
    assert separation(FreezingFront, violation, SIZE).min() >= 0.95


def test_nothing_moves_nothing_wins():
    frames = SCENE.simulate(1, None, CANVAS, False).frames
    for frame in (0, 16, 32):
        static = np.repeat(frames[frame][None], 33, 0)
        assert max(SCENE.measure(static).values()) == 1.0


def test_played_backwards_it_melts():
    errors = SCENE.measure(SCENE.simulate(1, None, CANVAS, False).frames[::-1])
    assert errors["stefan"] == 1.0
    assert errors["never_melts"] == 1.0


def test_pixels_give_back_neumanns_coefficient():
    """To 1 %, and so the Stefan number to 2 %."""
    clip = very_cold(size=64)
    p = clip.parameters
    liquid, solid = unmix(clip.frames, tuple(HUES.values()))
    depth = solid.sum((1, 2)) / (liquid + solid).sum((1, 2)) * p["width"]
    found = depth[-1] / np.sqrt(p["diffusivity"] * CANVAS.times[-1])
    assert found == pytest.approx(2 * neumann_coefficient(p["stefan"]), rel=0.01)


def test_fields_are_the_solvers():
    """Temperature of the closed form against the enthalpy method: within 2 % of the drop."""
    clip = very_cold(size=64)
    p = clip.parameters
    medium = Medium(diffusivity=p["diffusivity"], latent=p["latent"])
    drop = p["stefan"] * p["latent"]
    start = np.full(120, p["latent"])
    course = solve(medium, start, CANVAS.times, width=p["width"], near=-drop)
    temperature = medium.temperature(course.enthalpy)[-1]
    drawn = clip.fields[Slot.TEMPERATURE][0, -1]
    inside = clip.masks[Slot.TEMPERATURE][0, -1] > 0.99
    # Distances from the wall do not matter for the sorted profile.
    assert np.quantile(drawn[inside], [0, 0.2, 0.4, 0.6]) == pytest.approx(
        np.quantile(temperature, [0, 0.2, 0.4, 0.6]), abs=0.03 * drop
    )


def test_heat_pays_for_the_change_of_phase():
    """Storage, conduction and latent heat balance across the front, to 3 %; with other L not."""
    clip = very_cold(size=64, frame_rate=48)
    p = clip.parameters
    step = p["extent"] / 64
    fd = Calculus(dt=1 / 48, dx=step, dy=step)
    fields = {str(s): torch.from_numpy(f)[None] for s, f in clip.fields.items()}
    upright = p["side"] in ("top", "bottom")

    def balance(latent):
        k = Coefficients(diffusivity=p["diffusivity"], latent_heat=latent)
        pieces = torch.stack(thermal_phase_coupling(fd, k, **fields))[:, 0, 0]
        # One line across the basin, from inside the solid to the liquid, over the later frames.
        line = pieces[..., 32] if upright else pieces[:, :, 32]
        line = line[:, 14:-3, 8:-8]
        sums = line.mean(1).sum(-1)
        return float(sums.sum().abs() / sums.abs().max())

    assert balance(p["latent"]) < 0.03
    assert balance(0.7 * p["latent"]) > 0.2
