import pytest
import torch

from pila.adapter import PlainAdapter
from pila.errors import InputError

from .conftest import make_adapter, reached


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hidden_width": 64, "text_dim": 64},
        {"hidden_width": 16, "conv": "dense", "gate": "learned", "default_scale": 3.0},
        {"hidden_width": 32, "decoder_sees_feature": True, "text_dim": 256},
    ],
)
def test_capacity_matches_within_two_percent(config):
    adapter = make_adapter(**config)
    control = PlainAdapter.matching(adapter)
    ratio = control.num_parameters_total() / adapter.num_parameters_total()
    assert ratio == pytest.approx(1, abs=0.02)
    for name in (
        "latent_channels",
        "text_dim",
        "gate",
        "gate_floor",
        "conv",
        "default_scale",
    ):
        assert control.config[name] == adapter.config[name]
    assert {p.device.type for p in control.parameters()} == {"cpu"}


def test_calls_like_the_adapter_and_starts_at_zero(inputs, adapter):
    control = PlainAdapter.matching(adapter)
    assert not control(*inputs, top_k=4).any()
    control(*inputs).sum().backward()
    assert reached(control) == {"out.weight", "out.bias"}


def test_details_are_of_the_same_pass(inputs, adapter):
    control = PlainAdapter.matching(adapter)
    torch.nn.init.normal_(control.out.weight)
    details = control(*inputs, return_details=True)
    torch.testing.assert_close(details.correction, control(*inputs), rtol=0, atol=0)
    assert details.feature.shape == (
        len(inputs[0]),
        control.config["hidden_width"],
        *inputs[0].shape[2:],
    )
    assert details.gate.shape == inputs[2].shape


def test_every_part_receives_gradient(inputs, adapter):
    control = PlainAdapter.matching(adapter)
    torch.nn.init.normal_(control.out.weight)
    control(*inputs).square().sum().backward()
    assert reached(control) == {n for n, _ in control.named_parameters()}


def test_bad_configuration():
    with pytest.raises(InputError, match="num_blocks is 0; it must be at least 1"):
        PlainAdapter(num_blocks=0)
    with pytest.raises(InputError, match=r"default_scale is 0\.0; use a finite number above 0"):
        PlainAdapter(default_scale=0.0)
    with pytest.raises(InputError, match="gate is 'shut'"):
        PlainAdapter(text_dim=8, hidden_width=8, gate="shut")


def test_the_control_names_what_is_not_finite(adapter):
    control = PlainAdapter.matching(adapter)
    x = torch.randn(1, control.config["latent_channels"], 3, 8, 8)
    text = torch.randn(1, control.config["text_dim"])
    control(x, x, torch.tensor([0.5]), text, check_finite=True)
    torch.nn.init.constant_(control.out.bias, float("inf"))
    with pytest.raises(FloatingPointError, match="the correction: 3072 of 3072"):
        control(x, x, torch.tensor([0.5]), text, check_finite=True)
