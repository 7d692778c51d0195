"""Help of every command, and bad input: exit code 2, one line, no file left."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pipelines import tiny

from pila.cli import run
from pila.errors import InputError
from pila.lab.experiments.tables import EXPERIMENTS
from pila.video import write_video

PROMPT = "a red ball falls"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], "generate label world data train experiment evaluate diagnose serve push"),
        (
            ["generate"],
            "--model --adapter --output --seed --steps --guidance-scale --height --width "
            "--num-frames --negative-prompt --adapter-scale --step-window --top-k --categories "
            "--parser --velocity-source --compare --explain --json --device --dtype --offload "
            "--from",
        ),
        (
            ["serve"],
            "--port --host --password-file --model --adapter --queue --max-steps --max-side "
            "--max-frames --keep --keep-hours --parser --device --dtype --offload --json",
        ),
        (["label"], "--parser --json PILA_LLM_MODEL PILA_LLM_BASE_URL PILA_LLM_API_KEY"),
        (["world"], "make show measure"),
        (
            ["world", "make"],
            "--scene --categories --clips --out --violations --seed --size --processes",
        ),
        (["world", "show"], "--out --scene --true-only --seed"),
        (["world", "measure"], "--scene --json"),
        (["data"], "wisa replica"),
        (
            ["data", "wisa"],
            "--out --annotations --mapping --parser --duration --width --text-boxes "
            "--still-below --processes --json",
        ),
        (["data", "replica"], "--clips --seed --size --archives"),
        (["train"], "--output --max-steps --checkpoint-every --seed --dry-run --json"),
        (["experiment"], f"laws measures bank all {' '.join(EXPERIMENTS)}"),
        *(
            (
                ["experiment", name],
                "--output --runs --train --seeds --only --model --prompts --noise-seeds --clips "
                "--scenes --steps --guidance-scale --device --processes --json",
            )
            for name in ("main", "step-window", "all")
        ),
        (
            ["experiment", "laws"],
            "--output --model --adapters --prompts --noise-seeds --steps --guidance-scale "
            "--processes --json",
        ),
        (["experiment", "measures"], "--output --model --clips --processes --json"),
        (["diagnose"], "training routing experts bank correction report"),
        (["diagnose", "training"], "RUN --output --json"),
        *(
            (
                ["diagnose", name],
                "RUN --output --model --clips --scenes --show --device --processes --json",
            )
            for name in ("routing", "report")
        ),
        (["evaluate"], "videophy2 videophy phygenbench vbench2 imaging labels"),
        (["evaluate", "phygenbench"], "prompts generate judge aggregate compare"),
        (["evaluate", "imaging"], "judge aggregate compare"),
        (["evaluate", "videophy2", "prompts"], "--source --out --hard --json"),
        (
            ["evaluate", "vbench2", "generate"],
            "--prompts --output --model --adapters --without-frozen --seed --steps --parser --json",
        ),
        (
            ["evaluate", "videophy", "judge"],
            "--prompts --out --judge --judge-model --base-url --timeout --way --frames --json "
            "PILA_JUDGE_MODEL PILA_JUDGE_BASE_URL PILA_JUDGE_API_KEY",
        ),
        (["evaluate", "videophy2", "aggregate"], "--sa --pc --rule --prompts --out --json"),
        (["evaluate", "phygenbench", "aggregate"], "--routes --stages --partial --json"),
        (["evaluate", "vbench2", "compare"], "--out --baseline --force --json"),
        (["evaluate", "labels"], "--phygenbench --wisa --most --parser --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help(command, options, capsys):
    with pytest.raises(SystemExit) as end:
        run([*command, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert [o for o in options.split() if o not in printed] == []


def test_a_reader_that_goes_away_is_no_error():
    command = [Path(sys.executable).with_name("pila"), "label", "two balls collide", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 141
    assert b"Traceback" not in said


def test_entry_point():
    pila = Path(sys.executable).parent / "pila"
    done = subprocess.run([pila, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pila 0.")


@pytest.mark.parametrize(
    "args", [["genrate", PROMPT], ["generate", PROMPT, "--stepz", "3"], ["experiment", "lawz"], []]
)
def test_typos_exit_2(args, capsys):
    with pytest.raises(SystemExit) as end:
        run(args)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def refused(tmp_path, wan_folder, adapter_folder, capsys, monkeypatch):
    """Run `pila generate` with a tiny model and hold the refusal to the house's rules."""
    monkeypatch.setattr("diffusers.ModelMixin.from_pretrained", _not_reached)
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", _not_reached)
    place = tmp_path / "results"
    place.mkdir()

    def refuse(*options, prompt=PROMPT):
        given = dict(zip(options[::2], options[1::2], strict=False))
        defaults = {
            "--model": str(wan_folder),
            "--adapter": str(adapter_folder),
            "--output": str(place / "clip.mp4"),
            "--device": "cpu",
        }
        args = [a for k, v in defaults.items() if k not in given for a in (k, v)]
        code = run(["generate", prompt, *options, *args])
        printed = capsys.readouterr()
        assert code == 2
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        assert list(place.iterdir()) == []
        return printed.err

    return refuse


