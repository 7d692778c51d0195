"""Clips on disk: complete, lossless, resumable, never mixed."""

import json

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
