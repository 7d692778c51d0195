"""Stage C on the embedded generator: who moves, who does not, and what the losses reach."""

from dataclasses import replace

import pytest
import torch

from pila.errors import InputError
from pila.recipes import RECIPES
from pila.train.config import CoupleConfig
from pila.train.couple import CoupleTask, ramp
from pila.train.frozen import module_hash
from pila.train.loop import fit
from pila.train.step_rng import StepRng


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def config(**couple):
    recipe = RECIPES["embedded-couple"]()
    return replace(
        recipe,
        optim=replace(recipe.optim, steps=3, batch=2, warmup=1),
        world=replace(recipe.world, clips=16, scenes=("thrown_ball", "ball_collision", "hot_spot")),
        couple=replace(recipe.couple, **couple),
    )


def test_the_backbone_rests_and_every_part_of_the_adapter_moves(tmp_path):
    chosen = config(residual_weight=0.1, residual_warmup=0, condition_warmup=0)
    task = CoupleTask(chosen)
    start = {k: v.clone() for k, v in task.module.state_dict().items()}
    frozen = task.frozen.hash()
    folder = fit(task, chosen, tmp_path, progress=False)
    assert task.frozen.hash() == frozen
    assert all(p.grad is None for part in task.frozen.parts for p in part.parameters())
    moved = {k.split(".")[0] for k, v in task.module.state_dict().items() if not v.equal(start[k])}
    assert {"encoder", "fields", "router", "experts", "decoder", "condition"} <= moved
    assert folder is not None
    assert (folder / "diffusion_pytorch_model.safetensors").exists()


def test_a_frozen_encoder_rests(tmp_path):
    chosen = config(encoder_freeze=10)
    task = CoupleTask(chosen)
    start = module_hash(task.module.encoder)
    fit(task, chosen, tmp_path, max_steps=2, progress=False)
    assert module_hash(task.module.encoder) == start


def test_a_learned_gate_begins_at_an_adapter_that_has_none(tmp_path):
    plain = CoupleTask(config())
    plain.module.save_pretrained(tmp_path)
    adapter = replace(config().couple.adapter, gate="learned")
    gated = CoupleTask(replace(config(adapter=adapter), seed=5, start=str(tmp_path))).module
    there = plain.module.state_dict()
    assert {k for k in gated.state_dict() if k not in there} == {"sigma_gate.knots"}
    assert all(there[k].equal(w) for k, w in gated.state_dict().items() if k in there)
    # Anything else that a start lacks is not made up.
    other = replace(adapter, encoder_blocks=adapter.encoder_blocks + 1)
    with pytest.raises(RuntimeError, match="Missing key"):
        CoupleTask(replace(config(adapter=other), start=str(tmp_path)))


