"""What a diagnosis is: figures with words for them, tables, numbers; and its files."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pila.files import atomic_write
from pila.lab.diagnose.style import save, styled


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure, drawn when it is written."""

    name: str
    """Of its files, without ending."""
    title: str
    look: str
    """One plain sentence: what to look for."""
    alt: str
    """What it shows, for those who do not see it; from the numbers themselves."""
    draw: Callable[[], Any]
    """Returns the matplotlib figure; called with the shared style in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The numbers of a figure, as people read them."""

    name: str
    """Of its CSV file, without ending."""
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    shown: bool = True
    """Whether a report prints it; a long one stands in its CSV alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One look at a run."""

    name: str
    title: str
    about: str
    """What was looked at: which clips, how many, at which noise."""
    numbers: Mapping[str, Any]
    """All that is behind the figures, as JSON takes it."""
    pictures: Sequence[Picture]
    tables: Sequence[Table] = field(default=())

    def write(self, folder: Path) -> dict[str, Any]:
        """Draw and write all of it into a folder.

        Returns:
            The numbers, with the files' paths under `files`.

        Raises:
            InputError: the folder cannot be written.
        """
        files = []
        with styled():
            for picture in self.pictures:
                files += save(picture.draw(), folder, picture.name)
        for table in self.tables:
            path = folder / f"{table.name}.csv"
            with atomic_write(path) as part:
                part.write_text(as_csv(table))
            files.append(path)
        numbers = as_json({"diagnosis": self.name, "about": self.about, **self.numbers})
        path = folder / f"{self.name}.json"
        with atomic_write(path) as part:
            part.write_text(json.dumps(numbers, indent=1))
        return numbers | {"files": [str(f) for f in [*files, path]]}


def as_json(value: Any) -> Any:
    """The same with plain lists, and None for each number that is none: JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(table: Table) -> str:
    """A table as CSV; intervals [value, low, high] are written `value;low;high`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([";".join(map(str, v)) if _is_list(v) else v for v in row])
    return text.getvalue()


def cell(value: Any) -> str:
    """A value as people read it: four digits, an interval in brackets, nothing for none."""
    if _is_list(value):
        middle, low, high = (cell(v) for v in value)
        return f"{middle} [{low}, {high}]"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
