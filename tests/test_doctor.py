"""`pila doctor`: what it says of this machine, and of one where something is wrong."""

import json
import shutil

import pytest

from pila import doctor
from pila.cli import run
from pila.doctor import LARGEST_PART, WEIGHTS, Device, examine, text


def test_this_machine_is_well(capsys):
    assert run(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problems"] == []
    assert said["packages"]["torch"]
    assert said["devices"][0]["kind"] == "cpu"
    assert said["devices"][0]["memory_gb"] > 0.5
    assert set(said["fits"]) == set(WEIGHTS)
    assert run(["doctor"]) == 0
    assert "no problem found" in capsys.readouterr().out


def test_what_is_wrong_is_said_with_its_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-package"))
    monkeypatch.setattr(doctor, "LEAST_DISK", 1e9)
    found = examine()
    assert any("no-such-package is not installed: run make" in p for p in found.problems)
    assert any("GB free; free some, or set PILA_CACHE" in p for p in found.problems)
    assert str(tmp_path / "cache") in text(found)
    assert run(["doctor"]) == 1, "a script can tell"
    assert "problem" in capsys.readouterr().out


def test_a_damaged_embedded_model_is_found(monkeypatch, tmp_path):
    from pila.backbones import embedded

    copied = tmp_path / "embedded"
    shutil.copytree(embedded.EMBEDDED_MODEL, copied)
    weights = next((copied / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(embedded, "EMBEDDED_MODEL", copied)
    assert any("the embedded model is damaged" in p for p in examine().problems)


@pytest.mark.parametrize(
    ("memory", "model", "said"),
    [
        (80.0, "Wan2.1-T2V-1.3B", "fit cuda:0 whole"),
        (24.0, "Wan2.1-T2V-1.3B", "fit cuda:0 whole"),
        (16.0, "Wan2.1-T2V-1.3B", "--offload model holds 11.4 GB"),
        (80.0, "Wan2.2-T2V-A14B", "--offload model holds 28.6 GB"),
        (24.0, "Wan2.2-T2V-A14B", "--offload group or sequential"),
    ],
)
def test_what_fits(memory, model, said):
    cpu = Device(name="c", kind="cpu", memory_gb=128.0, free_gb=None)
    gpu = Device(name="g", kind="cuda:0", memory_gb=memory, free_gb=None)
    assert said in doctor._fit(model, [cpu, gpu])
    assert "use a GPU" in doctor._fit(model, [cpu])
    assert LARGEST_PART[model] <= WEIGHTS[model]


def test_the_parser_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    monkeypatch.delenv("PILA_LLM_MODEL", raising=False)
    assert "offline" in doctor._parser()
    monkeypatch.setenv("PILA_LLM_MODEL", "Qwen/Qwen3-8B")
    monkeypatch.setenv("PILA_LLM_BASE_URL", "http://localhost:8000/v1")
    assert doctor._parser() == "language model Qwen/Qwen3-8B at http://localhost:8000/v1"
