"""What a data set of videos is to training: records of clips, wherever they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pila.physics.layout import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One clip: what it is called, what it shows, where its file lies.

    Attributes:
        name: unique in its source.
        caption: what the text encoder reads.
        categories: the physical categories at work, in `Category` order.
        path: the video file, or the zip archive that holds it.
        member: the video's name in that archive; None for a file of its own.
    """

    name: str
    caption: str
    categories: tuple[Category, ...]
    path: Path
    member: str | None = None


class ClipError(Exception):
    """A clip that cannot be used; the text says why, for the list of what was left out."""


class Source(Protocol):
    """A data set as caching reads it."""

    @property
    def identity(self) -> str:
        """A short text that changes where the records do."""
        ...

    @property
    def excluded(self) -> Mapping[str, str]:
        """What the source itself left out: name to reason."""
        ...

    def records(self) -> Sequence[VideoRecord]:
        """All usable clips, by name; names are unique."""
        ...
