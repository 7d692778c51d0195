import pytest
import torch

from pila.adapter import AdapterOutput, require_finite
from pila.errors import InputError
from pila.physics import Category, Slot, recipe_mask

from .conftest import make_adapter, make_inputs, reached


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_k", [0, 4, 8])
def test_untrained_correction_is_exactly_zero(dtype, top_k):
    adapter = make_adapter(live=False).to(dtype)
    x_t, v, sigma, text, labels = make_inputs(dtype=dtype)
    correction = adapter(x_t, v, sigma, text, labels, top_k=top_k)
    assert correction.dtype == torch.float32
    assert torch.equal(v.float() + correction, v.float())
    assert torch.equal((v.float() + correction).to(dtype), v)


def test_first_gradient_reaches_the_last_layer_only(inputs):
    adapter = make_adapter(live=False)
    adapter(*inputs).sum().backward()
    assert reached(adapter) == {"decoder.out.weight", "decoder.out.bias"}


@pytest.mark.parametrize("config", [{}, {"experts_see_feature": False}, {"conv": "dense"}])
def test_every_part_receives_gradient(inputs, config):
    adapter = make_adapter(gate="learned", **config)
    adapter(*inputs, top_k=8).square().sum().backward()
    assert reached(adapter) == {n for n, _ in adapter.named_parameters()}


@pytest.mark.parametrize("category", list(Category))
def test_the_selected_expert_receives_gradient_and_no_other_does(category):
    adapter = make_adapter(label_prior=100.0)
    x_t, v, sigma, text, labels = make_inputs()
    k = list(Category).index(category)
    labels[:] = False
    labels[:, k] = True
    adapter(x_t, v, sigma, text, labels, top_k=1).square().sum().backward()
    for name, stack in adapter.experts.named_parameters():
        assert stack.grad is not None
        found = stack.grad.flatten(1).any(dim=1)
        assert found.tolist() == [i == k for i in range(8)], name


@pytest.mark.parametrize("top_k", range(9))
def test_details_are_of_the_same_pass(inputs, adapter, top_k):
    x_t = inputs[0]
    details = adapter(*inputs, top_k=top_k, return_details=True)
    assert isinstance(details, AdapterOutput)
    assert torch.equal(details.correction, adapter(*inputs, top_k=top_k))
    assert details.updates.shape == (2, top_k, 32, *x_t.shape[2:])
    assert details.route.indices.shape == (2, top_k)
    assert details.velocity.shape == (2, 2, *x_t.shape[2:])
    weighted = details.updates * details.route.selected_weights[:, :, None, None, None, None]
    torch.testing.assert_close(details.refined, details.bank + weighted.sum(dim=1))
    if top_k == 0:
        assert torch.equal(details.refined, details.bank)


def test_expert_banks_and_category_banks_agree(inputs, adapter):
    details = adapter(*inputs, return_details=True)
    banks = details.expert_banks()
    for k, category in enumerate(Category):
        one = details.category_bank(category)
        for sample, indices in enumerate(details.route.indices.tolist()):
            expected = banks[sample, indices.index(k)] if k in indices else details.bank[sample]
            torch.testing.assert_close(one[sample], expected)
        outside = recipe_mask()[k] == 0
        assert torch.equal(one[:, outside], details.bank[:, outside])


def test_operators_can_be_trained_alone(inputs, adapter):
    details = adapter(*inputs, return_details=True)
    assert details.expert_banks(detach_bank=True).requires_grad
    again = adapter.experts(
        details.bank.detach(),
        details.feature.detach(),
        details.condition.detach(),
        details.route,
        return_updates=True,
    )
    torch.testing.assert_close(again.updates, details.updates)
    again.updates.square().sum().backward()
    moved = {n for n, p in adapter.named_parameters() if p.grad is not None}
    assert moved == {f"experts.{n}" for n, _ in adapter.experts.named_parameters()}


def test_samples_do_not_mix(adapter):
    x_t, v, sigma, text, labels = make_inputs(batch=3)
    together = adapter(x_t, v, sigma, text, labels)
    for i in range(3):
        s = slice(i, i + 1)
        alone = adapter(x_t[s], v[s], sigma[s], text[s], labels[s])
        torch.testing.assert_close(together[s], alone, rtol=1e-4, atol=1e-5)


def test_every_corrected_frame_and_cell_answers_to_every_other(adapter):
    """Wan's 21 frames end to end, and the embedded model's 12 cells, within one pass."""
    x_t, v, sigma, text, labels = make_inputs(batch=1, size=(21, 12, 12))
    x_t.requires_grad_()
    correction = adapter(x_t, v, sigma, text, labels)
    (grad,) = torch.autograd.grad(correction[:, :, -1, 0, 0].sum(), x_t)
    assert (grad[0].abs().amax(dim=(0, 2, 3)) > 0).all()
    assert (grad[0].abs().amax(dim=(0, 1)) > 0).all()


