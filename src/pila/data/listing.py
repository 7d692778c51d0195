"""A list of clips as CSV, and the identity of a list.

`pila data wisa --out` writes what `FolderSource` reads: the columns `file` and `caption`, and if
wanted `categories` (separated by `;`), `name` and `member` (the video's name where the file is a
zip archive).
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pila.data.records import VideoRecord
from pila.errors import InputError
from pila.files import atomic_write

COLUMNS = ("name", "file", "member", "caption", "categories")


def identity(kind: str, records: Iterable[VideoRecord], sizes: Iterable[int] = ()) -> str:
    """The kind of a source and 16 hex digits that change with names, captions and categories.

    Where the videos lie does not matter: the same clips unpacked, or on another disk, stay the
    same. `sizes` in bytes are added where names alone do not say which video is meant.
    """
    said = [(r.name, r.caption, [str(c) for c in r.categories]) for r in records]
    text = json.dumps([said, list(sizes)], ensure_ascii=False)
    return f"{kind}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"


def write_csv(path: Path, records: Sequence[VideoRecord], root: Path) -> None:
    """Write records as CSV, files relative to the data set's folder `root`.

    Raises:
        InputError: the file cannot be written, or a video lies outside `root`.
    """
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in records:
            if not record.path.is_relative_to(root):
                raise InputError(f"{record.path} is not below {root}; name the folder above both")
            place = record.path.relative_to(root).as_posix()
            labels = ";".join(record.categories)
            writer.writerow([record.name, place, record.member or "", record.caption, labels])
