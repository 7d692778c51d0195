"""PyTorch's threads sleep while they wait, and a small model gets one of them."""

import os
import subprocess
import sys

import pytest
import torch

from pila.pipelines.locate import load_pipeline
from pila.threads import (
    PASSIVE,
    denoiser_operations,
    let_threads_sleep,
    sampling_threads,
    threads_for,
)

OWN_SETTINGS = [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}, {"KMP_BLOCKTIME": "200"}]
EMBEDDED = {"height": 64, "width": 64, "num_frames": 33}


def in_new_process(code: str, environment: dict[str, str]) -> str:
    own = {k: v for k, v in os.environ.items() if k not in (*PASSIVE, "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("entry", ["pila", "pila.cli", "pila.web", "pila.generate.generate"])
def test_every_entry_sets_the_policy_before_torch_is_imported(entry):
    code = (
        "import sys, os, builtins; real = builtins.__import__; seen = []\n"
        "def spy(name, *a, **k):\n"
        "    if name == 'torch' and 'torch' not in sys.modules:\n"
        "        seen.append(os.environ.get('OMP_WAIT_POLICY'))\n"
        "    return real(name, *a, **k)\n"
        f"builtins.__import__ = spy; import {entry}; import torch; print(seen[0])"
    )
    assert in_new_process(code, {}) == "PASSIVE"


@pytest.mark.parametrize("own", OWN_SETTINGS, ids=lambda own: next(iter(own)))
def test_a_users_own_setting_stands(own):
    environment = dict(own)
    let_threads_sleep(environment)
    assert environment == own


def test_workers_inherit_the_policy():
    code = (
        "import os\nfrom pila.workers import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers(1) as pool:\n"
        "        print(pool.submit(os.getenv, 'OMP_WAIT_POLICY').result())"
    )
    assert in_new_process(code, {}) == "PASSIVE"


def test_small_work_gets_one_thread_and_large_work_all():
    assert threads_for(1e9, 8) == 1
    assert threads_for(1e13, 8) == 8


def test_the_embedded_model_is_small_and_wan_is_not():
    pipeline = load_pipeline("embedded", "none")
    work = denoiser_operations(pipeline, **EMBEDDED)
    weights = sum(p.numel() for p in pipeline.transformer.parameters())
    tokens = work / (2 * weights)
    assert tokens == 9 * 4 * 4 or tokens == 9 * 8 * 8, tokens  # patches of 2 or of 1
    assert threads_for(work, 8) == 1
    assert threads_for(2 * 1.4e9 * 32_760, 8) == 8  # Wan 2.1-1.3B at 81 x 480 x 832


def test_threads_are_given_back_also_after_an_error(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    pipeline = load_pipeline("embedded", "none")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), sampling_threads(pipeline, **EMBEDDED):
            raise KeyError(torch.get_num_threads())
        with sampling_threads(pipeline, **EMBEDDED):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        with sampling_threads(pipeline, **EMBEDDED):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
