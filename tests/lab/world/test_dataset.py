"""Clips on disk: complete, lossless, resumable, never mixed."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world import SCENES, make_clips, simulate
from pila.physics.bank import Category
from pila.video import read_video


def test_clips_are_lossless_and_the_same_call_resumes(tmp_path):
    scenes = ["thrown_ball", "ball_collision", "hot_spot"]
    records = make_clips(tmp_path, 3, scenes=scenes, violations=0.0)
    assert [r["scene"] for r in records] == scenes
    frames = read_video(tmp_path / "000001.mp4")
    assert np.array_equal(frames, simulate("ball_collision", 1).frames)
    before = (tmp_path / "000000.mp4").stat().st_mtime_ns
    (tmp_path / "000002.json").unlink()
    again = make_clips(tmp_path, 3, scenes=scenes, violations=0.0)
    assert again == records
    assert (tmp_path / "000000.mp4").stat().st_mtime_ns == before
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == records


def test_a_call_killed_at_any_moment_leaves_no_clip_broken_or_made_twice(tmp_path):
    def command(out):
        scenes = ["--categories", "rigid_body"]
        return [
            *(sys.executable, "-c", "from pila.cli import main; main()"),
            *("world", "make", *scenes),
            *("--clips", "24", "--size", "32", "--out", str(out)),
        ]

    def files(out):
        return {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), check=True)
    for clips in (1, 9, 17):
        started = subprocess.Popen(command(killed), stderr=subprocess.PIPE)
        while started.poll() is None and len(list(killed.glob("*.json"))) < clips:
            time.sleep(0.002)
        started.kill()  # the parent alone
        started.communicate(timeout=60)  # returns once the workers, too, have let go of the pipe
        for stem in (path.with_suffix("") for path in killed.glob("*.json")):
            for suffix in (".json", ".mp4", ".safetensors"):
                path = stem.with_suffix(suffix)
                assert path.read_bytes() == (whole / path.name).read_bytes()
    kept = {p.name: p.stat().st_mtime_ns for p in killed.glob("*.json")}
    for left in killed.glob(".*"):
        os.utime(left, (0, 0))  # younger ones may be another process's, so they would stay
    subprocess.run(command(killed), check=True)
    assert files(killed) == files(whole)
    assert {n: (killed / n).stat().st_mtime_ns for n in kept} == kept
    assert not list(killed.glob(".*"))


def test_categories_choose_scenes_and_another_corpus_is_refused(tmp_path):
    (record,) = make_clips(tmp_path, 1, categories=[Category.THERMAL])
    assert Category.THERMAL in SCENES[record["scene"]].categories
    with pytest.raises(InputError, match="other options"):
        make_clips(tmp_path, 1, scenes=["thrown_ball"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"clips": 1, "violations": 1.5}, "violations is 1.5"),
        ({"clips": 1, "seed": -4}, "seed is -4"),
        (
            {"clips": 1, "scenes": ["thrown_ball"], "categories": [Category.OPTICAL]},
            "no scene shows",
        ),
    ],
)
def test_wrong_input_is_named(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make_clips(tmp_path / "out", options.pop("clips"), **options)
    assert not (tmp_path / "out").exists()
