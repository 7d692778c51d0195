"""Lists of videos as trainers write them: CSV, JSON lines, and texts beside the videos.

Columns go by several names: `file_name` and `text` (Hugging Face), `video` and `prompt`
(DiffSynth), `path` and `caption` (Open-Sora, musubi-tuner).
"""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.json_files import parse_json, read_text
from pila.options import check_text

FILE_COLUMNS = ("file", "file_name", "filename", "video", "path", "video_path")
CAPTION_COLUMNS = ("caption", "text", "prompt")
FOUND_IN_FOLDERS = ("metadata.jsonl", "metadata.csv")
"""Lists that a folder is read by, where it has one."""
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_LIST_LIMIT = 2_000_000_000
_EXAMPLE = "file,caption,categories"

Row = tuple[str, dict[str, str]]
"""Where a row stands, for messages, and its columns; `file` and `caption` are among them."""


def read_list(path: Path) -> Iterator[Row]:
    """The rows of a list: of JSON lines where its name ends in .jsonl, of CSV otherwise.

    Raises:
        InputError: it does not read, or says neither files nor captions; with the line.
    """
    remedy = "save the list again as UTF-8"
    text = read_text(path, limit=_LIST_LIMIT, remedy=remedy)
    return _of_lines(path, text) if path.suffix.lower() == ".jsonl" else _of_csv(path, text)


def sidecars(folder: Path) -> Iterator[Row]:
    """The videos below a folder, each with the text of the .txt file of its name, or with none.

    Raises:
        InputError: a text that does not read.
    """
    for video in videos_in(folder):
        said = video.with_suffix(".txt")
        caption = read_text(said, limit=1_000_000) if said.is_file() else ""
        name = video.relative_to(folder).as_posix()
        yield str(said), {"file": name, "caption": _checked(caption, str(said))}


def videos_in(folder: Path) -> list[Path]:
    """The videos below a folder by name; hidden ones are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (Path(place, name) for name in names if not name.startswith("."))
        found += [path for path in shown if path.suffix.lower() in VIDEOS]
    return sorted(found)


def has_sidecars(folder: Path) -> bool:
    """Whether a video below a folder has a text beside it."""
    return any(video.with_suffix(".txt").is_file() for video in videos_in(folder))


def on_disk(root: Path, relative: str) -> str:
    """A file's name as the disk has it, where the list has it in another form of Unicode.

    macOS decomposes accents (NFD), most keyboards do not (NFC); Linux tells the two apart. A list
    of Windows separates folders by backslashes.
    """
    for name in (relative, relative.replace("\\", "/")):
        if (root / name).exists():
            return name
        place = root
        for part in Path(name).parts:
            if not (place / part).exists():
                same = unicodedata.normalize("NFC", part)
                others = os.listdir(place) if place.is_dir() else []  # noqa: PTH208  of names alone
                part = next((o for o in others if unicodedata.normalize("NFC", o) == same), part)
            place = place / part
        if place.exists():
            return place.relative_to(root).as_posix() if place.is_relative_to(root) else str(place)
    return relative


def _of_csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        columns = _columns(path, names)
        for raw in reader:
            place = f"{path}, line {reader.line_num}"
            if None in raw:
                raise InputError(
                    f"{place}: more fields than columns; put texts with commas in double quotes"
                )
            yield place, _row(place, raw, columns)
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num + 1}: not CSV ({error}); "
            "separate by commas and put texts with commas in double quotes"
        ) from error


def _of_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):  # other line breaks may be in captions
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        raw = parse_json(line, place, remedy="write one JSON object a line")
        if not isinstance(raw, dict):
            raise InputError(f"{place} holds a JSON {type(raw).__name__}; write one object a line")
        raw = {name.strip().lower(): value for name, value in raw.items()}
        yield place, _row(place, raw, _columns(place, list(raw)))


def _columns(place: object, names: list[str]) -> tuple[str, str]:
    """The columns of files and captions among those of a list."""
    file = next((name for name in FILE_COLUMNS if name in names), None)
    caption = next((name for name in CAPTION_COLUMNS if name in names), None)
    if file is not None and caption is not None:
        return file, caption
    missing = ["file"] * (file is None) + ["caption"] * (caption is None)
    joined = len(names) == 1 and any(mark in names[0] for mark in ";\t|")
    hint = "separate the columns by commas" if joined else f"begin with {_EXAMPLE}"
    raise InputError(
        f"{place} has no column {' and no '.join(missing)}, only {', '.join(names) or 'nothing'}; "
        f"{hint} (file may be called {', '.join(FILE_COLUMNS[1:])}; caption text or prompt)"
    )


def _row(place: str, raw: Mapping[Any, Any], columns: tuple[str, str]) -> dict[str, str]:
    file, caption = columns
    own = {name: raw.get(name) for name in ("categories", "name", "member")}
    return {
        name: _text(place, name, value)
        for name, value in (own | {"file": raw[file], "caption": raw[caption]}).items()
    }


def _text(place: str, name: str, value: Any) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ";".join(value) if name == "categories" else value
    if isinstance(value, int) and not isinstance(value, bool) and name == "name":
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{place}: {name} is a {type(value).__name__}; write a text")
    return _checked((value or "").strip(), f"{name} in {place}")


def _checked(text: str, what: str) -> str:
    check_text(text, what)
    return text
