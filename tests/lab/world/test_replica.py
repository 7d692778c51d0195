"""The replica has WISA-80K's format and faults, and the reader comes to the right clips."""

import json
import zipfile
from typing import Any

import pytest

from pila.data.wisa import Filters, WisaSource
from pila.errors import InputError
from pila.lab.world.registry import SCENES
from pila.lab.world.replica import LAW_OF_SCENE, write_replica
from pila.video import read_video

SCENE_NAMES = (
    "thrown_ball",
    "ball_collision",
    "bouncing_ball",
    "gliding_puck",
    "ripples",
    "mirror",
)
OPTIONS: dict[str, Any] = {"size": 32, "archives": 3, "scenes": SCENE_NAMES}


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    root = tmp_path_factory.mktemp("wisa") / "replica"
    return root, write_replica(root, 12, **OPTIONS)


@pytest.fixture(scope="module")
def source(replica):
    return WisaSource(replica[0])


@pytest.fixture(scope="module")
def entries(replica):
    listed = json.loads((replica[0] / "data" / "wisa-80k.json").read_text())
    return {entry["video_name"]: entry for entry in listed}


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_it_is_laid_out_as_published(replica, entries):
    root, made = replica
    packed = {f"data/videos/{number}.zip" for number in range(4)}
    laid = {path.as_posix() for path in files(root)}
    assert laid == {*packed, "data/wisa-80k.json", "README.txt"}
    published = {
        *("video_name", "captions", "label", "width", "height", "fps", "duration"),
        *("motion_score", "motion_score_v2", "visual_quality_score"),
        *("text_bbox_num", "text_bbox_ratio", "physical_annotation"),
    }
    questions = {"phys_law", "n0", "n1", "n2", "q0", "q1", "q2", "q3", "q4"}
    questions |= {"quantify_n0", "quantify_n1", "quantify_n2"}
    for entry in entries.values():
        assert set(entry) - {"replica"} == published
        assert set(entry["physical_annotation"]) == questions
    with zipfile.ZipFile(root / "data" / "videos" / "0.zip") as archive:
        members = archive.namelist()
    assert all(m.startswith("home/") and "/128_split/0/" in m for m in members)
    assert all(len(m.rpartition("/")[2]) == 64 + 4 for m in members)
    assert set(made.sound) <= set(entries)


def test_what_differs_from_the_original_is_stated(replica, entries):
    assert all(entry["replica"]["size"] == 32 for entry in entries.values())
    assert "No video or text of WISA-80K is in it" in (replica[0] / "README.txt").read_text()
    assert all(int(entry["width"]) != 32 for entry in entries.values())


def test_the_reader_finds_all_sound_clips_with_its_own_defaults(replica, source):
    made = replica[1]
    found = {record.name for record in source.records()}
    assert found == {*made.sound, made.faulty["corrupt"]}


def test_every_fault_is_left_out_with_its_reason(replica, source):
    faulty = replica[1].faulty
    reasons = {
        "empty": "empty: ",
        "missing": "archive broken: in none of the 3 archives",
        "short": "duration: 1.875 s",
        "long": "duration: 11 s",
        "narrow": "width: 719 px",
        "wide": "width: 3001 px",
        "text": "text in the picture: 2 boxes",
        "still": "no motion: motion_score 0 is below 0.1, but it is labelled rigid_body",
        "broken_archive": "archive broken: in none of the 3 archives",
    }
    for kind, reason in reasons.items():
        assert reason in source.excluded[faulty[kind]], kind
    assert f"{faulty['copy']} (data/videos/2.zip)" in source.excluded
    assert any(key.startswith(f"{faulty['repeated']} (record ") for key in source.excluded)
    assert faulty["unlisted"] not in source.excluded
    report = source.report
    assert report.records == report.usable + sum(report.excluded.values())
    assert (report.archives, report.copies, report.unlisted) == (3, 1, 1)
    assert list(report.broken) == ["data/videos/3.zip"]


def test_strings_are_messy_and_all_but_one_are_understood(source):
    assert source.report.unread == {"q2: 'sparkling'": 1}
    assert {text.partition(":")[0] for text in source.report.repaired} >= {
        "label",
        "width",
        "q0",
        "q1",
    }


def test_sound_videos_decode_and_the_corrupt_one_does_not(replica, source, tmp_path):
    made = replica[1]
    by_name = {record.name: record for record in source.records()}
    path = tmp_path / "clip.mp4"
    for name in (*list(made.sound)[:3], made.faulty["corrupt"]):
        record = by_name[name]
        with zipfile.ZipFile(record.path) as archive:
            path.write_bytes(archive.read(record.member))
        if name in made.sound:
            assert read_video(path).shape == (33, 32, 32, 3)
        else:
            with pytest.raises(InputError, match="does not read as video"):
                read_video(path)


def test_stated_durations_and_rates_are_those_of_the_files(replica, entries, tmp_path):
    root, made = replica
    for number in range(3):
        with zipfile.ZipFile(root / "data" / "videos" / f"{number}.zip") as archive:
            for member in archive.namelist():
                name = member.rpartition("/")[2]
                if name in (made.faulty["short"], made.faulty["long"]):
                    (tmp_path / "clip.mp4").write_bytes(archive.read(member))
                    frames = len(read_video(tmp_path / "clip.mp4"))
                    entry = entries[name]
                    assert frames / entry["fps"] == pytest.approx(float(entry["duration"]))


def test_relabelling_finds_what_the_simulation_knows(replica, source):
    """Labels say the dominant law; what couples is confirmed by caption or annotation."""
    truth = replica[1].sound
    given = {record.name: record.categories for record in source.records()}
    assert all(set(given[name]) & set(known) for name, known in truth.items())
    exact = sum(given[name] == known for name, known in truth.items())
    assert exact >= 10  # of 12


def test_the_true_size_can_be_filtered_too(replica):
    true = Filters(width=(0, 100_000), duration=(0, 100), text_boxes=None)
    assert len(WisaSource(replica[0], filters=true).records()) == 12 + 1 + 5


def test_the_same_arguments_give_the_same_files_and_another_seed_others(tmp_path):
    options: dict[str, Any] = {**OPTIONS, "scenes": ("thrown_ball", "gliding_puck")}
    first = write_replica(tmp_path / "1", 6, **options)
    assert first == write_replica(tmp_path / "2", 6, **options)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    other = write_replica(tmp_path / "3", 6, seed=1, **options)
    assert not set(first.sound) & set(other.sound)
    assert not list(tmp_path.glob(".*"))


def test_every_law_of_a_scene_fits_the_scene():
    from pila.data.relabel import MAPPING

    for scene, law in LAW_OF_SCENE.items():
        effect = MAPPING[law]
        assert {*effect.gives, *effect.coupled} & set(SCENES[scene].categories), scene
    assert set(SCENES) - set(LAW_OF_SCENE) == {"hot_spot", "contact_bodies"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 5}, "clips is 5; take at least 6"),
        ({"clips": 10**6}, "take at most"),
        ({"seed": -1}, "seed is -1"),
        ({"archives": 1}, "archives is 1"),
        ({"size": 40}, "size is 40"),
        ({"scenes": ["thrown_bal"]}, "did you mean 'thrown_ball'"),
        ({"scenes": ["hot_spot"]}, "scene hot_spot shows no law"),
    ],
    ids=str,
)
def test_wrong_input_is_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        write_replica(tmp_path / "out", **{"clips": 6, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not an empty folder"):
        write_replica(tmp_path, 6, size=32)
