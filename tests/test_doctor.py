"""`pila doctor`: what it says of this machine, and of one where something is wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

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
    from pila.pipelines import locate as embedded

    copied = tmp_path / "embedded"
    shutil.copytree(embedded.EMBEDDED_MODEL, copied)
    weights = next((copied / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(embedded, "EMBEDDED_MODEL", copied)
    assert any("the embedded model is damaged" in p for p in examine().problems)


@pytest.mark.parametrize(
    "fault", ["ImportError('no torch here')", "OSError('libcudart.so.12: cannot open')"]
)
def test_a_torch_that_cannot_be_loaded_is_a_problem(fault, tmp_path):
    """The command itself, which must not need what it is asked about."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"raise {fault}")
    paths = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, "-m", "pila.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.stderr == ""
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert any(f"PyTorch or its driver does not work ({fault[:7]}" in p for p in said["problems"])
    assert [d["kind"] for d in said["devices"]] == ["cpu"]


def test_a_missing_torch_is_one_problem(monkeypatch):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else real(name))
    (problem,) = examine().problems
    assert problem.startswith("torch is not installed: run make again")


def test_a_gpu_that_does_not_answer_is_a_problem(monkeypatch):
    def busy(device):
        if device == 0:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy\nor unavailable")
        return 10**9, 8 * 10**9

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    found = examine()
    assert [d.kind for d in found.devices] == ["cpu", "cuda:1"]
    (problem,) = found.problems
    assert problem.startswith("cuda:0 does not answer (RuntimeError: CUDA error: all CUDA-capable")
    assert "\n" not in problem


@pytest.mark.parametrize("probe", ["_cpu", "_accelerators", "_cache", "_hub", "_assets", "_parser"])
def test_no_probe_is_a_traceback(probe, monkeypatch):
    def broken(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, probe, broken)
    found = examine()
    assert any("PermissionError: [Errno 13]" in problem for problem in found.problems)
    assert f"problem    {found.problems[0]}" in text(found)
    json.dumps(found.to_dict())


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
    monkeypatch.setenv("PILA_LLM_BASE_URL", "http://me:secret@localhost:8000/v1")
    assert doctor._parser() == "language model Qwen/Qwen3-8B at http://localhost:8000"
