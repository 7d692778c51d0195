"""The loop: a resumed run repeats a straight one; checkpoints are whole; other configs refused."""

import json
import re
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch

from pila import cli
from pila.errors import InputError
from pila.lab.world.corpus import CorpusConfig
from pila.pipelines.locate import find_model
from pila.recipes import RECIPES
from pila.recipes.run import _check_same, configs, run
from pila.train import checkpoint
from pila.train.config import OptimConfig
from pila.train.estimate import estimate
from pila.train.loop import fit, make_accelerator, schedule
from pila.train.tasks import build_task

SMALL_WORLD = CorpusConfig(clips=16, size=96, scenes=("thrown_ball", "hot_spot"), violated=0.0)


def small(steps=4, **changes):
    recipe = RECIPES["embedded-text"]()
    optim = replace(recipe.optim, steps=steps, batch=4, warmup=2, ema=0.9)
    return replace(recipe, optim=optim, **changes)


def weights(output):
    found = checkpoint.latest(output / "checkpoints")
    assert found is not None
    tensors, _ = found
    return tensors


def test_two_steps_and_resume_two_equal_four_straight(tmp_path):
    config = small()
    fit(build_task(config), config, tmp_path / "straight", progress=False)
    halves = tmp_path / "halves"
    assert fit(build_task(config), config, halves, max_steps=2, progress=False) is None
    fit(build_task(config), config, halves, progress=False)
    one, two = weights(tmp_path / "straight"), weights(halves)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    exported = [
        tmp_path / n / "parts/text_encoder/model.safetensors" for n in ("straight", "halves")
    ]
    assert exported[0].read_bytes() == exported[1].read_bytes()


def test_metrics_are_one_json_object_a_line(tmp_path):
    config = small(steps=2)
    fit(build_task(config), config, tmp_path, progress=False)
    rows = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [0, 1]
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "text"


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    config = small()
    fit(build_task(config), config, tmp_path, max_steps=1, progress=False)
    other = replace(config, seed=1)
    with pytest.raises(InputError, match="another config \\(seed differ"):
        fit(build_task(other), other, tmp_path, progress=False)


def test_a_local_model_is_named_by_its_whole_path(tmp_path, monkeypatch):
    """As `models/mine` it would look like a hub id, and `pila push` would say that it is one."""
    mine = tmp_path / "models" / "mine"
    mine.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert {c.model for c in configs("embedded", model="models/mine").values()} == {str(mine)}
    hub_id = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    assert configs("embedded", model=hub_id)["couple"].model == hub_id
    assert configs("embedded", model="embedded")["couple"].model == "embedded"
    # Runs from before that was so go on, whether in the middle or as a finished stage.
    old, now = small(model="models/mine"), small(model=str(mine))
    fit(build_task(old), old, tmp_path / "run", max_steps=1, progress=False)
    _check_same(tmp_path / "run", now)
    assert fit(build_task(now), now, tmp_path / "run", progress=False)
    other = small(model=str(tmp_path))
    with pytest.raises(InputError, match="model differ"):
        fit(build_task(other), other, tmp_path / "run", progress=False)