def test_half_precision_stays_near():
    adapter = make_adapter()
    arguments = make_inputs()
    full = adapter(*arguments)
    torch.nn.Module.to(adapter, torch.bfloat16)
    half = adapter(*arguments)
    assert half.dtype == torch.float32
    assert (half - full).norm() < 0.05 * full.norm()


def test_decoder_may_see_the_feature(inputs):
    assert make_adapter(decoder_sees_feature=True)(*inputs).shape == inputs[0].shape


def test_the_feature_reaches_the_correction_through_the_bank_alone(inputs):
    adapter = make_adapter(decoder_sees_feature=False)
    torch.nn.init.normal_(adapter.decoder.out.weight)
    out = adapter(*inputs, return_details=True)
    with torch.no_grad():
        same = adapter.decoder(out.refined, out.condition, inputs[1], out.feature)
        other = adapter.decoder(
            out.refined, out.condition, inputs[1], torch.randn_like(out.feature)
        )
    assert torch.equal(same, other)


def test_a_scaled_bank_begins_with_channels_of_one_size(inputs):
    adapter = make_adapter(decoder_scales_bank=True)
    std = adapter(*inputs, return_details=True).refined.std((0, 2, 3, 4))
    adapter.decoder.set_bank_scale(std)
    scaled = std * adapter.decoder.bank_scale
    wide = std > 0.02
    torch.testing.assert_close(scaled[wide], torch.ones_like(scaled[wide]))
    assert (scaled[~wide] < 1).all()


def test_inactive_slots_are_exactly_zero_in_the_call(inputs, adapter):
    details = adapter(*inputs, top_k=0, active=["phase"], return_details=True)
    for slot in (Slot.TEMPERATURE, Slot.IMPULSE, Slot.WAVE):
        assert not details.bank[:, slot.channels].any()
    assert details.bank[:, Slot.PHASE.channels].all()


@pytest.mark.parametrize("size", [(3, 4, 4), (3, 7, 4), (5, 4, 9)])
def test_smallest_and_odd_sizes(adapter, size):
    assert adapter(*make_inputs(size=size)).shape == (2, 16, *size)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"top_k": 9}, r"top_k is 9; there are 8 experts, so 0\.\.8"),
        ({"top_k": -1}, "top_k is -1"),
        ({"hidden_width": 0}, "hidden_width is 0; it must be a positive multiple of 8"),
        ({"hidden_width": 12}, "hidden_width is 12"),
        ({"gate": "cubic"}, "gate is 'cubic'; choose one of quadratic, none, mid, learned"),
        ({"gate_floor": 1.5}, r"gate_floor is 1\.5; it must lie in 0\.\.1"),
        ({"conv": "sparse"}, "conv is 'sparse'; choose one of factorised, dense"),
        ({"field_estimator": "none"}, "field_estimator is 'none'; choose one of anchored"),
        ({"router_temperature": 0.0}, "router_temperature is 0.0; it must be above 0"),
        ({"text_dim": 0}, "text_dim is 0; it must be at least 1"),
        ({"decoder_blocks": 0}, "decoder_blocks is 0"),
        ({"expert_width": 0}, "expert_width is 0; it must be at least 1"),
    ],
)
def test_bad_configuration(config, message):
    with pytest.raises(InputError, match=message):
        make_adapter(**config)


def test_bad_inputs(adapter):
    x_t, v, sigma, text, labels = make_inputs()
    cases = [
        ((x_t[:, :8], v, sigma, text, labels), r"x_t has shape .* takes \[b, 16, t, h, w\]"),
        ((x_t, v[:, :, :3], sigma, text, labels), "v has shape"),
        ((x_t[:, :, :2], v[:, :, :2], sigma, text, labels), "2 frames of 5x6 cells; at least 3"),
        ((x_t[..., :3], v[..., :3], sigma, text, labels), "5x3 cells"),
        ((x_t, v, sigma[:1], text, labels), "sigma has shape"),
        ((x_t, v, sigma, text[:, :7], labels), "pool prompt embeddings"),
        ((x_t, v, sigma, text, labels[:, :7]), "a flag per category"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            adapter(*arguments)
    with pytest.raises(InputError, match="top_k is 9"):
        adapter(x_t, v, sigma, text, labels, top_k=9)


def test_non_finite_values_are_named(adapter):
    x_t, v, sigma, text, labels = make_inputs()
    adapter(x_t, v, sigma, text, labels, check_finite=True)
    bad = v.clone()
    bad[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"^v: 1 of 3840 values"):
        adapter(x_t, bad, sigma, text, labels, check_finite=True)
    with torch.no_grad():
        adapter.fields.temperature.out.bias.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"^the bank's temperature slot"):
        adapter(x_t, v, sigma, text, labels, check_finite=True)
    require_finite({"nothing": None, "fine": v})


def test_a_router_that_goes_wrong_is_named(adapter, inputs):
    with torch.no_grad():
        adapter.router.mlp[2].bias[3] = torch.nan
    with pytest.raises(FloatingPointError, match=r"^the router's scores"):
        adapter(*inputs, check_finite=True)
