"""The steps of a benchmark one after the other, on the command line, through a real server."""

import json
import re
import shlex
from pathlib import Path

import pytest
import tyro
from tests.lab.benchmarks import official
from tests.lab.benchmarks.judges import tiny_judge
from tests.labels.chat_server import serve

from pila.cli import CONFIG, Command, run
from pila.lab.benchmarks.prompt_list import Item, PromptList, write_prompts

PAGE = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
COMMANDS = re.findall(r"^    pila (.+)$", PAGE, re.MULTILINE)
COMMANDS += re.findall(r"^    torchrun .* -m pila\.cli (.+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_parse(command):
    tyro.cli(Command, args=shlex.split(command), config=CONFIG)


def test_all_documented_commands_are_found():
    assert len(COMMANDS) == 10


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    for name in ("BASE_URL", "MODEL", "API_KEY"):
        monkeypatch.delenv(f"PILA_JUDGE_{name}", raising=False)


@pytest.fixture
def prompts(tmp_path):
    items = tuple(
        Item(
            key=f"Material: {p}",
            prompt=p,
            group="Material",
            files=tuple(f"{p}-{i}.mp4" for i in range(3)),
            details={"questions": ["Is it there?", "Does it melt?"]},
        )
        for p in ("ice melts", "wax melts")
    )
    path = tmp_path / "prompts.json"
    write_prompts(path, PromptList(benchmark="vbench2", source="here", items=items))
    return path


def test_generate_judge_aggregate_compare(tmp_path, prompts, wan_folder, adapter_folder, capsys):
    step = ["evaluate", "vbench2"]
    clips = tmp_path / "clips"
    made = ["--prompts", str(prompts), "--output", str(clips), "--model", str(wan_folder)]
    made += ["--adapters", f"pila={adapter_folder}", "--device", "cpu", "--json"]
    assert run([*step, "generate", *made]) == 0
    assert [m["made"] for m in json.loads(capsys.readouterr().out)] == [6, 6]

    results = []
    for method, second in (("frozen", "no"), ("pila", "yes")):
        out = tmp_path / "judged" / method
        # The first clip's gate stays shut; of the others the second answer decides.
        with serve("no", "yes", *["yes", second] * 5) as chat:
            args = ["--prompts", str(prompts), "--out", str(out), "--base-url", chat.url]
            args += ["--judge-model", "eye", "--frames", "4", "--json"]
            assert run([*step, "judge", str(clips / method), *args]) == 0
        (file,) = json.loads(capsys.readouterr().out)["files"]
        results.append(str(tmp_path / f"{method}.json"))
        args = [file, "--method", method, "--out", results[-1], "--partial", "--json"]
        assert run([*step, "aggregate", *args, "--prompts", str(prompts)]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert "a part of Material: 6 clips of 2 prompts" in printed["notes"]

    # Both servers listened on ports of their own: the judges are not known to be the same.
    assert run([*step, "compare", *results]) == 2
    assert "judge.base_url" in capsys.readouterr().err
    assert run([*step, "compare", *results, "--force", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert len(table["forced"]) == 1
    assert "base_url" in table["forced"][0]
    pila = table["rows"][1]
    assert set(pila["sampling"]["weights"]) == {"vae", "text_encoder", "transformer", "adapter"}
    assert pila["sampling"]["shared"]["seed"] == 0


def test_a_local_judge_on_the_command_line(tmp_path, capsys):
    model = tiny_judge.save(tmp_path / "model", says="yes")
    items = [Item(key=f"{n}.mp4", prompt=f"{n} falls", files=(f"{n}.mp4",)) for n in "ab"]
    prompts = PromptList(benchmark="videophy", source="here", items=tuple(items))
    write_prompts(tmp_path / "prompts.json", prompts)
    for seed, name in enumerate(prompts.files):
        official.write_clip(tmp_path / "clips" / name, seed)
    step = ["evaluate", "videophy"]
    args = ["--prompts", str(tmp_path / "prompts.json"), "--out", str(tmp_path / "out")]
    args += ["--judge", "local", "--judge-model", str(model), "--device", "cpu", "--frames", "2"]
    assert run([*step, "judge", str(tmp_path / "clips"), *args]) == 0
    sa, pc = capsys.readouterr().out.split()
    assert run([*step, "aggregate", "--sa", sa, "--pc", pc, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["joint"] == 1
    assert run([*step, "judge", str(tmp_path / "clips"), *args[:4], "--judge", "local"]) == 2
    assert "--judge-model" in capsys.readouterr().err


def test_prompts_of_a_checkout(tmp_path, capsys):
    checkout = official.phygen_checkout(tmp_path / "repository")
    out = tmp_path / "list" / "prompts.json"
    step = ["evaluate", "phygenbench", "prompts", "--out", str(out)]
    assert run([*step, "--source", str(checkout)]) == 0
    assert "160 prompts, 160 clips each method" in capsys.readouterr().out
    assert json.loads(out.read_text())["benchmark"] == "phygenbench"
    assert run(step) == 2
    assert "clone it and give it with --source" in capsys.readouterr().err
    assert run([*step, "--source", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["videophy2", "judge", ".", "--prompts", "no.json", "--out", "o"], "address is not named"),
        (
            [
                "vbench2",
                "judge",
                ".",
                "--prompts",
                "no.json",
                "--out",
                "o",
                "--base-url",
                "http://x",
            ],
            "model is not named",
        ),
        (["vbench2", "aggregate", "no.json"], "no.json cannot be read"),
        (["imaging", "aggregate", "no.json"], "no.json cannot be read"),
        (["phygenbench", "compare", "no.json"], "no.json cannot be read"),
        (["videophy2", "generate", "--prompts", "no.json", "--output", "o"], "no.json cannot be"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(args, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", *args]) == 2
    printed = capsys.readouterr()
    assert named in printed.err
    assert len(printed.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
