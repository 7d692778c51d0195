"""What the plausibility score is worth: areas within scenes, limits from other scenes."""

import json
from typing import Any

import numpy as np
import pytest

from pila.errors import InputError
from pila.evaluate.score_worth import pooled_area, read_calibration, run, tabulate
from pila.physics.layout import Category


def rows(values):
    return [{"seed": i, "scores": dict.fromkeys(Category, float(v))} for i, v in enumerate(values)]


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