def test_an_unreadable_checkpoint_is_named(tmp_path):
    config = small()
    fit(build_task(config), config, tmp_path, max_steps=1, progress=False)
    state = next((tmp_path / "checkpoints").glob("step-*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        fit(build_task(config), config, tmp_path, progress=False)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    config = small()
    fit(build_task(config), config, tmp_path, checkpoint_every=1, progress=False)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000004"]


def test_a_loss_that_is_not_finite_names_the_step(tmp_path):
    config = small()
    task: Any = build_task(config)
    weight = next(task.module.parameters())
    task.loss = lambda draws: (weight.sum() * float("nan"), {})
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0 of text, samples 0"):
        fit(task, config, tmp_path, progress=False)
    task.explain = lambda draws: f"clips {draws.rows.start} and on"
    with pytest.raises(FloatingPointError, match=r"samples 0 to 3 \(clips 0 and on\); the last"):
        fit(task, config, tmp_path / "again", progress=False)


def test_figures_that_say_nothing_are_left_out(tmp_path):
    config = small(steps=1)
    task = build_task(config)
    real = task.loss
    said = {"there": torch.tensor(2.0), "nowhere": torch.tensor(float("nan")), "plain": 3.0}
    task.loss = lambda draws: (real(draws)[0], said)
    fit(task, config, tmp_path, progress=False)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (row["there"], row["plain"]) == (2.0, 3.0)
    assert "nowhere" not in row


def test_a_gradient_that_is_not_finite_spoils_no_weight(tmp_path):
    config = small()
    task = build_task(config)
    weight = next(task.module.parameters())
    before = weight.detach().clone()
    # sqrt at 0: its value is finite, its slope is not.
    task.loss = lambda draws: ((weight * 0).sum().sqrt(), {})
    with pytest.raises(FloatingPointError, match=r"its gradient is not .* at step 0 of text"):
        fit(task, config, tmp_path, progress=False)
    assert torch.equal(weight, before)


def test_schedule_warms_up_and_falls_to_the_final_share():
    optim = small(steps=100).optim
    assert schedule(0, optim) == pytest.approx(0.5)
    assert schedule(1, optim) > schedule(50, optim) > schedule(100, optim)
    assert schedule(100, optim) == pytest.approx(optim.final_lr)


def test_unknown_recipe_and_numbers_out_of_bounds(tmp_path):
    with pytest.raises(InputError, match="choose from embedded-vae"):
        run("embeded", tmp_path)
    with pytest.raises(InputError, match="max-steps is 0"):
        run("embedded-text", tmp_path, max_steps=0)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", RECIPES)
def test_dry_run_prints_the_whole_config(recipe, tmp_path, capsys):
    assert run(recipe, tmp_path, dry_run=True, json=True) is None
    shown = json.loads(capsys.readouterr().out)
    for config in [shown] if "task" in shown else shown.values():
        assert config["optim"]["steps"] > 0
        assert "estimate" in config
    assert not any(tmp_path.iterdir())


def test_an_adapter_learns_on_the_clips_that_its_generator_knows(tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(find_model("embedded"), folder)
    own = json.loads((folder / "pila.json").read_text())
    known = ["thrown_ball", "ripples"]
    (folder / "pila.json").write_text(json.dumps(own | {"height": 80, "scenes": known}))
    for recipe in ("embedded", "embedded-couple", "embedded-prophy"):
        run(recipe, tmp_path / "run", model=str(folder), dry_run=True, json=True)
        shown = json.loads(capsys.readouterr().out)
        for config in [shown] if "task" in shown else shown.values():
            assert (config["world"]["size"], config["world"]["scenes"]) == (80, known)


def test_an_estimate_counts_what_is_there(tmp_path):
    config = RECIPES["embedded-couple"]()
    task: Any = build_task(replace(config, world=SMALL_WORLD))
    found: Any = estimate(config)
    assert found.trained_parameters == sum(p.numel() for p in task.module.parameters())
    assert found.frozen_parameters == sum(p.numel() for p in task.frozen.parts[0].parameters())
    both = replace(config.optim, batch=2 * config.optim.batch)
    twice: Any = estimate(replace(config, optim=both))
    assert twice.flops == pytest.approx(2 * found.flops, rel=0.01)
    assert twice.memory_bytes > found.memory_bytes
    small: Any = estimate(replace(config, optim=replace(config.optim, micro_batch=1)))
    assert small.flops == pytest.approx(found.flops, rel=0.01)
    assert small.memory_bytes < found.memory_bytes


def test_the_best_checkpoint_is_kept_beside_the_last_ones(tmp_path):
    config = small(steps=5)
    task = build_task(config)
    losses = iter([0.5, 0.2, 0.4, 0.3, 0.9])
    task.validate = lambda: next(losses)
    fit(task, config, tmp_path, checkpoint_every=1, progress=False)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["best", "step-00000004", "step-00000005"]
    record = json.loads((tmp_path / "checkpoints/best/record.json").read_text())
    assert (record["step"], record["validation"]) == (2, 0.2)


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path):
    whole = small(steps=1)
    parts = replace(whole, optim=replace(whole.optim, micro_batch=2))
    for name, config in (("whole", whole), ("parts", parts)):
        recipe = RECIPES["embedded-couple"]()
        config = replace(recipe, optim=replace(config.optim, batch=4), world=SMALL_WORLD)
        fit(build_task(config), config, tmp_path / name, progress=False)
    one, two = (weights(tmp_path / name) for name in ("whole", "parts"))
    moments = [k for k in one if k.endswith("exp_avg")]
    assert moments
    # Sums round differently; the relative loss of a sample does not depend on its neighbours.
    for k in moments:
        assert torch.allclose(one[k], two[k], rtol=1e-3, atol=1e-6), k


@pytest.mark.parametrize("processes", [3, 32])
def test_processes_that_cannot_share_a_batch_are_refused(processes, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(InputError, match=rf"batch is 8; .*multiple of {processes} processes"):
        make_accelerator(OptimConfig(batch=8))


def test_what_no_checkpoint_or_scaler_knows_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"fp16 and optim\.optimizer muon"):
        make_accelerator(OptimConfig(precision="fp16", optimizer="muon"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="FSDP"):
        make_accelerator(OptimConfig())


def test_options_of_a_recipe_can_be_set(tmp_path, capsys):
    pairs = ["optim.batch=6", "couple.adapter.top_k=2", 'couple.families=["closure"]']
    arguments = ["train", "ablation-no-stages", "--output", str(tmp_path), "--dry-run", "--json"]
    assert cli.run([*arguments, "--set", *pairs, "noise_draws=2"]) == 0
    shown = json.loads(capsys.readouterr().out)["couple"]
    assert (shown["optim"]["batch"], shown["noise_draws"]) == (6, 2)
    assert shown["couple"]["adapter"]["top_k"] == 2
    assert shown["couple"]["families"] == ["closure"]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("optim.bach=3", "optim.bach is no option that can be set; optim has .*batch"),
        ("optim=3", "groups of them are optim"),
        ("seed=3", "seed is no option that can be set"),
        ("optim.batch=x", "optim.batch is 'x': .*integer"),
        ("optim.batch=0", "optim.batch is 0; it must be over 0"),
        ("optim.batch", "set has 'optim.batch', which has no value"),
    ],
)
def test_an_option_that_cannot_be_set_is_named(pair, message, tmp_path, capsys):
    assert cli.run(["train", "embedded", "--output", str(tmp_path), "--set", pair]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_best_checkpoint_is_copied_where_files_have_one_name(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(checkpoint.os, "link", refuse)
    checkpoint.save(tmp_path, 1, {"x": torch.ones(2)}, {"validation": 0.5})
    assert (tmp_path / "best" / "state.safetensors").is_file()


def test_weights_that_are_not_averaged_are_not_kept_twice(tmp_path):
    config = replace(small(steps=1), optim=replace(small().optim, steps=1, ema=0.0))
    fit(build_task(config), config, tmp_path, progress=False)
    assert not [name for name in weights(tmp_path) if name.startswith("average.")]
