"""The bank against true fields, on the embedded model."""

import json

import pytest
import torch

from pila.adapter import PilaAdapter, PlainAdapter
from pila.errors import InputError
from pila.lab.experiments import bank
from pila.lab.experiments.run import run_bank
from pila.physics import Slot
from pila.pipelines.locate import find_model


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "bank"))


def fields():
    torch.manual_seed(0)
    true = torch.randn(1, 2, 5, 6, 6)
    return true, torch.ones(1, 1, 5, 6, 6)


def test_a_proxy_of_another_scale_sign_and_offset_agrees():
    true, mask = fields()
    found = bank.agreement({Slot.VELOCITY: 3 - 2 * true}, {Slot.VELOCITY: (true, mask)})
    assert found[Slot.VELOCITY] == pytest.approx(1, abs=1e-5)


def test_a_constant_explains_nothing_and_a_constant_truth_asks_nothing():
    true, mask = fields()
    constant = torch.ones_like(true)
    assert bank.agreement({Slot.VELOCITY: constant}, {Slot.VELOCITY: (true, mask)}) == {
        "velocity": pytest.approx(0, abs=1e-6)
    }
    assert bank.agreement({Slot.VELOCITY: true}, {Slot.VELOCITY: (constant, mask)}) == {}


def test_only_the_mask_counts():
    true, mask = fields()
    mask[..., 3:] = 0
    proxy = true.clone()
    proxy[..., 3:] = torch.randn(1, 2, 5, 6, 3)
    found = bank.agreement({Slot.VELOCITY: proxy}, {Slot.VELOCITY: (true, mask)})
    assert found["velocity"] == pytest.approx(1, abs=1e-5)


def test_the_best_fit_leaves_what_r2_does_not_explain():
    true, mask = fields()
    proxy = 5 - 0.5 * true + torch.randn_like(true)
    fitted = bank.best_fit(proxy, true, mask)
    left = (true - fitted).square().mean((2, 3, 4)).sum()
    spread = (true - true.mean((2, 3, 4), keepdim=True)).square().mean((2, 3, 4)).sum()
    r2 = bank.agreement({Slot.VELOCITY: proxy}, {Slot.VELOCITY: (true, mask)})["velocity"]
    assert 1 - left / spread == pytest.approx(r2, abs=1e-4)
    assert 0.05 < r2 < 0.6


def small_model(tmp_path, scenes):
    """The embedded model, said to know two scenes only."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in find_model("embedded").iterdir():
        if path.name != "pila.json":
            (folder / path.name).symlink_to(path)
    own = json.loads((find_model("embedded") / "pila.json").read_text())
    (folder / "pila.json").write_text(json.dumps(own | {"scenes": scenes, "height": 48}))
    return folder


def test_a_table_of_an_untrained_adapter(tmp_path):
    model = small_model(tmp_path, ["thrown_ball", "hot_spot"])
    torch.manual_seed(0)
    PilaAdapter(latent_channels=16, text_dim=64, hidden_width=16).save_pretrained(tmp_path / "one")
    results = run_bank(
        output=tmp_path / "out",
        model=str(model),
        adapters=[f"one={tmp_path / 'one'}"],
        clips=2,
        processes=1,
    )
    for level in results["r2"]["one"]["by_level"].values():
        assert {"velocity", "displacement", "temperature"} <= level.keys()
        assert all(0 <= low <= value <= high <= 1 for value, low, high in level.values())
    shown = (tmp_path / "out/bank.md").read_text()
    assert "| velocity |" in shown
    assert "not Wan" in shown
    assert json.loads((tmp_path / "out/bank.json").read_text())["r2"] == results["r2"]


def test_what_has_no_bank_is_refused(tmp_path):
    pila = PilaAdapter(latent_channels=16, text_dim=64, hidden_width=16)
    PlainAdapter.matching(pila).save_pretrained(tmp_path / "plain")
    with pytest.raises(InputError, match="only a PilaAdapter has a bank"):
        run_bank(output=tmp_path, adapters=[f"plain={tmp_path / 'plain'}"])
    with pytest.raises(InputError, match="processes is 0"):
        run_bank(output=tmp_path, processes=0)
    with pytest.raises(InputError, match="at least 2 clips"):
        bank.run({}, tmp_path, clips=1)
