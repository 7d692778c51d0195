"""Router statistics, slots and noise levels from made-up rows, and the rows of a real adapter."""

import numpy as np
import pytest
import torch

from pila.lab.experiments.pairs import LEVELS
from pila.lab.experiments.probe import (
    by_level,
    by_prompt,
    correlation,
    probed,
    routed,
    routing,
    slots,
    spread_of_weight,
)
from pila.lab.experiments.sampling import Method, Protocol
from pila.lab.world import SCENES
from pila.physics.layout import Category, Slot

ORDER = list(Category)


def row(scene, seed, weights, **figures):
    given = {"sigma": LEVELS[0], "flow": 0.5, "flow_frozen": 1.0, "correction": 0.1, "gate": 1.0}
    std = {s.value: 2.0 for s in Slot}
    return {"scene": scene, "seed": seed, "weights": weights, "std": std} | given | figures


def on(*categories):
    return [1 / len(categories) if c in categories else 0.0 for c in ORDER]


def test_a_router_that_knows_and_one_that_guesses():
    knows = [row(s, 0, on(*SCENES[s].categories)) for s in ("hot_spot", "ball_collision")]
    found = routing(knows)
    assert found["own"].tolist() == pytest.approx([1, 1])
    assert found["first"].tolist() == [1, 1]
    assert found["chance"].tolist() == [2 / 8, 1 / 8]  # ball_collision comes first, with two
    guesses = routing([row(s, 0, [1 / 8] * 8) for s in ("hot_spot", "ball_collision")])
    assert guesses["own"].tolist() == pytest.approx(guesses["chance"].tolist())
    wrong = routing([row("hot_spot", 0, on(Category.FLUID))])
    assert wrong["own"].tolist() == wrong["first"].tolist() == [0]


def test_weights_are_means_given_prompts_of_a_category():
    rows = [
        row("hot_spot", 0, on(Category.THERMAL)),
        row("hot_spot", 1, on(Category.FLUID)),
        row("ball_collision", 0, on(Category.COLLISION)),
    ]
    weights = routing(rows)["weights"]
    assert set(weights) == {"thermal", "rigid_body", "collision"}
    assert weights["thermal"]["thermal"] == weights["thermal"]["fluid"] == 0.5
    assert weights["rigid_body"] == weights["collision"]  # that scene is of both


def test_levels_are_ratios_of_means_and_slots_are_means():
    rows = [
        row("hot_spot", s, on(Category.THERMAL), sigma=level, flow=f, flow_frozen=g)
        for level in LEVELS
        for s, f, g in ((0, 1.0, 1.0), (1, 1.0, 3.0))
    ]
    assert by_level(rows)["flow"] == pytest.approx([0.5] * 10)
    assert slots(rows) == {s.value: 2.0 for s in Slot}
    assert slots([row("hot_spot", 0, None, std=None)]) == {}


def test_a_plain_adapter_has_levels_and_neither_router_nor_bank(
    world_folder, runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path))
    protocol = Protocol(model=str(world_folder), prompts=1, scenes_only=("hot_spot",))
    plain = Method(name="plain", adapter=str(runs / "ablation-plain-adapter-0" / "adapter"))
    pila = Method(name="pila", adapter=str(runs / "embedded-0" / "adapter"))
    rows = probed([Method(name="frozen"), plain, pila], protocol, 1, processes=1)
    assert [r["sigma"] for r in rows] == [*LEVELS, *LEVELS]
    mine = [r for r in rows if r["method"] == "plain"]
    assert len(routing(mine)["own"]) == 0
    assert slots(mine) == {}
    assert all(r["correction"] > 0 for r in rows)
    frozen = {r["sigma"]: r["flow_frozen"] for r in mine}
    assert all(r["flow_frozen"] == pytest.approx(frozen[r["sigma"]]) for r in rows)


def test_a_collapsed_router_uses_one_expert_and_a_fair_one_all():
    collapsed = [row("hot_spot", s, on(Category.FLUID)) for s in range(3)]
    found = spread_of_weight(collapsed)
    assert found["effective"] == found["effective_overall"] == pytest.approx(1)
    assert found["use"]["fluid"] == found["selected"]["fluid"] == 1
    fair = [row("hot_spot", k, on(c)) for k, c in enumerate(ORDER)]
    found = spread_of_weight(fair)
    assert (found["effective"], found["effective_overall"]) == pytest.approx((1, 8))
    assert set(found["use"].values()) == {1 / 8}


def test_experts_that_are_used_together_correlate():
    both, other = on(Category.THERMAL, Category.PHASE_CHANGE), on(Category.FLUID)
    rows = [row("hot_spot", 0, both), row("hot_spot", 1, other), row("hot_spot", 2, both)]
    found = correlation(rows)
    thermal, phase, fluid, optical = (
        ORDER.index(c)
        for c in (Category.THERMAL, Category.PHASE_CHANGE, Category.FLUID, Category.OPTICAL)
    )
    assert found[thermal, phase] == pytest.approx(1)
    assert found[thermal, fluid] == pytest.approx(-1)
    assert np.isnan(found[optical]).all()  # never used: nothing goes with it
    assert by_prompt(rows).shape == (3, 8)


def test_prompts_at_hand_are_routed_as_the_whole_adapter_routes_them(runs):
    from pila.adapter import PilaAdapter, pool_text

    folder = runs / "embedded-0" / "adapter"
    adapter = PilaAdapter.from_pretrained(folder, use_safetensors=True).eval()
    torch.manual_seed(0)
    text = torch.randn(5, adapter.config["text_dim"])
    flags = torch.zeros(8, dtype=torch.bool)
    flags[ORDER.index(Category.THERMAL)] = True
    for told in (True, False):
        rows = routed(adapter, text, flags, told=told, scene="cache", seed=3)
        assert [r["sigma"] for r in rows] == list(LEVELS)
        x = torch.randn(1, 16, 3, 6, 6)
        level = torch.tensor(LEVELS[:1])
        labels = (flags & told)[None]
        out = adapter(x, x, level, pool_text(text[None]), labels, return_details=True)
        assert rows[0]["weights"] == pytest.approx(out.route.weights[0].tolist(), abs=1e-6)
        assert routing(rows)["weights"].keys() == {"thermal"}
