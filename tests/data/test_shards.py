"""The latent cache: what is written is what was meant, once, whole, and read back so."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from pila.cli import run
from pila.data import encoders, writing
from pila.data.corpus import CorpusConfig
from pila.data.encoders import Encoders, ModelFacts
from pila.data.flow_targets import flow_targets
from pila.data.reading import read_clip
from pila.data.records import MadeClipRecord, Sample, VideoRecord, View
from pila.data.shards import Shards, estimate, verify, write_shards
from pila.errors import InputError
from pila.lab.world.clip_source import WorldSource
from pila.lab.world.corpus import item_of, make
from pila.lab.world.scene import Canvas
from pila.lab.world.true_targets import true_targets
from pila.physics.layout import Category, Slot
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.video import write_lossless

VIEW = View(height=32, width=32, num_frames=9, fps=16)
WORLD = CorpusConfig(
    clips=8, size=32, scenes=("thrown_ball", "ball_collision", "hot_spot"), violated=0.5
)
CAPTIONS = ("a red ball falls", "two balls collide head-on", "")


@dataclass
class Listed:
    """A source of given records."""

    listed: Sequence
    excluded: dict = field(default_factory=dict)
    identity: str = "listed-1"

    def records(self):
        return self.listed


def fill(source, out, **options):
    given = {"model": EMBEDDED_MODEL, "view": VIEW, "shard_clips": 2, "processes": 0}
    return write_shards(source, out, **{**given, "device": "cpu", "progress": False, **options})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Records of three sound clips and, among them, of all that may be wrong with a file."""
    folder = tmp_path_factory.mktemp("videos")
    records = []

    def add(name, caption="a red ball falls"):
        path = folder / f"{name}.mp4"
        labels = (Category.RIGID_BODY, Category.COLLISION)
        records.append(VideoRecord(name=name, caption=caption, categories=labels, path=path))
        return path

    rng = np.random.default_rng(0)
    for i, caption in enumerate(CAPTIONS):
        frames = np.repeat(rng.integers(0, 255, (1, 40, 56, 3), np.uint8), 12, 0)
        write_lossless(add(f"good{i}", caption), np.roll(frames, i, axis=2), fps=16)
    write_lossless(add("short"), frames[:5], fps=16)
    write_lossless(add("slow"), frames, fps=10)
    add("broken").write_bytes(b"this is no video" * 64)
    add("empty").write_bytes(b"")
    return sorted(records, key=lambda record: record.name)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A cache of simulated clips, made in this process."""
    out = tmp_path_factory.mktemp("world") / "cache"
    fill(WorldSource(WORLD), out)
    return out


@pytest.fixture
def copy(world, tmp_path):
    """The cache of simulated clips, to be spoiled."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in world.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}


