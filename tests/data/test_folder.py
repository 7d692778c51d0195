"""Any folder of videos with a CSV: what it reads, what it leaves out, what it refuses."""

import re

import pytest

from pila.data.folder import FolderSource
from pila.data.listing import write_csv
from pila.data.records import VideoRecord
from pila.errors import InputError
from pila.labels.parser import Parse
from pila.physics.layout import Category


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"video")
    return tmp_path


def source(folder, text, **options):
    (folder / "clips.csv").write_text(text)
    return FolderSource(folder / "clips.csv", **options)


def test_rows_become_clips(folder):
    found = source(
        folder,
        "file,caption,categories,license\n"
        'sub/c.mp4,"a ball, red, falls",rigid_body; Collision,CC0\n'
        "a.mp4,ice melts on a hot pan,phase_change,\n",
    )
    first, second = found.records()
    assert first.name == "a.mp4"
    assert first.categories == (Category.PHASE_CHANGE,)
    assert second == VideoRecord(
        name="sub/c.mp4",
        caption="a ball, red, falls",
        categories=(Category.RIGID_BODY, Category.COLLISION),
        path=folder / "sub" / "c.mp4",
    )
    assert found.excluded == {}


def test_without_categories_the_offline_parser_labels(folder):
    text = "file,caption\na.mp4,two steel balls collide\nb.mp4,a portrait of a quiet grey house\n"
    found = source(folder, text)
    (record,) = found.records()
    assert Category.COLLISION in record.categories
    assert "no category: none in the caption" in found.excluded["b.mp4"]


def test_another_parser_is_asked_only_where_categories_are_missing(folder):
    asked = []

    def parser(prompt):
        asked.append(prompt)
        return Parse(refined_prompt="", categories=(Category.OPTICAL, Category.FLUID), parser="x")

    text = "file,caption,categories\na.mp4,one,\nb.mp4,two,thermal\n"
    records = source(folder, text, parser=parser).records()
    assert [r.categories for r in records] == [
        (Category.FLUID, Category.OPTICAL),
        (Category.THERMAL,),
    ]
    assert asked == ["one"]


def test_missing_and_empty_videos_and_captions_leave_their_clips_out(folder):
    (folder / "empty.mp4").write_bytes(b"")
    rows = "a.mp4,a ball falls\ngone.mp4,a ball falls\nempty.mp4,a ball falls\nb.mp4,\n"
    found = source(folder, "file,caption\n" + rows)
    assert [r.name for r in found.records()] == ["a.mp4"]
    assert found.excluded["b.mp4"] == "no caption"
    assert found.excluded["gone.mp4"].startswith("missing: there is no file")
    assert found.excluded["empty.mp4"].startswith("empty: ")
    with pytest.raises(InputError, match=r"none of the 1 clips .*gone.mp4: missing"):
        source(folder, "file,caption\ngone.mp4,a ball falls\n").records()


def test_the_videos_may_lie_in_another_folder_and_in_archives(folder, tmp_path):
    (folder / "pack.zip").write_bytes(b"PK")
    listing = tmp_path / "elsewhere" / "clips.csv"
    listing.parent.mkdir()
    listing.write_text(
        "\ufefffile,caption,name,member\n"
        f"{folder}/a.mp4,a ball falls,first,\npack.zip,a ball falls,,deep/0/x.mp4\n",
        encoding="utf-8",
    )
    first, second = FolderSource(listing, root=folder).records()
    assert (first.name, first.path, first.member) == ("first", folder / "a.mp4", None)
    assert (second.name, second.member) == ("pack.zip!deep/0/x.mp4", "deep/0/x.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,words\na.mp4,hi\n", "has no column file and no caption, only clip, words; begin"),
        ("file;caption\na.mp4;hi\n", "separate the columns by commas"),
        ("", "only nothing; begin with file,caption,categories"),
        ("file,caption\n", "lists no clip"),
        ("file,caption\n../a.mp4,hi\n", "line 2: ../a.mp4 lies outside"),
        ("file,caption\n/etc/a.mp4,hi\n", "line 2: /etc/a.mp4 lies outside"),
        ("file,caption\n.,hi\n", "lies outside"),
        ("file,caption\n,hi\n", "line 2: no file"),
        ("file,caption\na.mp4,x\nb.mp4,x\n./a.mp4,x\n", "line 4: 'a.mp4' is also in line 2"),
        ("file,caption,name\na.mp4,x,n\nb.mp4,x,n\n", "line 3: 'n' is also in line 2"),
        ("file,caption,categories\na.mp4,x,termal\n", "line 2: unknown category 'termal'; did you"),
        ("file,caption\na.mp4,one, two\n", "line 2: more fields than columns; put texts"),
        ('file,caption\na.mp4,"one" two\n', "line 2: not CSV"),
        ("file,caption\npack.zip,x\n", "is an archive; name the video in `member`"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(folder, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        source(folder, text)


def test_what_is_no_list_is_refused(folder):
    with pytest.raises(InputError, match="is not a file; give a CSV"):
        FolderSource(folder / "none.csv")
    (folder / "clips.csv").write_bytes(b"file,caption\na.mp4,caf\xe9\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        FolderSource(folder / "clips.csv")
    with pytest.raises(InputError, match="is not a folder"):
        FolderSource(folder / "clips.csv", root=folder / "none")


def test_identity_changes_with_captions_labels_and_videos(folder):
    text = "file,caption,categories\na.mp4,x,fluid\n"
    found = {source(folder, text).identity, source(folder, text).identity}
    assert len(found) == 1
    found.add(source(folder, text.replace("x", "y")).identity)
    found.add(source(folder, text.replace("fluid", "elastic")).identity)
    (folder / "a.mp4").write_bytes(b"another")
    found.add(source(folder, text).identity)
    assert len(found) == 4


def test_a_list_that_was_written_reads_back(folder, tmp_path):
    (folder / "pack.zip").write_bytes(b"PK")
    records = [
        VideoRecord(
            name="1", caption='He said: "a, b"', categories=(Category.FLUID,), path=folder / "a.mp4"
        ),
        VideoRecord(
            name="2",
            caption="ü\u2028ü",
            categories=(Category.RIGID_BODY, Category.OPTICAL),
            path=folder / "pack.zip",
            member="0/x.mp4",
        ),
    ]
    write_csv(tmp_path / "out" / "list.csv", records, folder)
    first, second = FolderSource(tmp_path / "out" / "list.csv", root=folder).records()
    assert first == records[0]
    assert second.caption == "ü ü"
    assert (second.name, second.categories, second.member) == (
        "2",
        records[1].categories,
        "0/x.mp4",
    )
    with pytest.raises(InputError, match="is not below"):
        write_csv(tmp_path / "list.csv", records, folder / "sub")
    assert not (tmp_path / "list.csv").exists()
