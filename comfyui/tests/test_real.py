"""The nodes in a real ComfyUI: COMFYUI_PATH names a checkout whose requirements are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "COMFYUI_PATH" not in os.environ, reason="needs COMFYUI_PATH, a checkout of ComfyUI"
    ),
]
NODES = ["PilaApply", "PilaCategories", "PilaExplain", "PilaLoadAdapter"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("real_comfyui.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path_factory.mktemp("comfyui")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_loads_as_a_custom_node(found: dict[str, Any]):
    assert found["loaded"]
    assert found["nodes"] == NODES


@pytest.mark.parametrize("name", ["whole", "cond", "window"])
def test_same_latents_as_the_pipeline(found: dict[str, Any], name: str):
    # ComfyUI's own Wan differs from diffusers' by rounding (`frozen`), without any adapter.
    assert found["frozen"] < 1e-5
    assert found[name]["difference"] < 1e-5
    assert found[name]["effect"] > 1000 * found[name]["difference"]


def test_untrained_adapter_and_no_strength_change_no_bit(found: dict[str, Any]):
    assert found["untrained_bits"]
    assert found["strength_0_bits"]
    assert found["clone"]
    assert found["model_untouched"]


def test_other_samplers_are_corrected(found: dict[str, Any]):
    assert min(found["other_samplers"].values()) > 1e-2


def test_refusals(found: dict[str, Any]):
    assert "text_dim is 64" in found["unfit"]
    assert "did you mean fluid" in found["refused"]["unknown category"]
    assert "bigger than max" in found["refused"]["strength"]
    assert "mismatch" in found["refused"]["adapter"]


def test_a_workflow_runs(found: dict[str, Any]):
    assert found["valid"]
    assert found["executed"], found.get("messages")
    assert found["pictures"] == 4
