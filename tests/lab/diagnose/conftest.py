"""A run of the real trainer, tiny, and all that is drawn of it, once for all tests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pila.adapter import PilaAdapter, PlainAdapter
from pila.lab.diagnose import style
from pila.lab.diagnose.run import report
from pila.lab.diagnose.subject import Look
from pila.pipelines.locate import find_model
from pila.recipes import RECIPES
from pila.recipes.run import run as train

SCENES = ("hot_spot", "ball_collision")


def tiny():
    """The three stages of the recipe `embedded`, three steps each."""
    stages = {}
    for name, config in RECIPES["embedded"]().items():
        stages[name] = replace(
            config,
            optim=replace(config.optim, steps=3, batch=2, warmup=1),
            world=replace(config.world, clips=16, scenes=SCENES, violated=0.0, size=48),
            couple=replace(config.couple, condition_warmup=0, residual_warmup=0),
            held_out=0.25,
        )
    return stages


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("diagnose-cache")


@pytest.fixture(autouse=True)
def _cache(cache, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(cache))
    draw_quickly(monkeypatch)


def draw_quickly(patch: pytest.MonkeyPatch) -> None:
    """Glyphs as drawings instead of fonts, and fewer pixels: half the time of the figures."""
    patch.setitem(style.MATPLOTLIB, "pdf.fonttype", 3)
    patch.setattr(style, "DPI", 100)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The embedded model, said to know two scenes only, at 48 px and with two steps."""
    folder = tmp_path_factory.mktemp("model")
    source = find_model("embedded")
    for path in source.iterdir():
        if path.name != "pila.json":
            (folder / path.name).symlink_to(path)
    own = json.loads((source / "pila.json").read_text())
    small = {"height": 48, "width": 48, "num_frames": 9, "steps": 2, "scenes": list(SCENES)}
    (folder / "pila.json").write_text(json.dumps(own | small))
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """An untrained plain adapter: its correction is zero everywhere."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("plain")
    pila = PilaAdapter(latent_channels=16, text_dim=64, hidden_width=8, encoder_blocks=1)
    PlainAdapter.matching(pila).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, cache) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILA_CACHE", str(cache))
        patch.setitem(RECIPES, "tiny", tiny)
        assert train("tiny", folder) == folder / "adapter"
    return folder


@pytest.fixture(scope="session")
def reported(trained, model, cache) -> dict:
    """What `pila diagnose report` returns of that run; its files lie in the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILA_CACHE", str(cache))
        draw_quickly(patch)
        return report(trained, look=Look(model=str(model), processes=1))
