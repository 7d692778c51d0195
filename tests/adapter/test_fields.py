import pytest
import torch

from pila.adapter.fields import (
    WEAK_SLOTS,
    AnchoredFields,
    ScaffoldFields,
    check_active,
    integrate_from_middle,
    isotropic_stress,
)
from pila.errors import InputError
from pila.physics import Calculus, Slot, read_fields

from .conftest import reached


@pytest.fixture
def feature():
    return torch.randn(2, 8, 5, 6, 7)


@pytest.mark.parametrize("frames", [3, 4, 9])
def test_displacement_starts_in_the_middle_and_is_exact_for_constant_acceleration(frames):
    t = torch.arange(frames, dtype=torch.float64).reshape(1, 1, -1, 1, 1)
    middle = frames // 2
    velocity = (1.5 + 0.25 * t).expand(1, 2, frames, 2, 2)
    path = integrate_from_middle(velocity)
    assert not path[:, :, middle].any()
    exact = 1.5 * (t - middle) + 0.125 * (t**2 - middle**2)
    torch.testing.assert_close(path, exact.expand_as(path))
    torch.testing.assert_close(Calculus().t(path), velocity)  # d_t = u


def test_stress_closure():
    strain = torch.tensor([0.5, -0.25, 2.0]).reshape(1, 3, 1, 1, 1)
    stress = isotropic_stress(torch.full((1, 1, 1, 1, 1), 3.0), strain)
    assert stress.flatten().tolist() == [-3 + 1.0 + 0.25, -3 - 0.5 + 0.25, 4.0]


def test_fields_obey_their_definitions(feature):
    estimator = AnchoredFields(8)
    found = estimator(feature)
    fields = found.fields
    fd = Calculus()
    torch.testing.assert_close(fields[Slot.STRAIN], fd.sym_grad(found.velocity))
    assert fields[Slot.PRESSURE].mean(dim=(1, 2, 3, 4)).abs().max() < 1e-6
    assert (fields[Slot.DENSITY] >= 1e-4).all()
    assert (fields[Slot.PHASE] > 0).all()
    assert (fields[Slot.PHASE] < 1).all()
    # Reading the bank gives back every field that was packed into it.
    for slot, field in read_fields(found.bank, estimator.velocity).items():
        torch.testing.assert_close(field, fields[slot])


def test_velocity_slot_keeps_the_scaffold(feature):
    estimator = AnchoredFields(8)
    scaffold = estimator.scaffold(feature)[:, Slot.VELOCITY.channels]
    assert torch.equal(estimator(feature).bank[:, Slot.VELOCITY.channels], scaffold)


@pytest.mark.parametrize("count", range(5))
def test_slots_wake_in_order(feature, count):
    estimator = AnchoredFields(8)
    everything = estimator(feature).bank
    estimator.active = WEAK_SLOTS[:count]
    bank = estimator(feature).bank
    for slot in Slot:
        if slot in WEAK_SLOTS[count:]:
            assert not bank[:, slot.channels].any()
        else:  # waking a slot does not change those before it
            assert torch.equal(bank[:, slot.channels], everything[:, slot.channels])


def test_sleeping_heads_receive_no_gradient(feature):
    estimator = AnchoredFields(8)
    estimator(feature, active=["phase", "temperature"]).bank.square().sum().backward()
    heads = {name.split(".")[0] for name in reached(estimator)}
    assert {"phase", "temperature"} < heads
    assert heads.isdisjoint({"impulse", "wave"})


def test_active_sets_are_checked():
    assert check_active(["temperature", "phase"]) == (Slot.PHASE, Slot.TEMPERATURE)
    assert check_active([]) == ()
    with pytest.raises(InputError, match="slots wake in the order phase, temperature, impulse"):
        check_active(["wave"])
    with pytest.raises(InputError, match="active has 'density'; the weak slots are phase"):
        check_active(["density"])


def test_half_precision_features_give_fields_in_float32(feature):
    found = AnchoredFields(8).to(torch.bfloat16)(feature.bfloat16())
    assert found.bank.dtype == found.velocity.dtype == torch.float32


def test_filled_slots_read_as_the_anchored_ones_and_hold_more():
    torch.manual_seed(0)
    feature = torch.randn(2, 32, 5, 6, 7)
    plain = AnchoredFields(32)
    filled = AnchoredFields(32, fill=True)
    filled.load_state_dict(plain.state_dict())
    few, more = plain(feature), filled(feature)
    for slot, field in read_fields(few.bank, plain.velocity).items():
        torch.testing.assert_close(read_fields(more.bank, filled.velocity)[slot], field)
    free = sum(slot.width - slot.components for slot in Slot if slot != Slot.VELOCITY)
    assert rank(more.bank) == rank(few.bank) + free


def test_filled_slots_that_sleep_are_exactly_zero(feature):
    bank = AnchoredFields(8, fill=True)(feature, active=[]).bank
    for slot in WEAK_SLOTS:
        assert not bank[:, slot.channels].any()


def rank(bank):
    return int(torch.linalg.matrix_rank(bank.detach().movedim(1, -1).flatten(0, -2), rtol=1e-4))


def test_scaffold_ablation(feature):
    found = ScaffoldFields(8)(feature)
    assert found.bank.shape == (2, 32, 5, 6, 7)
    assert found.velocity.shape == (2, 2, 5, 6, 7)
