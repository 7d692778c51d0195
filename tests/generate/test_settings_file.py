"""A clip's settings file repeats the clip, and a wrong file says what is wrong with it."""

import json
from dataclasses import fields
from typing import Any

import av
import pytest

from pila.cli import run
from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.generate.settings_file import KEPT, read_settings, write_settings

PROMPT = "two red balls collide"


@pytest.fixture(scope="module")
def made(wan_folder, adapter_folder, tmp_path_factory):
    """A clip with few things left at their defaults, and its settings file."""
    place = tmp_path_factory.mktemp("made")
    args = ["--model", str(wan_folder), "--adapter", str(adapter_folder), "--device", "cpu"]
    args += ["--seed", "7", "--adapter-scale", "0.7", "--step-window", "1-2", "--top-k", "3"]
    args += ["--steps", "3", "--negative-prompt", "a blur", "--velocity-source", "cond"]
    assert run(["generate", PROMPT, *args, "--output", str(place / "clip.mp4")]) == 0
    return place


def test_from_repeats_the_clip_exactly(made, tmp_path):
    args = ["generate", "--from", str(made / "clip-settings.json")]
    assert run([*args, "--output", str(tmp_path / "again.mp4")]) == 0
    assert (tmp_path / "again.mp4").read_bytes() == (made / "clip.mp4").read_bytes()
    first, second = (
        json.loads(path.read_text())
        for path in (made / "clip-settings.json", tmp_path / "again-settings.json")
    )
    assert first == second


def test_the_file_leaves_nothing_open(made, wan_folder, adapter_folder):
    record = json.loads((made / "clip-settings.json").read_text())
    assert record["pila_generate"] == 1
    assert set(record["made_with"]) == {"pila", "torch", "diffusers", "transformers"}
    values = record["settings"]
    assert values["categories"] == "collision,rigid_body"  # as the parser found
    assert (values["height"], values["num_frames"], values["guidance_scale"]) == (32, 9, 2.0)
    assert values["fps"] == 8
    assert (values["device"], values["dtype"]) == ("cpu", "float32")
    assert values["model"] == str(wan_folder)
    assert values["adapter"] == str(adapter_folder)


def test_the_weights_own_precision_is_written_down(wan_folder, adapter_folder, tmp_path):
    args = ["generate", "a ball", "--model", str(wan_folder), "--adapter", str(adapter_folder)]
    args += ["--dtype", "bfloat16", "--steps", "1", "--height", "32", "--width", "32"]
    assert run([*args, "--num-frames", "9", "--output", str(tmp_path / "clip.mp4")]) == 0
    kept = json.loads((tmp_path / "clip-settings.json").read_text())["settings"]
    assert kept["dtype"] == "bfloat16"


def test_every_option_is_kept_or_left_out_on_purpose():
    left_out = {f.name for f in fields(GenerateRequest)} - set(KEPT)
    assert left_out == {"settings_file", "output", "compare", "explain", "json", "parser"}


def settings_after(tmp_path, made, *options):
    out = tmp_path / "again.mp4"
    args = ["generate", "--from", str(made / "clip-settings.json"), "--output", str(out)]
    assert run([*args, *options]) == 0
    kept = json.loads((made / "clip-settings.json").read_text())["settings"]
    now = json.loads((tmp_path / "again-settings.json").read_text())["settings"]
    return {name: value for name, value in now.items() if value != kept[name]}


def test_options_beside_the_file_take_its_place(made, tmp_path):
    # Seed 0 and scale 1 are the command's own defaults: given, they count all the same.
    options = ["--seed", "0", "--adapter-scale", "1", "--fps", "12.5"]
    changed = settings_after(tmp_path, made, *options)
    assert changed == {"seed": 0, "adapter_scale": 1.0, "fps": 12.5}
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert float(container.streams.video[0].average_rate or 0) == 12.5


def test_another_prompt_has_its_own_categories(made, tmp_path):
    other = "ice melts on a hot pan"
    changed = settings_after(tmp_path, made, other)
    assert changed["prompt"] == other
    assert "phase_change" in changed["categories"]
    assert settings_after(tmp_path, made, other, "--categories", "fluid")["categories"] == "fluid"


def write(path, change):
    settings: dict[str, Any] = {"prompt": PROMPT, "seed": 3}
    record: Any = {"pila_generate": 1, "settings": settings, "made_with": {"pila": "0.0.1"}}
    path.write_text(change(record))
    return path


def with_settings(**values):
    return lambda record: json.dumps(record | {"settings": record["settings"] | values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: "{", "is not readable JSON"),
        (lambda record: "[" * 100_000, "is not readable JSON"),
        (lambda record: "[]", "has no 'pila_generate'"),
        (lambda record: "x" * 1_000_001, "1,000,001 bytes"),
        (lambda record: json.dumps({"prompt": PROMPT}), "has no 'pila_generate'"),
        (lambda record: json.dumps(record | {"pila_generate": 2}), "of version 2, and .* reads 1"),
        (lambda record: json.dumps(record | {"pila_generate": 2}), r"\(version 0.0.1\)"),
        (lambda record: json.dumps(record | {"pila_generate": True}), "of version True"),
        (lambda record: json.dumps(record | {"settings": [1]}), "no 'settings' object"),
        (lambda record: json.dumps(record | {"seed": 1}), "unknown key 'seed'"),
        (with_settings(stepz=3), "unknown key 'stepz'; did you mean steps"),
        (with_settings(output="/etc/passwd"), "unknown key 'output'"),
        (with_settings(seed="3"), "seed in .* is '3': Input should be a valid integer"),
        (with_settings(seed=1.5), "seed in .* is 1.5"),
        (with_settings(velocity_source="both"), "velocity_source in .* is 'both'"),
        (with_settings(prompt=None), "prompt in .* is None"),
    ],
)
def test_wrong_files(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_settings(write(tmp_path / "clip-settings.json", change))


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert run(["generate", "--from", str(tmp_path / "none.json")]) == 2
    printed = capsys.readouterr()
    assert "cannot be read (No such file or directory)" in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_short_file_takes_the_defaults(tmp_path):
    path = write(tmp_path / "clip-settings.json", json.dumps)
    assert read_settings(path) == GenerateRequest(prompt=PROMPT, seed=3)


def test_written_and_read(tmp_path):
    request = GenerateRequest(
        prompt='“ice”\n"melts"', adapter_scale=0.5, categories="none", top_k=0
    )
    write_settings(tmp_path / "a-settings.json", request)
    assert read_settings(tmp_path / "a-settings.json") == request


def test_no_prompt_at_all(capsys):
    assert run(["generate"]) == 2
    assert "the prompt is empty" in capsys.readouterr().err
