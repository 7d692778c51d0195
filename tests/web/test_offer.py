"""What a page offers is looked at before it is served, and names do not show the server's paths."""

import pytest

from pila.errors import InputError
from pila.web.offer import Limits, offer


def test_the_embedded_pair_alone():
    (name, model), *others = offer([], []).items()
    assert (name, model.place, others) == ("embedded", "embedded", [])
    assert model.adapters == {"embedded": "embedded"}
    assert (model.limits.side, model.limits.frames, model.limits.steps) == (64, 33, 50)


def test_each_model_has_the_adapters_that_fit_it(wan_folder, adapter_folder):
    offered = offer([str(wan_folder)], [str(adapter_folder)])
    assert list(offered) == [wan_folder.name, "embedded"]
    assert offered[wan_folder.name].adapters == {adapter_folder.name: str(adapter_folder)}
    assert offered["embedded"].adapters == {"embedded": "embedded"}
    assert offered[wan_folder.name].limits == Limits(steps=50, side=32, frames=9)


def test_limits_hold_for_every_model(wan_folder, adapter_folder):
    limits = Limits(steps=1, side=128, frames=41)
    offered = offer([str(wan_folder)], [str(adapter_folder)], limits)
    assert all(model.limits == limits for model in offered.values())
    assert all(model.own.steps == 1 for model in offered.values())


def test_refusals(wan_folder, adapter_folder, tmp_path):
    with pytest.raises(InputError, match="there is no model nowhere"):
        offer(["nowhere"], [])
    with pytest.raises(InputError, match="no adapter fits model"):
        offer([str(wan_folder)], [])
    with pytest.raises(InputError, match="fits none of the models embedded"):
        offer([], [str(adapter_folder)])
    with pytest.raises(InputError, match="fits none of the models"):
        offer([], ["none"])
    (tmp_path / wan_folder.name).symlink_to(wan_folder)
    twin = tmp_path / "deeper" / adapter_folder.name
    twin.mkdir(parents=True)
    with pytest.raises(InputError, match="would both be called"):
        offer([str(wan_folder)], [str(adapter_folder), str(twin)])
    with pytest.raises(InputError, match="raise --max-frames and --max-side"):
        offer([], [], Limits(side=48))


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
