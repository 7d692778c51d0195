"""ProPhy and the controls inside the generator, trained for a few steps on real clips."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from tests.pipelines import tiny

from pila.errors import InputError
from pila.pipelines.locate import EMBEDDED_MODEL, load_pipeline
from pila.prophy import ProPhyBranch, attach
from pila.recipes import RECIPES
from pila.train.in_generator import add_trainable
from pila.train.loop import fit
from pila.train.step_rng import StepRng
from pila.train.tasks import build_task

SCENES = ("ball_collision", "hot_spot")


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def config(name, *, steps=2, **changes):
    recipe = RECIPES[name]()
    return replace(
        recipe,
        optim=replace(recipe.optim, steps=steps, batch=4, warmup=1, ema=0.0),
        world=replace(recipe.world, clips=16, scenes=SCENES, violated=0.0),
        **changes,
    )


def draws(batch=4, step=0):
    return StepRng(seed=0, step=step, batch=batch, rows=range(batch))


def test_the_branch_learns_and_the_generator_does_not(tmp_path):
    task: Any = build_task(config("embedded-prophy"))
    start = {k: v.clone() for k, v in task.module.state_dict().items()}
    before = task.frozen.hash()
    folder: Any = fit(task, task.config, tmp_path, progress=False)
    assert task.frozen.hash() == before
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["flow"] == rows[0]["flow_frozen"], "untrained it changes nothing"
    assert 0 < rows[0]["mapped"] < 1
    assert rows[0]["balance"] >= 0.9
    moved = {k for k, v in task.module.state_dict().items() if not v.equal(start[k])}
    for part in ("semantic.router", "to_labels", "to_categories", "blocks.1.refinement", "outs"):
        assert any(name.startswith(part) for name in moved), part
    # The export fits the generator and changes it.
    pipe: Any = load_pipeline("embedded", None)
    branch = attach(pipe.transformer, ProPhyBranch.from_pretrained(folder))
    x = torch.randn(1, 16, 9, 12, 12)
    given = (x, torch.tensor([500.0]), torch.randn(1, 4, 64))
    with torch.no_grad():
        beside = pipe.transformer(*given, return_dict=False)[0]
        with branch.disabled():
            alone = pipe.transformer(*given, return_dict=False)[0]
    assert not torch.equal(beside, alone)


@pytest.mark.parametrize(
    ("changes", "losses"),
    [
        ({}, {"coarse", "fine", "balance"}),
        ({"num_semantic": 0}, {"fine", "balance"}),
        ({"num_refinement": 0}, {"coarse"}),
        ({"coarse_weight": 0.0, "fine_weight": 0.0}, {"balance"}),
        ({"balance_weight": 0.0}, {"coarse", "fine"}),
    ],
)
def test_each_loss_is_there_with_its_experts_and_its_weight(changes, losses):
    recipe = config("embedded-prophy")
    task: Any = build_task(replace(recipe, prophy=replace(recipe.prophy, **changes)))
    total, figures = task.loss(draws())
    assert losses == {"coarse", "fine", "balance"} & set(figures)
    weights = {name: getattr(task.config.prophy, f"{name}_weight") for name in losses}
    expected = figures["flow"] + sum(weights[n] * figures[n] for n in losses)
    torch.testing.assert_close(total.detach(), expected, rtol=1e-5, atol=0)


def test_ablations_differ_from_the_recipe_in_one_thing():
    own = RECIPES["embedded-prophy"]().prophy
    for name, changed in {
        "semantic-only": {"num_refinement"},
        "refinement-only": {"num_semantic"},
        "no-alignment": {"coarse_weight", "fine_weight"},
        "no-balance": {"balance_weight"},
        "absolute": {"coarse"},
    }.items():
        other = RECIPES[f"ablation-prophy-{name}"]().prophy
        differing = {f for f in own.__slots__ if getattr(own, f) != getattr(other, f)}
        assert differing == changed


def test_token_labels_are_the_maps_where_the_phenomenon_is():
    """After some steps on a few clips the token router tells active tokens from resting ones."""
    recipe = config("embedded-prophy", steps=60)
    heavy = replace(recipe.prophy, fine_weight=5.0)
    task: Any = build_task(replace(recipe, prophy=heavy, optim=replace(recipe.optim, lr=5e-3)))
    first = task.loss(draws())[1]["fine"]
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=5e-3)
    for step in range(60):
        loss, _ = task.loss(draws(step=step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    last = sum(task.loss(draws(step=step))[1]["fine"] for step in range(61, 65)) / 4
    assert last < 0.7 * first


def test_lora_has_the_branchs_size_and_leaves_the_generator(tmp_path):
    task: Any = build_task(config("embedded-lora"))
    branch: Any = build_task(config("embedded-prophy"))
    sizes = [sum(p.numel() for p in t.module.parameters()) for t in (task, branch)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    folder: Any = fit(task, task.config, tmp_path, progress=False)
    assert [p.name for p in folder.iterdir()] == ["pytorch_lora_weights.safetensors"]
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["backbone_sha256"] == branch.frozen.hash()
    # diffusers' own loader takes it.
    pipe: Any = load_pipeline("embedded", None)
    given = (torch.randn(1, 16, 9, 12, 12), torch.tensor([500.0]), torch.randn(1, 4, 64))
    with torch.no_grad():
        alone = pipe.transformer(*given, return_dict=False)[0]
        pipe.load_lora_weights(str(folder))
        beside = pipe.transformer(*given, return_dict=False)[0]
    assert not torch.equal(alone, beside)


def test_fine_tuning_leaves_a_whole_repository(tmp_path):
    task: Any = build_task(config("embedded-fine-tune"))
    folder: Any = fit(task, task.config, tmp_path, progress=False)
    pipe: Any = load_pipeline(folder, None)
    old: Any = WanTransformer3DModel.from_pretrained(EMBEDDED_MODEL / "transformer")
    moved = [
        k for k, v in pipe.transformer.state_dict().items() if not v.equal(old.state_dict()[k])
    ]
    assert len(moved) > 50
    assert (folder / "pila.json").is_file()


@pytest.mark.parametrize("name", ["embedded-prophy", "embedded-lora"])
def test_two_steps_and_two_more_are_four(name, tmp_path):
    ends = []
    for folder, stops in ((tmp_path / "straight", (None,)), (tmp_path / "twice", (2, None))):
        for stop in stops:
            task: Any = build_task(config(name, steps=4))
            fit(task, task.config, folder, max_steps=stop, progress=False)
        ends.append(task.module.state_dict())
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


@pytest.mark.parametrize("name", ["embedded-prophy", "embedded-lora"])
def test_recomputing_blocks_changes_no_gradient(name):
    gradients = []
    for recompute in (False, True):
        chosen = config(name, recompute=recompute)
        task: Any = build_task(replace(chosen, optim=replace(chosen.optim, precision="no")))
        for out in getattr(task.module, "outs", []):
            torch.nn.init.eye_(out.weight)
        task.loss(draws())[0].backward()
        gradients.append([p.grad for p in task.module.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_two_denoisers_are_refused(tmp_path):
    from diffusers import WanPipeline

    WanPipeline(**tiny.components(wan22=True)).save_pretrained(tmp_path)
    (tmp_path / "pila.json").write_text(json.dumps({"scenes": list(SCENES)}))
    with pytest.raises(InputError, match="has two denoisers, and lora trains inside one"):
        build_task(config("embedded-lora", model=str(tmp_path)))


def test_only_prophy_goes_on_from_something(tmp_path):
    with pytest.raises(InputError, match="begins anew"):
        build_task(config("embedded-lora", start="embedded"))


def test_captions_are_aligned_with_all_of_the_step_whatever_a_forward_holds():
    task: Any = build_task(config("embedded-prophy"))

    def coarse(rows):
        return task.loss(replace(draws(), rows=rows))[1]["coarse"]

    whole = coarse(range(4))
    assert whole > 0
    for row in range(4):
        torch.testing.assert_close(coarse(range(row, row + 1)), whole)


def test_lora_beside_half_precision_learns_in_full():
    transformer: Any = WanTransformer3DModel.from_pretrained(EMBEDDED_MODEL / "transformer")
    transformer.to(torch.bfloat16).requires_grad_(False)
    learnt = add_trainable(transformer, config("embedded-lora"))
    assert {p.dtype for p in learnt.parameters()} == {torch.float32}
    assert transformer.patch_embedding.weight.dtype == torch.bfloat16
