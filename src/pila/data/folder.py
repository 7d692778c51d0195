"""Any folder of videos with a list that names them, or with texts beside them."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from pila.data.listing import identity
from pila.data.lists import on_disk, read_list, sidecars
from pila.data.records import VideoRecord
from pila.errors import InputError
from pila.labels.parser import PROMPT_LIMIT, Parser, make_parser, parse_category
from pila.options import check_path, exists
from pila.physics.layout import Category

_EXAMPLE = "file,caption,categories"


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the list, checked; no categories: a parser finds them."""

    name: str
    caption: str
    categories: tuple[Category, ...]
    path: Path
    member: str | None


class FolderSource:
    """Clips that a list names; implements `pila.data.records.Source`.

    A list is CSV, or JSON lines (.jsonl). Its columns are the file (relative to the folder) under
    one of `lists.FILE_COLUMNS`, the caption under one of `lists.CAPTION_COLUMNS` and, if wanted,
    `categories` separated by `;`, `name` (else the file's place) and `member` (where the file is
    a zip archive); others are ignored. A folder in the list's place is its own list: of all videos
    below it, each with the .txt file of its name. A clip without categories gets those that the
    parser reads in its caption.

    Faults of the list are errors. A video that is missing or empty, or a caption in which no
    category is found, leaves its clip out with a reason.

    Args:
        place: the list, or the folder.
        root: the folder with the videos; the list's own by default.
        parser: caption to categories; the offline one by default.

    Raises:
        InputError: no such file or folder, a missing column, a file outside the folder, a name
            listed twice, an unknown category. Each names the line.
    """

    def __init__(
        self, place: Path | str, *, root: Path | str | None = None, parser: Parser | None = None
    ) -> None:
        self.place = Path(place)
        own = self.place if self.place.is_dir() else self.place.parent
        self.root = own if root is None else Path(root)
        self.parser = make_parser("offline") if parser is None else parser
        if not exists(self.place):
            raise InputError(f"{self.place} is not a file; give a CSV with {_EXAMPLE}")
        if not self.root.is_dir():
            raise InputError(f"{self.root} is not a folder; give the one with the videos")
        self._rows = self._read()

    @property
    def identity(self) -> str:
        """Changes with names, captions, categories and the videos' sizes."""
        return self._checked[2]

    @property
    def excluded(self) -> Mapping[str, str]:
        """Clips that are left out, with reasons."""
        return self._checked[1]

    def records(self) -> Sequence[VideoRecord]:
        """The usable clips, by name.

        Raises:
            InputError: there is none.
        """
        records, excluded, _ = self._checked
        if not records:
            name, reason = next(iter(excluded.items()))
            raise InputError(
                f"none of the {len(excluded)} clips in {self.place} can be used; "
                f"the first, {name}: {reason}"
            )
        return records

    @cached_property
    def _checked(self) -> tuple[list[VideoRecord], dict[str, str], str]:
        records: list[VideoRecord] = []
        excluded: dict[str, str] = {}
        sizes: list[int] = []
        for row in sorted(self._rows, key=lambda row: row.name):
            size = row.path.stat().st_size if row.path.is_file() else None
            if size is None:
                excluded[row.name] = f"missing: there is no file {row.path}"
            elif size == 0:
                excluded[row.name] = f"empty: {row.path} has 0 bytes"
            elif not row.caption:
                excluded[row.name] = "no caption"
            elif categories := row.categories or self._parsed(row.caption):
                sizes.append(size)
                records.append(
                    VideoRecord(
                        name=row.name,
                        caption=row.caption,
                        categories=categories,
                        path=row.path,
                        member=row.member,
                    )
                )
            else:
                excluded[row.name] = "no category: none in the caption; fill column categories"
        return records, excluded, identity("folder", records, sizes)

    def _parsed(self, caption: str) -> tuple[Category, ...]:
        found = self.parser(caption[: PROMPT_LIMIT - 1]).categories
        return tuple(c for c in Category if c in found)

    def _read(self) -> list[_Row]:
        rows: list[_Row] = []
        places: dict[str, str] = {}
        found = sidecars(self.root) if self.place.is_dir() else read_list(self.place)
        for place, field in found:
            row = self._row(place, field)
            if row.name in places:
                raise InputError(
                    f"{place}: {row.name!r} is also in {places[row.name]}; list each clip once, or "
                    "give both a name of their own"
                )
            places[row.name] = place.removeprefix(f"{self.place}, ")
            rows.append(row)
        if not rows:
            raise InputError(f"{self.place} lists no clip; write one a line under {_EXAMPLE}")
        return rows

    def _row(self, place: str, field: Mapping[str, str]) -> _Row:
        if not field["file"]:
            raise InputError(f"{place}: no file; name the video, relative to {self.root}")
        check_path(Path(field["file"]), f"{place}: file")
        member = field.get("member") or None
        relative = _inside(self.root, on_disk(self.root, field["file"]))
        if relative is None:
            raise InputError(
                f"{place}: {field['file']} lies outside {self.root}; "
                "move it there, or name a folder above both as root"
            )
        if relative.suffix.lower() == ".zip" and member is None:
            raise InputError(f"{place}: {field['file']} is an archive; name the video in `member`")
        try:
            labels = [parse_category(n) for n in _names(field.get("categories", ""))]
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        return _Row(
            name=field.get("name") or _name(relative, member),
            caption=" ".join(field["caption"].split()),
            categories=tuple(c for c in Category if c in labels),
            path=self.root / relative,
            member=member,
        )


def _name(relative: PurePath, member: str | None) -> str:
    """A clip's name: its place, in one form of Unicode, so that it is the same on every disk."""
    place = unicodedata.normalize("NFC", relative.as_posix())
    return f"{place}!{member}" if member else place


def _names(categories: str) -> list[str]:
    return [name for name in categories.replace(",", ";").split(";") if name.strip()]


def _inside(root: Path, file: str) -> PurePath | None:
    """The file's place relative to the folder; None outside. Links are taken as they are named."""
    base = Path(os.path.normpath(root.absolute()))
    path = Path(os.path.normpath(base / file))
    return path.relative_to(base) if path.is_relative_to(base) and path != base else None
