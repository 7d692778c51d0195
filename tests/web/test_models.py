"""What a page offers is looked at before it is served, and names do not show the server's paths."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from pila.errors import InputError
from pila.generate.settings_file import by_hub_ids
from pila.web.models import Limits, served_models
from pila.web.schema import asked, to_request


def test_the_embedded_pair_alone():
    (name, model), *others = served_models([], []).items()
    assert (name, model.place, others) == ("embedded", "embedded", [])
    assert model.adapters == {"embedded": "embedded"}
    assert (model.limits.side, model.limits.frames, model.limits.steps) == (64, 33, 50)


def test_each_model_has_the_adapters_that_fit_it(wan_folder, adapter_folder):
    models = served_models([str(wan_folder)], [str(adapter_folder)])
    assert list(models) == [wan_folder.name, "embedded"]
    assert models[wan_folder.name].adapters == {adapter_folder.name: str(adapter_folder)}
    assert models["embedded"].adapters == {"embedded": "embedded"}
    assert models[wan_folder.name].limits == Limits(steps=50, side=32, frames=9)


def in_the_hubs_cache(cache: Path, hub_id: str, folder: Path) -> Path:
    """A copy of a folder where a download of that id would lie."""
    repository = cache / "--".join(("models", *hub_id.split("/")))
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    return shutil.copytree(folder, repository / "snapshots" / ("a" * 40))


def test_the_hub_is_asked_at_the_start_alone(
    wan_folder, adapter_folder, plain_adapter_folder, tmp_path, monkeypatch
):
    """And what was made names ids, which mean the same elsewhere, not folders of the cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = in_the_hubs_cache(tmp_path, "me/wan", wan_folder)
    adapter = in_the_hubs_cache(tmp_path, "me/heat", adapter_folder)
    inside = in_the_hubs_cache(tmp_path, "me/run", tmp_path / "models--me--heat")
    shutil.copytree(plain_adapter_folder, inside / "adapter")
    asked_for = []
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda i, **k: asked_for.append(i) or real(i, **k)
    )
    models = served_models(["me/wan"], ["me/heat", "me/run"])
    assert sorted(asked_for) == ["me/heat", "me/run", "me/wan"]
    assert list(models) == ["me/wan", "embedded"]
    assert models["me/wan"].place == str(model)
    assert models["me/wan"].adapters == {"me/heat": str(adapter), "me/run": f"{inside}/adapter"}

    request = to_request(asked({"prompt": "a ball"}), models, output=Path("o.mp4"), device="cpu")
    assert (request.model, request.adapter) == (str(model), str(adapter))
    assert by_hub_ids(request.model) == "me/wan"
    assert by_hub_ids(f"{adapter}+{inside}/adapter") == "me/heat+me/run"
    (tmp_path / "models--me--wan" / "refs" / "main").write_text("b" * 40)
    assert by_hub_ids(request.model) == str(model), "the id would give another by now"
    for other in ("embedded", "none", "me/wan", "embedded+none", str(wan_folder), "runs/x"):
        assert by_hub_ids(other) == other


def test_limits_hold_for_every_model(wan_folder, adapter_folder):
    limits = Limits(steps=1, side=128, frames=41)
    models = served_models([str(wan_folder)], [str(adapter_folder)], limits)
    assert all(model.limits == limits for model in models.values())
    assert all(model.own.steps == 1 for model in models.values())


def test_refusals(wan_folder, adapter_folder, tmp_path):
    with pytest.raises(InputError, match="there is no model nowhere"):
        served_models(["nowhere"], [])
    with pytest.raises(InputError, match="no adapter fits model"):
        served_models([str(wan_folder)], [])
    with pytest.raises(InputError, match="fits none of the models embedded"):
        served_models([], [str(adapter_folder)])
    with pytest.raises(InputError, match="fits none of the models"):
        served_models([], ["none"])
    (tmp_path / wan_folder.name).symlink_to(wan_folder)
    twin = tmp_path / "deeper" / adapter_folder.name
    twin.mkdir(parents=True)
    with pytest.raises(InputError, match="would both be called"):
        served_models([str(wan_folder)], [str(adapter_folder), str(twin)])
    with pytest.raises(InputError, match="raise --max-frames and --max-side"):
        served_models([], [], Limits(side=48))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "max_steps is 0"),
        ({"steps": 1001}, "use 1 to 1000"),
        ({"side": 8}, "max_side is 8"),
        ({"frames": 1}, "max_frames is 1"),
    ],
)
def test_limits_have_bounds(values, message):
    with pytest.raises(InputError, match=message):
        Limits(**values)
