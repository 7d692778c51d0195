"""Files of a model that are broken in every way: one line each, or a clip; never anything else."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.mutations import bad_ones
from tests.pipelines import tiny

from pila.generate.plan import prepare
from pila.generate.request import GenerateRequest
from pila.pipelines.locate import load_pipeline

COUNT = 14
"""Of each file in the suite; `make torture` tries more."""


@pytest.fixture(scope="module")
def model(wan_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(wan_folder, tmp_path_factory.mktemp("broken") / "model")


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "pila.json",
        "transformer/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/tokenizer.json",
    ],
)
@pytest.mark.filterwarnings("ignore")  # diffusers and transformers warn of what they pass over
def test_of_a_model(model: Path, name: str, tmp_path: Path):
    asked = GenerateRequest(prompt=tiny.PROMPT, model=str(model), adapter="none", device="cpu")

    def used() -> None:
        prepare(asked)
        pipeline = load_pipeline(model, None)
        tiny.latents(pipeline, num_inference_steps=1)

    assert bad_ones(model / name, used, count=COUNT) == []


@pytest.mark.filterwarnings("ignore")
def test_of_an_adapter(wan_folder: Path, adapter_folder: Path, tmp_path: Path):
    mine = shutil.copytree(adapter_folder, tmp_path / "adapter")

    def used() -> None:
        tiny.latents(load_pipeline(wan_folder, mine), num_inference_steps=1)

    assert bad_ones(mine / "config.json", used, count=COUNT) == []


def test_a_byte_order_mark_is_no_fault(model: Path, tmp_path: Path, monkeypatch):
    """Of whichever JSON file, read by whichever library: the same clip, bit for bit."""
    monkeypatch.setenv("PILA_CACHE", str(tmp_path))
    expected = tiny.latents(load_pipeline(model, None), num_inference_steps=1)
    good = {path: path.read_bytes() for path in model.rglob("*.json")}
    assert len(good) > 6
    for path, content in good.items():
        path.write_bytes(b"\xef\xbb\xbf" + content)
    try:
        prepare(GenerateRequest(prompt=tiny.PROMPT, model=str(model), adapter="none"))
        found = tiny.latents(load_pipeline(model, None), num_inference_steps=1)
    finally:
        for path, content in good.items():
            path.write_bytes(content)
    assert torch.equal(found, expected)
