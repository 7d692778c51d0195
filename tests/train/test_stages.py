"""Stages A and B on the embedded generator: who moves in which, and what they are held against."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from pila.errors import InputError
from pila.recipes import RECIPES
from pila.recipes.run import run
from pila.train.loop import fit
from pila.train.observe import ObserveTask, balanced, distance
from pila.train.recover import RecoverTask, observables, ramp_from, unexplained
from pila.train.step_rng import StepRng


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def config(stage, **changes):
    recipe = RECIPES["embedded"]()[stage]
    return replace(
        recipe,
        optim=replace(recipe.optim, steps=4, batch=2, warmup=1),
        world=replace(recipe.world, clips=8, scenes=("thrown_ball", "hot_spot"), violated=0.0),
        **changes,
    )


def moved(task, tmp_path):
    """First two names of every parameter that training changed."""
    start = {k: v.clone() for k, v in task.module.state_dict().items()}
    fit(task, task.config, tmp_path, progress=False)
    after = task.module.state_dict()
    return {".".join(k.split(".")[:2]) for k, v in after.items() if not v.equal(start[k])}


def test_observing_moves_the_encoder_and_what_reads_u(tmp_path):
    names = moved(ObserveTask(config("observe")), tmp_path)
    assert {n.split(".")[0] for n in names} == {"encoder", "fields"}
    assert {n for n in names if n.startswith("fields")} == {"fields.scaffold", "fields.velocity"}


def test_recovering_moves_only_slots_beside_u(tmp_path):
    early = replace(config("recover").recover, wave=0.7)  # of four steps
    names = moved(RecoverTask(config("recover", recover=early)), tmp_path)
    assert names == {
        f"fields.{slot}"
        for slot in ("pressure", "density", "phase", "temperature", "impulse", "wave")
    }


def test_slots_wake_in_their_order():
    task = RecoverTask(config("recover"))
    steps = 2600
    task.config = replace(task.config, optim=replace(task.config.optim, steps=steps))
    weak = ("phase", "temperature", "impulse", "wave")
    seen = {}
    for step in (0, 799, 801, 1499, 1501, 2101):
        figures = task.loss(StepRng(seed=0, step=step, batch=2, rows=range(2)))[1]
        seen[step] = [slot for slot in weak if f"std_{slot}" in figures]
    assert seen[0] == seen[799] == []
    assert seen[801] == seen[1499] == ["phase", "temperature"]
    assert seen[1501] == ["phase", "temperature", "impulse"]
    assert seen[2101] == list(weak)
    assert [ramp_from(d, 0.5, 0.2) for d in (0.4, 0.5, 0.6, 0.9)] == pytest.approx([0, 0, 0.5, 1])


def test_noise_ranges_widen():
    task = ObserveTask(config("observe"))
    task.config = replace(task.config, optim=replace(task.config.optim, steps=300, batch=16))
    highest = []
    for step in (0, 99, 100, 299):
        draws = StepRng(seed=0, step=step, batch=16, rows=range(16))
        highest.append(task.levels(draws, draws.shared()).max().item())
    # Shift 3 of 0.10, 0.25, 0.50: App. B's parts of the schedule.
    for found, bound in zip(highest, (0.25, 0.25, 0.5, 0.75), strict=True):
        assert 0.8 * bound < found <= bound


@pytest.mark.parametrize("stage", ["observe", "recover"])
def test_calibration_reads_the_true_fields(stage):
    plain, calibrated = RECIPES["embedded"]()[stage], RECIPES["embedded-calibrated"]()[stage]
    task_class = {"observe": ObserveTask, "recover": RecoverTask}[stage]
    draws = StepRng(seed=0, step=3, batch=2, rows=range(2))
    values = []
    for recipe in (plain, calibrated):
        chosen = config(stage, observe=recipe.observe, recover=recipe.recover)
        task = task_class(chosen)
        assert task.needs_truth == (recipe is calibrated)
        values.append(task.loss(draws)[0].item())
    assert values[0] != values[1]


def test_moving_and_resting_cells_weigh_the_same():
    flow = torch.zeros(1, 2, 3, 4, 4)
    flow[:, 0, :, 0, 0] = 1.0
    share = balanced(flow, torch.ones(1, 1, 3, 4, 4))
    assert share[:, :, :, 0, 0].sum() == pytest.approx(0.5)
    assert share.sum() == pytest.approx(1.0)
    assert distance(flow, flow, share) == 0
    # Rest everywhere misses half of the weight by 1 cell.
    assert distance(torch.zeros_like(flow), flow, share) == pytest.approx(0.5, abs=0.01)


def test_the_anchor_is_blind_to_scale_and_sign_but_not_to_collapse():
    torch.manual_seed(0)
    wanted = torch.randn(2, 1, 3, 4, 4)
    mask = torch.ones(2, 1, 3, 4, 4)
    assert unexplained(2 - 3 * wanted, wanted, mask) == pytest.approx(0, abs=1e-5)
    assert unexplained(torch.ones_like(wanted), wanted, mask) == pytest.approx(1)
    assert unexplained(torch.randn_like(wanted), wanted, mask) > 0.7
    assert unexplained(wanted, torch.zeros_like(wanted), mask) == 0  # nothing is asked for


def test_observables_see_matter_and_its_change():
    x = torch.randn(1, 16, 1, 1, 1).expand(1, 16, 5, 8, 8).clone()
    for t in range(5):
        x[:, :, t, 2:4, t : t + 2] += 3.0
    seen = observables(x)
    assert seen["matter"][0, 0, 0, 2, 0] > 100 * seen["matter"][0, 0, 0, 7, 7]
    assert seen["change"].mean(2).abs().max() < 1e-4
    assert {f.shape for f in seen.values()} == {(1, 1, 5, 8, 8)}


def test_a_residual_that_is_not_finite_is_named_in_stage_b():
    task = RecoverTask(config("recover"))
    draws = StepRng(seed=0, step=0, batch=2, rows=range(2))
    assert "residual" not in task.explain(draws)
    with torch.no_grad():
        for p in task.module.fields.pressure.parameters():
            p.fill_(float("nan"))
    said = task.explain(draws)
    assert said.startswith("residual "), said
    assert "its field pressure" in said
    assert said.count(" at sigma 0.") == 2


def test_observables_are_found_under_half_precision():
    x = torch.randn(2, 4, 5, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        half = observables(x)
    for name, seen in observables(x).items():
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name], seen)


def test_a_finished_stage_of_another_training_is_refused(tmp_path):
    small: dict[str, Any] = {"world.clips": 16, "world.scenes": ["thrown_ball"]}
    small |= {"world.violated": 0.0, "optim.batch": 2, "observe.clips": 8}
    run("embedded", tmp_path, steps=1, max_steps=1, changes=small, progress=False)
    first = {p: p.read_bytes() for p in tmp_path.glob("*/adapter/*.safetensors")}
    for again in ({"steps": 2}, {"seed": 3}, {"changes": small | {"couple.adapter.top_k": 2}}):
        options: Any = {"steps": 1, "changes": small} | again
        with pytest.raises(InputError, match=r"a finished stage of another config .*differ"):
            run("embedded", tmp_path, progress=False, **options)
    assert run("embedded", tmp_path, steps=1, changes=small, progress=False)
    assert {p: p.read_bytes() for p in first} == first
