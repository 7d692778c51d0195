"""From WISA-80K's format to an adapter on Wan 2.2's layout, by commands alone."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import WanPipeline
from tests.pipelines import tiny

from pila.cli import run
from pila.pipelines.locate import load_pipeline
from pila.recipes import RECIPES


def short():
    """All three stages, two steps each, of a narrow adapter with the paper's bottleneck."""
    stages = RECIPES["wan2.1-1.3b"]()
    changed = {}
    for name, config in stages.items():
        adapter = replace(config.couple.adapter, hidden_width=16, encoder_blocks=1)
        changed[name] = replace(
            config,
            optim=replace(config.optim, steps=2, batch=2, warmup=1, lr=1e-2),
            couple=replace(config.couple, adapter=adapter, encoder_freeze=1, residual_warmup=1),
        )
    return changed


@pytest.fixture(scope="module")
def cache(wan_folder, tmp_path_factory):
    """A replica of WISA-80K as a latent cache of the tiny model."""
    root = tmp_path_factory.mktemp("data")
    assert run(["data", "replica", str(root / "wisa"), "--clips", "16", "--size", "48"]) == 0
    # Second derivatives take more latent frames than the tiny model's own clips have.
    view = ["--height", "48", "--width", "48", "--num-frames", "17"]
    made = [*view, "--out", str(root / "cache"), "--model", str(wan_folder), "--processes", "0"]
    assert run(["data", "cache", str(root / "wisa"), *made, "--device", "cpu"]) == 0
    return root / "cache"


@pytest.fixture(scope="module")
def wan_22(tmp_path_factory):
    """A saved Wan repository of two denoisers with a boundary."""
    folder = tmp_path_factory.mktemp("wan22")
    WanPipeline(**tiny.components(wan22=True)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(cache, wan_folder, tmp_path_factory):
    """The run's folder of all three stages on the one denoiser."""
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "short", short)
        asked = ["train", "short", "--model", str(wan_folder), "--data", str(cache)]
        assert run([*asked, "--output", str(out)]) == 0
    return out


def test_three_stages_train_on_a_cache_alone(trained, wan_folder):
    for stage in ("observe", "recover", "couple"):
        config = json.loads((trained / stage / "config.json").read_text())
        assert config["model"] == str(wan_folder)
        assert (trained / stage / "adapter").is_dir()
    # Each stage goes on from the one before it.
    assert json.loads((trained / "couple/config.json").read_text())["start"] == str(
        trained / "recover/adapter"
    )
    names = {p.name for p in (trained / "adapter").iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_neither_vae_nor_text_encoder_is_needed(cache, wan_folder, tmp_path, monkeypatch):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("transformer", "model_index.json"):
        (bare / name).symlink_to(wan_folder / name)
    monkeypatch.setitem(RECIPES, "short", short)
    asked = ["train", "short", "--model", str(bare), "--data", str(cache)]
    assert run([*asked, "--output", str(tmp_path / "run"), "--max-steps", "1"]) == 0


def test_the_adapter_corrects_both_denoisers_of_wan_22(trained, wan_22):
    pipeline = load_pipeline(wan_22, trained / "adapter")
    assert pipeline.transformer_2 is not None
    frozen = tiny.latents(pipeline, adapter_scale=0.0)
    for step in (1, 3):  # a step of the high-noise denoiser, one of the other
        assert not torch.equal(tiny.latents(pipeline, step_window=(step, step)), frozen)


def test_coupling_goes_on_with_two_denoisers(trained, cache, wan_22, tmp_path, monkeypatch):
    # The mix of noise levels reaches both; the loop refuses to end with a changed generator.
    monkeypatch.setitem(RECIPES, "short", lambda: {"couple": short()["couple"]})
    asked = ["train", "short", "--model", str(wan_22), "--data", str(cache)]
    start = ["--start", str(trained / "adapter"), "--output", str(tmp_path)]
    assert run([*asked, *start]) == 0
    assert (tmp_path / "adapter").is_dir()
    kept = json.loads((tmp_path / "couple/config.json").read_text())
    assert kept["start"] == str(trained / "adapter")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embedded-text", "--model", "x"], "model is x, but embedded-text trains no adapter"),
        (["embedded-text", "--start", "x"], "start is x, but embedded-text trains no adapter"),
        (["embedded-generator", "--start", "nowhere"], "nowhere"),
        (["embedded-couple", "--data", "nowhere"], "nowhere"),
        (["wan2.1-1.3b"], "has no clips for Wan-AI/Wan2.1-T2V-1.3B-Diffusers; make a latent cache"),
    ],
)
def test_what_a_recipe_cannot_use_is_refused_at_once(arguments, message, tmp_path, capsys):
    assert run(["train", *arguments, "--output", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_cache_of_another_model_is_refused(cache, tmp_path, capsys):
    asked = ["train", "embedded-couple", "--data", str(cache), "--output", str(tmp_path / "run")]
    assert run(asked) == 2
    wide = tiny.TEXT_WIDTH
    assert f"holds {wide} numbers in a token's embedding, but embedded takes 64" in (
        capsys.readouterr().err
    )
