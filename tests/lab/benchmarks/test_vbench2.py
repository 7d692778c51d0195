"""VBench-2.0's gates and means, and imaging quality."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.benchmarks import official

from pila.cli import run
from pila.errors import InputError
from pila.lab.benchmarks import imaging, vbench2
from pila.lab.benchmarks.vbench2 import (
    CATEGORIES,
    JUDGED,
    PROMPTS,
    aggregate,
    clip_name,
    verdict,
)


def dimension(name, results, *, state=True):
    """A dimension of an official file from results by prompt [prompts][3]."""
    rows = [
        {"video_path": f"/clips/{clip_name(f'{name} prompt {p}', i)}", "video_results": r}
        for p, each in enumerate(results)
        for i, r in enumerate(each)
    ]
    counted = [r["video_results"] for r in rows if r["video_results"] != -1]
    return [sum(counted) / max(1, len(counted)) if state else None, rows]


def full(name, each=(1, 0, 1)):
    return dimension(name, [list(each)] * PROMPTS[name])


def test_every_dimension_has_one_category():
    assert sorted(d for parts in CATEGORIES.values() for d in parts) == sorted(PROMPTS)


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_verdicts(answers):
    gated = verdict("Mechanics", answers)
    if len(answers) == 1:
        assert gated == answers[0]
    else:
        assert gated == (answers[1] if answers[0] else -1)
    assert verdict("Motion_Rationality", answers) == all(answers)


def test_gate_leaves_the_denominator(tmp_path, capsys):
    results = [[-1, 1, 0], [-1, -1, -1], *[[1, 1, 1]] * 55]
    path = official.write_json(tmp_path / "x.json", {"Mechanics": dimension("Mechanics", results)})
    assert run(["evaluate", "vbench2", "aggregate", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["dimensions"]["Mechanics"] == 166 / 167
    assert printed["counted"] == {"Mechanics": 167}
    assert printed["categories"] == {}
    assert "Mechanics: 4 of 171 clips fail their gate, not counted" in printed["notes"]
    assert (
        "no Physics score without Material, Multi-View_Consistency, Thermotics"
        in (printed["notes"])
    )


def test_physics_is_the_mean_of_four_dimensions(tmp_path):
    content = {
        "Mechanics": full("Mechanics"),
        "Material": full("Material", (1, 1, -1)),
        "Thermotics": full("Thermotics", (0, 0, 1)),
        "Multi-View_Consistency": full("Multi-View_Consistency", (0.5, 0.5, 0.2)),
    }
    result = aggregate(official.write_json(tmp_path / "x.json", content))
    assert result.value("Physics") == pytest.approx((2 / 3 + 1 + 1 / 3 + 0.4) / 4)
    assert result.estimate("Physics").low == pytest.approx(result.estimate("Physics").high)


def test_dimensions_that_are_judged_elsewhere(tmp_path):
    content = {
        "Multi-View_Consistency": full("Multi-View_Consistency", (0.5, -1, 0.7)),
        "Motion_Order_Understanding": dimension("Order", [[-1, -1, -1]] * 90 + [[1, 1, 1]] * 9),
        "Diversity": dimension("Diversity", [[0.25]] * 10),
        "Camera_Motion": full("Camera_Motion", (True, False, True)),
    }
    content["Motion_Order_Understanding"][0] = 0
    result = aggregate(official.write_json(tmp_path / "x.json", content))
    values = [result.value(name) for name in content]
    assert values == pytest.approx([0.6, 0, 0.25, 2 / 3])
    assert any("270 of 297 clips fail, so it is 0" in note for note in result.notes)
    content["Camera_Motion"][1][0]["video_results"] = -1
    with pytest.raises(InputError, match="has the result -1"):
        aggregate(official.write_json(tmp_path / "x.json", content))


def _drop(content):
    content["Material"][1].pop(4)
    content["Material"][0] = None


def _twice(content):
    content["Material"][1].append(content["Material"][1][0])


def _range(content):
    content["Material"][1][4]["video_results"] = 2


def _gate(content):
    content["Motion_Rationality"][1][4]["video_results"] = -1


def _score(content):
    content["Material"][0] += 0.01


def _prompt(content):
    content["Material"][1] = content["Material"][1][3:]
    content["Material"][0] = None


def _name(content):
    content["Material"][1][4]["video_path"] = "/clips/odd.mp4"


def _dimension(content):
    content["Magic"] = content.pop("Material")


def _closed(content):
    content["Material"] = full("Material", (-1, -1, -1))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_drop, r"Material is a part: Material prompt 1-1\.mp4 is missing"),
        (_twice, r"Material prompt 0-0\.mp4 is judged twice"),
        (_range, r"Material prompt 1-1\.mp4 has the result 2"),
        (_gate, r"Motion_Rationality prompt 1-1\.mp4 has the result -1"),
        (_score, "Material says"),
        (_prompt, "Material is a part: 49 of 50 prompts"),
        (_name, r"odd\.mp4 is not named"),
        (_dimension, "unknown dimensions: Magic"),
        (_closed, "0 clips that pass the gate"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_named(tmp_path, spoil, named):
    content = {"Material": full("Material"), "Motion_Rationality": full("Motion_Rationality")}
    path = official.write_json(tmp_path / "x.json", content)
    aggregate(path)
    spoil(content)
    with pytest.raises(InputError, match=named):
        aggregate(official.write_json(path, content))


def test_a_part_is_marked(tmp_path):
    content = {"Material": dimension("Material", [[1, 0, 1]] * 3)}
    result = aggregate(official.write_json(tmp_path / "x.json", content), partial=True)
    assert result.value("Material") == 2 / 3
    assert result.notes[1] == "a part of Material: 9 clips of 3 prompts"
    assert result.protocol["part"]


def meta_info(folder):
    place = folder / "VBench-2.0" / "prompts" / "meta_info"
    place.mkdir(parents=True)
    for name in JUDGED:
        entries = [
            {"prompt_en": f"{name} {i} " + "x" * 200, "dimension": name, "auxiliary_info": ["Yes?"]}
            for i in range(PROMPTS[name])
        ]
        official.write_json(place / f"{name}.json", entries)
    return place


def test_prompts_of_a_checkout(tmp_path):
    place = meta_info(tmp_path)
    prompts = vbench2.read_prompts(tmp_path)
    assert len(prompts.items) == 69 + 57 + 50 + 58
    assert len(prompts.files) == 3 * len(prompts.items)
    assert {len(name) for name in prompts.files} == {180 + len("-0.mp4")}
    assert [i.group for i in vbench2.read_prompts(tmp_path, ["Material"]).items] == [
        "Material"
    ] * 50
    with pytest.raises(InputError, match="dimensions has Magic"):
        vbench2.read_prompts(tmp_path, ["Magic"])
    entries = json.loads((place / "Material.json").read_text())
    official.write_json(place / "Material.json", entries[1:])
    with pytest.raises(InputError, match="49 prompts of Material, and the benchmark 50"):
        vbench2.read_prompts(tmp_path)
    entries[0]["prompt_en"] = "a cup/a glass"
    official.write_json(place / "Material.json", entries)
    with pytest.raises(InputError, match="is no file name"):
        vbench2.read_prompts(tmp_path)


class Brightness:
    """A stand-in for MUSIQ, whose package cannot be had here: the mean of a frame, over 255."""

    def __init__(self):
        self.seen = []

    def describe(self):
        return {"metric": "brightness"}

    def __call__(self, frame):
        self.seen.append(frame.shape)
        return float(frame.mean() / 2.55)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))


def test_imaging_is_the_mean_over_frames_and_videos_over_100(tmp_path, cache, capsys):
    folder = tmp_path / "clips"
    for i in range(3):
        official.write_clip(folder / f"{i}.mp4", i)
    scorer = Brightness()
    content = imaging.judge(folder, tmp_path / "imaging.json", scorer)
    each = [row["video_results"] for row in content["imaging_quality"][1]]
    assert len(scorer.seen) == 12
    assert run(["evaluate", "imaging", "aggregate", str(tmp_path / "imaging.json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["imaging"] == pytest.approx(np.mean(each) / 100)
    assert printed["notes"] == []
    imaging.judge(folder, tmp_path / "imaging.json", scorer)
    assert len(scorer.seen) == 12, "kept scores are not made again"


def test_imaging_files_that_are_wrong(tmp_path):
    rows = [{"video_path": "a.mp4", "video_results": 50.0}, {"video_path": "b.mp4"}]

    def write(mean, rows):
        return official.write_json(tmp_path / "x.json", {"imaging_quality": [mean, rows]})

    with pytest.raises(InputError, match="is not"):
        imaging.aggregate(write(0.5, rows))
    rows[1]["video_results"] = 101
    with pytest.raises(InputError, match=r"b\.mp4 has 101"):
        imaging.aggregate(write(0.5, rows))
    rows[1]["video_results"] = 70
    assert imaging.aggregate(write(0.6, rows)).value("imaging") == pytest.approx(0.6)
    assert imaging.aggregate(write(60, rows)).value("imaging") == pytest.approx(0.6)
    with pytest.raises(InputError, match=r"says 0\.7"):
        imaging.aggregate(write(0.7, rows))
    with pytest.raises(InputError, match=r"a\.mp4 twice"):
        imaging.aggregate(write(0.5, [rows[0], rows[0]]))


def test_frames_are_made_smaller_by_their_longer_side():
    frame = np.full((300, 1024, 3), 7, np.uint8)
    assert imaging.shrunk(frame).shape == (150, 512, 3)
    assert imaging.shrunk(frame[:, :512]).shape == (300, 512, 3)
    assert np.allclose(imaging.shrunk(frame), 7)


@pytest.mark.skipif(imaging.find_spec("pyiqa") is not None, reason="pyiqa is installed")
def test_without_pyiqa_the_remedy_is_named(tmp_path, capsys):
    official.write_clip(tmp_path / "a.mp4", 0)
    assert run(["evaluate", "imaging", "judge", str(tmp_path)]) == 2
    assert "'.[imaging]'" in capsys.readouterr().err


def test_videos_that_cannot_be_judged_are_named(tmp_path):
    with pytest.raises(InputError, match="0 videos"):
        imaging.videos_in(tmp_path)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(
        official.write_clip(tmp_path / "whole.mp4", 1).read_bytes()[:300]
    )
    with pytest.raises(InputError, match=r"cut\.mp4 is damaged.*empty\.mp4 has zero length"):
        imaging.videos_in(tmp_path)
