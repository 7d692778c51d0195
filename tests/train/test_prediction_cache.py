"""Predictions that are kept are those that would be made, and are made once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pila.errors import InputError
from pila.files import cache_root
from pila.recipes import RECIPES
from pila.train.couple import CoupleTask
from pila.train.observe import ObserveTask
from pila.train.prediction_cache import FixedDraws, KeptPredictions
from pila.train.step_rng import StepRng


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "kept"))


def config(stage="couple", **changes):
    recipe = RECIPES["embedded"]()[stage]
    # Batches of other sizes round alike.
    changes = {"backbone_precision": "no"} | changes
    return replace(
        recipe,
        optim=replace(recipe.optim, steps=4, batch=4, warmup=1, precision="no"),
        world=replace(recipe.world, clips=16, scenes=("thrown_ball", "hot_spot"), violated=0.0),
        held_out=0.0,
        **changes,
    )


def some(step):
    return StepRng(seed=0, step=step, batch=4, rows=range(4))


def test_draws_of_a_clip_are_its_own_and_spread_evenly():
    indices = torch.arange(64).repeat_interleave(4)
    which = torch.arange(4).repeat(64)
    fixed = FixedDraws(0, indices, which, 4)
    u = fixed.uniform()
    assert np.allclose(np.diff(np.sort(u.numpy())), 1 / 256, atol=6e-3)
    assert len({round(x, 6) for x in u.tolist()}) == 256
    one = FixedDraws(0, indices[5:6], which[5:6], 4)
    assert torch.equal(one.normal((2, 3))[0], fixed.normal((2, 3))[5])
    assert 0.03 < fixed.dropped(0.1).float().mean() < 0.2


def test_what_is_kept_is_what_is_predicted():
    task = CoupleTask(config(noise_draws=2))
    calls = []
    task.frozen.parts[0].register_forward_hook(lambda *_: calls.append(1))
    batch, first = task.predicted(some(2))
    made = len(calls)
    assert made >= 1
    again, second = task.predicted(some(2))
    assert len(calls) == made  # read this time
    assert torch.equal(first.v, second.v)
    assert torch.equal(batch["latents"], again["latents"])
    noise = first.target + batch["latents"]
    fresh = task.frozen.predict(batch["latents"], noise, first.sigma, batch["text"])
    torch.testing.assert_close(first.v, fresh.v, rtol=2e-3, atol=2e-3)  # half precision on disk
    torch.testing.assert_close(first.x_t, fresh.x_t)


def test_another_task_reads_what_is_there_and_another_generator_does_not():
    CoupleTask(config(noise_draws=3)).predicted(some(1))
    folders = set((cache_root() / "predictions").iterdir())
    task = CoupleTask(config(noise_draws=3))
    calls = []
    task.frozen.parts[0].register_forward_hook(lambda *_: calls.append(1))
    task.predicted(some(1))
    assert not calls
    assert set((cache_root() / "predictions").iterdir()) == folders
    CoupleTask(config(noise_draws=3, seed=1))
    assert len(set((cache_root() / "predictions").iterdir())) == len(folders) + 1


def test_draws_that_would_be_seen_too_often_are_drawn_anew(caplog):
    of_few = config(noise_draws=2)
    task = CoupleTask(replace(of_few, optim=replace(of_few.optim, steps=33)))
    assert task.kept is None
    assert "16 clips with 2 draws of noise each would be seen 4 times, and learnt" in caplog.text
    first, second = (task.predicted(some(step))[1] for step in (1, 1 + 10**6))
    assert not torch.equal(first.v, second.v)
    assert CoupleTask(of_few).kept is not None


def test_stages_whose_levels_change_are_refused():
    with pytest.raises(InputError, match="noise_draws is 2 in observe"):
        ObserveTask(config("observe", noise_draws=2))
    with pytest.raises(InputError, match="noise_draws is 0"):
        config(noise_draws=0)


def test_no_space_is_said_before_anything_is_made():
    with pytest.raises(InputError, match="lower noise_draws"):
        KeptPredictions("huge", 10**9, (16, 9, 12, 12))