def test_the_residual_loss_reaches_experts_but_not_router_or_bank():
    task = CoupleTask(config())
    torch.manual_seed(0)
    x, v = torch.randn(2, 2, 16, 9, 12, 12)
    flags = torch.zeros(2, 8, dtype=torch.bool)
    flags[0, 5], flags[1, 6] = True, True
    out = task.module(
        x, v, torch.tensor([0.5, 0.8]), torch.randn(2, 64), flags, return_details=True
    )
    loss, report = task.residual(out, x, flags, step=5)
    loss.backward()
    reached = {
        n.split(".")[0]
        for n, p in task.module.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert "experts" in reached
    assert not reached & {"router", "encoder"}
    assert any(name.startswith("thermal.") for name in report)


def test_the_plain_control_has_the_size_of_the_adapter():
    sizes = {
        kind: sum(p.numel() for p in CoupleTask(config(kind=kind)).module.parameters())
        for kind in ("pila", "plain")
    }
    assert sizes["plain"] == pytest.approx(sizes["pila"], rel=0.02)


@pytest.mark.parametrize("kind", ["pila", "plain"])
def test_errors_of_moving_things_count_for_any_adapter(kind):
    draws = StepRng(seed=0, step=2, batch=2, rows=range(2))
    plain = CoupleTask(config(kind=kind, moving=0.0, residual_weight=0.0)).loss(draws)
    loss, metrics = CoupleTask(config(kind=kind, moving=0.75, residual_weight=0.0)).loss(draws)
    # Untrained, both errors are the frozen generator's own.
    assert plain[0].item() == pytest.approx(metrics["flow_frozen"].item(), rel=1e-5)
    assert loss.item() == pytest.approx(metrics["moving_frozen"].item(), rel=1e-5)
    # A frozen generator errs most where things move.
    assert metrics["moving_frozen"] > 1.1 * metrics["flow_frozen"]


def test_a_value_that_is_not_finite_is_traced_to_its_clips():
    task = CoupleTask(config())
    draws = StepRng(seed=0, step=2, batch=2, rows=range(2))
    assert task.explain(draws).count(" at sigma 0.") == 2
    with torch.no_grad():
        task.module.decoder.out.bias.fill_(float("inf"))
    said = task.explain(draws)
    assert "correction" in said or "dv" in said, said
    assert said.count(" at sigma 0.") == 2


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"couple\.moving is 1.5; a share is in \[0, 1\]"):
        CoupleConfig(moving=1.5)
    with pytest.raises(ValueError, match=r"couple\.kind is 'none'"):
        CoupleConfig(kind="none")
    with pytest.raises(ValueError, match="residual_weight is -1"):
        CoupleConfig(residual_weight=-1)


def test_ramp():
    assert [ramp(s, 4) for s in (0, 2, 4, 9)] == [0, 0.5, 1, 1]
    assert ramp(0, 0) == 1


def test_the_anchor_holds_u_against_motion_at_the_noise_that_stage_a_has_seen():
    task = CoupleTask(config(anchor_weight=0.1))
    u = torch.randn(3, 2, 9, 12, 12, requires_grad=True)
    batch = {"flow": torch.randn(3, 2, 9, 12, 12), "confidence": torch.ones(3, 1, 9, 12, 12)}
    # Half of the schedule with shift 3 ends at sigma 0.75.
    error = task.anchor(u, batch, torch.tensor([0.3, 0.74, 0.76]))
    error.backward()
    assert u.grad is not None
    moved = u.grad.abs().sum((1, 2, 3, 4)) > 0
    assert moved.tolist() == [True, True, False]
    assert task.anchor(batch["flow"], batch, torch.tensor([0.3, 0.5, 0.9])) == 0
    assert task.anchor(u, batch, torch.tensor([0.8, 0.9, 1.0])) == 0
    _, figures = task.loss(StepRng(seed=0, step=2, batch=8, rows=range(8)))
    assert figures["anchor"] > 0


def test_an_anchor_needs_a_bank():
    with pytest.raises(InputError, match=r"anchor_weight is 0.1; a plain adapter has no bank"):
        CoupleConfig(kind="plain", anchor_weight=0.1)
    with pytest.raises(InputError, match=r"slot_weight is 0.1; a plain adapter has no bank"):
        CoupleConfig(kind="plain", slot_weight=0.1)


@pytest.mark.parametrize("calibrated", [False, True])
def test_slots_are_held_to_their_fields_while_coupling(calibrated):
    """The other slots' readings are moved by the anchors alone: nothing else is switched on."""
    made = config(residual_weight=0.0, slot_weight=1.0)
    made = replace(made, recover=replace(made.recover, calibrated=calibrated))
    task = CoupleTask(made)
    loss, figures = task.loss(StepRng(seed=0, step=2, batch=2, rows=range(2)))
    loss.backward()
    # A slot that none of the clips has (no wave in a throw) asks for nothing.
    lost = {n.removeprefix("anchor_"): x for n, x in figures.items() if n.startswith("anchor_")}
    held = {slot for slot, x in lost.items() if x > 0}
    assert "density" in held
    assert all(x <= 1 for x in lost.values())
    for slot in held:
        # Displacement and strain have no heads: they follow from u's.
        head = getattr(task.module.fields, slot, task.module.fields.velocity)
        assert any(p.grad.abs().sum() > 0 for p in head.parameters()), slot
