"""A training that is interrupted keeps what it has done, and goes on to the same weights."""

import multiprocessing
import os
import resource
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from pila import cli
from pila.errors import InputError
from pila.lab.embedded.text import TextTask
from pila.recipes import RECIPES
from pila.recipes.run import run
from pila.train import checkpoint, stopping
from pila.train.loop import fit
from pila.train.recover import RecoverTask
from pila.train.stopping import CheckpointClock, Stopped, StopSignals
from pila.train.tasks import build_task

STEPS = 6
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
fork = multiprocessing.get_context("fork")


def small(**changes):
    recipe = RECIPES["embedded-text"]()
    optim = replace(recipe.optim, steps=STEPS, batch=4, warmup=2, ema=0.9)
    return replace(recipe, optim=optim, **changes)


def train(folder, at=None, act=None, **options):
    """Train, with something done in the middle of the step of that number."""
    config = small()
    task: Any = build_task(config)
    loss = task.loss

    def met(draws):
        if act is not None and draws.step == at:
            act()
        return loss(draws)

    task.loss = met
    return fit(task, config, folder, progress=False, **options)


def weights(folder):
    found = checkpoint.latest(folder / "checkpoints")
    assert found is not None
    return found[0]


def steps_in(folder):
    return [int(p.name.split("-")[1]) for p in sorted((folder / "checkpoints").glob("step-*"))]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    train(folder)
    return weights(folder)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_stops_behind_its_step_and_the_same_call_goes_on(tmp_path, straight, number):
    before = {n: signal.getsignal(n) for n in CODES}

    def twice():  # as `timeout` does, to the process and to its group
        signal.raise_signal(number)
        signal.raise_signal(number)

    with pytest.raises(Stopped, match="stopped at step 3; the same command resumes") as stopped:
        train(tmp_path, at=2, act=twice)
    assert (stopped.value.step, stopped.value.code) == (3, CODES[number])
    assert {n: signal.getsignal(n) for n in CODES} == before
    assert steps_in(tmp_path) == [3]
    train(tmp_path)
    assert same(weights(tmp_path), straight)


@pytest.mark.parametrize("at", ["a checkpoint", "the last step"])
def test_a_signal_that_meets_no_step_stops_too(tmp_path, straight, at):
    config = small()
    task: Any = build_task(config)
    task.validate = lambda: signal.raise_signal(signal.SIGTERM)
    every = 2 if at == "a checkpoint" else STEPS
    with pytest.raises(Stopped) as stopped:
        fit(task, config, tmp_path, checkpoint_every=every, progress=False)
    assert stopped.value.step == steps_in(tmp_path)[-1]
    assert stopped.value.step == (3 if at == "a checkpoint" else STEPS)
    assert not (tmp_path / "parts").exists()
    assert train(tmp_path) == tmp_path / "parts"
    assert same(weights(tmp_path), straight)


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "SAME", -1.0)

    def twice():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    process = fork.Process(target=train, args=(tmp_path, 2, twice))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGTERM
    assert not steps_in(tmp_path)


def test_other_threads_leave_signals_alone(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), []
    options = {"at": 1, "act": lambda: seen.append(signal.getsignal(signal.SIGTERM))}
    thread = threading.Thread(target=train, args=(tmp_path,), kwargs=options)
    thread.start()
    thread.join()
    assert seen == [before]
    assert steps_in(tmp_path) == [STEPS]


def test_between_steps_a_signal_is_raised_where_it_comes():
    def prepare():
        with StopSignals(at_once=True):
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("not reached")

    with pytest.raises(Stopped, match="stopped before the first step") as stopped:
        prepare()
    assert stopped.value.code == 130


def test_checkpoints_by_time_are_those_of_a_straight_run(tmp_path, straight):
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        train(tmp_path, at=1, act=fail, checkpoint_minutes=1e-9)
    assert steps_in(tmp_path) == [1]
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None
    assert found[1]["validation"] is None  # what is best does not depend on the clock
    train(tmp_path)
    assert same(weights(tmp_path), straight)
    with pytest.raises(KeyError):
        train(tmp_path / "off", at=4, act=fail, checkpoint_minutes=0)
    assert not (tmp_path / "off" / "checkpoints").exists()


