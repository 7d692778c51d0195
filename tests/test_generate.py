"""The whole path from a prompt to files, on a tiny Wan repository with random weights."""

import json
from typing import Any

import numpy as np
import pytest
from tests.backbones import tiny

from pila.cli import run
from pila.generate import generate, load
from pila.request import GenerateRequest
from pila.video import read_video

PROMPT = tiny.PROMPT


@pytest.fixture
def request_for(wan_folder, adapter_folder, tmp_path):
    def make(**changes):
        options: dict[str, Any] = {
            "prompt": PROMPT,
            "model": str(wan_folder),
            "adapter": str(adapter_folder),
            "device": "cpu",
            "output": tmp_path / "clip.mp4",
        }
        return GenerateRequest(**options | changes)

    return make


@pytest.fixture
def tiny_args(wan_folder, adapter_folder):
    models = ["--model", str(wan_folder), "--adapter", str(adapter_folder)]
    return ["generate", PROMPT, *models, "--device", "cpu"]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_compare_and_explain(request_for, tmp_path):
    report = generate(request_for(compare=True, explain=tmp_path / "why"))
    assert names(tmp_path) == [
        *("clip-compare.mp4", "clip-frozen.mp4", "clip-settings.json", "clip.mp4"),
        "why",
    ]
    pictures = ["bank.png", "correction.png", "routing.png", "strip.png", "where.png"]
    assert names(tmp_path / "why") == pictures
    assert read_video(tmp_path / "clip.mp4").shape == (9, 32, 32, 3)
    assert read_video(tmp_path / "clip-compare.mp4").shape[2] == 2 * 9 * 32 + 8
    assert report.settings["steps"] == 2  # pila.json's own
    assert report.correction_rms > 0
    assert sum(report.routing.values()) == pytest.approx(1)
    assert report.categories == ["rigid_body"]
    assert report.parser == "offline"


def test_both_clips_start_from_the_same_noise(request_for, tmp_path):
    """With a scale of 0 the corrected clip is the frozen one, byte for byte."""
    generate(request_for(compare=True))
    frozen = (tmp_path / "clip-frozen.mp4").read_bytes()
    assert (tmp_path / "clip.mp4").read_bytes() != frozen
    generate(request_for(adapter_scale=0.0))
    assert (tmp_path / "clip.mp4").read_bytes() == frozen
    generate(request_for(adapter="none"))
    assert (tmp_path / "clip.mp4").read_bytes() == frozen
    generate(request_for(adapter="none", seed=1))
    assert (tmp_path / "clip.mp4").read_bytes() != frozen


def test_a_plain_adapter_is_recorded_as_far_as_it_goes(request_for, plain_adapter_folder, tmp_path):
    """It has no router and no bank, so nothing of them is reported or drawn."""
    report = generate(
        request_for(adapter=str(plain_adapter_folder), compare=True, explain=tmp_path / "why")
    )
    assert names(tmp_path / "why") == ["correction.png", "strip.png", "where.png"]
    assert report.routing == {}
    assert report.correction_rms > 0
    assert (tmp_path / "clip.mp4").read_bytes() != (tmp_path / "clip-frozen.mp4").read_bytes()


def test_options_reach_the_adapter(request_for):
    report = generate(
        request_for(labels="optical,thermal", top_k=2, step_window="2-2", reference="cond")
    )
    assert report.parser == "given"
    assert report.categories == ["optical", "thermal"]
    assert sum(weight > 0 for weight in report.routing.values()) == 2
    assert report.settings["step_window"] == [2, 2]


def test_json_is_the_only_output(tiny_args, tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    code = run([*tiny_args, "--output", str(out), "--top-k", "0", "--labels", "none", "--json"])
    printed = capsys.readouterr()
    assert code == 0
    assert printed.err == ""
    report = json.loads(printed.out)
    assert report["files"] == {
        "output": str(out),
        "settings": str(tmp_path / "clip-settings.json"),
    }
    assert report["categories"] == []
    assert set(report["routing"].values()) == {0.0}


def test_text_output(tiny_args, tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    assert run([*tiny_args, "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    for line in (f"prompt      {PROMPT}", "parser      offline", "routing", str(out)):
        assert line in printed


def test_interrupt_leaves_no_file(tiny_args, tmp_path, monkeypatch, capsys):
    import pila.generate

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pila.generate, "_sample", interrupted)
    assert run([*tiny_args, "--output", str(tmp_path / "clip.mp4")]) == 130
    assert names(tmp_path) == []
    assert "Traceback" not in capsys.readouterr().err


def test_every_step_is_told(request_for):
    told = []
    generate(request_for(compare=True), on_step=lambda *step: told.append(step))
    assert told == [("frozen", 1, 2), ("frozen", 2, 2), ("PILA", 1, 2), ("PILA", 2, 2)]


class Enough(Exception):
    pass


def test_an_observer_ends_the_work_and_leaves_the_pipeline_whole(request_for, tmp_path):
    """Stopped inside the corrected clip: no file, and the same pipeline then gives the same clip
    as a fresh one."""
    generate(request_for(output=tmp_path / "fresh" / "clip.mp4", compare=True))
    pipeline = load(request_for())
    steps = 0

    def stop(clip, step, of):
        nonlocal steps
        steps += 1
        if clip == "PILA":
            raise Enough

    with pytest.raises(Enough):
        generate(request_for(compare=True), pipeline=pipeline, on_step=stop)
    assert steps == 3
    assert names(tmp_path) == ["fresh"]
    generate(request_for(compare=True), pipeline=pipeline)
    for name in ("clip.mp4", "clip-frozen.mp4"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


@pytest.mark.slow
def test_embedded_model_measures_laws(tmp_path):
    """The shipped weights, few steps: files, sizes and law measures of a recognised scene."""
    report = generate(
        GenerateRequest(
            prompt="a heavy red ball is thrown fast to the right",
            output=tmp_path / "clip.mp4",
            steps=3,
            compare=True,
            device="cpu",
        )
    )
    assert report.scene == "thrown_ball"
    assert set(report.laws) == {"frozen", "PILA"}
    assert all(np.isfinite(list(laws.values())).all() for laws in report.laws.values())
    assert read_video(tmp_path / "clip.mp4").shape == (33, 64, 64, 3)
