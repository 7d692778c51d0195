"""The whole path from a prompt to files, on a tiny Wan repository with random weights."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
from diffusers import WanPipeline
from tests.conftest import TINY_SAMPLING
from tests.pipelines import tiny

from pila.cli import run
from pila.errors import InputError
from pila.generate.generate import generate, load
from pila.generate.plan import prepare
from pila.generate.request import GenerateRequest
from pila.pipelines.known import WAN_NEGATIVE_PROMPT
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
        request_for(
            categories="optical,thermal", top_k=2, step_window="2-2", velocity_source="cond"
        )
    )
    assert report.parser == "given"
    assert report.categories == ["optical", "thermal"]
    assert sum(weight > 0 for weight in report.routing.values()) == 2
    assert report.settings["step_window"] == [2, 2]


def test_json_is_the_only_output(tiny_args, tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    code = run([*tiny_args, "--output", str(out), "--top-k", "0", "--categories", "none", "--json"])
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
    import pila.generate.generate

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pila.generate.generate, "_sample", interrupted)
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


def completed(tmp_path, prompt, **changes):
    options = {"prompt": prompt, "parser": "offline", "output": tmp_path / "clip.mp4", "steps": 2}
    return GenerateRequest(**(options | changes))


def test_a_free_prompt_is_completed_and_its_scene_measured(tmp_path):
    report = generate(completed(tmp_path, "two rubber balls collide head-on"))
    assert report.scene == "ball_collision"
    assert report.drawn_as != report.prompt == "two rubber balls collide head-on"
    assert report.hint is None
    assert set(report.laws) == {"PILA"}
    # The categories are those of what is drawn.
    assert report.refined_prompt.startswith(str(report.drawn_as))


def test_another_seed_fills_what_the_prompt_leaves_open_otherwise(tmp_path):
    drawn = {generate(completed(tmp_path, "a ball is thrown", seed=s)).drawn_as for s in range(3)}
    assert len(drawn) == 3


@pytest.mark.parametrize("prompt", ["a dog runs along a beach", "桜の下を歩く女の子", "SELECT 1;"])
def test_a_prompt_about_no_scene_is_drawn_as_typed_and_told_so(tmp_path, prompt, capsys):
    report = generate(completed(tmp_path, prompt))
    assert (report.scene, report.drawn_as, report.laws) == (None, None, {})
    assert report.hint is not None
    assert report.hint.startswith(
        "the embedded model draws 24 simulated scenes, and this is none of them; try: "
    )
    assert report.hint.count('"') == 6
    args = ["generate", prompt, "--steps", "2", "--parser", "offline", "--output"]
    assert run([*args, str(tmp_path / "again.mp4")]) == 0
    shown = capsys.readouterr().out
    assert report.hint in shown
    assert "laws" not in shown


def test_refine_off_leaves_the_prompt_alone(tmp_path):
    prompt = "two rubber balls collide head-on"
    report = generate(completed(tmp_path, prompt, refine="off"))
    assert (report.drawn_as, report.scene) == (None, "ball_collision")
    assert report.settings["refine"] == "off"


def test_condition_gives_the_completion_to_the_adapter_alone(tmp_path):
    prompt, seen = "two rubber balls collide head-on", {}
    for refine in ("off", "condition", "generator"):
        request = completed(tmp_path, prompt, refine=refine, compare=True, seed=4)
        generate(request)
        seen[refine] = [read_video(tmp_path / f"clip{s}.mp4") for s in ("-frozen", "")]
    assert np.array_equal(seen["off"][0], seen["condition"][0])
    assert not np.array_equal(seen["off"][1], seen["condition"][1])
    assert not np.array_equal(seen["off"][0], seen["generator"][0])


def test_settings_keep_the_completion(tmp_path):
    prompt = "butter melts on a hot pan"
    first = generate(completed(tmp_path, prompt, seed=7))
    settings = first.files["settings"]
    again = tmp_path / "again.mp4"
    common = ["--output", str(again), "--json"]
    assert run(["generate", "--from", settings, *common]) == 0
    assert np.array_equal(read_video(tmp_path / "clip.mp4"), read_video(again))
    # Another prompt has a completion of its own.
    assert run(["generate", "a ball bounces", "--from", settings, *common]) == 0
    kept = json.loads((tmp_path / "again-settings.json").read_text())["settings"]
    assert "ball" in kept["refined_prompt"]


def test_refinement_of_other_models_is_the_parsers(request_for):
    report = generate(request_for(refine="condition"))
    assert report.settings["refine"] == "condition"
    assert report.drawn_as is None
    assert generate(request_for()).settings["refine"] == "off"


def test_frames_that_are_not_finite_are_no_clip(request_for, tmp_path):
    request = request_for()
    pipeline = load(request)
    last = [p for p in pipeline.vae.decoder.parameters() if p.ndim == 1][-1]
    last.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="decoded frames are not finite, from frame 1"):
        generate(request, pipeline=pipeline)
    assert names(tmp_path) == []


@pytest.mark.parametrize("scheduler", ["unipc", "euler"])
def test_the_shift_of_noise_levels_is_that_of_one_clip(request_for, tmp_path, scheduler):
    request = request_for()
    pipe = load(request)
    pipe.scheduler = own = tiny.scheduler(scheduler)

    def clip(**changes):
        generate(request_for(**changes), pipeline=pipe)
        return (tmp_path / "clip.mp4").read_bytes()

    plain = clip()
    assert clip(flow_shift=3.0) == plain  # its own
    assert clip(flow_shift=12.0) != plain
    assert pipe.scheduler is own
    assert clip() == plain


def test_settings_keep_shift_and_negative_prompt(request_for, tmp_path):
    generate(request_for(flow_shift=9.0, negative_prompt="wan"))
    made = (tmp_path / "clip.mp4").read_bytes()
    again = tmp_path / "again.mp4"
    settings = str(tmp_path / "clip-settings.json")
    assert run(["generate", "--from", settings, "--output", str(again)]) == 0
    assert again.read_bytes() == made
    generate(request_for(flow_shift=9.0, negative_prompt=WAN_NEGATIVE_PROMPT))
    assert (tmp_path / "clip.mp4").read_bytes() == made
    generate(request_for(flow_shift=9.0))
    assert (tmp_path / "clip.mp4").read_bytes() != made


def test_the_low_noise_denoiser_has_a_guidance_of_its_own(request_for, tmp_path):
    folder = tmp_path / "two"
    WanPipeline(**tiny.components(wan22=True)).save_pretrained(folder)
    (folder / "pila.json").write_text(json.dumps(TINY_SAMPLING | {"guidance_scale": 2.0}))

    def clip(**changes):
        generate(request_for(model=str(folder), **changes))
        return (tmp_path / "clip.mp4").read_bytes()

    plain = clip()
    assert clip(guidance_scale_2=2.0) == plain
    assert clip(guidance_scale_2=6.0) != plain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance_scale_2": 3.0}, "guidance_scale_2 is 3.0, but .* has one denoiser"),
        ({"guidance_scale_2": -1.0}, "guidance_scale_2 is -1.0; use 0 or more"),
        ({"flow_shift": 0.0}, "flow_shift is 0.0; use more than 0, at most 100"),
        ({"flow_shift": 1000.0}, "flow_shift is 1000.0; use more than 0, at most 100"),
    ],
)
def test_what_the_model_cannot_take_is_refused_before_it_is_loaded(request_for, changes, message):
    with pytest.raises(InputError, match=message):
        prepare(request_for(**changes))


def test_a_scheduler_without_a_shift_is_refused(request_for, wan_folder, tmp_path):
    folder = shutil.copytree(wan_folder, tmp_path / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "flow_shift"}))
    with pytest.raises(InputError, match=r"flow_shift is 5\.0, but .* has no shift"):
        prepare(request_for(model=str(folder), flow_shift=5.0))