def due_at(minutes, took=0.0, until=1800):
    """Seconds at which checkpoints are due, each of which takes so long."""
    now = [0.0]
    clock, found = CheckpointClock(minutes, lambda: now[0]), []
    while now[0] < until:
        now[0] += 1
        if clock.is_due():
            found.append(now[0])
            since = now[0]
            now[0] += took
            clock.saved(since)
    return found


def test_when_checkpoints_are_due():
    assert due_at(5) == [30, 60, 120, 240, 480, 780, 1080, 1380, 1680]
    assert due_at(1, until=60) == [6, 12, 24, 48]
    assert due_at(0) == []
    slow = due_at(5, took=60)  # a twentieth of the time at most goes into them
    assert slow[1] - slow[0] == 60 + 1200


def test_minutes_out_of_bounds(tmp_path, capsys):
    for value in ("-1", "nan", "inf"):
        assert cli.run(["train", "embedded-text", "--checkpoint-minutes", value]) == 2
        assert f"checkpoint-minutes is {float(value)}" in capsys.readouterr().err


@pytest.mark.parametrize("number", CODES)
def test_the_command_says_where_it_stopped(tmp_path, capsys, monkeypatch, number):
    real = TextTask.loss

    def loss(self, draws):
        if draws.step == 2 and not (tmp_path / "checkpoints").exists():
            signal.raise_signal(number)
        return real(self, draws)

    monkeypatch.setattr(TextTask, "loss", loss)
    small = ["--steps", "5", "--set", "optim.batch=4"]
    command = ["train", "embedded-text", "--output", str(tmp_path), *small, "--quiet"]
    assert cli.run(command) == CODES[number]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "stopped at step 3; the same command resumes\n")
    assert cli.run(command) == 0
    assert capsys.readouterr().out == f"trained: {tmp_path / 'parts'}\n"


def test_stages_in_a_row_go_on_in_the_stage_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    changes: dict[str, Any] = {"world.clips": 16, "world.scenes": ["thrown_ball"]}
    changes |= {"world.violated": 0.0, "optim.batch": 2, "observe.clips": 8}
    options: Any = {"steps": 3, "changes": changes, "progress": False}
    run("embedded", tmp_path / "straight", **options)
    real = RecoverTask.loss

    def loss(self, draws):
        if draws.step == 1:
            signal.raise_signal(signal.SIGTERM)
        return real(self, draws)

    with monkeypatch.context() as patch:
        patch.setattr(RecoverTask, "loss", loss)
        with pytest.raises(Stopped, match="at step 2"):
            run("embedded", tmp_path / "stopped", **options)
    rows = (tmp_path / "stopped/observe/metrics.jsonl").read_bytes()
    assert steps_in(tmp_path / "stopped/recover") == [2]
    run("embedded", tmp_path / "stopped", **options)
    assert (tmp_path / "stopped/observe/metrics.jsonl").read_bytes() == rows  # not begun again
    files = [
        (tmp_path / name / "adapter" / "diffusion_pytorch_model.safetensors").read_bytes()
        for name in ("straight", "stopped")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("left", ['{"step": 7, "lo', "\0\0\0", '{"step": 1}'])
def test_a_half_line_of_the_metrics_is_mended(tmp_path, left):
    train(tmp_path, max_steps=1)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + left.encode())
    train(tmp_path)
    kept = left.encode() + b"\n" if left.endswith("}") else b""
    assert path.read_bytes().startswith(whole + kept + b'{"step": 5, ')
    assert path.read_bytes().endswith(b"}\n")


def _limited(folder, size, end):
    """Train where no file may be larger, as on a full disk; the command's code and error."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.dup2(write, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        command = ["train", "embedded-text", "--output", str(folder), "--steps", "2", "--quiet"]
        try:
            end(cli.run([*command, "--set", "optim.batch=4"]))
        finally:
            end(99)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), text


@pytest.mark.parametrize(
    ("size", "named"), [(100, "config.json"), (50_000, "step-00000002 could not be written")]
)
def test_a_full_disk_is_one_line(tmp_path, size, named):
    code, text = _limited(tmp_path, size, os._exit)
    assert code == 2
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert named in text
    assert "File too large" in text
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_full_disk_under_the_metrics_is_one_line(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"metrics.jsonl could not be written .*No space left"):
        train(tmp_path)
