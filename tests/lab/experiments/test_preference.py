"""Preference errors on made-up losses, on a generator that knows the truth, and on real ones."""

import numpy as np
import pytest
import torch

from pila.lab.experiments.clip_jobs import blocks
from pila.lab.experiments.pairs import LEVELS, kinds_of
from pila.lab.experiments.preference import errs, losses, preference
from pila.lab.experiments.sampling import Method, Protocol
from pila.lab.world import SCENES


def rows(scene, seeds, valid, invalid):
    """Losses that are the same at all levels; `invalid` by kind."""
    kinds = {kind: [invalid.get(kind, 9.0)] * len(LEVELS) for kind in kinds_of(scene)}
    return [
        {"scene": scene, "seed": s, "losses": {"true": [valid] * len(LEVELS)} | kinds}
        for s in seeds
    ]


def test_a_tie_is_half_an_error():
    assert errs(np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 2.0])).tolist() == [1, 0.5, 0]


def test_an_error_is_a_valid_clip_of_larger_loss():
    scene = "thrown_ball"
    some = SCENES[scene].violations
    found = preference(rows(scene, range(4), 1.0, {some[0]: 0.5, some[1]: 1.0, "static": 0.1}))
    assert found["by_prompt"].mean() == pytest.approx(1.5 / len(some))
    assert found["by_violation"][scene][some[0]] == 1
    assert found["by_violation"][scene][some[1]] == 0.5
    assert found["by_violation"][scene][some[2]] == 0
    assert found["by_control"] == {"static": 1, "reversed": 0, "half-speed": 0}
    assert found["flow_loss"] == [1.0] * 10


def test_the_mean_is_over_pairs_of_scene_and_violation():
    one, two = "thrown_ball", "dyed_vortex"
    count = {s: len(SCENES[s].violations) for s in (one, two)}
    assert count[one] != count[two], "the test needs scenes that differ"
    wrong = dict.fromkeys(SCENES[one].violations, 0.0)
    found = preference(rows(one, range(3), 1.0, wrong) + rows(two, range(3), 1.0, {}))
    assert found["by_prompt"].mean() == pytest.approx(count[one] / (count[one] + count[two]))


def test_levels_decide_by_themselves_and_together_by_their_mean():
    lost = {k: [2.0] * 9 + [0.0] for k in kinds_of("hot_spot")}
    row = {"scene": "hot_spot", "seed": 0, "losses": {"true": [1.0] * 10} | lost}
    found = preference([row])
    assert found["by_level"] == [0.0] * 9 + [1.0]
    assert found["by_prompt"].tolist() == [0.0]


def test_training_seeds_are_averaged():
    wrong = dict.fromkeys(SCENES["hot_spot"].violations, 0.0)
    both = rows("hot_spot", range(2), 1.0, wrong) + rows("hot_spot", range(2), 1.0, {})
    found = preference(both)
    assert len(found["by_prompt"]) == 2
    assert found["by_prompt"].tolist() == [0.5, 0.5]


def test_more_clips_keep_whole_jobs():
    assert blocks(9)[:2] == blocks(8)
    assert sum(map(len, blocks(9))) == 9


def test_real_losses_are_the_flow_loss_and_noise_is_shared(
    world_folder, runs, tmp_path, monkeypatch
):
    from pila.lab.experiments.pairs import FIRST_SEED, noise, pairs
    from pila.lab.experiments.velocity import text_of
    from pila.pipelines.locate import load_pipeline

    monkeypatch.setenv("PILA_CACHE", str(tmp_path))
    protocol = Protocol(model=str(world_folder), prompts=1, scenes_only=("hot_spot",))
    frozen = Method(name="frozen")
    adapted = Method(name="pila", adapter=str(runs / "embedded-0" / "adapter"))
    off = Method(name="off", adapter=adapted.adapter, adapter_scale=0.0)
    made = losses([frozen, adapted, off], protocol, 1, processes=1)
    by_method = {row["method"]: row["losses"] for row in made}
    assert by_method["off"] == by_method["frozen"]
    assert by_method["pila"] != by_method["frozen"]
    assert set(by_method["frozen"]) == {"true", *kinds_of("hot_spot")}
    # One level by hand: |v - (eps - x_0)|^2 at x_t = (1 - s) x_0 + s eps.
    pipe = load_pipeline(str(world_folder), None)
    (pair,) = pairs(protocol, "hot_spot", (FIRST_SEED,), pipe.vae)
    x_0 = torch.from_numpy(pair["latents"]["true"])[None]
    eps = noise(x_0.shape[1:], FIRST_SEED, 3)[None]
    s = torch.tensor([LEVELS[3]])
    with torch.no_grad():
        text = text_of(pipe, [pair["caption"]], 32)
        x_t = (1 - s) * x_0 + s * eps
        v = pipe.transformer(x_t, s * 1000, text, return_dict=False)[0]
    expected = (v - (eps - x_0)).square().mean().item()
    assert by_method["frozen"]["true"][3] == pytest.approx(expected, rel=1e-4)
