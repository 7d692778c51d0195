"""Each stabilizer does what it is for: prefers the good field, and says how bad a bad one is."""

import pytest
import torch
from torch import Tensor

from pila.physics import TERMS, Calculus, Coefficients, Family, Slot, residual_loss

FD, K = Calculus(), Coefficients()
BY_NAME = {t.name: t for terms in TERMS.values() for t in terms if t.family is Family.STABILIZER}
T, Y, X = torch.meshgrid(
    *(torch.arange(n, dtype=torch.float64) for n in (6, 16, 18)), indexing="ij"
)
HILL = torch.exp(-((X - 8) ** 2 + (Y - 7) ** 2) / 30)[None, None]
SMOOTHERS = {
    "pressure_regularity": Slot.PRESSURE,
    "density_stability": Slot.DENSITY,
    "support_regularity": Slot.PHASE,
    "impulse_propagation": Slot.IMPULSE,
    "thermal_regularity": Slot.TEMPERATURE,
    "support_smoothness": Slot.PHASE,
}


def score(name: str, **fields: Tensor) -> float:
    by_slot = {Slot(slot): field for slot, field in fields.items()}
    return residual_loss(by_slot, [BY_NAME[name]], FD, K).total.item()


def raw(name: str, **fields: Tensor) -> float:
    return torch.stack(BY_NAME[name](FD, K, **fields)).sum(0).abs().max().item()


def test_every_stabilizer_is_tested_here():
    tested = {*SMOOTHERS, "low_strain", "rigid_motion", "gradient_regularity", "support_gating"}
    assert tested == set(BY_NAME)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_a_hill_is_smooth_and_noise_spikes_and_checkerboards_are_not(name: str):
    slot = SMOOTHERS[name]
    spike, noise = torch.zeros_like(HILL), torch.rand_like(HILL)
    spike[..., 3, 7, 8] = 1
    checkers = (X + Y) % 2 * torch.ones_like(HILL)

    def scored(field: Tensor) -> float:
        return score(name, **{slot: 1 + field.repeat(1, slot.components, 1, 1, 1)})

    assert scored(HILL) < 0.01
    for rough in (spike, noise, checkers):
        assert scored(rough) > 20 * scored(HILL)
    assert scored(HILL + 0.5 * noise) > scored(HILL + 0.1 * noise) > scored(HILL)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_a_steady_slope_is_free(name: str):
    slot = SMOOTHERS[name]
    plane = (5 + 0.2 * X - 0.1 * Y + 0.3 * T).expand(1, slot.components, -1, -1, -1)
    assert raw(name, **{slot: plane}) < 1e-12


def test_negative_density_scores_worst():
    assert score("density_stability", density=-1 - HILL) == pytest.approx(1, abs=1e-3)
    assert raw("density_stability", density=-1 - HILL) > 2
    assert score("density_stability", density=1 + HILL) < 0.01


def test_support_regularity_alone_sees_flicker():
    flicker = 1 + HILL * (T % 2)
    assert score("support_regularity", phase=flicker) > 0.05
    assert score("support_smoothness", phase=flicker) < 0.01


def test_rigid_motion_lets_rotation_pass_and_stops_stretching_and_shear():
    u, v = X - 8, Y - 7
    turning, stretching = torch.stack([-v, u])[None], torch.stack([u, v])[None]
    shearing = torch.stack([v, 0 * u])[None]
    assert score("rigid_motion", velocity=turning) < 1e-6
    assert score("rigid_motion", velocity=stretching) == pytest.approx(1, abs=1e-6)
    assert 0.4 < score("rigid_motion", velocity=shearing) < 0.6


def test_low_strain_weighs_strain_against_rotation():
    turn = 0.1 * torch.stack([7 - Y, X - 8])[None]
    strain = torch.rand(1, 3, *X.shape)
    scores = [score("low_strain", strain=s * strain, displacement=turn) for s in (1e-3, 0.1, 10)]
    assert scores == sorted(scores)
    assert scores[0] < 1e-4
    assert scores[-1] > 0.9
    assert raw("low_strain", strain=0 * strain, displacement=turn) == 0


def test_gradient_regularity_lets_uniform_expansion_pass():
    even = torch.stack([X - 8, Y - 7])[None]
    assert score("gradient_regularity", velocity=even) < 1e-6
    broad = torch.stack([(X - 8) * HILL[0, 0], (Y - 7) * HILL[0, 0]])[None]
    # Period 4 is the shortest that a central difference sees well.
    fine = torch.stack([torch.sin(X * torch.pi / 2), torch.sin(Y * torch.pi / 2)])[None]
    assert score("gradient_regularity", velocity=fine) > 5 * score(
        "gradient_regularity", velocity=broad
    )


def test_support_gating_punishes_a_wave_outside_its_support():
    wave = torch.sin(X - T)[None, None]
    inside = (HILL > 0.5).to(wave)
    confined = score("support_gating", wave=inside * wave, phase=inside)
    leaking = score("support_gating", wave=wave, phase=inside)
    outside = score("support_gating", wave=(1 - inside) * wave, phase=inside)
    assert confined < 1e-6
    assert 0.1 < leaking < outside
    assert outside == pytest.approx(1, abs=1e-6)
