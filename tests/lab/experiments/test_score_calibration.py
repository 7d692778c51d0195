"""What the plausibility score is worth: areas within scenes, limits from other scenes."""

import json
from typing import Any

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.experiments.score_calibration import pooled_area, run, tabulate
from pila.physics.layout import Category
from pila.score.calibration import read_calibration
from pila.score.steadiness import MEASURES


def rows(values, change=0.0):
    """Clips whose every score is the value, and every measure of change, too, with an offset."""
    return [
        {
            "seed": i,
            "scores": dict.fromkeys(Category, float(v)),
            "change": dict.fromkeys(MEASURES, float(v) + change),
        }
        for i, v in enumerate(values)
    ]


def test_an_area_is_taken_within_scenes():
    """Two scenes of different levels: pooled blindly, the easy one's broken clips look true."""
    true = [np.array([0.1, 0.2]), np.array([0.8, 0.9])]
    broken = [np.array([0.3, 0.4]), np.array([0.95, 1.0])]
    assert pooled_area(true, broken).value == 1.0
    assert pooled_area(broken, true).value == 0.0
    assert pooled_area(true, true).value == pytest.approx(0.5)


def test_near_chance_is_said():
    rng = np.random.default_rng(0)
    same: Any = {
        ("thrown_ball", None): rows(rng.random(40)),
        ("thrown_ball", "gravity"): rows(rng.random(40)),
    }
    found = tabulate(same)["categories"]["rigid_body"]
    assert found["near_chance"]
    assert found["transfer"] is None, "one scene has no others"
    apart = same | {("thrown_ball", "gravity"): rows(1 + rng.random(40))}
    assert not tabulate(apart)["categories"]["rigid_body"]["near_chance"]


def test_limits_come_from_the_other_scenes():
    found: Any = {
        ("thrown_ball", None): rows([0.1, 0.1]),
        ("thrown_ball", "gravity"): rows([0.3, 0.3]),
        ("spinning_bar", None): rows([0.2, 0.2]),
        ("spinning_bar", "x"): rows([0.4, 0.4]),
    }
    # thrown_ball's limit is 0.2: its true clips pass and its broken ones do not. spinning_bar's is
    # 0.1: its true clips fail too.
    category = tabulate(found)["categories"]["rigid_body"]
    assert category["transfer"] == pytest.approx((1.0 + 0.5) / 2)


def test_change_is_asked_in_scenes_that_the_weights_have_not_seen():
    rng = np.random.default_rng(0)
    scenes = ("thrown_ball", "hot_spot", "mirror")
    found: Any = {}
    for level, scene in enumerate(scenes):
        found[scene, None] = rows(rng.random(30), change=0.1 * level)
        found[scene, "broken"] = rows(rng.random(30), change=0.1 * level + 1)
    change = tabulate(found)["change"]
    assert change["area"][0] > 0.95
    assert not change["near_chance"]
    assert set(change["scenes"]) == set(scenes)
    assert set(change["categories"]) == {"rigid_body", "thermal", "optical"}
    # One scene in which more of it is *less* broken: its area is below chance, as no weight of its
    # own was asked, and weights of all scenes would have helped it.
    found["mirror", None], found["mirror", "broken"] = (
        found["mirror", "broken"],
        found["mirror", None],
    )
    assert tabulate(found)["change"]["scenes"]["mirror"] < 0.05


def test_clips_that_do_not_change_are_left_out():
    found: Any = {
        (s, v): rows(np.arange(4) + (v is not None))
        for s in ("thrown_ball", "mirror")
        for v in (None, "broken")
    }
    whole = tabulate(found)["change"]
    found["mirror", None].append({"seed": 9, "scores": dict.fromkeys(Category, 0), "change": None})
    assert tabulate(found)["change"] == whole
    assert tabulate({k: r for k, r in found.items() if k[0] == "mirror"})["change"] is None


def test_run_writes_and_keeps(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    how: Any = {
        "model": "embedded",
        "adapter": "embedded",
        "scenes": ["hot_spot"],
        "clips": 2,
        "size": 96,
        "processes": 1,
    }
    first = run(tmp_path / "out", **how)
    assert json.loads((tmp_path / "out" / "score.json").read_text()) == first
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "score").iterdir()}
    assert run(tmp_path / "out", **how)["categories"] == first["categories"]
    assert kept == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "score").iterdir()}
    assert "thermal" in (tmp_path / "out" / "score.md").read_text()
    with pytest.raises(InputError, match="clips is 1"):
        run(tmp_path / "out", **how | {"clips": 1})


def test_without_a_calibration_there_is_none(tmp_path):
    assert read_calibration(tmp_path / "none.json") == {}
