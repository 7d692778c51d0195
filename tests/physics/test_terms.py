"""Every term vanishes on an exact solution, at second order, and notices what is wrong."""

import math
from dataclasses import fields, replace

import pytest
import torch
from tests.physics.solutions import SOLUTIONS, K, Solution
from torch import Tensor

from pila.physics import (
    TERMS,
    Calculus,
    Category,
    Coefficients,
    Family,
    Residual,
    Slot,
    recipe,
    recipe_mask,
    residual_loss,
)
from pila.physics.residual import residual

COARSE, FINE = 25, 49
NAMES = {
    Category.RIGID_BODY: "kinematic_consistency low_strain stress_strain_closure rigid_motion",
    Category.ELASTIC: "displacement_wave velocity_wave deformation_compatibility"
    " stress_strain_closure",
    Category.FLUID: "mass_continuity momentum_balance pressure_regularity density_stability",
    Category.COMPRESSIBLE: "mass_continuity compression_dynamics pressure_density_closure"
    " gradient_regularity",
    Category.PHASE_CHANGE: "phase_transport thermal_phase_coupling density_phase_closure"
    " support_regularity",
    Category.COLLISION: "kinematic_consistency impulse_response contact_compression"
    " impulse_propagation",
    Category.THERMAL: "heat_transport thermal_regularity",
    Category.OPTICAL: "wave_propagation support_gating support_smoothness",
}
RECIPES = {
    Category.RIGID_BODY: "displacement velocity strain stress",
    Category.ELASTIC: "displacement velocity strain stress",
    Category.FLUID: "velocity pressure density",
    Category.COMPRESSIBLE: "velocity pressure density",
    Category.PHASE_CHANGE: "velocity density temperature phase",
    Category.COLLISION: "displacement velocity impulse",
    Category.THERMAL: "velocity temperature",
    Category.OPTICAL: "wave phase",
}
BY_NAME = {term.name: term for terms in TERMS.values() for term in terms}

each_solution = pytest.mark.parametrize(
    "solution", SOLUTIONS, ids=[f"{s.term}-{s.name}" for s in SOLUTIONS]
)


def pieces_of(solution: Solution, n: int, k: Coefficients = K) -> tuple[Tensor, ...]:
    fd, on_grid = solution.on_grid(n)
    term = BY_NAME[solution.term]
    return term(fd, k, **term.select(on_grid))


def worst(pieces: tuple[Tensor, ...]) -> float:
    """The largest residual of the whole grid, borders included."""
    return torch.stack(pieces).sum(0).abs().max().item()


def coefficients_off_by_20_percent() -> list[Coefficients]:
    return [replace(K, **{f.name: 1.2 * getattr(K, f.name)}) for f in fields(Coefficients)]


def test_there_are_the_29_terms_of_the_paper_in_its_order():
    assert {c: " ".join(t.name for t in terms) for c, terms in TERMS.items()} == NAMES
    assert list(TERMS) == list(Category)
    assert sum(len(terms) for terms in TERMS.values()) == 29


def test_a_shared_term_is_one_function():
    for terms in TERMS.values():
        assert all(BY_NAME[term.name] is term for term in terms)


def test_every_term_has_an_exact_solution():
    assert {solution.term for solution in SOLUTIONS} == set(BY_NAME)


def test_recipes_are_what_the_terms_read():
    assert {c: recipe(c) for c in Category} == {
        c: frozenset(Slot(s) for s in slots.split()) for c, slots in RECIPES.items()
    }


def test_recipe_mask_is_1_on_exactly_the_recipes_channels():
    mask = recipe_mask()
    assert mask.shape == (8, 32)
    for row, category in zip(mask, Category, strict=True):
        for slot in Slot:
            assert (row[slot.channels] == float(slot in recipe(category))).all()


@each_solution
def test_the_residual_converges_to_zero_at_second_order(solution: Solution):
    coarse, fine = (worst(pieces_of(solution, n)) for n in (COARSE, FINE))
    if solution.exact:
        assert fine < 1e-11
    else:
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


def test_pde_anchors_and_kinematic_terms_are_measured_not_exact():
    exact = {solution.term for solution in SOLUTIONS if solution.exact}
    dynamic = {Family.PDE_ANCHOR, Family.KINEMATIC}
    assert not {name for name in exact if BY_NAME[name].family in dynamic}


@each_solution
def test_a_wrong_sign_or_coefficient_of_any_piece_is_noticed(solution: Solution):
    pieces = pieces_of(solution, FINE)
    moving = [i for i, piece in enumerate(pieces) if piece.abs().max() > 0]
    assert len(moving) >= 2
    for i in moving:
        for factor in (1.2, -1.0):
            spoilt = (*pieces[:i], factor * pieces[i], *pieces[i + 1 :])
            assert worst(spoilt) > 10 * worst(pieces)


def test_every_piece_is_moved_by_some_solution():
    for name in BY_NAME:
        moved = [
            [piece.abs().max() > 1e-2 for piece in pieces_of(solution, 9)]
            for solution in SOLUTIONS
            if solution.term == name
        ]
        assert all(any(column) for column in zip(*moved, strict=True)), name


@each_solution
def test_any_coefficient_off_by_20_percent_is_noticed(solution: Solution):
    right = pieces_of(solution, FINE)
    for wrong_k in coefficients_off_by_20_percent():
        wrong = pieces_of(solution, FINE, wrong_k)
        used = not torch.equal(torch.stack(right), torch.stack(wrong))
        assert not used or worst(wrong) > 10 * worst(right)


@each_solution
def test_both_loss_forms_vanish_on_the_solution(solution: Solution):
    for form in ("relative", "plain"):
        coarse, fine = (
            residual_loss(on_grid, [BY_NAME[solution.term]], fd, K, form=form).total.item()
            for fd, on_grid in (solution.on_grid(n) for n in (13, COARSE))
        )
        assert fine < max(coarse / 10, 1e-8)


def test_every_coefficient_is_used_by_some_term():
    for other in coefficients_off_by_20_percent():
        assert any(
            not torch.equal(torch.stack(pieces_of(s, 9)), torch.stack(pieces_of(s, 9, other)))
            for s in SOLUTIONS
        ), other


def test_a_coefficient_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"diffusivity is -1\.0; it must be above 0"):
        Coefficients(diffusivity=-1.0)


def test_an_unknown_slot_is_named():
    with pytest.raises(TypeError, match=r"'spin' reads unknown slots \['vorticity'\]"):

        @residual(Family.STABILIZER, "nonsense")
        def spin(fd: Calculus, k: Coefficients, *, vorticity: Tensor) -> tuple[Tensor, ...]:
            return (vorticity,)


def test_relations_and_meanings_are_written_down():
    for term in BY_NAME.values():
        assert isinstance(term, Residual)
        assert term.relation
        assert term.meaning
