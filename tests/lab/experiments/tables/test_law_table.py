"""Law tables end to end on tiny models: every row, kept clips, what is written."""

import csv
import json
import math

import pytest
from tests.lab.experiments.conftest import SEEDS, written

from pila.errors import InputError
from pila.lab.experiments.clips import CONTROLS, TRUE, read_clips
from pila.lab.experiments.run import run_table
from pila.lab.experiments.tables import EXPERIMENTS, report
from pila.lab.experiments.tables.law_table import retabulate
from pila.markdown import table

NAMES = (
    "frozen",
    "plain-adapter",
    "mix-adapter",
    "fine-tune",
    "pila",
    "pila-no-labels",
    "best-of-4",
    "lora",
    "prophy",
    "pila+prophy",
    "pila-long",
    "plain-adapter-long",
)


@pytest.fixture
def main(small):
    return run_table("main", **small)


def test_main_has_every_row_with_its_figures(main, small):
    results, text = main
    rows = {row["method"]: row for row in results["rows"]}
    assert tuple(rows) == (TRUE, *NAMES, *CONTROLS)
    assert rows["frozen"]["gap_closed"] == 0
    assert rows[TRUE]["gap_closed"] == pytest.approx(1)
    assert rows["frozen"]["cost_per_step"] == 1
    assert rows["best-of-4"]["cost_per_step"] == 4
    assert 1 < rows["plain-adapter"]["cost_per_step"] < rows["pila+prophy"]["cost_per_step"]
    assert rows["fine-tune"]["cost_per_step"] == 1
    assert rows["static"]["motion"] == 0
    for name in NAMES[1:]:
        row = rows[name]
        assert row["seeds"] == list(SEEDS)
        assert row["prompts"] == 6
        assert row["clips"] == 6 * len(SEEDS)
        assert len(row["by_seed"]) == len(SEEDS)
        assert 0 <= row["adherence"] <= row["colours"] <= 1
        assert 0 < row["quality"] <= 1
        assert row["frechet"] > 0
        assert f"| {name} | 2 |" in text
    saved = written(small["output"])
    assert saved["rows"] == json.loads(json.dumps(report.without_nan(results["rows"])))
    assert {"commit", "recipe", "protocol", "comparisons"} <= saved.keys()
    assert saved["recipe"]["pila+prophy"]["recipes"] == ["embedded", "embedded-prophy"]
    assert "not Wan" in text
    with (small["output"] / "results.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["method"] for row in listed] == list(rows)
    assert float(listed[1]["by_category.thermal.gap_closed"].split(";")[0]) == 0
    for picture in ("gap_closed.png", "by_category.png"):
        assert (small["output"] / picture).stat().st_size > 1000
    manifest = read_clips(small["output"])
    assert {c["method"] for c in manifest} == set(rows)
    for name, row in rows.items():
        mine = [c["quality"] for c in manifest if c["method"] == name]
        assert row["quality"] == pytest.approx(sum(mine) / len(mine), rel=1e-5)


def test_rows_say_what_their_correction_rests_on_and_what_they_took_to_train(main):
    rows = {row["method"]: row for row in main[0]["rows"]}
    assert {"bank", "experts", "labels", "velocity"} <= rows["pila"]["path_share"].keys()
    assert all(len(share) == 3 for share in rows["pila"]["path_share"].values())
    for name in (TRUE, "frozen", "plain-adapter", "prophy", "pila+prophy", "fine-tune"):
        assert rows[name]["path_share"] is None, name
    counted = {name: rows[name]["train_operations"] for name in NAMES}
    assert counted["frozen"] is None
    both = counted["pila"] + counted["prophy"]
    assert counted["pila+prophy"] == both > counted["pila"] > 0
    # These are no trainings, so none says what it took.
    assert rows["pila"]["train_core_minutes"] is None


def test_a_table_is_made_anew_from_its_clips(main, small):
    before = written(small["output"])
    found = report.without_nan(retabulate(small["output"]))
    after = written(small["output"])
    assert json.loads(json.dumps(found)) == after
    for one, other in zip(before["rows"], after["rows"], strict=True):
        assert one.keys() == other.keys()
        for name in ("error", "passed", "gap_closed", "scene_low", "worst_gap_closed", "quality"):
            # Kept figures have six digits.
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5, nan_ok=True), name
        for name in ("frechet", "cost_per_step", "train_operations", "path_share"):
            assert one[name] == other[name]
    assert (small["output"] / "differences.png").stat().st_size > 1000


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no results\.json beside a clips\.parquet"):
        retabulate(tmp_path)


