"""Cached maps: whole or not there, made once, and aligned with the clips of the latent cache."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from pila.data.corpus import CorpusConfig
from pila.data.records import ClipError, Record, VideoRecord, View
from pila.data.shards import Shards, verify, write_shards
from pila.errors import InputError
from pila.lab.world.activity_maps import ActiveMaps, active_maps
from pila.lab.world.clip_source import WorldSource
from pila.lab.world.corpus import item_of, make
from pila.lab.world.scene import Canvas
from pila.physics.layout import Category
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.prophy.attention import AttentionMaps, VideoAttention
from pila.prophy.maps import Maps, to_tokens, write_maps

VIEW = View(height=32, width=32, num_frames=9, fps=16)
WORLD = CorpusConfig(
    clips=7, size=32, scenes=("thrown_ball", "ball_collision", "boiling_pot"), violated=0.5
)
CATEGORIES = list(Category)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A latent cache of simulated clips in four shards, without maps."""
    out = tmp_path_factory.mktemp("world") / "cache"
    options = {"model": EMBEDDED_MODEL, "view": VIEW, "shard_clips": 2, "processes": 0}
    write_shards(WorldSource(WORLD), out, **options, device="cpu", progress=False)
    return out


@pytest.fixture
def cache(world, tmp_path):
    """A copy of it, to be filled and spoiled."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for path in world.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


class Given:
    """Maps from a table: of each clip an array or a reason."""

    def __init__(self, table, **facts):
        self.table, self.facts, self.asked = table, {"maker": "given", **facts}, []

    def maps(self, rows, header):
        for row in rows:
            self.asked.append(row.name)
            found = self.table.get(row.name)
            if found is None:
                found = np.zeros((8, *header.latent_shape[1:]), np.float32)
            yield found


def fill(cache, maker, **options):
    return write_maps(cache, maker, **options, progress=False)


def parts(folder):
    return sorted(path.name for path in folder.glob(".*"))


def test_maps_of_the_world_are_read_back_beside_their_clips(cache):
    done = fill(cache, ActiveMaps())
    assert (done.clips, done.made, done.missing, done.excluded) == (7, 7, 0, {})
    assert parts(cache) == []
    assert verify(cache, progress=False) == []  # the latents are as they were
    shards = Shards(cache)
    maps = Maps(shards)
    assert len(maps) == 7
    assert maps.mapped.all()
    order = [5, 0, 6, 0]
    batch, clips = maps.batch(order), shards.batch(order)
    assert batch["maps"].shape == (4, 8, *clips["latents"].shape[2:])
    assert batch["maps"].dtype == torch.float32
    assert batch["inside"].dtype == torch.bool
    canvas = Canvas(num_frames=9, size=32)
    for i, index in enumerate(order):
        expected = torch.from_numpy(active_maps(make(item_of(WORLD, index), canvas)))
        torch.testing.assert_close(batch["maps"][i], expected, rtol=1e-3, atol=1e-6)
        assert torch.equal(batch["inside"][i], expected > 0)
        assert not batch["inside"][i][~clips["flags"][i]].any()
    assert maps.facts["maker"] == "true fields of the simulated world"
    again = fill(cache, ActiveMaps())
    assert (again.clips, again.made) == (7, 0)


def test_values_are_divided_by_their_largest(cache):
    rng = np.random.default_rng(0)
    names = Shards(cache).names
    table = {name: rng.normal(0, 0.01, (8, 3, 4, 4)).astype(np.float32) for name in names}
    nowhere = names[1]
    table[nowhere] = -np.abs(table[nowhere])  # attends to it less than to anything, everywhere
    fill(cache, Given(table))
    shards = Shards(cache)
    maps = Maps(shards)
    batch = maps.batch(range(7))
    for i, name in enumerate(names):
        for k in range(8):
            found, given = batch["maps"][i, k], torch.from_numpy(table[name][k])
            if not shards.categories[i, k] or name == nowhere:
                assert not found.any()
                assert maps.peaks[i, k] == 0
                continue
            assert found.max() == 1
            torch.testing.assert_close(found * maps.peaks[i, k], given, rtol=1e-3, atol=1e-5)
            assert torch.equal(batch["inside"][i, k], given > 0)
            assert (found < 0).any()


def test_clips_that_cannot_be_mapped_are_listed_and_zero(cache):
    names = Shards(cache).names
    ones = np.ones((8, 3, 4, 4), np.float32)
    table = dict.fromkeys(names, ones) | {
        names[2]: ClipError("corrupt: Invalid data found"),
        names[3]: ClipError("missing: there is no file x.mp4"),
        names[6]: np.full((8, 3, 4, 4), np.nan, np.float32),
    }
    done = fill(cache, Given(table))
    assert done.clips == 4
    assert done.excluded == {"corrupt": 1, "missing": 1, "not finite": 1}
    lines = (cache / "maps-excluded.jsonl").read_text().splitlines()
    reasons = {said["name"]: said["reason"] for said in map(json.loads, lines)}
    assert list(reasons) == [names[2], names[3], names[6]]
    assert reasons[names[3]] == "missing: there is no file x.mp4"
    maps = Maps(Shards(cache))
    assert maps.excluded == reasons
    assert maps.mapped.tolist() == [True, True, False, False, True, True, False]
    batch = maps.batch([2, 4])
    assert not batch["maps"][0].any()
    assert not batch["inside"][0].any()
    assert batch["maps"][1].max() == 1
    with pytest.raises(InputError, match="none of the 7 clips can be mapped; the first, "):
        fill(cache, Given(dict.fromkeys(names, ClipError("odd: all"))), folder=cache / "other")


def test_another_kind_of_maps_is_refused(cache, world, tmp_path):
    fill(cache, Given({}, model="a", layers=[1]))
    with pytest.raises(InputError, match=r"layers is \[1\] there, \[2\] asked; model is a there"):
        fill(cache, Given({}, model="b", layers=[2]))
    done = fill(cache, Given({}, model="b", layers=[2]), folder=cache / "b")
    assert done.made == 7
    assert Maps(Shards(cache)).facts["model"] == "a"
    assert Maps(Shards(cache), cache / "b").facts["model"] == "b"
    with pytest.raises(InputError, match=r"has no maps\.json"):
        Maps(Shards(world))
    with pytest.raises(InputError, match=r"are \[3\].*asks for \[8, 3, 4, 4\]"):
        fill(cache, Given({Shards(cache).names[0]: np.zeros(3)}), folder=tmp_path / "odd")
    other = json.loads((cache / "maps.json").read_text())
    (cache / "maps.json").write_text(json.dumps(other | {"cache": "another"}))
    with pytest.raises(InputError, match="of another latent cache"):
        Maps(Shards(cache))


def test_only_what_is_missing_is_made(cache):
    maker = Given({})
    fill(cache, maker)
    assert maker.asked == Shards(cache).names
    before = {path: path.stat().st_mtime_ns for path in cache.glob("maps-0*")}
    (cache / "maps-000001.json").unlink()  # as if killed between the two files of a shard
    (cache / ".maps-000001.json.99.part").write_text("{")
    (cache / ".maps-000001.safetensors.99.part").write_text("half")
    with pytest.raises(InputError, match=r"maps-000001\.safetensors is not there; make the maps"):
        Maps(Shards(cache))
    maker = Given({})
    fill(cache, maker)
    assert maker.asked == Shards(cache).names[2:4]
    assert parts(cache) == []
    for path, then in before.items():
        assert (path.stat().st_mtime_ns == then) == ("000001" not in path.name)
    (cache / "maps-000002.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"maps-000002\.safetensors cannot be used .*delete it"):
        Maps(Shards(cache)).batch([4])
    (cache / "maps-000003.json").write_text("{")
    with pytest.raises(InputError, match=r"maps-000003\.safetensors cannot be used"):
        Maps(Shards(cache))


def test_processes_share_the_shards(cache, monkeypatch):
    first, second = Given({}), Given({})
    done = fill(cache, first, part=(1, 2))
    assert (done.made, done.missing) == (3, 2)
    assert not (cache / "maps-excluded.jsonl").exists()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = fill(cache, second)
    assert (done.made, done.missing, done.clips) == (4, 0, 7)
    assert {*first.asked}.isdisjoint(second.asked)
    assert (cache / "maps-excluded.jsonl").read_text() == ""
    assert Maps(Shards(cache)).mapped.all()
    with pytest.raises(InputError, match="part is 2, 2"):
        fill(cache, first, part=(2, 2))


KILLED = """
import sys, time
from pathlib import Path
from typing import cast
import numpy as np
from pila.prophy.maps import write_maps

