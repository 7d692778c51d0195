"""The loss: nothing is gained by shrinking, freezing, inflating or hiding a field."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pila.errors import InputError
from pila.physics import (
    TERMS,
    Calculus,
    Category,
    Coefficients,
    Family,
    Form,
    Slot,
    read_fields,
    residual_loss,
    residual_maps,
    variance_shares,
)

FD, K = Calculus(), Coefficients()
GRID = (6, 7, 8)
Fields = dict[Slot, Tensor]
each_category = pytest.mark.parametrize("category", list(Category))
BY_NAME = {term.name: term for terms in TERMS.values() for term in terms}
NON_LINEAR = {
    "mass_continuity", "momentum_balance", "phase_transport", "thermal_phase_coupling",
    "heat_transport", "support_gating",
}  # fmt: skip


def some_fields(seed: int = 0, batch: int = 2) -> Fields:
    """Smooth random fields as a bank holds them: positive density, phase in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 32, 4, 4, 4, generator=generator)
    bank = torch.nn.functional.interpolate(coarse, GRID, mode="trilinear", align_corners=True)
    fields = read_fields(bank)
    fields[Slot.DENSITY] = fields[Slot.DENSITY].exp()
    fields[Slot.PHASE] = fields[Slot.PHASE].sigmoid()
    return fields


def scaled(fields: Fields, factor: float) -> Fields:
    return {slot: factor * field for slot, field in fields.items()}


def terms_of(fields: Fields, category: Category, **options) -> dict[str, float]:
    return residual_loss(fields, category, FD, K, **options).report()


@each_category
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4)
def test_relative_scores_lie_between_0_and_1(category: Category, seed: int):
    terms = residual_loss(some_fields(seed), category, FD, K).terms
    assert ((terms >= 0) & (terms <= 1 + 1e-9)).all()


@each_category
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4)
def test_shrinking_every_field_does_not_lower_the_loss(category: Category, seed: int):
    fields = some_fields(seed)
    full, small = (terms_of(f, category) for f in (fields, scaled(fields, 1e-3)))
    for name, value in full.items():
        if name not in NON_LINEAR:
            assert small[name] == pytest.approx(value, abs=0.02), name
    assert sum(small.values()) > sum(full.values()) - 1e-2


@each_category
@given(seed=st.integers(0, 10**6), value=st.floats(-300, 300))
@settings(max_examples=4)
def test_a_constant_field_scores_worst_in_every_term(category: Category, seed: int, value: float):
    random = some_fields(seed)
    constant = {s: value * f[..., :1, :1, :1].expand_as(f) for s, f in random.items()}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        fields = {slot: f.to(dtype) for slot, f in constant.items()}
        terms = residual_loss(fields, category, FD, K).terms
        torch.testing.assert_close(terms, torch.ones_like(terms), rtol=0, atol=1e-4)


@each_category
def test_zero_fields_score_worst_and_have_a_finite_gradient(category: Category):
    fields = {s: torch.zeros_like(f, requires_grad=True) for s, f in some_fields().items()}
    loss = residual_loss(fields, category, FD, K)
    assert torch.equal(loss.terms, torch.ones_like(loss.terms))
    loss.total.sum().backward()
    assert all(f.grad is None or f.grad.isfinite().all() for f in fields.values())


@each_category
def test_every_slot_of_the_recipe_receives_gradient(category: Category):
    fields = {s: f.requires_grad_() for s, f in some_fields().items()}
    residual_loss(fields, category, FD, K).total.sum().backward()
    for slot, field in fields.items():
        read = any(slot in term.reads for term in TERMS[category])
        assert (field.grad is not None and bool(field.grad.any())) is read


def test_the_plain_form_is_the_mean_square_and_collapses_as_the_paper_s_does():
    fields = some_fields()
    pieces = BY_NAME["heat_transport"](
        FD, K, velocity=fields[Slot.VELOCITY], temperature=fields[Slot.TEMPERATURE]
    )
    plain = residual_loss(fields, Category.THERMAL, FD, K, form="plain")
    torch.testing.assert_close(
        plain.terms[:, 0], torch.stack(pieces).sum(0).square().flatten(1).mean(1)
    )
    shrunk = residual_loss(scaled(fields, 1e-3), Category.THERMAL, FD, K, form=Form.PLAIN)
    assert (shrunk.total < 1e-4 * plain.total).all()


