"""Several processes that are stopped or killed go on from the last checkpoint, to the same weights.

Kills at random moments, of one process and of two, are in `tests.torture.kills`.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch

from pila.recipes import RECIPES
from pila.train import checkpoint
from pila.train.loop import fit
from pila.train.tasks import build_task

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join(sys.path)
EVERY = 2
STEPS = 12
PROGRAM = """
import sys
from pathlib import Path
import torch
from tests.train.test_interrupted import train
from pila.train.loop import leave_group
from pila.train.stopping import Stopped
torch.set_num_threads(1)
try:
    train(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    leave_group()
except Stopped as stopped:
    sys.exit(stopped.code)
"""


def train(folder, steps=STEPS, every=EVERY):
    recipe = RECIPES["embedded-text"]()
    config = replace(recipe, optim=replace(recipe.optim, steps=steps, batch=8, warmup=2))
    fit(build_task(config), config, folder, checkpoint_every=every, progress=False)


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


ZERO = {
    "ACCELERATE_USE_CPU": "false",
    "DS_ACCELERATOR": "cpu",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
}


def launch(folder, processes, *numbers, **settings):
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc_per_node", str(processes), "--no-python"),
                *(sys.executable, "-c", PROGRAM, str(folder), *map(str, numbers)),
            ],
            cwd=ROOT,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": PATH}
            | settings,
            start_new_session=True,
            stderr=log,
        )


def kill_all(run):
    """End a launcher and its workers at once; the latter are in sessions of their own."""
    workers = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    for process in workers:
        process.send_signal(signal.SIGKILL)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    psutil.wait_procs(workers)


def metrics_of(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(("told", "number"), [("all", signal.SIGTERM), ("one", signal.SIGINT)])
def test_two_processes_stop_behind_the_same_step(tmp_path, number, told):
    """The launcher passes a signal on; another may come to one process alone."""
    straight, stopped, numbers = tmp_path / "straight", tmp_path / "stopped", (90, 1000)
    assert launch(straight, 2, *numbers).wait() == 0, straight.with_suffix(".log").read_text()
    run = launch(stopped, 2, *numbers)
    while run.poll() is None and len(metrics_of(stopped)) < 2:
        time.sleep(0.01)
    if told == "all":
        run.send_signal(number)
    else:
        psutil.Process(run.pid).children()[-1].send_signal(number)
    assert run.wait() != 0
    # No other step has one: it is the signal's, and both processes were there.
    assert 20 < last_step(stopped) < 90
    assert launch(stopped, 2, *numbers).wait() == 0, stopped.with_suffix(".log").read_text()
    one, two = weights(straight), weights(stopped)
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.slow
def test_another_number_of_processes_goes_on_and_says_what_changes(tmp_path, caplog):
    folder = tmp_path / "run"
    run = launch(folder, 2)
    while run.poll() is None and not list((folder / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    kill_all(run)
    assert last_step(folder) < STEPS
    train(folder)
    assert "was trained by 2 processes and goes on with 1" in caplog.text
    assert last_step(folder) == STEPS


@pytest.mark.slow
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs the extra deepspeed")
def test_zero_spreads_the_optimizer_and_trains_the_same(tmp_path):
    plain, straight, killed = (tmp_path / name for name in ("plain", "straight", "killed"))
    assert launch(plain, 2).wait() == 0, plain.with_suffix(".log").read_text()
    assert launch(straight, 2, **ZERO).wait() == 0, straight.with_suffix(".log").read_text()
    run = launch(killed, 2, **ZERO)
    while run.poll() is None and not list((killed / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    kill_all(run)
    assert 0 < last_step(killed) < STEPS
    assert launch(killed, 2, **ZERO).wait() == 0, killed.with_suffix(".log").read_text()
    one, two, three = (weights(folder) for folder in (plain, straight, killed))
    assert one.keys() == two.keys()
    # The same numbers but for the order of sums; a resumed run is the straight one bit for bit.
    assert all(torch.allclose(one[k], two[k], rtol=1e-3, atol=1e-5) for k in one)
    assert all(torch.equal(two[k], three[k]) for k in two)