class Slow:
    facts = {"maker": "slow"}

    def maps(self, rows, header):
        for row in rows:
            time.sleep(float(sys.argv[2]))
            yield np.full((8, *header.latent_shape[1:]), 0.5, np.float32)

write_maps(Path(sys.argv[1]), Slow(), progress=False)
"""


def test_a_killed_call_leaves_nothing_half_and_the_next_one_goes_on(cache):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}

    def start(pause):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(cache), str(pause)], env=environment
        )

    process = start(0.3)
    try:
        deadline = time.monotonic() + 60
        while not (cache / "maps-000001.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    finished = sorted(cache.glob("maps-0*.json"))
    assert 2 <= len(finished) < 4
    before = {path: path.stat().st_mtime_ns for path in finished}
    for path in finished:  # whatever says that it is whole is
        assert json.loads(path.read_text())["mapped"]
        assert path.with_suffix(".safetensors").is_file()
    assert start(0).wait(120) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert parts(cache) == []
    shards = Shards(cache)
    batch = Maps(shards).batch(range(7))
    assert torch.equal(batch["inside"].amax((2, 3, 4)), shards.categories)


def test_maps_are_averaged_to_the_transformer_s_tokens():
    maps = torch.arange(2 * 8 * 3 * 4 * 4.0).reshape(2, 8, 3, 4, 4)
    tokens = to_tokens(maps, (1, 2, 2))
    assert tokens.shape == (2, 8, 3, 2, 2)
    assert tokens[1, 7, 2, 1, 0] == maps[1, 7, 2, 2:, :2].mean()
    with pytest.raises(InputError, match=r"\[3, 4, 4\]; they must fall into .*\[2, 2, 2\]"):
        to_tokens(maps, (2, 2, 2))


class Looking:
    """In place of a model: looks at the brightest place, says nothing of black clips."""

    facts = {"maker": "looking"}  # noqa: RUF012

    def maps(self, frames, categories, grid, *, fps):
        assert fps == 16
        if not frames.any():
            raise ClipError("no answer: the model ended at once")
        found = torch.zeros(8, *grid)
        for category in categories:
            found[CATEGORIES.index(category), 0] = torch.from_numpy(
                frames[0].astype(np.float32).mean(-1).reshape(grid[1], 8, grid[2], 8).mean((1, 3))
            )
        return found


def test_attention_is_mapped_for_the_clips_of_the_source(cache, tmp_path):
    source = WorldSource(WORLD)
    done = fill(cache, AttentionMaps(cast(VideoAttention, Looking()), source))
    assert done.clips == 7
    batch = Maps(Shards(cache)).batch([3])
    frames = make(item_of(WORLD, 3), Canvas(num_frames=9, size=32)).frames
    expected = frames[0].astype(np.float32).mean(-1).reshape(4, 8, 4, 8).mean((1, 3))
    found = batch["maps"][0, CATEGORIES.index(Category.RIGID_BODY), 0]
    np.testing.assert_allclose(found, expected / expected.max(), rtol=1e-3)

    # A video that has broken since the cache was made, and a record that is gone.
    records: list[Record] = list(source.records())
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video" * 64)
    records[2] = VideoRecord(
        name=records[2].name, caption="", categories=records[2].categories, path=broken
    )

    class Listed:
        identity, excluded = "listed", {}

        def records(self):
            return records[:-1]

    done = fill(
        cache, AttentionMaps(cast(VideoAttention, Looking()), Listed()), folder=cache / "videos"
    )
    assert done.clips == 5
    assert done.excluded == {"missing": 1, "corrupt": 1}
