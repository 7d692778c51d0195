"""What holds for every command: --json, --quiet and --verbose, completion, errors with remedies."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from io import StringIO
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest

from pila import cli
from pila.cli import COMMANDS, Command, run
from pila.errors import InputError
from pila.progress import progress_bar


def commands(of: Any) -> Iterator[tuple[str, type]]:
    """Words and dataclass of each command below a union of them."""
    if get_origin(of) is Annotated:
        of, *notes = get_args(of)
        names = [n.name for n in notes if getattr(n, "name", None)]
        if not is_dataclass(of):
            yield from commands(of)
            return
        assert isinstance(of, type)
        hints = get_type_hints(of, include_extras=True)
        inner = hints.get("command", hints.get("benchmark"))
        for words, kind in [("", of)] if inner is None else commands(inner):
            yield f"{names[0]} {words}".strip(), kind
        return
    assert get_origin(of) in (Union, UnionType), of
    for part in get_args(of):
        yield from commands(part)


FOUND = dict(commands(Command))


def test_the_walk_finds_every_command():
    assert len(FOUND) > 30
    assert {"generate", "world make", "data verify", "evaluate vbench2 judge"} <= set(FOUND)
    # `evaluate` runs all of its steps by one function.
    ours = {kind for words, kind in FOUND.items() if not words.startswith("evaluate")}
    assert ours <= set(COMMANDS)


@pytest.mark.parametrize("words", FOUND)
def test_every_command_has_json(words: str):
    options = {f.name: f for f in fields(FOUND[words])}
    assert "json" in options
    assert options["json"].default is False


@pytest.mark.parametrize("words", FOUND)
def test_no_command_has_these_of_its_own(words: str):
    assert not {"quiet", "verbose"} & {f.name for f in fields(FOUND[words])}


@pytest.fixture
def level() -> Iterator[None]:
    before = cli.logger.level
    yield
    cli.logger.setLevel(before)


@pytest.mark.usefixtures("level")
def test_quiet_and_verbose(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    for place, flag, expected in (
        ("before", "", logging.WARNING),
        ("before", "--quiet", logging.ERROR),
        ("behind", "--quiet", logging.ERROR),
        ("before", "--verbose", logging.DEBUG),
        ("behind", "--verbose", logging.DEBUG),
    ):
        args = ["label", "two steel balls collide", "--parser", "offline"]
        flags = [flag] if flag else []
        assert run([*flags, *args] if place == "before" else [*args, *flags]) == 0
        assert "category    collision" in capsys.readouterr().out
        assert cli.logger.level == expected
        bar = progress_bar(total=2)
        assert bar.disable == (flag == "--quiet")
        assert progress_bar(total=2, shown=False).disable
        bar.close()
    assert run(["label", "", "--verbose"]) == 2
    assert any(r.exc_info and r.exc_info[0] is InputError for r in caplog.records)


@pytest.mark.usefixtures("level")
def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]):
    assert run(["label", "ice melts", "--quiet", "--verbose"]) == 2
    assert "--quiet and --verbose exclude each other" in capsys.readouterr().err


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert list(progress_bar([1, 2])) == [1, 2]
    assert progress_bar(total=2).disable


def test_talkative_commands_say_more_by_default():
    assert cli._level(FOUND["train"](recipe="x"), quiet=False, verbose=False) == logging.INFO
    assert cli._level(FOUND["doctor"](), quiet=False, verbose=False) == logging.WARNING


COMPLETE = """
source {script}
complete=$(complete -p pila)
[[ $complete =~ -F\\ ([^ ]+) ]]
ask() {{
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    ${{BASH_REMATCH[1]}} pila "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
    echo "${{COMPREPLY[@]}}"
}}
ask pila gen
ask pila generate --adapter-
ask pila label --parser ''
ask pila world m
ask pila --qu
"""


def test_completion_in_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        run(["--tyro-print-completion", "bash"])
    assert not end.value.code
    script = tmp_path / "pila.bash"
    script.write_text(capsys.readouterr().out)
    asked = COMPLETE.format(script=script)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "generate",
        "--adapter-scale",
        "auto offline llm",
        "make measure",
        "--quiet",
    ]


def test_completion_for_zsh(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        run(["--tyro-print-completion", "zsh"])
    assert not end.value.code
    printed = capsys.readouterr().out
    assert printed.startswith("#compdef pila")
    assert "--adapter-scale" in printed


NO_MODEL = "pass 'embedded', the folder of a diffusers Wan repository, or a hub id"
NO_ADAPTER = "pass 'embedded', 'none', the folder of a trained adapter, or an adapter's hub id"
MISTAKES = {
    "train embeded": ("'embeded'|embeded", "embedded-couple"),
    "train embedded-couple --output {out}/t --model /nowhere/m": ("/nowhere/m", NO_MODEL),
    "world make --out {out} --scene thrown_bal": ("thrown_bal", "did you mean 'thrown_ball'"),
    "world show --out {out}/s.png --scene thrown_bal": ("thrown_bal", "did you mean"),
    "world make --out {out} --categories thermic": ("thermic", "did you mean thermal"),
    "world measure {out}/none.mp4 --scene thrown_ball": ("none.mp4", "pass|name|choose"),
    "generate ball --output {out}/c.mp4 --categories fluids": ("'fluids'", "did you mean fluid"),
    "generate ball --output {out}/c.mp4 --adapter /nowhere/a": ("/nowhere/a", NO_ADAPTER),
    "generate ball --output {out}/c.mp4 --model /nowhere/m": ("/nowhere/m", NO_MODEL),
    "generate ball --output {out}/c.mp4 --model me/none": ("me/none", "--model embedded"),
    "generate ball --output {out}/c.mp4 --parser llm": ("llm|model", "PILA_LLM_MODEL"),
    "generate ball --output {out}/c.mp4 --steps 0": ("steps is 0", "use 1 to 1000"),
    "label ball --parser llm": ("llm|model", "PILA_LLM_MODEL"),
    "score {out}/none.mp4": ("none.mp4", "pass|name|give"),
    "score {out} --categories fluids": ("fluids|{out}", "did you mean|pass|name|give"),
    "experiment laws --output {out}/e --model /nowhere/m": ("/nowhere/m", NO_MODEL),
    "experiment laws --output {out}/e --adapters pila=/nowhere/a": ("/nowhere/a", NO_ADAPTER),
    "experiment main --output {out}/e --only nobody": ("nobody", "frozen"),
    "data cache {out}/none.csv --out {out}/c": ("none.csv", "pass|name|world|give"),
    "data cache world --out {out}/c --scenes thrown_bal": ("thrown_bal", "thrown_ball"),
    "data verify {out}/none": ("{out}/none", "pila data cache|pass|name"),
    "data maps {out}/none": ("{out}/none", "pila data cache|pass|name"),
    "data wisa {out}/none": ("{out}/none", "pass|name|give"),
    "data replica {out}/r --clips 0": ("0", "use|at least"),
    "evaluate videophy prompts --source {out}/none --out {out}/p.json": ("{out}/none", "pass|give"),
    "evaluate videophy generate --prompts {out}/none.json --output {out}/g": (
        "{out}/none.json",
        "give an existing",
    ),
    "profile nobody": ("nobody", "embedded"),
    "push /nowhere/a me/ball": ("/nowhere/a", "pass an adapter's folder"),
    "push embedded ball --dry-run": ("'ball'", "write owner/name"),
}


@pytest.mark.parametrize("command", MISTAKES)
def test_mistakes_name_the_value_and_a_remedy(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("PILA_LLM_MODEL", "OPENAI_MODEL", "PILA_LLM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    out.mkdir()
    code = 0
    try:
        code = run([a.format(out=out) for a in command.split()])
    except SystemExit as end:  # tyro's own refusals
        code = end.code
    printed = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in printed.err
    message = " ".join(printed.err.split())
    value, remedy = MISTAKES[command]
    assert any(v.format(out=out) in message for v in value.split("|")), message
    assert re.search(remedy, message), message
    assert list(out.iterdir()) == []