def test_what_was_made_is_kept_and_shared_between_tables(main, small, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "experiments" / "laws"
    before = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    again, _ = run_table("main", **small | {"output": small["output"] / "again"})
    assert report.without_nan(again["rows"]) == report.without_nan(main[0]["rows"])
    assert {p: p.stat().st_mtime_ns for p in cache.iterdir()} == before
    # The frozen generator and PILA are the same clips in another table; only `cond` is new.
    run_table("reference", **small)
    assert len(list(cache.iterdir())) == len(before) + 3 * len(SEEDS)


def test_rows_are_compared_prompt_by_prompt(main):
    results, _ = main
    found = {(c["method"], c["against"]): c for c in results["comparisons"]}
    assert ("pila", "plain-adapter") in found
    assert ("pila", "pila") not in found
    errors = {row["method"]: row["error"][0] for row in results["rows"]}
    for (method, against), c in found.items():
        value, low, high, p = c["difference"]
        assert value == pytest.approx(errors[against] - errors[method], abs=1e-9)
        assert low <= value <= high
        assert 0 < p <= c["p_holm"] <= 1
        low, high = c["scene_interval"]
        assert low <= high
    assert set(found["pila", "frozen"]["by_category"]) == {"rigid_body", "collision", "thermal"}


def test_a_curve_is_drawn_where_rows_are_points(small):
    results, _ = run_table("top-k", **small, only=("frozen", "k-0", "k-4", "k-8"))
    rows = {row["method"]: row for row in results["rows"]}
    assert rows["k-8"]["x"] == 8
    costs = [rows[name]["cost_per_step"] for name in ("frozen", "k-0", "k-4", "k-8")]
    assert costs == sorted(costs)
    assert (small["output"] / "curve.png").stat().st_size > 1000


def test_development_prompts_are_others_and_land_elsewhere(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {k: v for k, v in small.items() if k != "output"}
    rows = {"only": ("frozen", "x2"), "seeds": SEEDS[:1]}
    chosen, text = run_table("adapter-scale", development=True, **{**options, **rows})
    held_out, _ = run_table("adapter-scale", **{**options, **rows})
    assert "6 development prompts" in text
    assert written(tmp_path / "out" / "experiments" / "adapter-scale")["rows"] != chosen["rows"]
    seeds = [
        {row["seed"] for row in read_clips(place.parent)}
        for place in sorted((tmp_path / "out" / "experiments").glob("*/clips.parquet"))
    ]
    assert len(seeds) == 2
    assert not seeds[0] & seeds[1]
    assert chosen["protocol"]["split"] == "development"
    assert held_out["protocol"]["split"] == "held-out"


def test_transfer_takes_the_larger_generator(small):
    options = {k: v for k, v in small.items() if k != "model"}
    results, _ = run_table("transfer", **options)
    assert results["protocol"]["model"].endswith("embedded-large-0/model")
    assert [row["method"] for row in results["rows"]][1:3] == ["frozen", "pila-long"]


def test_a_small_p_is_not_written_as_nought():
    assert table(["a", "p"], [[0.0, 0.0], [1.0, 0.0005], [None, math.nan]])[2:] == [
        "| 0.000 | < 0.001 |",
        "| 1.000 | 0.001 |",
        "|  |  |",
    ]


def test_every_row_of_the_registry_names_a_recipe_that_exists():
    from pila.recipes import RECIPES

    for experiment in EXPERIMENTS.values():
        assert set(experiment.recipes) <= set(RECIPES), experiment.name
        assert experiment.model_recipe is None or experiment.model_recipe in RECIPES