@each_category
@pytest.mark.parametrize("form", list(Form))
def test_the_masks_scale_does_not_matter(category: Category, form: Form):
    fields, mask = some_fields(), torch.rand(2, 1, *GRID)
    once, more = (
        residual_loss(fields, category, FD, K, form=form, mask=c * mask).terms for c in (1, 7)
    )
    torch.testing.assert_close(once, more)
    flat = residual_loss(fields, category, FD, K, form=form, mask=torch.full_like(mask, 3))
    torch.testing.assert_close(flat.terms, residual_loss(fields, category, FD, K, form=form).terms)


def test_what_lies_outside_the_mask_does_not_count():
    fields = some_fields()
    mask = torch.zeros(2, 1, *GRID)
    mask[..., :3] = 1
    spoilt = {slot: f.clone() for slot, f in fields.items()}
    for f in spoilt.values():
        f[..., 6:] += 5 * torch.rand(f[..., 6:].shape)
    for category in Category:
        a, b = (residual_loss(f, category, FD, K, mask=mask).terms for f in (fields, spoilt))
        torch.testing.assert_close(a, b)


def test_an_empty_mask_is_no_evidence():
    fields = {slot: f.requires_grad_() for slot, f in some_fields().items()}
    loss = residual_loss(fields, Category.FLUID, FD, K, mask=torch.zeros(2, 1, *GRID))
    assert torch.equal(loss.terms, torch.ones_like(loss.terms))
    loss.total.sum().backward()
    gradient = fields[Slot.VELOCITY].grad
    assert gradient is not None
    assert not gradient.any()


@each_category
@pytest.mark.parametrize("form", list(Form))
def test_samples_do_not_see_each_other(category: Category, form: Form):
    fields, mask = some_fields(batch=3), torch.rand(3, 1, *GRID)
    together = residual_loss(fields, category, FD, K, form=form, mask=mask)
    for i in range(3):
        alone = {slot: f[i : i + 1] for slot, f in fields.items()}
        one = residual_loss(alone, category, FD, K, form=form, mask=mask[i : i + 1])
        torch.testing.assert_close(one.terms[0], together.terms[i])


@pytest.mark.parametrize("name", [n for n, t in BY_NAME.items() if t.free_scale])
def test_a_closure_holds_up_to_any_positive_scale_and_no_negative_one(name: str):
    term, fields = BY_NAME[name], some_fields()
    first, second = term(FD, K, **term.select(fields))
    driver = (
        term.reads[0]
        if name in ("stress_strain_closure", "pressure_density_closure")
        else (Slot.DENSITY if name == "density_phase_closure" else Slot.IMPULSE)
    )
    if driver is not Slot.IMPULSE:
        fields[driver] = -second
    elif name == "impulse_response":
        fields[driver] = first
    else:
        fields[driver] = torch.cat([first, 0 * first], dim=1)
    for scale in (0.01, 1.0, 30.0):
        right = residual_loss(fields | {driver: scale * fields[driver]}, [term], FD, K)
        assert (right.total < 1e-4).all()
    if name != "contact_compression":  # an impulse's magnitude has no sign
        wrong = residual_loss(fields | {driver: -fields[driver]}, [term], FD, K)
        torch.testing.assert_close(wrong.total, torch.ones(2), rtol=0, atol=1e-6)


