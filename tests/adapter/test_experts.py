import pytest
import torch

from pila.adapter.experts import Experts, time_curvature
from pila.adapter.router import Route
from pila.physics import Calculus, Category, Slot, recipe, recipe_mask


def make_route(indices):
    indices = torch.tensor(indices)
    weights = torch.zeros(len(indices), 8).scatter(1, indices, torch.rand(indices.shape))
    return Route(logits=weights, scores=weights, indices=indices, weights=weights)


def run(experts, route, size=(4, 5, 6)):
    b = len(route.indices)
    bank, feature = torch.randn(b, 32, *size), torch.randn(b, 8, *size)
    return bank, experts(bank, feature, torch.randn(b, 8), route, return_updates=True)


@pytest.mark.parametrize("see_feature", [True, False])
def test_updates_are_exactly_zero_outside_the_recipe(see_feature):
    experts = Experts(width=8, see_feature=see_feature)
    torch.nn.init.normal_(experts.outer_bias)
    route = make_route([[0, 1, 2, 3], [4, 5, 6, 7]])
    bank, found = run(experts, route)
    for sample, indices in enumerate(route.indices.tolist()):
        touched = set()
        for position, k in enumerate(indices):
            category = list(Category)[k]
            touched |= recipe(category)
            update = found.updates[sample, position]
            for slot in Slot:
                assert bool(update[slot.channels].any()) == (slot in recipe(category))
        for slot in set(Slot) - touched:
            assert torch.equal(found.bank[sample, slot.channels], bank[sample, slot.channels])


@pytest.mark.parametrize("hidden", [None, 3])
def test_the_batch_equals_each_expert_computed_by_itself(hidden):
    experts = Experts(width=8, hidden=hidden)
    assert experts.outer.shape == (8, hidden or 8, 32)
    torch.nn.init.normal_(experts.bias)
    torch.nn.init.normal_(experts.outer_bias)
    route = make_route([[7, 2], [2, 0], [5, 4]])
    bank, feature, c = torch.randn(3, 32, 4, 5, 6), torch.randn(3, 8, 4, 5, 6), torch.randn(3, 8)
    found = experts(bank, feature, c, route, return_updates=True)
    z = experts.stencils(bank, feature).movedim(1, -1)
    refined = bank.clone()
    for i, row in enumerate(route.indices.tolist()):
        for j, k in enumerate(row):
            opened = z[i] @ experts.inner[k] + c[i] @ experts.condition[k] + experts.bias[k]
            gate, value = opened.chunk(2, dim=-1)
            out = (torch.nn.functional.silu(gate) * value) @ experts.outer[k]
            update = ((out + experts.outer_bias[k]) * recipe_mask()[k]).movedim(-1, 0)
            torch.testing.assert_close(found.updates[i, j], update, rtol=1e-4, atol=1e-5)
            refined[i] += route.weights[i, k] * update
    torch.testing.assert_close(found.bank, refined, rtol=1e-4, atol=1e-5)


def test_updates_cost_nothing_unless_asked_for():
    experts = Experts(width=8)
    bank = torch.randn(1, 32, 4, 5, 6)
    route = make_route([[1, 2]])
    found = experts(bank, torch.randn(1, 8, 4, 5, 6), torch.randn(1, 8), route)
    assert found.updates is None


def test_curvature_of_three_frames():
    t = torch.arange(3.0).reshape(1, 1, 3, 1, 1)
    bank = (2 * t**2 - t).expand(1, 32, 3, 4, 4)
    torch.testing.assert_close(time_curvature(Calculus(), bank), torch.full_like(bank, 4.0))


def test_gradients_do_not_depend_on_which_thread_is_first():
    """Samples that select the same expert add to one gradient; with threads the order is fixed."""
    from pila.adapter.experts import of_selected

    weights = torch.randn(8, 288, 32, requires_grad=True)
    indices = torch.randint(8, (16, 4), generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(16, 4, 288, 32)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (first,) = torch.autograd.grad(of_selected(weights, indices), weights, upstream)
        for _ in range(30):
            (again,) = torch.autograd.grad(of_selected(weights, indices), weights, upstream)
            assert torch.equal(first, again)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(of_selected(weights, indices), weights[indices])
