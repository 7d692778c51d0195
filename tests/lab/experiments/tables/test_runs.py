"""Finding trainings, naming the missing ones, training them."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from pila.errors import InputError
from pila.lab.experiments.run import prepared, run_every_table, run_table
from pila.lab.experiments.tables import EXPERIMENTS, Arm
from pila.lab.experiments.tables.runs import Runs, chosen_arms, steps_of
from pila.recipes import RECIPES
from pila.recipes.run import configs


def test_places_by_recipe_and_seed(runs):
    there = Runs(folder=runs)
    assert there.place("embedded", 1) == str(runs / "embedded-1" / "adapter")
    assert there.place("embedded-fine-tune", 0) == str(runs / "embedded-fine-tune-0" / "model")
    assert there.place("embedded", 7) is None
    assert there.missing(["embedded", "embedded-lora"], [0, 7]) == [
        ("embedded", 7),
        ("embedded-lora", 7),
    ]


def test_what_is_missing_is_named_with_its_command(small, tmp_path):
    with pytest.raises(InputError) as refused:
        prepared("main", **small | {"seeds": (0, 7)}, only=("pila", "prophy"))
    said = str(refused.value)
    assert said.startswith("2 trainings are missing")
    for recipe in ("embedded", "embedded-prophy"):
        place = small["runs"] / f"{recipe}-7"
        assert f"pila train {recipe} --seed 7 --output {place} --model {small['model']}" in said
    assert not small["output"].exists()


def test_what_is_missing_can_be_left_out(small):
    some = prepared(
        "main",
        **small | {"seeds": (0, 1, 7)},
        only=("frozen", "pila", "best-of-4", "lora"),
        available=True,
    )
    seeds = {name: [m.training_seed for m in methods] for name, methods in some.arms.items()}
    assert seeds == {"frozen": [None], "pila": [0, 1], "best-of-4": [0, 1], "lora": [0, 1]}
    with pytest.raises(InputError, match="none of the trainings of main"):
        prepared("main", **small | {"seeds": (7,)}, available=True)
    with pytest.raises(InputError, match="train and available are both set"):
        prepared("main", **small, available=True, train=True)
    with pytest.raises(InputError, match="run each by its own name"):
        run_every_table(**small, available=True)


def test_all_says_what_any_table_lacks_before_the_first_begins(small, tmp_path):
    with pytest.raises(InputError, match="trainings are missing"):
        run_every_table(**small | {"runs": tmp_path})
    assert not small["output"].exists()
    with pytest.raises(InputError, match="one experiment at a time"):
        run_every_table(**small, only=("pila",))


def test_an_arm_is_a_method_for_each_seed(runs):
    there = Runs(folder=runs)
    both = Arm(name="pila+prophy", recipes=("embedded", "embedded-prophy"), window=(0.8, 1.0))
    methods = there.methods(both, (0, 1), steps=50)
    assert [m.training_seed for m in methods] == [0, 1]
    assert methods[1].adapter == (
        f"{runs / 'embedded-1' / 'adapter'}+{runs / 'embedded-prophy-1' / 'adapter'}"
    )
    assert methods[0].step_window == (41, 50)
    best = Arm(name="best-of-4", best_of=4, scorer="embedded")
    assert [m.scorer for m in there.methods(best, (0, 1), steps=50)] == [
        str(runs / f"embedded-{s}" / "adapter") for s in (0, 1)
    ]
    (frozen,) = there.methods(Arm(name="frozen"), (0, 1), steps=50)
    assert (frozen.adapter, frozen.training_seed) == (None, None)


@pytest.mark.parametrize(
    ("window", "steps", "expected"),
    [
        ((0.8, 1.0), 50, (41, 50)),
        ((0.6, 1.0), 50, (31, 50)),
        ((0.0, 1.0), 50, (1, 50)),
        ((0.0, 0.2), 16, (1, 3)),
        ((0.8, 1.0), 16, (14, 16)),
        ((0.8, 1.0), 2, (2, 2)),  # at least one step, though two steps have no such share
        ((0.0, 0.2), 2, (1, 1)),
        ((0.8, 1.0), 1, (1, 1)),
    ],
)
def test_shares_of_the_schedule_as_steps(window, steps, expected):
    assert steps_of(window, steps) == expected


def test_rows_are_chosen_by_name():
    chosen = chosen_arms(EXPERIMENTS["main"], ("pila", "frozen"))
    assert [arm.name for arm in chosen] == ["frozen", "pila"]
    with pytest.raises(InputError, match="only has pilla; the rows of main are frozen"):
        chosen_arms(EXPERIMENTS["main"], ("pilla",))


@pytest.mark.parametrize("processes", [1, 2])
def test_missing_trainings_are_made_and_kept(small, tmp_path, monkeypatch, processes):
    # Recipes of two steps in the place of real ones. The processes that train are fresh ones and
    # read the real registry, so that a thread of this one stands for them.
    def two_steps():
        recipe = RECIPES["embedded-couple"]()
        return replace(
            recipe,
            optim=replace(recipe.optim, steps=2, batch=2, warmup=1, ema=0.0),
            world=replace(recipe.world, clips=16, scenes=("hot_spot",), violated=0.0, size=48),
        )

    counts = []

    def thread(count, **options):
        counts.append((count, options["with_torch"]))
        return ThreadPoolExecutor(1)

    names = ["ablation-plain-adapter", "ablation-no-stages"]
    for name in names:
        monkeypatch.setitem(RECIPES, name, two_steps)
    monkeypatch.setattr("pila.lab.experiments.tables.runs.workers", thread)
    there = Runs(folder=tmp_path / "runs", model=small["model"])
    there.train(names, [4], processes=processes)
    assert counts == [(processes, processes > 1)]
    assert there.missing(names, [4]) == []
    made = there.output(names[0], 4) / "adapter" / "config.json"
    stamp = made.stat().st_mtime_ns
    there.train(names, [4], processes=processes)
    assert made.stat().st_mtime_ns == stamp
    assert len(counts) == 1
    # Each says how long it took, on this machine's processor.
    said = json.loads((there.output(names[0], 4) / "rate.json").read_text())
    assert said["steps"] == 2
    assert there.core_minutes(names[:1], [4]) == pytest.approx(
        2 * said["processor_seconds_per_step"] / 60
    )
    assert there.core_minutes(names, [4, 5]) is None


def test_of_trainings_that_begin_alike_one_goes_first(tmp_path):
    there = Runs(folder=tmp_path)
    names = ["embedded", "ablation-no-residuals", "ablation-no-staging", "ablation-no-experts"]
    names += ["ablation-no-stages", "ablation-no-anchor"]
    jobs = [(name, seed) for name in names for seed in (0, 1)]
    first, second = there.rounds(jobs)
    assert sorted(first + second) == sorted(jobs)
    # No stage A makes another stage B; those without residuals or experts, and with slots awake at
    # once, begin with the stage A that `embedded` trains.
    late = {name for name, _ in second}
    assert late == {"ablation-no-residuals", "ablation-no-experts", "ablation-no-staging"}
    assert there.rounds([]) == []


def test_trainings_that_are_not_their_recipes_are_told_apart_in_the_table(small, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(small["runs"], runs)
    model = str(small["model"])
    there = Runs(folder=runs, model=model)

    def written(recipe, stage="", model=model, **changes):
        own = json.loads(json.dumps(asdict(configs(recipe, seed=0)[stage])))
        own |= {"start": "elsewhere", "model": model}
        own["world"]["size"] = 48
        del own["noise_draws"]
        own["optim"] |= changes
        place = runs / f"{recipe}-0" / stage
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(json.dumps(own))

    written("embedded-long", "observe")
    written("embedded-long", "couple", batch=5)
    written("embedded-couple-plain", steps=7, lr=1.0)
    written("ablation-mix", "couple")
    written("ablation-no-labels", "couple", model="another")
    recipes = ["embedded-long", "embedded-couple-plain", "ablation-mix", "embedded"]
    found = {
        "embedded-long-0": ("optim.batch",),
        "embedded-couple-plain-0": ("optim.lr", "optim.steps"),
    }
    assert there.config_diff(recipes, [0, 1]) == found
    # For another generator a training is not what is asked for, however alike its recipe.
    assert there.config_diff(["ablation-no-labels"], [0]) == {"ablation-no-labels-0": ("model",)}
    rows = {"only": ("frozen", "pila-long", "plain-adapter-long"), "seeds": (0, 1)}
    results, text = run_table("main", **small | {"runs": runs, "output": tmp_path / "out"} | rows)
    assert results["departures"] == {name: list(options) for name, options in found.items()}
    assert "embedded-couple-plain-0 (optim.lr, optim.steps)" in text


def test_stages_that_are_trained_alike_are_taken_from_another_run(tmp_path):
    there = Runs(folder=tmp_path)
    for stage in ("observe", "recover", "couple"):
        made = there.output("embedded", 3) / stage
        (made / "adapter").mkdir(parents=True)
        (made / "adapter" / "weights").write_text(stage)
        (made / "checkpoints").mkdir()
    assert there.share_stages("ablation-no-residuals", 3) == ["observe", "recover"]
    assert there.share_stages("ablation-gate-learned", 3) == ["observe", "recover"]
    taken = there.output("ablation-no-residuals", 3)
    assert (taken / "recover" / "adapter" / "weights").read_text() == "recover"
    assert sorted(p.name for p in taken.iterdir()) == ["observe", "recover"]
    assert not (taken / "recover" / "checkpoints").exists()
    # Another adapter, another second stage, another seed, no such stage; nothing is taken twice.
    assert there.share_stages("embedded-long", 3) == []
    assert there.share_stages("ablation-no-fields", 3) == []
    assert there.share_stages("ablation-no-staging", 3) == ["observe"]
    assert there.share_stages("ablation-no-residuals", 2) == []
    assert there.share_stages("embedded-couple", 3) == []
    assert there.share_stages("ablation-no-residuals", 3) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "mian"}, "experiment is 'mian'; choose from main"),
        ({"seeds": ()}, "name training seeds"),
        ({"seeds": (0, 0)}, "each once"),
        ({"processes": 0}, "processes is 0"),
        ({"clips": 0}, "clips is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"prompts": 2}, "prompts is 2; take at least 3"),
        ({"scenes": ("mirror",)}, "was not trained on mirror"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"only": ("nobody",)}, "only has nobody"),
        ({"name": "gate", "development": True}, "gate also measures probe"),
    ],
    ids=str,
)
def test_wrong_values_are_named_before_anything_is_made(small, changes, message):
    options = {"name": "main"} | small | changes
    with pytest.raises(InputError, match=message):
        prepared(**options)
    assert not small["output"].exists()
