"""WISA-80K as published: every string it may hold, every way in which a clip can be lost."""

import json
import zipfile
from pathlib import Path

import pytest

from pila.data import videos
from pila.data.laws import DYNAMICS, OPTICS, THERMODYNAMICS, Law, read_laws
from pila.data.wisa import Filters, WisaSource
from pila.errors import InputError
from pila.labels.parser import Parse, ParserUnavailable
from pila.physics.layout import Category

ANNOTATION = {
    "phys_law": "The ball keeps its shape.",
    "n0": "rubber: 1.1 g/cm³",
    "q0": "rigid body motion",
    "q1": "no obvious thermodynamic phenomenon.",
    "q2": "no obvious optical phenomenon",
    "q3": "no",
    "q4": "1. object decomposition and splitting\n2. no change",
}


def entry(name="a.mp4", **changed):
    return {
        "video_name": name,
        "captions": "A red ball flies through the air.",
        "label": "rigid body motion",
        "width": 1280,
        "height": 720,
        "fps": 25,
        "duration": 5.0,
        "motion_score": 2.5,
        "text_bbox_num": 0,
        "physical_annotation": dict(ANNOTATION),
        **changed,
    }


def pack(root, number, names, content=b"video"):
    path = root / "data" / "videos" / f"{number}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"home/jovyan/deep/128_split/{number}/{name}", content)
    return path