def _not_reached(*args, **kwargs):
    raise AssertionError("a model was loaded before the input was checked")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--categories", "rigid_boody"], "did you mean rigid_body"),
        (["--top-k", "9"], "top_k is 9"),
        (["--top-k", "-1"], "top_k is -1"),
        (["--height", "40"], "height is 40; it must be a multiple of 16"),
        (["--width", "0"], "width is 0"),
        (["--height", "99984"], "height is 99984"),
        (["--num-frames", "12"], "it must be 4 n + 1 from 9 to 125: try 9"),
        (["--num-frames", "1"], "num_frames is 1"),
        (["--step-window", "1-3"], "the steps run from 1 to 2"),
        (["--step-window", "5-2", "--steps", "8"], "the steps run from 1 to 8"),
        (["--step-window", "all"], "write first-last"),
        (["--steps", "0"], "steps is 0; use 1 to 1000"),
        (["--seed", "-1"], "seed is -1"),
        (["--guidance-scale", "nan"], "--guidance-scale is nan; give a number"),
        (["--fps", "0"], "fps is 0.0; use 0.01 to 240"),
        (["--fps", "240.5"], "fps is 240.5"),
        (["--fps", "nan"], "fps is nan"),
        (["--adapter-scale", "inf"], "adapter_scale is inf"),
        (["--adapter", "none", "--compare"], "--compare needs a correction"),
        (["--device", "abacus"], "device"),
        (["--device", "cuda:63"], "cuda:63"),
        (["--offload", "group"], "offload"),
        (["--parser", "llm"], "model"),
        (["--model", "nowhere"], "nowhere"),
        (["--model", "no-such-owner/no-such-model"], "no-such-owner/no-such-model"),
        (["--adapter", "/nowhere/adapter"], "/nowhere/adapter"),
        (["--output", "clip.avi"], "clips are written as .mp4"),
        (["--output", "clip"], "has no ending"),
        (["--output", "/proc/none/clip.mp4"], "cannot be written"),
        (["--output", "/dev/null/clip.mp4"], "is a file"),
        (["--explain", "/proc/none"], "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options(refused, options, message, monkeypatch):
    for name in ("PILA_LLM_MODEL", "OPENAI_MODEL", "PILA_LLM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert message in refused(*options)


@pytest.mark.parametrize(
    ("prompt", "message"), [("", "empty"), (" \n", "empty"), ("x" * 10_000, "10,000 characters")]
)
def test_bad_prompts(refused, prompt, message):
    assert message in refused(prompt=prompt)


def test_output_that_is_a_folder(refused, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    assert "is a folder" in refused("--output", str(tmp_path / "folder.mp4"))


def _truncate(folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(folder):
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))


def _garble_config(folder):
    (folder / "config.json").write_text("{")


BREAKS = [(_truncate, "complete"), (_pickle, "pickle"), (_garble_config, "JSON")]


@pytest.mark.parametrize(("damage", "message"), BREAKS)
def test_broken_adapter(refused, adapter_folder, tmp_path, damage, message):
    broken = shutil.copytree(adapter_folder, tmp_path / "adapter")
    damage(broken)
    assert message in refused("--adapter", str(broken))


@pytest.mark.parametrize(("damage", "message"), BREAKS)
def test_broken_model(refused, wan_folder, tmp_path, damage, message):
    broken = shutil.copytree(wan_folder, tmp_path / "model")
    damage(broken / "transformer")
    assert message in refused("--model", str(broken))


def test_model_without_index(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "model_index.json" in refused("--model", str(tmp_path / "empty"))


def test_unfit_adapter(refused, tmp_path):
    from pila.adapter import PilaAdapter

    torch.manual_seed(0)
    PilaAdapter(text_dim=48, hidden_width=8, encoder_blocks=1).save_pretrained(tmp_path / "wide")
    message = refused("--adapter", str(tmp_path / "wide"))
    assert "text_dim is 48" in message
    assert str(tiny.TEXT_WIDTH) in message


def test_label(capsys):
    assert run(["label", "two steel balls collide", "--parser", "offline", "--json"]) == 0
    parse = json.loads(capsys.readouterr().out)
    assert "collision" in parse["categories"]
    assert parse["parser"] == "offline"
    assert run(["label", "two steel balls collide", "--parser", "offline"]) == 0
    assert "category    collision" in capsys.readouterr().out
    assert run(["label", ""]) == 2


def test_world_measure(tmp_path, capsys):
    from pila.lab.world import simulate

    write_video(tmp_path / "true.mp4", simulate("thrown_ball", 0).frames, fps=16)
    assert run(["world", "measure", str(tmp_path / "true.mp4"), "--scene", "thrown_ball"]) == 0
    capsys.readouterr()
    args = ["world", "measure", str(tmp_path / "true.mp4"), "--scene", "thrown_ball", "--json"]
    assert run(args) == 0
    laws = json.loads(capsys.readouterr().out)["laws"]
    assert laws
    assert max(laws.values()) < 0.5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{}/none.mp4", "--scene", "thrown_ball"], "is not a file"),
        (["{}/short.mp4", "--scene", "thrown_ball"], "frames"),
        (["{}/short.mp4", "--scene", "thrown_bal"], "did you mean 'thrown_ball'"),
    ],
)
def test_world_measure_refuses(tmp_path, capsys, args, message):
    write_video(tmp_path / "short.mp4", np.zeros((3, 32, 32, 3), np.uint8), fps=16)
    assert run(["world", "measure", *(a.format(tmp_path) for a in args)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_world_make(tmp_path, capsys):
    args = ["world", "make", "--scene", "thrown_ball", "--clips", "2", "--out", str(tmp_path / "w")]
    assert run(args) == 0
    assert capsys.readouterr().out.startswith("2 clips in ")
    assert len(list((tmp_path / "w").rglob("*.mp4"))) == 2
    assert run([*args, "--json"]) == 0  # what is there is kept
    assert json.loads(capsys.readouterr().out) == {"clips": 2, "out": str(tmp_path / "w")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scene", "thrown_bal"], "thrown_ball"),
        (["--categories", "thermic"], "thermal"),
        (["--violations", "1.5"], "1.5"),
        (["--clips", "0"], "0"),
        (["--size", "100"], "try 96"),
        (["--processes", "0"], "processes is 0"),
    ],
)
def test_world_make_refuses(tmp_path, capsys, options, message):
    assert run(["world", "make", "--out", str(tmp_path / "w"), *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "w").exists()


def test_world_show(tmp_path, capsys):
    from PIL import Image

    sheet = tmp_path / "sheet.png"
    assert run(["world", "show", "--scene", "thrown_ball", "--out", str(sheet), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"clips": 6, "out": str(sheet)}
    with Image.open(sheet) as picture:
        assert picture.width > 5 * 128
        assert picture.height > 6 * 128
    assert run(["world", "show", "--scene", "thrown_bal", "--out", str(sheet)]) == 2


def test_data_replica_and_wisa(tmp_path, capsys):
    from pila.data.folder import FolderSource

    root, listing = tmp_path / "replica", tmp_path / "list.csv"
    args = ["data", "replica", str(root), "--clips", "6", "--size", "32", "--archives", "2"]
    assert run([*args, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == {"folder": str(root), "sound": 6, "faults": 13}
    assert run(args) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    args = ["data", "wisa", str(root), "--processes", "1"]
    assert run([*args, "--out", str(listing), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] == 7
    records = FolderSource(listing, root=root).records()
    assert len(records) == 7
    assert sum("rigid_body" in r.categories for r in records) == report["categories"]["rigid_body"]
    assert run([*args, "--width", "100000", "200000"]) == 0
    printed = capsys.readouterr().out
    assert "usable      0\n" in printed
    assert "unread      q2: 'sparkling' 1\n" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{}/none"], "is not a folder"),
        (["{}"], "has no data/wisa-80k.json"),
        (["{}", "--annotations", "{}/none.json"], "is not a file"),
    ],
)
def test_data_wisa_refuses(tmp_path, capsys, options, message):
    assert run(["data", "wisa", *(o.format(tmp_path) for o in options)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_data_wisa_has_the_readers_own_defaults():
    from pila.cli.data import DataWisa
    from pila.data.wisa import STILL_BELOW, Filters

    command = DataWisa(folder=Path())
    given = Filters(duration=command.duration, width=command.width, text_boxes=command.text_boxes)
    assert given == Filters()
    assert command.still_below == STILL_BELOW


def test_experiment_measures(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    args = ["experiment", "measures", "--output", str(tmp_path / "out"), "--processes", "1"]
    assert run([*args, "--clips", "1"]) == 2
    assert "clips is 1" in capsys.readouterr().err
    assert run([*args, "--model", "nowhere"]) == 2
    assert not (tmp_path / "out").exists()


def test_train_dry_run(capsys):
    assert run(["train", "embedded-couple", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "couple"


def test_train_refuses(tmp_path, capsys):
    assert run(["train", "embeded", "--output", str(tmp_path / "run")]) == 2
    assert "embeded" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def laws_refused(tmp_path, wan_folder, adapter_folder, capsys, monkeypatch):
    """Run `pila experiment laws` where nothing may be generated, and return the one-line error."""
    monkeypatch.setattr("pila.lab.experiments.laws.run", _not_reached)

    def refuse(*options):
        given = ["--model", str(wan_folder)] if "--model" not in options else []
        adapters = ["--adapters", f"tiny={adapter_folder}"] if "--adapters" not in options else []
        out = ["--output", str(tmp_path / "laws")] if "--output" not in options else []
        assert run(["experiment", "laws", *options, *given, *adapters, *out]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert not (tmp_path / "laws").exists()
        return printed.err

    return refuse


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapters", "pila=/nowhere/adapter"], "/nowhere/adapter"),
        (["--adapters", "/nowhere/adapter"], "write name=place"),
        (["--adapters", "a b=embedded"], "write name=place"),
        (["--adapters", "frozen=embedded"], "frozen is a method that is always there"),
        (["--adapters", "pila=none"], "the frozen generator is always compared"),
        (["--model", "nowhere"], "nowhere"),
        (["--prompts", "2"], "prompts is 2"),
        (["--noise-seeds", "0"], "noise_seeds is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--guidance-scale", "-1"], "guidance_scale is -1"),
        (["--processes", "0"], "processes is 0"),
        (["--output", "/proc/none"], "cannot be written"),
    ],
    ids=" ".join,
)
def test_experiment_laws_refuses(laws_refused, options, message):
    assert message in laws_refused(*options)


def test_experiment_laws_refuses_adapters_that_do_not_fit(laws_refused, adapter_folder, tmp_path):
    from pila.adapter import PilaAdapter

    PilaAdapter(text_dim=48, hidden_width=8, encoder_blocks=1).save_pretrained(tmp_path / "wide")
    assert "text_dim is 48" in laws_refused("--adapters", f"wide={tmp_path / 'wide'}")
    twice = (f"tiny={adapter_folder}", f"tiny={adapter_folder}")
    assert "tiny is another adapter" in laws_refused("--adapters", *twice)
    broken = shutil.copytree(adapter_folder, tmp_path / "broken")
    _truncate(broken)
    assert "complete" in laws_refused("--adapters", f"broken={broken}")


def test_experiment_laws_hands_everything_on(
    wan_folder, adapter_folder, tmp_path, capsys, monkeypatch
):
    from pila.lab.experiments import laws

    asked = {}

    def take(methods, out, protocol, *, processes):
        asked.update(methods=methods, out=out, protocol=protocol, processes=processes)
        return {"rows": []}

    monkeypatch.setattr(laws, "run", take)
    args = ["experiment", "laws", "--model", str(wan_folder), "--prompts", "6", "--steps", "2"]
    args += ["--guidance-scale", "1", "--processes", "1", "--noise-seeds", "2", "--json"]
    args += ["--output", str(tmp_path / "laws"), "--adapters"]
    assert run([*args, f"one={adapter_folder}", f"two={adapter_folder}"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": []}
    assert [m.name for m in asked["methods"]] == ["one", "two"]
    assert asked["out"] == tmp_path / "laws"
    assert asked["protocol"] == laws.Protocol(
        model=str(wan_folder), prompts=6, noise_seeds=2, steps=2, guidance_scale=1.0
    )
    assert asked["processes"] == 1


def test_experiment_tables_refuse(tmp_path, wan_folder, capsys):
    place = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]
    for options, message in (
        (["main"], "pila train embedded --seed 2 --output"),
        (["main", "--only", "nobody"], "only has nobody"),
        (["transfer"], "pila train embedded-large --seed 0"),
        (["top-k", "--model", "nowhere"], "nowhere"),
        (["gate", "--seeds", "0", "0"], "each once"),
        (["all", "--only", "pila"], "one experiment at a time"),
        (["all"], "trainings are missing"),
        (["lambda", "--model", str(wan_folder), "--prompts", "2"], "prompts is 2"),
    ):
        assert run(["experiment", *options, *place]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_experiments_leave_the_published_tables_alone(monkeypatch):
    """Without --output nothing that git tracks is written, whatever the table."""
    from pila.lab.experiments import run as experiment

    asked: list[Any] = []

    def take(*_, output=None, **__):
        asked.append(output)
        raise InputError("far enough")

    for name in ("run_laws", "run_measures", "run_bank", "run_score", "run_prompts", "prepared"):
        monkeypatch.setattr(experiment, name, take)
    names = ["laws", "measures", "bank", "score", "prompts", "all", *EXPERIMENTS]
    for name in names:
        assert run(["experiment", name]) == 2
    assert run(["experiment", "reference", "--development"]) == 2
    assert len(asked) == len(names) + 1
    assert {place.parts[0] for place in asked} == {"out"}
    assert "/out/" in (Path(__file__).parents[1] / ".gitignore").read_text().splitlines()


def test_experiment_hands_everything_on(tmp_path, capsys, monkeypatch):
    from pila.lab.experiments import run as experiment

    asked = {}

    def take(name, **options):
        asked.update(options, name=name)
        return {"rows": []}, "a page\n"

    monkeypatch.setattr(experiment, "run_table", take)
    args = ["experiment", "top-k", "--output", str(tmp_path), "--runs", "r", "--train", "--seeds"]
    args += ["3", "4", "--only", "k-0", "--model", "m", "--prompts", "6", "--noise-seeds", "2"]
    args += ["--clips", "5", "--scenes", "mirror", "--steps", "7", "--guidance-scale", "1"]
    args += ["--device", "cuda:1", "--processes", "9", "--development", "--precision", "bf16"]
    assert run(args) == 0
    assert capsys.readouterr().out == "a page\n"
    assert asked == {
        "name": "top-k",
        "output": tmp_path,
        "runs": Path("r"),
        "train": True,
        "available": False,
        "seeds": (3, 4),
        "only": ("k-0",),
        "model": "m",
        "development": True,
        "prompts": 6,
        "noise_seeds": 2,
        "clips": 5,
        "scenes": ("mirror",),
        "steps": 7,
        "guidance_scale": 1.0,
        "device": "cuda:1",
        "precision": "bf16",
        "processes": 9,
    }
    assert run([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"experiment": "top-k", "rows": []}
