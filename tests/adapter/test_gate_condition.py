import pytest
import torch

from pila.adapter import pool_text
from pila.adapter.condition import ConditionEncoder, SigmaEmbedding
from pila.adapter.gate import GATES, LearnedGate, make_gate

SIGMA = torch.linspace(0, 1, 101)


def test_quadratic_gate():
    gain = make_gate("quadratic", floor=0.05)(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(gain, torch.tensor([1.0, 0.05 + 0.95 * 0.25, 0.05]))


def test_open_gate():
    assert torch.equal(make_gate("none", floor=0.05)(SIGMA), torch.ones(101))


def test_mid_gate_peaks_where_motion_is_decided():
    gain = make_gate("mid", floor=0.05)(SIGMA)
    assert 0.6 < SIGMA[gain.argmax()] < 0.72
    assert gain.max() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(gain[[0, -1]], torch.tensor([0.05, 0.05]))


def test_learned_gate_is_a_curve_through_its_knots():
    gate = LearnedGate(0.05)
    torch.testing.assert_close(gate(SIGMA), torch.ones(101))
    torch.nn.init.normal_(gate.knots)
    torch.testing.assert_close(
        gate(torch.linspace(0, 1, 17)), 0.05 + 1.9 * torch.sigmoid(gate.knots.detach())
    )
    gate(SIGMA).sum().backward()
    assert gate.knots.grad is not None
    assert gate.knots.grad.all()


@pytest.mark.parametrize("name", GATES)
def test_gates_answer_in_float32_and_stay_above_the_floor(name):
    gain = make_gate(name, floor=0.1).to(torch.bfloat16)(SIGMA.bfloat16())
    assert gain.dtype == torch.float32
    assert (gain >= 0.1 - 1e-6).all()


def test_pooling_leaves_padding_out():
    tokens = torch.randn(2, 5, 3)
    tokens[0, 2:] = 0
    torch.testing.assert_close(pool_text(tokens)[0], tokens[0, :2].mean(dim=0))
    torch.testing.assert_close(pool_text(tokens)[1], tokens[1].mean(dim=0))
    mask = torch.tensor([[True] + [False] * 4, [True] * 5])
    torch.testing.assert_close(pool_text(tokens, mask)[0], tokens[0, 0])


def test_pooling_an_empty_prompt_and_half_precision():
    pooled = pool_text(torch.zeros(1, 4, 3, dtype=torch.bfloat16))
    assert pooled.dtype == torch.bfloat16
    assert not pooled.any()


def test_masked_tokens_may_hold_anything():
    tokens = torch.ones(1, 2, 3)
    tokens[0, 1] = torch.nan
    assert torch.equal(pool_text(tokens, torch.tensor([[True, False]])), torch.ones(1, 3))


def test_noise_levels_of_neighbouring_steps_are_told_apart():
    embedding = SigmaEmbedding(8)
    with torch.no_grad():
        found = embedding(torch.linspace(0, 1, 51))
    assert torch.cdist(found, found).fill_diagonal_(1).min() > 1e-3


def test_condition_is_unmoved_by_the_scale_of_the_text():
    encoder = ConditionEncoder(text_dim=12, width=8)
    text, sigma = torch.randn(2, 12), torch.tensor([0.2, 0.8])
    torch.testing.assert_close(
        encoder(text, sigma), encoder(100 * text, sigma), rtol=1e-3, atol=1e-3
    )
    assert torch.isfinite(encoder(torch.zeros(2, 12), sigma)).all()


def test_how_much_of_the_text_counts_is_not_taken_away_by_the_norm():
    encoder = ConditionEncoder(text_dim=12, width=8)
    text, sigma = torch.randn(2, 12), torch.tensor([0.2, 0.7])
    none = encoder(torch.zeros_like(text), sigma)
    encoder.text_share = 0.0
    torch.testing.assert_close(encoder(text, sigma), none)
    encoder.text_share = 0.01
    little = (encoder(text, sigma) - none).norm()
    encoder.text_share = 1.0
    assert little < 0.05 * (encoder(text, sigma) - none).norm()