def dataset(root, entries, **archives):
    """A data set with these records, and their videos in one archive unless told otherwise."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data" / "wisa-80k.json").write_text(json.dumps(entries, ensure_ascii=False))
    if not archives:
        pack(root, 0, [e["video_name"] for e in entries if isinstance(e, dict)])
    for name, members in archives.items():
        pack(root, int(name.removeprefix("zip")), members)
    return root


def names(source):
    return [record.name for record in source.records()]


def test_there_are_17_laws_in_three_branches():
    assert [len(branch) for branch in (DYNAMICS, THERMODYNAMICS, OPTICS)] == [6, 6, 5]
    assert (*DYNAMICS, *THERMODYNAMICS, *OPTICS) == tuple(Law)


@pytest.mark.parametrize("law", Law)
def test_each_law_is_read_as_it_is_published(law):
    reading = read_laws(str(law))
    assert (reading.laws, reading.unread, reading.as_published) == ((law,), (), True)


@pytest.mark.parametrize(
    ("text", "laws"),
    [
        ("Deformation ", ["deformation"]),
        ("deformation.", ["deformation"]),
        ("Rigid_Body_Motion", ["rigid body motion"]),
        ("rigid-body motion", ["rigid body motion"]),
        ("1. collision\n2. rigid body motion\n3. deformation", None),
        ("1) collision; 2) rigid body motion; 3) deformation", None),
        ("- collision\n- rigid body motion\n- deformation", None),
        (["collision", "Rigid body motion.", "deformation"], None),
        ({"1": "collision", "2": "rigid body motion", "3": "deformation"}, None),
        ("interference & diffraction", ["interference and diffraction"]),
        ("Diffraction", ["interference and diffraction"]),
        ("unnatural light sources", ["unnatural light source"]),
        ("vaporisation", ["vaporization"]),
        ("colision", ["collision"]),
        ("melting and solidification", ["melting", "solidification"]),
        (
            "rigid body motion of the ball, collision with the wall",
            ["rigid body motion", "collision"],
        ),
        ("collision, but no deformation", ["collision"]),
        ("reflection and no refraction", ["reflection"]),
        ("collision\x00", ["collision"]),
    ],
    ids=str,
)
def test_sloppy_strings_are_read_as_laws(text, laws):
    reading = read_laws(text)
    assert [*reading.laws] == (laws or ["collision", "rigid body motion", "deformation"])
    assert reading.unread == ()
    assert not reading.as_published


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        [],
        "None",
        "N/A",
        "no obvious optical phenomenon.",
        "No collision",
        float("nan"),
    ],
)
def test_nothing_is_read_as_nothing(text):
    reading = read_laws(text)
    assert (reading.laws, reading.unread) == ((), ())


def test_lists_are_published_with_commas_and_that_is_not_odd():
    reading = read_laws("deformation, collision")
    assert reading.laws == (Law.DEFORMATION, Law.COLLISION)
    assert reading.as_published
    assert read_laws("no obvious dynamic phenomenon").as_published


@pytest.mark.parametrize("text", ["sparkling", 17, True, "gravity, sparkling"])
def test_what_is_not_understood_is_kept(text):
    reading = read_laws(text)
    assert reading.laws == ()
    assert ", ".join(reading.unread) == str(text).lower()


def test_a_record_becomes_a_clip(tmp_path):
    (record,) = WisaSource(dataset(tmp_path, [entry()])).records()
    assert record.name == "a.mp4"
    assert record.caption == "A red ball flies through the air. The ball keeps its shape."
    assert record.categories == (Category.RIGID_BODY,)
    assert record.path == tmp_path / "data" / "videos" / "0.zip"
    with zipfile.ZipFile(record.path) as archive:
        assert archive.read(record.member or "") == b"video"


def test_the_training_copy_and_other_unknown_fields_do_no_harm(tmp_path):
    root = dataset(tmp_path, [entry(file="0/a.mp4", video_id="a", extra={"b": [1]})])
    assert names(WisaSource(root)) == ["a.mp4"]


def test_oddities_are_counted_and_fatal_to_nothing(tmp_path):
    odd = entry(
        label="Rigid body motion ",
        width="1280",
        duration="5.0 s",
        motion_score="unknown",
        captions=["A red ball", "flies\nthrough the air."],
        physical_annotation=json.dumps(ANNOTATION | {"q2": "sparkling"}),
    )
    other = entry("b.mp4", label="Rigid body motion ", physical_annotation=None, video_name="b")
    root = dataset(tmp_path, [odd, other], zip0=["a.mp4", "b.mp4"])
    source = WisaSource(root)
    assert names(source) == ["a.mp4", "b.mp4"]
    assert source.records()[0].caption.startswith("A red ball flies through the air.")
    assert source.report.repaired["label: 'Rigid body motion '"] == 2
    assert source.report.repaired["width: '1280'"] == 1
    assert source.report.repaired["duration: '5.0 s'"] == 1
    assert source.report.unread == {"motion_score: 'unknown'": 1, "q2: 'sparkling'": 1}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"duration": 1.99}, "duration: 1.99 s; kept are 2 to 10 s"),
        ({"duration": 10.01}, "duration: 10.01 s"),
        ({"duration": None}, "duration: not legible"),
        ({"duration": "long"}, "duration: not legible"),
        ({"width": 719}, "width: 719 px; kept are 720 to 3000 px"),
        ({"width": 3001}, "width: 3001 px"),
        ({"text_bbox_num": 2}, "text in the picture: 2 boxes"),
        ({"captions": "", "physical_annotation": {}}, "no caption: neither captions nor phys_law"),
        ({"motion_score": 0.05}, "no motion: motion_score 0.05 is below 0.1"),
        (
            {"label": "", "captions": "A chair.", "physical_annotation": {}},
            "no category: neither label nor annotation nor caption",
        ),
    ],
    ids=str,
)
def test_filters_are_those_of_wisas_own_loader(tmp_path, changed, reason):
    root = dataset(tmp_path, [entry(**changed), entry("b.mp4")])
    source = WisaSource(root)
    assert names(source) == ["b.mp4"]
    assert reason in source.excluded["a.mp4"]
    assert sum(source.report.excluded.values()) == 1


@pytest.mark.parametrize(
    "changed",
    [{"duration": 2}, {"duration": 10.0}, {"width": 720}, {"width": 3000}, {"text_bbox_num": 1}],
    ids=str,
)
def test_the_filters_bounds_are_included(tmp_path, changed):
    assert names(WisaSource(dataset(tmp_path, [entry(**changed)]))) == ["a.mp4"]


def test_filters_are_options(tmp_path):
    odd = entry(duration=99, width=64, text_bbox_num=None)
    root = dataset(tmp_path, [odd])
    none = Filters(duration=None, width=(32, 128), text_boxes=None)
    assert names(WisaSource(root, filters=none)) == ["a.mp4"]
    assert names(WisaSource(dataset(tmp_path, [entry(motion_score=0)]), still_below=0)) == ["a.mp4"]
    with pytest.raises(InputError, match="duration is 10 to 2"):
        Filters(duration=(10, 2))
    with pytest.raises(InputError, match="text_boxes is -1"):
        Filters(text_boxes=-1)
    with pytest.raises(InputError, match="still_below is -1"):
        WisaSource(root, still_below=-1)


def test_the_first_of_two_archives_with_a_name_counts(tmp_path):
    root = dataset(tmp_path, [entry()], zip2=["a.mp4"], zip10=["a.mp4"])
    source = WisaSource(root)
    (record,) = source.records()
    assert record.path.name == "2.zip"  # by number, not by letters
    assert "2.zip counts" in source.excluded["a.mp4 (data/videos/10.zip)"]
    assert source.report.copies == 1
    assert source.report.records == source.report.usable == 1


def test_an_empty_copy_does_not_hide_a_good_one(tmp_path):
    root = dataset(tmp_path, [entry()], zip1=["a.mp4"])
    pack(root, 0, ["a.mp4"], b"")
    source = WisaSource(root)
    assert source.records()[0].path.name == "1.zip"
    assert "a.mp4 (data/videos/0.zip)" in source.excluded


def test_unpacked_videos_are_found_anywhere_and_hide_the_archives(tmp_path):
    root = dataset(tmp_path, [entry(), entry("b.mp4")], zip0=["a.mp4", "b.mp4"])
    (root / "unpacked" / "7").mkdir(parents=True)
    (root / "unpacked" / "7" / "a.mp4").write_bytes(b"video")
    source = WisaSource(root)
    first, second = source.records()
    assert (first.path, first.member) == (root / "unpacked" / "7" / "a.mp4", None)
    assert second.path.name == "0.zip"
    assert source.excluded == {}
    packed = WisaSource(dataset(tmp_path / "other", [entry(), entry("b.mp4")]))
    assert packed.identity == source.identity


def test_links_are_followed_and_hidden_files_are_not_videos(tmp_path):
    root = dataset(tmp_path / "set", [entry(), entry("b.mp4")], zip0=["._a.mp4"])
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "a.mp4").write_bytes(b"video")
    (disk / "back").symlink_to(root)
    (root / "more").symlink_to(disk)
    (root / ".cache").mkdir()
    (root / ".cache" / "b.mp4").write_bytes(b"video")
    (root / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    source = WisaSource(root)
    assert names(source) == ["a.mp4"]
    assert "missing: in none of the 1 archives" in source.excluded["b.mp4"]


def test_missing_and_empty_videos_and_repeated_records_are_left_out(tmp_path):
    entries = [entry(), entry("gone.mp4"), entry("empty.mp4"), entry(captions="Again."), "text"]
    root = dataset(tmp_path, entries, zip0=["a.mp4", "unlisted.mp4"])
    (root / "empty.mp4").write_bytes(b"")
    entries.append(entry("", captions="Nameless."))
    (root / "data" / "wisa-80k.json").write_text(json.dumps(entries))
    source = WisaSource(root)
    assert names(source) == ["a.mp4"]
    assert source.records()[0].caption.startswith("A red ball")
    assert source.excluded == {
        "gone.mp4": "missing: in none of the 1 archives, nor unpacked",
        "empty.mp4": "empty: empty.mp4 has it with 0 bytes",
        "a.mp4 (record 3)": "repeated record: the first of that name counts",
        "record 4": "no record: no object: text",
        "record 5": "no record: no video_name",
    }
    report = source.report
    assert report.records == report.usable + sum(report.excluded.values()) == 6
    assert report.unlisted == 1


def test_a_truncated_archive_costs_its_own_clips_alone(tmp_path):
    entries = [entry(), entry("b.mp4"), entry("c.mp4", file="1/c.mp4")]
    root = dataset(tmp_path, entries, zip0=["a.mp4"], zip1=["b.mp4", "c.mp4"])
    cut = root / "data" / "videos" / "1.zip"
    cut.write_bytes(cut.read_bytes()[:-30])
    pointer = root / "data" / "videos" / "2.zip"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    source = WisaSource(root)
    assert names(source) == ["a.mp4"]
    assert "cannot be read: data/videos/1.zip, data/videos/2.zip" in source.excluded["b.mp4"]
    assert "archive broken: data/videos/1.zip cannot be read" in source.excluded["c.mp4"]
    assert source.report.archives == 1
    assert source.report.broken["data/videos/2.zip"].startswith("is a Git LFS pointer")
    assert source.report.excluded == {"archive broken": 2}


def test_each_archive_is_listed_once(tmp_path, monkeypatch):
    opened = []
    real = zipfile.ZipFile

    def open_counted(path, *args):
        opened.append(Path(path).name)
        return real(path, *args)

    entries = [entry(f"{i}.mp4") for i in range(40)]
    root = dataset(
        tmp_path, entries, **{f"zip{k}": [f"{i}.mp4" for i in range(k, 40, 4)] for k in range(4)}
    )
    monkeypatch.setattr(videos.zipfile, "ZipFile", open_counted)
    source = WisaSource(root)
    assert len(source.records()) == len(source.records()) == source.report.usable == 40
    assert opened == ["0.zip", "1.zip", "2.zip", "3.zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "cannot be read .*fetch it again"),
        ("", "fetch it again"),
        ('{"records": []}', "is a JSON dict, not the list of records"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_a_broken_list_is_an_error_with_a_remedy(tmp_path, content, message):
    root = dataset(tmp_path, [entry()])
    (root / "data" / "wisa-80k.json").write_text(content)
    with pytest.raises(InputError, match=message):
        WisaSource(root).records()


def test_an_empty_root_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        WisaSource(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no data/wisa-80k.json; .*docs/wisa.md"):
        WisaSource(tmp_path)
    root = dataset(tmp_path, [entry()], zip0=[])
    with pytest.raises(InputError, match=r"holds no video .* older one"):
        WisaSource(root).records()
    root = dataset(tmp_path, [entry(width=1)])
    with pytest.raises(InputError, match=r"none of the 1 records .* \(1 width\)"):
        WisaSource(root).records()


def test_the_list_may_lie_elsewhere(tmp_path):
    root = dataset(tmp_path / "set", [entry()])
    listed = (root / "data" / "wisa-80k.json").rename(tmp_path / "newer.json")
    assert names(WisaSource(root, annotations=listed)) == ["a.mp4"]
    with pytest.raises(InputError, match="is not a file"):
        WisaSource(root, annotations=tmp_path / "none.json")


def test_identity_changes_with_the_records_and_with_nothing_else(tmp_path):
    source = WisaSource(dataset(tmp_path / "1", [entry(), entry("b.mp4")]))
    turned = WisaSource(dataset(tmp_path / "2", [entry("b.mp4"), entry()]))
    said = WisaSource(dataset(tmp_path / "3", [entry(captions="A ball."), entry("b.mp4")]))
    labelled = WisaSource(dataset(tmp_path / "4", [entry(label="collision"), entry("b.mp4")]))
    fewer = WisaSource(dataset(tmp_path / "5", [entry(), entry("b.mp4", width=1)]))
    assert source.identity == turned.identity
    assert len({s.identity for s in (source, said, labelled, fewer)}) == 4


class Says:
    """A parser that always answers the same; any callable will do."""

    def __init__(self, *categories):
        self.categories, self.read = categories, []

    def __call__(self, prompt):
        self.read.append(prompt)
        return Parse(refined_prompt=prompt, categories=self.categories, parser="test")


def test_any_parser_reads_the_captions_of_usable_clips_alone(tmp_path):
    parser = Says(Category.OPTICAL)
    annotation = ANNOTATION | {"q2": "reflection"}
    entries = [entry(physical_annotation=annotation), entry("b.mp4", width=1)]
    entries.append(entry("c.mp4", captions="long " * 5000))
    source = WisaSource(dataset(tmp_path, entries), parser=parser)
    assert source.records()[0].categories == (Category.RIGID_BODY, Category.OPTICAL)
    assert len(parser.read) == 2
    assert max(map(len, parser.read)) == 9999


def test_the_report_counts_clips_by_category_and_law(tmp_path):
    entries = [entry(), entry("b.mp4", label="collision"), entry("c.mp4", width=1)]
    report = WisaSource(dataset(tmp_path, entries)).report
    assert report.categories["collision"] == 1
    assert report.categories["rigid_body"] == 2
    assert report.laws["rigid body motion"] == {"label": 1, "annotation": 2}
    assert report.laws["collision"] == {"label": 1, "annotation": 0}
    assert report.laws["melting"] == {"label": 0, "annotation": 0}


def test_captions_are_parsed_alike_in_several_processes(tmp_path):
    root = dataset(tmp_path, [entry(), entry("b.mp4", label="collision")])
    assert WisaSource(root, processes=2).records() == WisaSource(root).records()
    with pytest.raises(InputError, match="processes is 0"):
        WisaSource(root, processes=0)


class Refuses:
    """A parser without an answer to some captions."""

    def __init__(self, refused):
        self.refused = refused

    def __call__(self, prompt):
        if self.refused in prompt:
            raise ParserUnavailable("language model x: refused")
        return Parse(refined_prompt=prompt, categories=(Category.OPTICAL,), parser="test")


def test_a_caption_that_the_model_refuses_costs_its_own_labels_alone(tmp_path):
    entries = [entry(captions="an explosion"), entry("b.mp4", captions="a mirror")]
    source = WisaSource(dataset(tmp_path, entries), parser=Refuses("explosion"))
    assert names(source) == ["a.mp4", "b.mp4"]
    assert source.report.unread["caption: 'the parser gave no answer'"] == 1


def test_a_parser_that_never_answers_ends_the_reading(tmp_path):
    entries = [entry(f"{n}.mp4", captions="an explosion") for n in range(12)]
    with pytest.raises(ParserUnavailable):
        WisaSource(dataset(tmp_path, entries), parser=Refuses("")).records()


def test_text_that_no_file_can_hold_is_replaced(tmp_path):
    root = dataset(tmp_path, [entry(captions="a ball rolls", motion_score=10**400)])
    listing = root / "data" / "wisa-80k.json"
    # Half of a character in two, as JSON can hold it.
    listing.write_text(listing.read_text().replace("a ball rolls", r"a ball rolls \ud83d"))
    (record,) = WisaSource(root).records()
    record.caption.encode()
