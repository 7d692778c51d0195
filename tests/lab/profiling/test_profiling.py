"""`pila profile` at sizes that take seconds: what it counts, continues and writes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pila import provenance
from pila.cli import run as cli
from pila.errors import InputError
from pila.lab.profiling import inference
from pila.lab.profiling import roofline as floors
from pila.lab.profiling.clock import Times, interleaved
from pila.lab.profiling.models import Size, build_denoiser, denoiser_config
from pila.lab.profiling.profile import ProfileRequest, _added, describe, run

CPU = torch.device("cpu")
FIXED = {
    "device",
    "model",
    "resolution",
    "frames",
    "top_k",
    "frozen_ms",
    "adapter_ms",
    "overhead",
    "memory_gib",
}
"""What other tools read a row by."""


def test_rows_have_the_fixed_form_and_add_up(tmp_path, monkeypatch):
    request = ProfileRequest(top_k=(0, 4), repeats=1, parts=True, device="cpu", output=tmp_path)
    first = run(request)
    rows = [row for row in first["rows"] if row["kind"] == "inference"]
    assert [row["top_k"] for row in rows] == [0, 4]
    for row in rows:
        assert set(row) >= FIXED
        assert row["overhead"] == pytest.approx(row["adapter_ms"] / row["frozen_ms"])
    assert rows[1]["adapter_flops"] > rows[0]["adapter_flops"], "experts cost arithmetic"
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(provenance, "commit", lambda: "later")
    again = run(request)
    assert json.loads(path.read_text())["rows"] == again["rows"], "rows of a day share a file"
    assert again["rows"][: len(first["rows"])] == first["rows"], "and keep what they came from"
    later = again["rows"][len(first["rows"]) :]
    assert len(later) == len(first["rows"])
    assert {row["commit"] for row in later} == {"later"}
    for row in again["rows"]:
        assert row["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


def test_rows_of_older_files_keep_what_the_file_says_of_them(tmp_path):
    about = {"device": "a b", "versions": {"torch": "2.6"}}
    first = _added(tmp_path, about, [])
    Path(first["file"]).write_text(json.dumps(about | {"commit": "old", "rows": [{"top_k": 4}]}))
    old, new = _added(tmp_path, about, [{"top_k": 8}])["rows"]
    assert old == {"top_k": 4, "commit": "old", "versions": {"torch": "2.6"}}
    assert new == {"top_k": 8, "commit": provenance.commit(), **about}


def test_other_accelerators_are_waited_for_and_have_a_name_of_their_own(monkeypatch):
    told = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: told.append("wait"))
    metal = torch.device("mps")
    interleaved({"a": lambda: told.append("run")}, device=metal, repeats=1)
    assert told == ["wait", "run", "wait"] * 3
    told.clear()
    assert floors._rate(lambda: told.append("run"), metal, 0.0) >= 0
    assert told[:2] == ["run", "wait"]
    assert describe(metal)["device"].startswith("mps of ")
    assert describe(metal)["device"] != describe(CPU)["device"]
    told.clear()
    interleaved({"a": lambda: None}, device=CPU, repeats=1)
    assert told == []


def test_companions_and_tiles_have_rows_of_their_own(tmp_path):
    request = ProfileRequest(
        top_k=(0, 4),
        repeats=1,
        tile=8,
        beside=("first-block-cache", "lora"),
        device="cpu",
        output=tmp_path,
    )
    rows = run(request)["rows"]
    assert [(row["beside"], row["top_k"]) for row in rows] == [
        (None, 0),
        (None, 4),
        ("first-block-cache", 4),
        ("lora", 4),
    ]
    assert {row["tile"] for row in rows} == {8}
    for row in rows:
        assert row["adapter_ms"] > 0
    with pytest.raises(InputError, match="beside has 'turbo'; choose from compile, fp8"):
        run(ProfileRequest(beside=("turbo",), output=tmp_path))
    with pytest.raises(InputError, match="group-offload needs an accelerator; pass --device"):
        run(ProfileRequest(beside=("group-offload",), device="cpu", repeats=1, output=tmp_path))


def test_fewer_layers_are_continued_to_the_full_depth():
    rows = inference.measure(
        "embedded",
        Size(height=96, width=96, frames=33),
        device=CPU,
        dtype=torch.float32,
        top_ks=(0,),
        repeats=2,
        layers=3,
    )
    (row,) = rows
    depth = denoiser_config("embedded")["num_layers"]
    assert (row["layers"], row["layers_of_model"]) == (3, depth)
    assert row["frozen_ms"] > row["frozen_measured_ms"][0] * 0.5


def test_the_floor_counts_a_layer_by_hand():
    layer = nn.Linear(3, 5, bias=False)
    x = torch.randn(7, 3)
    limits = floors.Ceilings(flops=1e3, bandwidth=1e3)
    found = floors.floor(layer, lambda: layer(x), limits)
    assert found.flops == 2 * 7 * 3 * 5
    assert found.bytes == 4 * (7 * 3 + 7 * 5 + 3 * 5)
    assert found.milliseconds == pytest.approx(found.bytes)  # more than its 210 operations


def test_things_are_timed_in_turns():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    found = interleaved(runs, device=CPU, repeats=3)
    assert order == ["a", "b"] * 5
    assert set(found) == {"a", "b"}
    assert Times.of([3.0, 1.0, 2.0]).median == 2.0
    assert Times.of([4.0]) == Times(median=4.0, low=4.0, high=4.0)


@pytest.mark.parametrize(
    ("name", "parameters"), [("wan2.1-1.3b", 1_418_996_800), ("wan2.2-a14b", 14_288_491_584)]
)
def test_denoisers_are_of_the_real_size(name, parameters):
    """As the published weights count: 1.42 and 14.29 thousand million."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        model: Any = WanTransformer3DModel.from_config(denoiser_config(name))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_diffusers_keeps_in_float32_stays_so():
    model: Any = build_denoiser("embedded", device=CPU, dtype=torch.bfloat16)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
    assert model.blocks[0].scale_shift_table.dtype == torch.float32


def test_training_and_command_line(tmp_path, capsys):
    code = cli(
        [
            *("profile", "embedded", "--training", "--top-k", "4", "--repeats", "1"),
            *("--device", "cpu", "--output", str(tmp_path)),
        ]
    )
    said = capsys.readouterr().out
    assert code == 0
    assert "training:" in said
    assert "inference:" in said
    (path,) = tmp_path.iterdir()
    row = json.loads(path.read_text())["rows"][-1]
    assert row["kind"] == "training"
    assert row["ratio"] == pytest.approx(row["step_ms"] / row["frozen_ms"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"top_k": (9,)}, "top_k is 9"),
        ({"top_k": ()}, "at least one value"),
        ({"repeats": 0}, "repeats is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"layers": 9}, "layers is 9; embedded has 1 to 8"),
        ({"layers": 1}, "layers is 1, from which the 8 of embedded cannot be told; use 2 to 8"),
        ({"resolution": ("480",)}, "write height x width"),
        ({"resolution": ("100x96",)}, "height is 100; use a multiple of 16"),
        ({"frames": 8}, "frames is 8"),
        ({"batch": (0,)}, "batch is 0"),
        ({"model": "wan2.2-a14b", "training": True, "layers": 1, "resolution": ("x",)}, "write"),
    ],
)
def test_bad_values_are_refused(changes, match, tmp_path):
    with pytest.raises(InputError, match=match):
        run(ProfileRequest(device="cpu", output=tmp_path, **changes))
    assert not list(tmp_path.iterdir())
