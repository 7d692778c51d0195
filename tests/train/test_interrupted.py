"""A run that is killed at any moment goes on from its last checkpoint, to the same weights."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pila.recipes import RECIPES
from pila.train import checkpoint
from pila.train.loop import fit
from pila.train.tasks import build_task

ROOT = Path(__file__).parents[2]
EVERY = 2
STEPS = 12
PROGRAM = """
import sys
from pathlib import Path
import torch
from tests.train.test_interrupted import train
torch.set_num_threads(1)
train(Path(sys.argv[1]))
"""


def train(folder):
    recipe = RECIPES["embedded-text"]()
    config = replace(recipe, optim=replace(recipe.optim, steps=STEPS, batch=8, warmup=2))
    fit(build_task(config), config, folder, checkpoint_every=EVERY, progress=False)


def weights(folder):
    found = checkpoint.latest(folder / "checkpoints")
    assert found is not None
    return found[0]


def last_step(folder):
    """The step of the newest checkpoint; it must be whole, as every other one."""
    steps = []
    for path in sorted((folder / "checkpoints").glob("step-*")):
        assert {p.name for p in path.iterdir()} == {"state.safetensors", "record.json"}
        steps.append(int(path.name.split("-")[1]))
    found = checkpoint.latest(folder / "checkpoints")
    assert (found[1]["step"] if found else 0) == max(steps, default=0)
    return max(steps, default=0)


def test_twenty_kills_change_nothing(tmp_path):
    fork = multiprocessing.get_context("fork")
    draw = random.Random(0)
    straight = fork.Process(target=train, args=(tmp_path / "straight",))
    start = time.perf_counter()
    straight.start()
    straight.join()
    whole = time.perf_counter() - start
    killed, before = tmp_path / "killed", 0
    for _ in range(20):
        process = fork.Process(target=train, args=(killed,))
        process.start()
        process.join(draw.uniform(0, whole))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        reached = last_step(killed)
        assert reached >= before
        assert reached % EVERY == 0
        before = reached
    last = fork.Process(target=train, args=(killed,))
    last.start()
    last.join()
    assert last.exitcode == 0
    one, two = weights(tmp_path / "straight"), weights(killed)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)


def launch(folder, processes):
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc_per_node", str(processes), "--no-python"),
                *(sys.executable, "-c", PROGRAM, str(folder)),
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            start_new_session=True,
            stderr=log,
        )


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_too(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert launch(straight, 2).wait() == 0, straight.with_suffix(".log").read_text()
    run = launch(killed, 2)
    while run.poll() is None and not list((killed / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert last_step(killed) > 0
    assert launch(killed, 2).wait() == 0, killed.with_suffix(".log").read_text()
    one, two = weights(straight), weights(killed)
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.slow
def test_another_number_of_processes_goes_on_and_says_what_changes(tmp_path, caplog):
    folder = tmp_path / "run"
    run = launch(folder, 2)
    while run.poll() is None and not list((folder / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert last_step(folder) < STEPS
    train(folder)
    assert "was trained by 2 processes and goes on with 1" in caplog.text
    assert last_step(folder) == STEPS
