"""Any folder of videos with a CSV file that names them."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from pila.data.listing import identity
from pila.data.records import VideoRecord
from pila.errors import InputError
from pila.labels.parser import PROMPT_LIMIT, Parser, make_parser, parse_category
from pila.physics.layout import Category

_EXAMPLE = "file,caption,categories"


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the CSV, checked; no categories: a parser finds them."""

    line: int
    name: str
    caption: str
    categories: tuple[Category, ...]
    path: Path
    member: str | None


class FolderSource:
    """Clips that a CSV file lists; implements `pila.data.records.Source`.

    Columns are `file` (relative to the folder), `caption` and, if wanted, `categories` separated
    by `;`, `name` (else the file's place) and `member` (where the file is a zip archive); others
    are ignored. A clip without categories gets those that the parser reads in its caption.

    Faults of the list are errors. A video that is missing or empty, or a caption in which no
    category is found, leaves its clip out with a reason.

    Args:
        csv_path: the list.
        root: the folder with the videos; the list's own by default.
        parser: caption to categories; the offline one by default.

    Raises:
        InputError: no such file or folder, a missing column, a file outside the folder, a name
            listed twice, an unknown category. Each names the line.
    """

    def __init__(
        self, csv_path: Path | str, *, root: Path | str | None = None, parser: Parser | None = None
    ) -> None:
        self.csv_path = Path(csv_path)
        self.root = self.csv_path.parent if root is None else Path(root)
        self.parser = make_parser("offline") if parser is None else parser
        if not self.csv_path.is_file():
            raise InputError(f"{self.csv_path} is not a file; give a CSV with {_EXAMPLE}")
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
                f"none of the {len(excluded)} clips in {self.csv_path} can be used; "
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
        try:
            text = self.csv_path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.csv_path} is not UTF-8 ({error}); save it as UTF-8") from error
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows: list[_Row] = []
        lines: dict[str, int] = {}
        try:
            self._check_columns(reader)
            for raw in reader:
                row = self._row(reader.line_num, raw)
                if row.name in lines:
                    raise InputError(
                        f"{self.csv_path}, line {row.line}: {row.name!r} is also in line "
                        f"{lines[row.name]}; list each clip once, or give both a name of their own"
                    )
                lines[row.name] = row.line
                rows.append(row)
        except csv.Error as error:
            raise InputError(
                f"{self.csv_path}, line {reader.line_num + 1}: not CSV ({error}); "
                "separate by commas and put texts with commas in double quotes"
            ) from error
        if not rows:
            raise InputError(f"{self.csv_path} lists no clip; write one a line under {_EXAMPLE}")
        return rows

    def _check_columns(self, reader: csv.DictReader) -> None:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        missing = [name for name in ("file", "caption") if name not in columns]
        if missing:
            joined = len(columns) == 1 and any(mark in columns[0] for mark in ";\t|")
            hint = "separate the columns by commas" if joined else f"begin with {_EXAMPLE}"
            raise InputError(
                f"{self.csv_path} has no column {' and no '.join(missing)}, only "
                f"{', '.join(columns) or 'nothing'}; {hint}"
            )

    def _row(self, line: int, raw: Mapping[str | None, str | None]) -> _Row:
        place = f"{self.csv_path}, line {line}"
        if None in raw:
            raise InputError(
                f"{place}: more fields than columns; put texts with commas in double quotes"
            )
        field = {name: (value or "").strip() for name, value in raw.items()}
        if not field["file"]:
            raise InputError(f"{place}: no file; name the video, relative to {self.root}")
        member = field.get("member") or None
        relative = _inside(self.root, field["file"])
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
            line=line,
            name=field.get("name") or relative.as_posix() + (f"!{member}" if member else ""),
            caption=" ".join(field["caption"].split()),
            categories=tuple(c for c in Category if c in labels),
            path=self.root / relative,
            member=member,
        )


def _names(categories: str) -> list[str]:
    return [name for name in categories.replace(",", ";").split(";") if name.strip()]


def _inside(root: Path, file: str) -> PurePath | None:
    """The file's place relative to the folder; None outside. Links are taken as they are named."""
    base = Path(os.path.normpath(root.absolute()))
    path = Path(os.path.normpath(base / file))
    return path.relative_to(base) if path.is_relative_to(base) and path != base else None