def test_videos_become_latents_embeddings_and_flow(videos, tmp_path):
    source = Listed(videos, excluded={"odd": "still: motion score 0.01"})
    done = fill(source, tmp_path / "cache", processes=2, shard_clips=3)
    assert done.clips == done.made == 3
    assert done.excluded == {
        "still": 1, "too short": 1, "too slow": 1, "corrupt": 1, "empty": 1
    }  # fmt: skip
    lines = (tmp_path / "cache" / "excluded.jsonl").read_text().splitlines()
    reasons = {said["name"]: said["reason"] for said in map(json.loads, lines)}
    assert list(reasons) == ["odd", "broken", "empty", "short", "slow"]
    assert reasons["short"] == "too short: 5 of 9 frames at 16 per second"

    shards = Shards(tmp_path / "cache")
    assert shards.names == ["good0", "good1", "good2"]
    assert shards.captions == list(CAPTIONS)
    assert len(shards) == 3
    assert shards.plausible.all()
    assert shards.slots == ()
    batch = shards.batch([2, 0, 2])
    frames = [read_clip(r, VIEW) for r in videos if r.name.startswith("good")]
    parts = Encoders(ModelFacts.of(EMBEDDED_MODEL), torch.device("cpu"))
    latents = torch.stack([parts.latents(frames[i]) for i in (2, 0, 2)])
    torch.testing.assert_close(batch["latents"], latents, rtol=1e-3, atol=1e-3)
    assert batch["latents"].dtype == torch.float32
    text = torch.zeros(3, 32, 64)
    for i, said in enumerate((CAPTIONS[2], CAPTIONS[0], CAPTIONS[2])):
        tokens = parts.text(said)
        text[i, : len(tokens)] = tokens
    torch.testing.assert_close(batch["text"], text, rtol=1e-3, atol=1e-3)
    assert torch.equal(shards.empty, batch["text"][0])
    flow, confidence = flow_targets(frames[0])
    np.testing.assert_allclose(batch["flow"][1], flow, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(batch["confidence"][1], confidence, rtol=1e-3, atol=1e-3)
    flags = [c in (Category.RIGID_BODY, Category.COLLISION) for c in Category]
    assert batch["flags"].tolist() == [flags] * 3
    assert shards.categories.tolist() == [flags] * 3
    assert shards.motion[0] == pytest.approx(np.hypot(*flow).mean(), rel=1e-3)
    assert verify(tmp_path / "cache", progress=False) == []


def test_embeddings_are_those_that_training_on_captions_has(videos, world):
    from pila.lab.embedded.generator import CaptionEncoder

    shards = Shards(world)
    expected = CaptionEncoder(EMBEDDED_MODEL)([*shards.captions[:3], ""])
    found = torch.cat([shards.batch(range(3))["text"], shards.empty[None]])
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_simulated_clips_bring_their_true_fields(world):
    shards = Shards(world)
    items = [item_of(WORLD, i) for i in range(8)]
    assert [name.split("-")[1] for name in shards.names] == [item.scene for item in items]
    assert shards.plausible.tolist() == [item.violation is None for item in items]
    assert not shards.plausible.all()
    batch = shards.batch([0, 2], true=True)
    thrown, spot = (true_targets(make(items[i], Canvas(size=32, num_frames=9))) for i in (0, 2))
    assert set(thrown.fields) | set(spot.fields) <= set(shards.slots)
    for i, true in enumerate((thrown, spot)):
        for slot in shards.slots:
            assert batch[f"true.{slot}"].shape == (2, slot.components, 3, 4, 4)
            if slot in true.fields:
                size = np.abs(true.fields[slot]).max()
                np.testing.assert_allclose(
                    batch[f"true.{slot}"][i], true.fields[slot], atol=1e-3 * size, rtol=1e-3
                )
                np.testing.assert_allclose(batch[f"mask.{slot}"][i], true.masks[slot], atol=1e-3)
            else:
                assert not batch[f"true.{slot}"][i].any()
                assert not batch[f"mask.{slot}"][i].any()
    assert Slot.TEMPERATURE in spot.fields
    assert "true.velocity" not in shards.batch([0])


def test_the_same_call_again_makes_nothing(world):
    before, stamps = contents(world), times(world)
    done = fill(WorldSource(WORLD), world)
    assert (done.made, done.clips) == (0, 8)
    assert contents(world) == before
    assert times(world) == stamps


def test_what_is_missing_is_made_again(copy, world):
    (copy / "shard-000001.json").unlink()
    (copy / "shard-000002.safetensors").unlink()
    (copy / "index.parquet").unlink()
    with pytest.raises(InputError, match=r"index.parquet is missing.*run the same"):
        Shards(copy)
    assert fill(WorldSource(WORLD), copy).made == 4
    assert contents(copy) == contents(world)


def test_another_cache_is_refused_with_what_differs(copy, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"num_frames is 9 there, 13 asked.*choose another --out"):
        fill(WorldSource(WORLD), copy, view=View(height=32, width=32, num_frames=13, fps=16))
    with pytest.raises(InputError, match=r"source is world-\w+ there, listed-1 asked; records"):
        fill(Listed(WorldSource(WORLD).records()[:3]), copy)
    monkeypatch.setattr(encoders, "weights_hash", lambda folder: "0123456789abcdef")
    with pytest.raises(InputError, match=r"vae is \w+ there, 0123456789abcdef asked"):
        fill(WorldSource(WORLD), copy)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no cache"):
        fill(WorldSource(WORLD), tmp_path / "other")


def command(out):
    return [
        *("data", "cache", "world", "--out", str(out), "--clips", "8", "--shard-clips", "2"),
        *("--height", "32", "--width", "32", "--num-frames", "9", "--device", "cpu"),
        *("--scenes", *WORLD.scenes),
    ]


MAIN = "from pila.cli import main; main()"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_processes_give_the_same_files_as_one(world, tmp_path):
    out = tmp_path / "cache"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, "-m", "pila.cli", *command(out)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(world)
    assert done.stdout.count("8 clips in") == 1


def _make(frames, view):
    return Sample(frames=frames, caption="a ball")


def _end(view):
    os._exit(9)


def made(name, make):
    return MadeClipRecord(name=name, categories=(Category.FLUID,), make=make)


def test_a_clip_that_ends_its_process_is_left_out(tmp_path):
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    clips = [made(f"clip{i}", partial(_make, frames)) for i in range(5)]
    clips[2] = made("clip2", _end)
    done = fill(Listed(clips), tmp_path, processes=1)
    assert (done.clips, done.excluded) == (4, {"fatal": 1})
    assert Shards(tmp_path).names == ["clip0", "clip1", "clip3", "clip4"]


def test_latents_that_are_not_finite_leave_their_clip_out(tmp_path, monkeypatch):
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    clips = [made("dark", partial(_make, frames)), made("light", partial(_make, frames + 200))]
    normalise = encoders.normalise

    def spoiled(z, mean, std):
        spoiled.calls += 1
        return normalise(z, mean, std) * (float("nan") if spoiled.calls == 1 else 1)

    spoiled.calls = 0
    monkeypatch.setattr(encoders, "normalise", spoiled)
    assert fill(Listed(clips), tmp_path).excluded == {"not finite": 1}
    assert Shards(tmp_path).names == ["light"]


def test_a_full_disk_is_said_and_what_was_finished_stays(tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith(".shard-000002"):
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    out, clips = tmp_path / "cache", WorldSource(WORLD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=r"shard-000002.*No space left on device; free space"):
            fill(clips, out)
    assert not list(out.glob(".*"))
    assert len(list(out.glob("shard-*.json"))) == 2
    assert fill(clips, out).made == 4


def test_nothing_usable(tmp_path):
    with pytest.raises(InputError, match="no usable clip"):
        fill(Listed([]), tmp_path / "a")
    (tmp_path / "empty.mp4").write_bytes(b"")
    empty = VideoRecord(name="empty", caption="", categories=(), path=tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="none of the 1 clips can be used; the first, empty: emp"):
        fill(Listed([empty]), tmp_path / "b")


def test_a_disk_that_is_gone_leaves_nothing_out_for_good(videos, tmp_path):
    listed = [record for record in videos if record.name.startswith("good")]
    away = [replace(record, path=tmp_path / "away" / record.path.name) for record in listed]
    out = tmp_path / "cache"
    with pytest.raises(InputError, match=r"cannot be reached .* run the same command again"):
        fill(Listed(away), out)
    (tmp_path / "away").symlink_to(listed[0].path.parent)
    assert fill(Listed(away), out).clips == len(listed)


def test_a_flipped_bit_is_found(copy, capsys):
    assert run(["data", "verify", str(copy)]) == 0
    assert "8 clips" in capsys.readouterr().out
    path = copy / "shard-000001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    (found,) = verify(copy, progress=False)
    assert found.startswith("shard-000001.safetensors: the tensors of 00000")
    (copy / "shard-000003.safetensors").write_bytes(b"")
    assert run(["data", "verify", str(copy)]) == 2
    said = capsys.readouterr()
    assert "shard-000003.safetensors does not read" in said.out
    assert "has 2 faults" in said.err
    assert run(["data", "verify", str(copy), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["clips"] == 8
    assert len(found["faults"]) == 2


def test_an_index_that_is_broken_or_of_another_taxonomy(copy):
    table = pq.read_table(copy / "index.parquet")

    def with_column(name, values):
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        changed = table.to_pydict()[name]
        changed[4] = values
        column = pa.array(changed, field.type)
        pq.write_table(table.set_column(place, field, column), copy / "index.parquet")

    with_column("categories", ["rigid_body", "magnetism"])
    with pytest.raises(InputError, match=r"index.parquet: 000004-\S+ has the category 'magnetism'"):
        Shards(copy)
    with_column("latent_shape", [16, 3, 4, 8])
    with pytest.raises(InputError, match=r"latents \[16, 3, 4, 8\], the cache \[16, 3, 4, 4\]"):
        Shards(copy)
    pq.write_table(table.drop_columns(["sha256"]), copy / "index.parquet")
    with pytest.raises(InputError, match=r"no index of a latent cache.*sha256.*delete it and run"):
        Shards(copy)
    (copy / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="no index of a latent cache"):
        Shards(copy)


def test_shards_that_are_missing_or_hold_something_else(copy, tmp_path):
    path = copy / "shard-000002.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["000.latents"] = tensors["000.latents"][:, :2]
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(InputError, match=r"the latents of 000004-\S+ are \[16, 2, 4, 4\], not"):
        Shards(copy).batch([4])
    shards = Shards(copy)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"shard-000002.safetensors does not read.*delete it and"):
        shards.batch([4])
    path.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        Shards(copy)
    with pytest.raises(InputError, match=r"has no cache.json"):
        Shards(tmp_path)


def test_few_shards_are_kept_open(copy, monkeypatch):
    import pickle

    from pila.data import shards as module

    monkeypatch.setattr(module, "OPEN_SHARDS", 2)
    shards = Shards(copy)
    once = shards.batch(range(8))
    assert len(shards._open) == 2
    again = pickle.loads(pickle.dumps(shards)).batch(range(8))
    assert all(torch.equal(once[kind], again[kind]) for kind in once)


def test_a_dry_run_measures_and_writes_nothing(tmp_path, capsys):
    assert run([*command(tmp_path / "out"), "--dry-run"]) == 0
    assert "of 8, 0 unusable" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    cost = estimate(WorldSource(WORLD), model=EMBEDDED_MODEL, view=VIEW, device="cpu", clips=1)
    assert cost.measured == 2
    assert cost.bytes == pytest.approx(8 * cost.bytes_per_clip)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "source is 'nowhere'"),
        (["world", "--width", "48"], "the simulated world is square"),
        (["world", "--num-frames", "81"], "num_frames is 81"),
        (["world", "--scenes", "moon"], "scene is 'moon'"),
        (["world", "--clips", "1"], "corpus.clips is 1"),
        (["world", "--shard-clips", "0"], "shard_clips is 0"),
        (["world", "--processes", "-1"], "processes is -1"),
        (["world", "--device", "tpu9"], "tpu9"),
        (["world", "--fps", "0"], "fps is 0"),
        ([".", "--clips", "3"], "--clips is for the source 'world' alone"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path, capsys):
    arguments = [*arguments, "--out", str(tmp_path / "out"), "--height", "32"]
    if "--width" not in arguments:
        arguments += ["--width", "32"]
    assert run(["data", "cache", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_clip_of_another_size_is_a_fault_of_its_source(tmp_path):
    clips = [made("clip", partial(_make, np.zeros((9, 48, 32, 3), np.uint8)))]
    with pytest.raises(InputError, match=r"clip was made as \[9, 48, 32, 3\]; the view asks"):
        fill(Listed(clips), tmp_path)


def test_flow_in_this_process_before_does_not_hang_the_workers(tmp_path):
    """OpenCV's threads do not survive a fork; what waits for them would wait for ever."""
    code = """
import cv2, numpy as np
from pathlib import Path
cv2.setNumThreads(4)
frames = np.random.default_rng(0).integers(0, 255, (2, 512, 512), np.uint8)
cv2.DISOpticalFlow_create().calc(frames[0], frames[1], None)
from pila.data.flow_targets import DisFlow
from pila.data.preparing import Job, prepared
from pila.data.records import VideoRecord, View
record = VideoRecord(name="a", caption="", categories=(), path=Path("junk.mp4"))
record.path.write_bytes(b"this is no video" * 64)
view = View(height=32, width=32, num_frames=9, fps=8)
job = Job(record=record, view=view, spatial=8, temporal=4, estimator=DisFlow())
print(*prepared([job], 1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=tmp_path,
    )
    assert "corrupt: " in done.stdout


def test_a_machine_that_sees_other_data_is_refused(world, copy, monkeypatch):
    @contextmanager
    def second():
        yield writing._Launch(1, 2, None)

    monkeypatch.setattr(writing, "_launched", second)
    other = WorldSource(replace(WORLD, clips=6))
    with pytest.raises(InputError, match=r"process 1 sees 6 clips .* the same data"):
        fill(other, copy)


def test_the_simulated_world_is_not_slowed_down(tmp_path):
    slow = replace(VIEW, num_frames=33, fps=8)
    with pytest.raises(InputError, match=r"33 frames at 8 per second take 4 s; .* have 2"):
        fill(WorldSource(WORLD), tmp_path / "cache", view=slow)
