"""What is a run, what is an adapter, and what is neither."""

import json
from typing import Any

import pytest

from pila.errors import InputError
from pila.lab.diagnose.run import diagnose, report
from pila.lab.diagnose.run_folder import open_run
from pila.lab.diagnose.subject import Look
from pila.pipelines.locate import EMBEDDED_ADAPTER


def begun(folder, task="couple", **config):
    folder.mkdir(parents=True)
    made = {"task": task, "model": "embedded", "optim": {"steps": 9, "batch": 2, "clip": 1.0}}
    (folder / "config.json").write_text(json.dumps(made | config))
    return folder


def test_stages_come_in_their_order(tmp_path):
    for stage in ("recover", "couple", "observe"):
        begun(tmp_path / "run" / stage, stage)
    found = open_run(tmp_path / "run")
    assert [s.name for s in found.stages] == ["observe", "recover", "couple"]
    assert found.adapter is None
    assert found.output == tmp_path / "run" / "diagnose"
    assert open_run(tmp_path / "run" / "recover").stages[0].name == "recover"


def test_an_adapter_alone():
    found = open_run("embedded")
    assert (found.adapter, found.stages) == (EMBEDDED_ADAPTER, ())
    assert EMBEDDED_ADAPTER not in found.output.parents  # never into the package


@pytest.mark.parametrize("name", ["routing", "experts", "bank", "correction"])
def test_an_unfinished_run_has_no_adapter(tmp_path, name):
    begun(tmp_path / "run")
    with pytest.raises(InputError, match=r"no finished adapter yet \(looked for .*run/adapter\)"):
        diagnose(name, tmp_path / "run")


def test_what_is_no_run_is_told_apart(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        open_run(tmp_path / "none")
    with pytest.raises(InputError, match=r"no run and no adapter: looked for config\.json"):
        open_run(tmp_path)
    begun(tmp_path / "cue-0")
    with pytest.raises(InputError, match=r"holds runs \(cue-0\) and is none itself"):
        open_run(tmp_path)
    (tmp_path / "cue-0" / "config.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        open_run(tmp_path / "cue-0")


def test_a_run_without_metrics_yet(tmp_path):
    begun(tmp_path / "run")
    with pytest.raises(InputError, match="has not logged a step yet"):
        diagnose("training", tmp_path / "run")
    with pytest.raises(InputError, match="nothing can be drawn"):
        report(tmp_path / "run")
    with pytest.raises(InputError, match="an adapter alone and has no metrics"):
        diagnose("training", "embedded")


@pytest.mark.parametrize(("name", "what"), [("routing", "router"), ("bank", "bank")])
def test_a_plain_adapter_has_neither_router_nor_bank(plain, name, what):
    with pytest.raises(InputError, match=f"is a PlainAdapter and has no {what}"):
        diagnose(name, plain)


def test_looks_are_checked_before_anything_is_computed(tmp_path):
    with pytest.raises(InputError, match="clips is 1"):
        Look(clips=1)
    with pytest.raises(InputError, match="processes is 0"):
        Look(processes=0)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"show": ("moon",)}, "show has 'moon'"),
        ({"scenes": ("moon",)}, "was not trained on moon"),
        ({"model": str(tmp_path)}, "no model_index.json"),
        ({"device": "abacus"}, "unknown device"),
    ]
    for change, said in changes:
        with pytest.raises(InputError, match=said):
            diagnose("experts", "embedded", look=Look(**change))
    with pytest.raises(InputError, match="no diagnosis 'dreams'"):
        diagnose("dreams", "embedded")
