"""Pictures of one generation: nothing cut off, nothing on top of another, readable when small."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tests.canvas import faults

from pila.generate import pictures as explain
from pila.generate.recorder import Recorder


def recorded(*, frames: int = 9, size: tuple[int, int] = (8, 8), steps: int = 8, scale=1.0) -> Any:
    draw = torch.Generator().manual_seed(frames + size[1])
    recorder = Recorder(first_step=1)
    for _ in range(steps):
        output = SimpleNamespace(
            correction=scale * torch.randn(1, 16, frames, *size, generator=draw),
            gate=torch.ones(1),
            route=SimpleNamespace(weights=torch.rand(1, 8, generator=draw)),
            refined=1e-3 * scale * torch.randn(1, 32, frames, *size, generator=draw),
        )
        recorder(output)
    routing = SimpleNamespace(
        told=torch.ones(1),
        token_maps=torch.rand(1, 8, frames, *size, generator=draw),
        semantic=torch.rand(1, 32, generator=draw),
    )
    recorder.passes = [routing] * 2 * steps
    return recorder


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"frames": 3, "steps": 2},
        {"frames": 21, "size": (30, 52), "steps": 50},
        {"size": (52, 30)},
        {"scale": 1e-4},
        {"scale": 1e3},
        {"scale": 0.0},
    ],
    ids=str,
)
def test_words_are_whole_apart_and_large_enough(kind):
    figures = explain.figures(recorded(**kind), labels=["phase_change", "thermal"])
    assert set(figures) == {"routing", "bank", "correction", "where", "tokens", "semantic"}
    found = {name: faults(figure) for name, figure in figures.items()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("shape", [(33, 64, 64, 3), (5, 48, 80, 3), (81, 832, 480, 3)], ids=str)
def test_the_strip_too(shape):
    clips = {name: np.zeros(shape, np.uint8) for name in ("frozen", "PILA + ProPhy + LoRA")}
    assert faults(explain.strip(clips)) == []


def test_what_is_cut_off_on_top_of_another_or_small_is_noticed():
    figure = Figure(figsize=(5, 1))
    figure.text(-0.1, 0.2, "outside")
    figure.text(0.5, 0.7, "one")
    figure.text(0.51, 0.7, "other")
    figure.text(0.8, 0.2, "tiny", fontsize=5)
    assert faults(figure) == ["cut off: outside", "small: tiny", "overlap: one, other"]
