"""Lists of videos under the names and in the forms of other trainers."""

import json
import unicodedata

import pytest

from pila.data.folder import FolderSource
from pila.data.records import VideoRecord
from pila.data.sources import find_videos
from pila.errors import InputError

CAPTION = "two steel balls collide"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "sub/b.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"video")
    return tmp_path


def captions(source):
    return {record.name: record.caption for record in source.records()}


@pytest.mark.parametrize(
    "columns", [("file_name", "text"), ("video", "prompt"), ("path", "caption"), ("file", "text")]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_under_other_names(folder, columns, kind):
    file, caption = columns
    listing = folder / f"metadata.{kind}"
    if kind == "csv":
        listing.write_text(f"\ufeff{file},{caption}\nsub/b.mp4,{CAPTION}\n", encoding="utf-8")
    else:
        line = json.dumps({file: "sub/b.mp4", caption: CAPTION, "fps": 24, "more": [1]})
        listing.write_text(f"\ufeff{line}\n\n", encoding="utf-8")
    assert captions(FolderSource(listing)) == {"sub/b.mp4": CAPTION}
    assert captions(find_videos(str(folder))) == {"sub/b.mp4": CAPTION}


def test_texts_beside_the_videos(folder):
    (folder / "a.txt").write_text(f"{CAPTION}\n", encoding="utf-8")
    found = find_videos(str(folder))
    assert captions(found) == {"a.mp4": CAPTION}
    assert found.excluded == {"sub/b.mp4": "no caption"}


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_in_either_form(folder, listed, stored):
    name = "ünë/crème brûlée.mp4"
    path = folder / unicodedata.normalize(stored, name)
    path.parent.mkdir()
    path.write_bytes(b"video")
    row = {"file_name": unicodedata.normalize(listed, name), "text": CAPTION}
    (folder / "metadata.jsonl").write_text(json.dumps(row))
    (record,) = find_videos(str(folder)).records()
    assert isinstance(record, VideoRecord)
    assert record.path.samefile(path)
    assert record.name == unicodedata.normalize("NFC", name)


def test_a_list_made_on_windows(folder):
    (folder / "metadata.csv").write_text(f"file_name,text\r\nsub\\b.mp4,{CAPTION}\r\n")
    assert captions(find_videos(str(folder))) == {"sub/b.mp4": CAPTION}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not readable JSON"),
        ("[" * 100_000, "line 1 is not readable JSON"),
        ("[1]", "line 1 holds a JSON list"),
        ('{"clip": "a.mp4", "text": "x"}', "line 1 has no column file, only clip, text"),
        ('{"file": "a.mp4", "text": 3}', "line 1: caption is a int; write a text"),
        ('{"file": "a.mp4", "text": "\\ud800 falls"}', "caption in .*line 1 is not Unicode text"),
        ('{"file": "a\\u0000.mp4", "text": "x"}', "file in .*line 1 is not Unicode text"),
        (json.dumps({"file": "a" * 300 + ".mp4", "text": "x"}), "has a name of 304 bytes"),
        ('{"file": "../a.mp4", "text": "x"}', "line 1: ../a.mp4 lies outside"),
        ('{"file": "a.mp4", "text": "x", "categories": ["termal"]}', "unknown category 'termal'"),
    ],
)
def test_a_wrong_line_is_named(folder, line, message):
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        find_videos(str(folder))


def test_what_can_be_given_is_said(folder):
    with pytest.raises(InputError, match=r"a folder of videos with metadata.jsonl or metadata.csv"):
        find_videos(str(folder / "none"))
    with pytest.raises(InputError, match=r"docs/own-videos.md\), or put a .txt beside each"):
        find_videos(str(folder))
    with pytest.raises(InputError, match="source is"):
        find_videos("a" * 5_000)
