"""ProPhy's branch on real Wan transformers: attached, detached, saved, trained."""

import copy
import json
from typing import Any

import pytest
import torch
from tests.pipelines import tiny

from pila.errors import InputError
from pila.pipelines.attachments import branch_on
from pila.prophy import ProPhyBranch, attach
from pila.prophy.branch import spread_places

OPTIONS = {"places": (1, 2), "num_semantic": 4, "map_grid": (2, 2, 2), "expert_rank": 4}


@pytest.fixture
def transformer() -> Any:
    torch.manual_seed(0)
    return tiny.transformer(layers=4)


def inputs(dtype=torch.float32, seed=1, batch=2):
    rng = torch.Generator().manual_seed(seed)
    return {
        "hidden_states": torch.randn(batch, 16, 3, 4, 6, generator=rng).to(dtype),
        "timestep": torch.full((batch,), 500.0),
        "encoder_hidden_states": torch.randn(batch, 5, tiny.TEXT_WIDTH, generator=rng).to(dtype),
    }


def run(model, **given):
    return model(**(given or inputs()), return_dict=False)[0]


def stirred(branch, seed=0):
    """The branch with weights that act."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for out in branch.outs:
            out.weight.normal_(std=0.1)
        for block in branch.blocks:
            if block.refinement is not None:
                block.refinement.up.weight.normal_()
    return branch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_untrained_the_generator_is_as_it_was_bit_for_bit(transformer, dtype):
    transformer = transformer.to(dtype)
    before = {k: v.clone() for k, v in transformer.state_dict().items()}
    with torch.no_grad():
        alone = run(transformer, **inputs(dtype))
        branch: Any = attach(transformer, **OPTIONS)
        beside = run(transformer, **inputs(dtype))
    assert torch.equal(alone.view(torch.uint8), beside.view(torch.uint8))
    after = transformer.state_dict()
    assert list(after) == list(before), "the branch is no part of the transformer"
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert branch.routing is not None, "it did run"


def test_beside_a_transformer_in_half_precision_it_acts_as_in_full(transformer):
    with torch.no_grad():
        branch: Any = stirred(attach(transformer, **OPTIONS))
        full = run(transformer)
        with branch.disabled():
            alone = run(transformer)
        branch.detach()
        half = transformer.to(torch.bfloat16)
        branch.attach(half)
        beside = run(half, **inputs(torch.bfloat16)).float()
    assert next(branch.parameters()).dtype == torch.float32
    change, error = (full - alone).norm(), (beside - full).norm()
    assert error < 0.2 * change


def test_stirred_it_acts_and_detached_it_does_not(transformer):
    with torch.no_grad():
        alone = run(transformer)
        branch: Any = stirred(attach(transformer, **OPTIONS))
        assert not torch.allclose(run(transformer), alone)
        with branch.disabled():
            assert torch.equal(run(transformer), alone)
        assert not torch.allclose(run(transformer), alone)
        branch.detach()
        assert torch.equal(run(transformer), alone)
    assert branch_on(transformer) is None
    assert not transformer._forward_pre_hooks
    assert not any(block._forward_hooks for block in transformer.blocks)


def test_physical_blocks_are_copies_of_the_matching_ones(transformer):
    branch: Any = attach(transformer, **OPTIONS)
    for mine, place in zip(branch.blocks, (1, 2), strict=True):
        theirs = transformer.blocks[place].state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in mine.block.state_dict().items())
        assert mine.block.attn1.to_q.weight.data_ptr() != (
            transformer.blocks[place].attn1.to_q.weight.data_ptr()
        )


def test_without_experts_a_branch_repeats_its_blocks(transformer):
    """X through the copies is what the transformer itself has after the matching blocks."""
    branch: Any = attach(transformer, places=(1, 2), num_semantic=0, num_refinement=0)
    seen = []
    for place in (1, 2):
        transformer.blocks[place].register_forward_hook(lambda m, a, out: seen.append(out))
    own = []
    for block in branch.blocks:
        block.register_forward_hook(lambda m, a, out: own.append(out))
    with torch.no_grad():
        run(transformer)
    for mine, theirs in zip(own, seen, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_refinement_sits_between_cross_attention_and_feed_forward(transformer):
    branch: Any = stirred(attach(transformer, **OPTIONS))
    last = branch.blocks[-1]
    seen = {}
    last.refinement.register_forward_hook(lambda m, a, out: seen.update(given=a[0], made=out[0]))
    last.block.norm2.register_forward_pre_hook(lambda m, a: seen.update(before=a[0]))
    last.block.norm3.register_forward_pre_hook(lambda m, a: seen.update(after=a[0]))
    attention = []
    handle = last.block.attn2.to_out[0].register_forward_hook(
        lambda m, a, out: attention.append(out)
    )
    with torch.no_grad():
        run(transformer)
    handle.remove()
    torch.testing.assert_close(seen["given"], seen["before"] + attention[0])
    torch.testing.assert_close(seen["after"], seen["given"] + seen["made"])
    assert branch.blocks[0].refinement is None


def test_routing_says_who_acted(transformer):
    branch: Any = attach(transformer, **OPTIONS, top_k=3)
    with torch.no_grad():
        run(transformer)
    routing = branch.routing
    assert routing.size == (3, 2, 3)
    torch.testing.assert_close(routing.semantic.sum(-1), torch.ones(2))
    assert routing.expressed.shape == (2, 8)
    torch.testing.assert_close(routing.refinement.sum(-1), torch.ones(2, 18))
    assert ((routing.acting > 0).sum(-1) == 3).all()
    assert routing.token_maps.shape == (2, 8, 3, 2, 3)
    torch.testing.assert_close(routing.token_maps[1, 5, 2, 1, 0], routing.told[1, 2 * 6 + 3, 5])


def test_inverted_experts_change_a_stirred_branch_alone(transformer):
    branch: Any = stirred(attach(transformer, **OPTIONS))
    with torch.no_grad():
        plain = run(transformer)
        record: list[Any] = []
        branch.record = record
        branch.inverted = True
        inverted = run(transformer)
        branch.inverted = False
        again = run(transformer)
    assert not torch.allclose(plain, inverted)
    assert torch.equal(plain, again)
    assert torch.equal(record[0].semantic.argsort(-1), record[1].semantic.argsort(-1).flip(-1))


def test_saved_and_loaded_it_acts_alike(transformer, tmp_path):
    branch: Any = stirred(attach(transformer, **OPTIONS))
    with torch.no_grad():
        before = run(transformer)
    branch.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    branch.detach()
    loaded = ProPhyBranch.from_pretrained(tmp_path)
    attach(transformer, loaded)
    with torch.no_grad():
        assert torch.equal(run(transformer), before)
    with pytest.raises(InputError, match="safetensors only"):
        loaded.save_pretrained(tmp_path, safe_serialization=False)


def test_all_of_it_learns_and_the_generator_does_not(transformer):
    transformer.requires_grad_(False)
    branch: Any = stirred(attach(transformer, **OPTIONS))
    branch.requires_grad_(True)
    v = run(transformer)
    routing = branch.routing
    (v.square().mean() + routing.told.sum() + routing.expressed.sum()).backward()
    missing = {n for n, p in branch.named_parameters() if p.grad is None or not p.grad.any()}
    # A key's bias moves all of a query's scores alike, which a softmax does not see.
    assert {n for n in missing if not n.endswith("to_k.bias")} == set()
    assert all(p.grad is None for p in transformer.parameters())


def test_gradient_checkpointing_changes_nothing(transformer):
    branch: Any = stirred(attach(transformer, **OPTIONS)).requires_grad_(True)
    gradients = []
    for checkpointing in (False, True):
        branch.zero_grad()
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        transformer.train()
        run(transformer).square().mean().backward()
        gradients.append(
            {n: p.grad.clone() for n, p in branch.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_a_copy_is_attached_to_nothing(transformer):
    branch: Any = stirred(attach(transformer, **OPTIONS))
    copied = copy.deepcopy(branch)
    assert branch.attached
    assert not copied.attached
    branch.detach()
    attach(transformer, copied)
    with torch.no_grad():
        run(transformer)
    assert copied.routing is not None
    assert branch.routing is None


def test_timesteps_by_token(transformer):
    """As Wan 2.2 TI2V has them."""
    branch: Any = stirred(attach(transformer, **OPTIONS))
    given = inputs() | {"timestep": torch.linspace(0, 1000, 18).expand(2, -1)}
    with torch.no_grad():
        assert torch.isfinite(run(transformer, **given)).all()
    assert branch.routing is not None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"places": (2, 1)}, r"places is \(2, 1\); name blocks below 4 in ascending order"),
        ({"places": (1, 4)}, r"places is \(1, 4\), but the transformer has 4 blocks; use 0\.\.3"),
        ({"places": ()}, "name blocks"),
        ({"num_semantic": 1}, "num_semantic is 1"),
        ({"top_k": 9}, "top_k is 9"),
        ({"width": 3}, "unknown option width"),
    ],
)
def test_bad_options_are_refused(transformer, options, match):
    with pytest.raises(InputError, match=match):
        attach(transformer, **options)
    assert branch_on(transformer) is None


def test_a_branch_for_another_model_is_refused(transformer):
    other = tiny.transformer(layers=2)
    branch: Any = attach(transformer, **OPTIONS)
    with pytest.raises(InputError, match="attached already"):
        attach(other, branch)
    with pytest.raises(InputError, match="has a ProPhy branch already"):
        attach(transformer)
    branch.detach()
    with pytest.raises(InputError, match=r"places is .1, 2., but the transformer has 2 blocks"):
        attach(other, branch)
    wide = copy.deepcopy(branch)
    wide.register_to_config(ffn_dim=64)
    with pytest.raises(InputError, match="ffn_dim is 64, the transformer's 32"):
        attach(transformer, wide)
    with pytest.raises(InputError, match="options are for a new one"):
        attach(transformer, branch, top_k=1)


def test_a_saved_branch_that_is_not_whole_is_refused(transformer, tmp_path):
    branch: Any = attach(transformer, **OPTIONS)
    branch.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["num_semantic"] = 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="unexpected keys"):
        ProPhyBranch.from_pretrained(tmp_path)


def test_places_are_spread():
    assert spread_places(4) == (0, 2)
    assert spread_places(30) == (0, 4, 8, 12, 17, 21, 25)
    assert spread_places(1) == (0,)