def test_phase_transport_allows_a_front_that_melts_its_way_and_no_other_source():
    t, y, x = torch.meshgrid(*(torch.arange(float(n)) for n in (8, 20, 20)), indexing="ij")
    radius = (x**2 + y**2).sqrt()
    still = torch.zeros(1, 2, *x.shape)
    loss = {
        kind: residual_loss(
            {Slot.PHASE: phase[None, None], Slot.VELOCITY: still},
            [BY_NAME["phase_transport"]],
            FD,
            K,
        ).total.item()
        for kind, phase in {
            "melting": torch.sigmoid((radius - 8 - 0.5 * t) / 2),
            "freezing": torch.sigmoid((radius - 14 + 0.5 * t) / 2),
            "fading": torch.sigmoid((radius - 8) / 2) * torch.exp(-0.3 * t),
        }.items()
    }
    assert loss["melting"] < 0.02
    assert loss["freezing"] < 0.02
    assert loss["fading"] > 0.2


@each_category
def test_with_a_reference_neither_shrinking_nor_inflating_pays(category: Category):
    fields = some_fields()

    def total(f: Fields) -> Tensor:
        return residual_loss(f, category, FD, K, baseline_fields=fields).total

    torch.testing.assert_close(total(fields), residual_loss(fields, category, FD, K).total)
    assert (total(scaled(fields, 1e-3)) > total(fields) - 1e-2).all()
    assert (total(scaled(fields, 3)) > total(fields)).all()


@each_category
def test_a_reference_s_size_is_what_divides(category: Category):
    fields, mask = some_fields(), torch.rand(2, 1, *GRID)
    before = {slot: 2 * f.flip(3) for slot, f in some_fields().items()}

    def terms(f: Fields, form: Form, baseline_fields: Fields | None = None) -> Tensor:
        options = {"form": form, "mask": mask, "baseline_fields": baseline_fields, "floor": 1e-20}
        return residual_loss(f, category, FD, K, **options).terms

    def size(f: Fields) -> Tensor:
        return terms(f, Form.PLAIN) / terms(f, Form.RELATIVE)

    plain = terms(fields, Form.PLAIN)
    bottom = torch.minimum(size(fields), size(before))
    bottom = bottom + 0.1 * (plain - bottom).clamp_min(0)
    torch.testing.assert_close(terms(fields, Form.RELATIVE, before), plain / bottom)


def test_the_plain_form_takes_no_reference():
    fields = some_fields()
    with pytest.raises(InputError, match="the plain form has none"):
        residual_loss(fields, Category.FLUID, FD, K, form="plain", baseline_fields=fields)


def test_a_reference_that_lacks_a_field_is_refused():
    with pytest.raises(InputError, match="baseline_fields lacks"):
        residual_loss(some_fields(), Category.FLUID, FD, K, baseline_fields={})


def test_an_inflated_translation_no_longer_hides_a_residual():
    """Trial.md, lesson 3: a fast uniform drift satisfies ∂d/∂t = u and drowned the misfit."""
    fields = some_fields()
    t = torch.arange(float(GRID[0])).reshape(-1, 1, 1)
    drift = torch.full((2, 2, *GRID), 8.0)
    inflated = fields | {
        Slot.VELOCITY: fields[Slot.VELOCITY] + drift,
        Slot.DISPLACEMENT: fields[Slot.DISPLACEMENT] + drift * t,
    }
    term = [BY_NAME["kinematic_consistency"]]
    before = residual_loss(fields, term, FD, K)
    freely = residual_loss(inflated, term, FD, K)
    held = residual_loss(inflated, term, FD, K, baseline_fields=fields)
    assert (freely.total < 0.02 * before.total).all()
    torch.testing.assert_close(held.total, before.total)


def test_a_field_at_rest_in_the_reference_may_begin_to_move():
    fields = some_fields()
    still = {slot: torch.zeros_like(f) for slot, f in fields.items()}
    loss = residual_loss(fields, Category.THERMAL, FD, K, baseline_fields=still)
    assert (loss.total <= 10).all()


