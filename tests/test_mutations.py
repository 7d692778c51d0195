"""JSON that pila writes and reads again, broken in every way: one line each, or what it says."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.mutations import bad_ones

from pila.cli import run
from pila.data import shard_files
from pila.generate.request import GenerateRequest
from pila.generate.settings_file import read_settings, write_settings
from pila.lab.world.dataset import read_record
from pila.prophy import map_files
from pila.train import checkpoint
from pila.train.config import config_diff

COUNT = 60

HEADER = shard_files.Header(
    source="x", records=2, shard_clips=2, vae="a", text_encoder="b", flow="c", height=32, width=32,
    num_frames=9, fps=8.0, latent_shape=(16, 3, 4, 4), text_width=8, max_tokens=16,
)  # fmt: skip
ROW = shard_files.Row(
    name="a", shard=0, row=0, caption="c", categories=("fluid",), violation=None, num_frames=9,
    latent_shape=(16, 3, 4, 4), tokens=3, motion=0.5, slots=(), sha256="ab",
)  # fmt: skip


def settings(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = folder / "a-settings.json"
    write_settings(path, GenerateRequest(prompt="a ball", seed=3, steps=2, fps=8.0))
    return path, lambda: read_settings(path)


def record(folder: Path) -> tuple[Path, Callable[[], Any]]:
    said = {"validation": 0.5, "config": {"seed": 1}, "processes": 1, "seconds_per_step": 0.1}
    made = checkpoint.save(folder, 3, {"x": torch.ones(2)}, said)
    return made / "record.json", lambda: checkpoint.latest(folder)


def run_config(folder: Path) -> tuple[Path, Callable[[], Any]]:
    from pila.recipes import RECIPES

    config = RECIPES["embedded-couple"]()
    path = folder / "config.json"
    path.write_text(json.dumps(config.as_saved()))
    return path, lambda: config_diff(folder, config)


def world_record(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = folder / "000000.json"
    said = {"name": "000000", "scene": "hot_spot", "seed": 3, "violation": None, "size": 96}
    said |= {
        "caption": "a hot spot",
        "categories": ["thermal"],
        "parameters": {"seed": 3, "k": 0.5},
    }
    path.write_text(json.dumps(said))
    return path, lambda: read_record(path)


def cache_header(folder: Path) -> tuple[Path, Callable[[], Any]]:
    shard_files.write_header(folder, HEADER)
    return folder / "cache.json", lambda: shard_files.read_header(folder).shards


def shard_sidecar(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = shard_files.sidecar_path(folder, 0)
    path.write_text(json.dumps({"rows": [asdict(ROW)], "excluded": [{"name": "b", "reason": "x"}]}))
    return path, lambda: shard_files.read_sidecar(folder, 0)


def maps_header(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = folder / "maps.json"
    path.write_text(json.dumps({"version": map_files.VERSION, "maker": {"kind": "active"}}))
    return path, lambda: map_files.read_header(folder)


def maps_sidecar(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = map_files.sidecar_of(folder, 0)
    mapped = {"name": "a", "row": 0, "sha256": "ab", "peaks": {"fluid": 0.5}}
    path.write_text(json.dumps({"mapped": [mapped], "excluded": []}))
    return path, lambda: map_files.read_sidecar(folder, 0)


KINDS = [
    settings,
    record,
    run_config,
    world_record,
    cache_header,
    shard_sidecar,
    maps_header,
    maps_sidecar,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_line_or_what_it_says(kind, tmp_path):
    path, read = kind(tmp_path)
    read()
    assert bad_ones(path, read, count=COUNT) == []


def test_a_byte_order_mark_is_no_fault(tmp_path):
    for kind in KINDS:
        folder = tmp_path / kind.__name__
        folder.mkdir()
        path, read = kind(folder)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        read()


def test_a_settings_file_of_numbers_that_nothing_takes(tmp_path, capsys):
    path, _ = settings(tmp_path)
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"settings": said["settings"] | {"steps": 10**30}}))
    assert run(["generate", "--from", str(path), "--output", str(tmp_path / "a.mp4")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
