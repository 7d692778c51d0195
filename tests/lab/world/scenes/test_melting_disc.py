"""A melting disc: quasi-steady law in pixels, heat balance in the fields, violations told apart."""

import numpy as np
import pytest
import torch
from tests.lab.world.told_apart import separation, true_errors

from pila.lab.world.fit import polynomial_fit
from pila.lab.world.mixture import unmix
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.melting_disc import HUES, SUBSTANCES, MeltingDisc
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.phase_change import thermal_phase_coupling

SIZE = 48
SCENE = MeltingDisc()


def test_true_clips_obey_and_stay_near_zero_when_degraded():
    raw, worn = true_errors(MeltingDisc, SIZE).T
    assert raw.max() < 0.05
    assert worn.max() < 0.15


@pytest.mark.parametrize("violation", SCENE.violations)
def test_every_violation_is_told_from_the_truth(violation):
    assert separation(MeltingDisc, violation, SIZE).min() >= 0.95


def test_nothing_melts_nothing_wins():
    frames = SCENE.simulate(1, None, Canvas(size=SIZE), False).frames
    for frame in (0, 16, 32):
        static = np.repeat(frames[frame][None], 33, 0)
        assert max(SCENE.measure(static).values()) == 1.0


def test_played_backwards_it_freezes():
    frames = SCENE.simulate(1, None, Canvas(size=SIZE), False).frames
    errors = SCENE.measure(frames[::-1])
    assert errors["melts"] == 1.0
    assert errors["never_freezes"] == 1.0


def test_pixels_give_back_the_rate_of_melting():
    """The quasi-steady rate 4 St a / P² to a fifth, by which heat stored in the puddle slows it;
    from pixels the rate is its own law's free coefficient."""
    clip = SCENE.simulate(2, None, Canvas(size=SIZE), False)
    p = clip.parameters
    solid, liquid = unmix(clip.frames, tuple(HUES.values()))
    share = solid.sum((1, 2)) / (solid + liquid).sum((1, 2))
    (_, slope), _ = polynomial_fit(np.arange(33) / 16, share * (1 - np.log(share)), 1)
    rate = -slope / (4 * p["stefan"] * SUBSTANCES[p["substance"]][0] / p["radius"] ** 2)
    assert 0.8 < rate < 1.0


def test_the_drawn_areas_are_the_solvers():
    """The puddle's outline stays, to 0.2 % of its area, at the drawn radius, to 1 %."""
    clip = SCENE.simulate(3, None, Canvas(size=SIZE), False)
    inside = clip.masks[Slot.PHASE][0]
    pixel = (clip.parameters["extent"] / SIZE) ** 2
    area = inside.sum((1, 2)) * pixel
    assert area == pytest.approx(area[0], rel=2e-3)
    assert area[0] == pytest.approx(np.pi * clip.parameters["radius"] ** 2, rel=0.01)


def test_heat_pays_for_the_melt():
    """Storage, conduction and latent heat balance over a disc around the rim, to 5 %.

    With another latent heat they do not.
    """
    size, rate = 128, 32
    clip = SCENE.simulate(4, None, Canvas(size=size, frame_rate=rate), False)
    p = clip.parameters
    step = p["extent"] / size
    fd = Calculus(dt=1 / rate, dx=step, dy=step)
    fields = {str(s): torch.from_numpy(f[:, 8:-8])[None] for s, f in clip.fields.items()}
    # All of the piece and most of the puddle, but not its edge, where the plate's heat enters.
    distance = torch.from_numpy(_distance(clip, step))
    inside = distance < p["radius"] - 2.5 * step

    def balance(latent):
        k = Coefficients(diffusivity=p["diffusivity"], latent_heat=latent)
        pieces = torch.stack(thermal_phase_coupling(fd, k, **fields))[:, 0, 0, 1:-1]
        sums = (pieces * inside).mean(1).sum((1, 2))
        return float(sums.sum().abs() / sums.abs().max())

    assert balance(p["latent"]) < 0.05
    assert balance(0.7 * p["latent"]) > 0.2


def _distance(clip, step):
    """Distance of each pixel from the centre of the outline [m]."""
    inside = clip.masks[Slot.PHASE][0, 0]
    rows, columns = np.indices(inside.shape)
    cy, cx = (np.average(a, weights=inside) for a in (rows, columns))
    return np.hypot(rows - cy, columns - cx) * step
