"""Preference, phyworld, Physics-IQ, router, maps and calibration end to end on tiny models."""

import json
from pathlib import Path

import pytest
from tests.lab.experiments.conftest import SEEDS, written

from pila.errors import InputError
from pila.lab.experiments.clips import CONTROLS, TRUE
from pila.lab.experiments.phyworld import WORLDS
from pila.lab.experiments.run import run_every_table, run_table
from pila.lab.experiments.tables import EXPERIMENTS
from pila.physics.layout import Category, Slot


def rows_of(results):
    return {row["method"]: row for row in results["rows"]}


def test_preference(small):
    results, text = run_table("preference", **small, only=("frozen", "fine-tune", "pila", "lora"))
    rows = rows_of(results)
    assert list(rows) == ["frozen", "fine-tune", "pila", "lora"]
    for row in rows.values():
        assert 0 <= row["ppe_low"] <= row["ppe"] <= row["ppe_high"] <= 1
        assert row["prompts"] == 6
        assert set(row["by_control"]) == set(CONTROLS)
        assert all(0 <= x <= 1 for kinds in row["by_violation"].values() for x in kinds.values())
    assert rows["frozen"]["flow_loss"] != rows["lora"]["flow_loss"]
    assert rows["pila"]["seeds"] == list(SEEDS)
    assert "| thrown ball | gravity off |" in text
    assert written(small["output"])["rows"] == json.loads(json.dumps(results["rows"]))
    for picture in ("preference.png", "flow_loss.png"):
        assert (small["output"] / picture).exists()


def test_phyworld_in_and_out_of_distribution(small):
    results, text = run_table("phyworld", **small | {"prompts": 8}, only=("frozen", "pila-long"))
    rows = rows_of(results)
    assert tuple(rows) == (TRUE, "frozen", "pila-long", *CONTROLS)
    worlds = [w for w in WORLDS if w != "gliding_puck"]  # the model knows two of the three
    for within in ("in", "out"):
        assert list(rows[TRUE][within]) == worlds
        # A still ball misses the whole velocity; the decoded one does not.
        true, still = (rows[m][within]["thrown_ball"] for m in (TRUE, "static"))
        assert true["velocity"][0] < still["velocity"][0]
        assert true["lost"] <= still["lost"] < 1  # small balls outside the range are lost at 48 px
    assert rows["pila-long"]["seeds"] == list(SEEDS)
    assert "thrown ball, out of distribution" in text
    assert results["protocol"]["given_frames"] == 2


def test_physics_iq_and_pisa(small):
    results, text = run_table("physics-iq", **small, only=("frozen", "pila-long"))
    rows = rows_of(results)
    assert rows[TRUE]["iq"] == pytest.approx(100)
    assert rows["static"]["st"][0] < rows[TRUE]["st"][0]
    assert 0 < rows[TRUE]["acting"] < rows[TRUE]["prompts"] == 6  # slow heat has no action
    assert rows["frozen"]["iq"] < 100
    assert rows["frozen"]["mse"][0] > rows[TRUE]["mse"][0]
    assert set(rows["pila-long"]["by_category"]) == {"rigid_body", "collision", "thermal"}
    compared = {(c["method"], c["against"], c["measure"]) for c in results["comparisons"]}
    # A difference takes two prompts; at 48 px a single one has action for Physics-IQ's masks.
    assert {("pila-long", "frozen", "iou"), ("pila-long", "frozen", "lost")} <= compared
    assert all(held == "frozen" and method == "pila-long" for method, held, _ in compared)
    assert "first 2 latent frames" in text


def test_router(small):
    results, text = run_table("router", **small)
    rows = rows_of(results)
    told, untold = rows["pila"], rows["pila-untold"]
    order = [c.value for c in Category]
    for row in rows.values():
        assert set(row["weights"]) == {"rigid_body", "collision", "thermal"}
        for weights in row["weights"].values():
            assert list(weights) == order
            assert sum(weights.values()) == pytest.approx(1, abs=1e-4)
        assert set(row["slots"]) == {s.value for s in Slot}
        assert len(row["by_level"]["flow"]) == 10
    # A prior on the logits: what the labels name gets more weight, in the same adapter.
    assert told["own_weight"] > untold["own_weight"]
    assert told["first"] >= untold["first"]
    assert (small["output"] / "routing-pila.png").exists()
    assert "own weight" in text


def test_a_gate_table_brings_its_noise_levels(small):
    results, text = run_table("gate", **small, only=("frozen", "none", "learned"))
    assert set(rows_of(results)) >= {"frozen", "none", "learned"}
    inside = rows_of(written(small["output"], "probe"))
    assert list(inside) == ["none", "learned"]
    assert inside["none"]["by_level"]["gate"] == [1.0] * 10
    assert "Gate, by noise level" in text
    assert (small["output"] / "levels.png").exists()


def test_calibration_reads_the_bank_too(small):
    results, text = run_table("calibration", **small)
    assert "pila-calibrated" in rows_of(results)
    read = json.loads((small["output"] / "bank.json").read_text())["r2"]
    assert set(read) == {
        f"{m}-{s}" for m in ("pila", "pila-calibrated", "pila-held") for s in SEEDS
    }
    assert "The bank against true fields" in text


def test_expert_maps(small):
    pytest.importorskip("pila.lab.world.activity_maps")
    results, text = run_table("expert-maps", **small)
    rows = rows_of(results)
    assert list(rows) == ["pila", "pila-calibrated"]
    for row in rows.values():
        assert set(row["by_category"]) <= {"rigid_body", "collision", "thermal"}
        for name in ("area", "iou"):
            value, low, high = row[name]
            assert 0 <= low <= value <= high <= 1
            assert row[f"{name}_above"][0] == pytest.approx(value - row[f"{name}_chance"])
    assert "against true activity" in text


def test_expert_maps_take_two_clips(small):
    with pytest.raises(InputError, match="clips is 1; use at least 2"):
        run_table("expert-maps", **small | {"clips": 1})


@pytest.mark.slow
def test_all_writes_every_table(small):
    pytest.importorskip("pila.lab.world.activity_maps")
    options = small | {"model": None, "seeds": (0,), "prompts": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pila.pipelines.locate.EMBEDDED_MODEL", Path(small["model"]))
        found = run_every_table(**options)
    assert list(found) == list(EXPERIMENTS)
    for name, (results, text) in found.items():
        folder = small["output"] / name
        assert written(folder)["experiment"] == name
        assert results["rows"]
        assert text.startswith("# ")
        assert (folder / "results.csv").exists()
        assert list(folder.glob("*.png")), name