def test_weights_are_normalised():
    fields = some_fields()
    loss = residual_loss(fields, Category.THERMAL, FD, K)
    weighted = residual_loss(fields, Category.THERMAL, FD, K, weights=torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(weighted.total, 0.75 * loss.terms[:, 0] + 0.25 * loss.terms[:, 1])
    assert weighted.report() == pytest.approx(
        {"heat_transport": loss.terms[:, 0].mean().item(),
         "thermal_regularity": loss.terms[:, 1].mean().item()}
    )  # fmt: skip


def test_a_family_can_be_left_out():
    kept = [t for t in TERMS[Category.FLUID] if t.family is not Family.STABILIZER]
    loss = residual_loss(some_fields(), kept, FD, K)
    assert loss.names == ("mass_continuity", "momentum_balance")


def test_descending_the_loss_finds_the_law_and_keeps_the_field_alive():
    """A hundred steps on a random elastic state: the residual falls, the variance does not."""
    fields = some_fields(batch=1)
    before = {slot: f.clone() for slot, f in fields.items()}
    parameters = {slot: f.clone().requires_grad_() for slot, f in fields.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.03)
    start = residual_loss(parameters, Category.ELASTIC, FD, K).total.item()
    for _ in range(100):
        optimizer.zero_grad()
        residual_loss(parameters, Category.ELASTIC, FD, K).total.sum().backward()
        optimizer.step()
    assert residual_loss(parameters, Category.ELASTIC, FD, K).total.item() < 0.2 * start
    shares = variance_shares(parameters, before)
    for slot in (Slot.DISPLACEMENT, Slot.VELOCITY, Slot.STRAIN, Slot.STRESS):
        assert 0.1 < shares[slot].item() < 10, slot


@each_category
def test_a_map_averages_to_its_score(category: Category):
    fields = some_fields(seed=3)
    maps = residual_maps(fields, category, FD, K)
    scores = residual_loss(fields, category, FD, K).terms
    assert maps.shape == (2, len(TERMS[category]), *GRID)
    assert (maps >= 0).all()
    torch.testing.assert_close(maps.mean((2, 3, 4)), scores, rtol=1e-4, atol=1e-6)


def test_a_map_says_where_and_when_a_relation_breaks():
    """Translation obeys d_t = u but for one frame and place, where u is wrong."""
    t, h, w = 9, 8, 8
    u = torch.zeros(1, 2, t, h, w)
    u[:, 0] = 1.0
    d = torch.zeros_like(u)
    d[:, 0] = torch.arange(t)[:, None, None].float()
    wrong = u.clone()
    wrong[0, 0, 5, 2:4, 3:5] = -2.0
    term = [BY_NAME["kinematic_consistency"]]
    field = residual_maps({Slot.DISPLACEMENT: d, Slot.VELOCITY: wrong}, term, FD, K)[0, 0]
    frame, row, column = (int(i) for i in (field == field.max()).nonzero()[0])
    assert frame == 5
    assert row in (2, 3)
    assert column in (3, 4)
    assert field[:4].max() < 1e-6


def test_variance_shares():
    fields = some_fields()
    halved = variance_shares(scaled(fields, 0.5), fields)
    for share in halved.values():
        torch.testing.assert_close(share, torch.full((2,), 0.25))
    frozen = {slot: torch.ones_like(f) for slot, f in fields.items()}
    assert not variance_shares(frozen, fields)[Slot.WAVE].any()
    assert variance_shares(fields, frozen)[Slot.WAVE].isnan().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_field_is_named_with_its_term(bad: float):
    fields = some_fields()
    fields[Slot.TEMPERATURE][1, 0, 2, 3, 4] = bad
    with pytest.raises(FloatingPointError, match=r"residual heat_transport is .* in sample 1: "
                       "its field temperature is not finite"):  # fmt: skip
        residual_loss(fields, Category.THERMAL, FD, K)


def test_bad_options_are_refused_with_the_bound():
    fields = some_fields()
    with pytest.raises(InputError, match="form is 'squared'; it must be one of relative, plain"):
        residual_loss(fields, Category.FLUID, FD, K, form="squared")
    with pytest.raises(InputError, match="weights has 3 entries; there are 4 terms"):
        residual_loss(fields, Category.FLUID, FD, K, weights=torch.ones(3))
    with pytest.raises(InputError, match="was given 0 terms"):
        residual_loss(fields, [], FD, K)
    del fields[Slot.DENSITY]
    with pytest.raises(InputError, match="mass_continuity reads density, which the given fields"):
        residual_loss(fields, Category.FLUID, FD, K)
