"""WISA-80K as it is published: annotations in one JSON list, videos in 128 zip archives.

Nothing is unpacked. What the strings hold and how they are read: `pila.data.laws`; how the 17
laws become eight categories: `pila.data.relabel`; where to get it: docs/wisa.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from pila.data.laws import Law
from pila.data.listing import identity
from pila.data.records import VideoRecord
from pila.data.relabel import MAPPING, Effect, load_mapping, relabel
from pila.data.videos import SUFFIX, Found, Video, find_videos, why_unreadable
from pila.data.wisa_record import Oddities, WisaRecord, shortened
from pila.errors import InputError
from pila.json_files import read_json
from pila.labels.parser import PROMPT_LIMIT, Parser, ParserUnavailable, make_parser
from pila.physics.layout import Category
from pila.progress import progress_bar
from pila.workers import workers

ANNOTATIONS = "wisa-80k.json"
ANNOTATION_BYTES = 2_000_000_000
"""Of all annotations of a set: WISA-80K has some 200 MB."""
REFUSALS = 10
"""Captions without the parser's answer in a row after which the reading ends."""
STILL_BELOW = 0.1
"""Motion score under which a clip counts as still. What the score is, is not published; a public
training script for this data set draws the line of dynamic clips here, too."""


class Reason(StrEnum):
    """Why a record, or a copy of a video, is left out; particulars follow after a colon."""

    NO_RECORD = "no record"
    REPEATED = "repeated record"
    DURATION = "duration"
    WIDTH = "width"
    TEXT = "text in the picture"
    MISSING = "missing"
    BROKEN_ARCHIVE = "archive broken"
    EMPTY = "empty"
    NO_CAPTION = "no caption"
    STILL = "no motion"
    NO_CATEGORY = "no category"
    COPY = "further copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which records are kept; bounds are included, None keeps all. Defaults: WISA's own loader."""

    duration: tuple[float, float] | None = (2.0, 10.0)
    """Seconds."""
    width: tuple[float, float] | None = (720.0, 3000.0)
    """Pixels, as the record states them."""
    text_boxes: int | None = 1
    """Most boxes of text in the picture."""

    def __post_init__(self) -> None:
        for name, bounds in (("duration", self.duration), ("width", self.width)):
            if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
                raise InputError(
                    f"{name} is {bounds[0]:g} to {bounds[1]:g}; give the smaller bound first, "
                    "from 0 on"
                )
        if self.text_boxes is not None and self.text_boxes < 0:
            raise InputError(f"text_boxes is {self.text_boxes}; it is 0 or more")

    def refuse(self, record: WisaRecord) -> tuple[Reason, str] | None:
        """Why a record is not kept; None if it is."""
        checks = (
            (Reason.DURATION, record.duration, self.duration, "s"),
            (Reason.WIDTH, record.width, self.width, "px"),
        )
        for reason, value, bounds, unit in checks:
            if bounds is None:
                continue
            if value is None:
                return reason, "not legible"
            if not bounds[0] <= value <= bounds[1]:
                low, high = bounds
                return reason, f"{value:g} {unit}; kept are {low:g} to {high:g} {unit}"
        if self.text_boxes is not None:
            if record.text_bbox_num is None:
                return Reason.TEXT, "text_bbox_num is not legible"
            if record.text_bbox_num > self.text_boxes:
                most = f"kept are clips with at most {self.text_boxes}"
                return Reason.TEXT, f"{record.text_bbox_num:g} boxes; {most}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WisaReport:
    """What was read. `records` is `usable` and the sum of `excluded`.

    Attributes:
        records: entries of the JSON list.
        usable: clips that can be trained on.
        excluded: records left out, by `Reason`.
        categories: usable clips of each category.
        laws: usable clips of each law, by their label and by their annotation.
        repaired: odd strings that were understood, as `field: 'text'`, counted.
        unread: strings that were not understood, likewise.
        archives: archives that were read.
        broken: archives that could not be, and why.
        copies: further copies of videos, in other archives.
        unlisted: videos that no record names.
    """

    records: int
    usable: int
    excluded: Mapping[str, int]
    categories: Mapping[str, int]
    laws: Mapping[str, Mapping[str, int]]
    repaired: Mapping[str, int]
    unread: Mapping[str, int]
    archives: int
    broken: Mapping[str, str]
    copies: int
    unlisted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    records: list[VideoRecord]
    excluded: dict[str, str]
    report: WisaReport


class WisaSource:
    """WISA-80K, filtered and relabelled; implements `pila.data.records.Source`.

    The list is read, and captions are parsed, when clips or the report are first asked for.

    Args:
        root: the folder of the data set, with `data/wisa-80k.json` and, anywhere below, zip
            archives or unpacked .mp4 files.
        mapping: a file that overrules the table of laws, or a whole table.
        filters: which records are kept.
        parser: caption to categories, as `pila.labels.make_parser` gives; offline by default.
        still_below: motion score under which no category of motion is given; 0 never.
        annotations: the JSON list, if it lies elsewhere.
        processes: captions parsed at once.

    Raises:
        InputError: no such folder, no JSON list in it, a wrong mapping or bound; later also JSON
            that cannot be read, a folder without any video, and a parser that answers no more.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        mapping: Path | str | Mapping[Law, Effect] | None = None,
        filters: Filters | None = None,
        parser: Parser | None = None,
        still_below: float = STILL_BELOW,
        annotations: Path | str | None = None,
        processes: int = 1,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root} is not a folder; docs/wisa.md says how to get WISA-80K")
        self.annotations = _find_annotations(self.root, annotations)
        if isinstance(mapping, Path | str):
            mapping = load_mapping(Path(mapping))
        self.mapping = MAPPING if mapping is None else mapping
        self.filters = Filters() if filters is None else filters
        self.parser = make_parser("offline") if parser is None else parser
        if not still_below >= 0:
            raise InputError(f"still_below is {still_below}; it is 0 (never still) or more")
        if processes < 1:
            raise InputError(f"processes is {processes}; use at least 1")
        self.still_below, self.processes = still_below, processes

    @property
    def identity(self) -> str:
        """Changes with names, captions and categories; names are hashes of the videos."""
        return identity("wisa", self._read.records)

    @property
    def excluded(self) -> Mapping[str, str]:
        """Records that are left out, and copies of videos that do not count, with reasons."""
        return self._read.excluded

    @property
    def report(self) -> WisaReport:
        """What was read, left out, repaired and labelled."""
        return self._read.report

    def records(self) -> Sequence[VideoRecord]:
        """The usable clips, by name.

        Raises:
            InputError: there is none.
        """
        if not self._read.records:
            reasons = ", ".join(f"{n} {why}" for why, n in self.report.excluded.items())
            raise InputError(
                f"none of the {self.report.records} records in {self.annotations} can be used "
                f"({reasons or 'the list is empty'}); widen the filters or fetch the videos"
            )
        return self._read.records

    @cached_property
    def _read(self) -> _Read:
        entries = _load(self.annotations)
        found = find_videos(self.root)
        if not found.videos:
            broken = "; ".join(f"{place} {why}" for place, why in found.broken.items())
            raise InputError(
                f"{self.root} holds no video ({broken or 'neither .mp4 nor .zip'}); the main "
                "revision has the annotations alone: fetch data/videos of an older one, as "
                "docs/wisa.md says"
            )
        odd = Oddities()
        excluded: dict[str, tuple[Reason, str]] = {}
        kept: dict[str, tuple[WisaRecord, Video]] = {}
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                excluded[f"record {number}"] = Reason.NO_RECORD, f"no object: {shortened(entry)}"
                continue
            record = WisaRecord.model_validate(entry, context=odd)
            name = _video_name(record)
            if not name:
                excluded[f"record {number}"] = Reason.NO_RECORD, "no video_name"
            elif name in kept or name in excluded:
                text = "the first of that name counts"
                excluded[f"{name} (record {number})"] = Reason.REPEATED, text
            elif refused := self.filters.refuse(record):
                excluded[name] = refused
            elif isinstance(video := _video(name, record, found), Video):
                if record.caption:
                    kept[name] = record, video
                else:
                    excluded[name] = Reason.NO_CAPTION, "neither captions nor phys_law"
            else:
                excluded[name] = video
        records, laws = self._label(kept, excluded, odd)
        counts = Counter(str(reason) for reason, _ in excluded.values())
        excluded |= {key: (Reason.COPY, text) for key, text in found.copies.items()}
        named = {*kept, *(name for name in excluded if name in found.videos)}
        report = WisaReport(
            records=len(entries),
            usable=len(records),
            excluded=dict(counts.most_common()),
            categories={str(c): sum(c in r.categories for r in records) for c in Category},
            laws=laws,
            repaired=_said(odd.repaired),
            unread=_said(odd.unread),
            archives=found.archives,
            broken=found.broken,
            copies=len(found.copies),
            unlisted=len(set(found.videos) - named),
        )
        reasons = {name: f"{why}: {text}" for name, (why, text) in sorted(excluded.items())}
        return _Read(records=records, excluded=reasons, report=report)

    def _label(
        self,
        kept: Mapping[str, tuple[WisaRecord, Video]],
        excluded: dict[str, tuple[Reason, str]],
        odd: Oddities,
    ) -> tuple[list[VideoRecord], dict[str, dict[str, int]]]:
        """Records with categories, by name, and how often each law is named among them."""
        records: list[VideoRecord] = []
        laws = {str(law): {"label": 0, "annotation": 0} for law in Law}
        names = sorted(kept)
        captions = [kept[name][0].caption for name in names]
        refused = 0
        for name, caption in zip(names, self._parsed(captions), strict=True):
            if isinstance(caption, ParserUnavailable):
                # One caption may be refused for good (a filter, an answer that never fits): it
                # counts as one that names nothing. Many in a row are a server that is not there.
                refused += 1
                if refused == REFUSALS:
                    raise caption
                odd.unread["caption", "the parser gave no answer"] += 1
                caption = ()
            else:
                refused = 0
            record, video = kept[name]
            score = record.motion_score
            still = score is not None and score < self.still_below
            spoken = partial(
                relabel,
                label=record.label,
                annotation=record.annotated,
                caption=caption,
                mapping=self.mapping,
            )
            categories = spoken(still=still)
            if categories:
                records.append(
                    VideoRecord(
                        name=name,
                        caption=record.caption,
                        categories=categories,
                        path=video.path,
                        member=video.member,
                    )
                )
                for law in record.label:
                    laws[law]["label"] += 1
                for law in record.annotated:
                    laws[law]["annotation"] += 1
            elif still and (moving := spoken(still=False)):
                text = f"motion_score {score:g} is below {self.still_below:g}, but it is labelled"
                excluded[name] = Reason.STILL, f"{text} {', '.join(moving)}"
            else:
                text = "neither label nor annotation nor caption names a mechanism"
                excluded[name] = Reason.NO_CATEGORY, text
        return records, laws

    def _parsed(
        self, captions: Sequence[str]
    ) -> Iterator[tuple[Category, ...] | ParserUnavailable]:
        """What the parser reads in each caption, in order, or why it gave no answer."""
        job = partial(_parse, self.parser)
        bar = partial(progress_bar, total=len(captions), unit="caption")
        if self.processes == 1:
            yield from bar(map(job, captions))
        else:
            with workers(self.processes) as pool:
                yield from bar(pool.map(job, captions, chunksize=64))


def _parse(parser: Parser, caption: str) -> tuple[Category, ...] | ParserUnavailable:
    try:
        return parser(caption[: PROMPT_LIMIT - 1]).categories
    except ParserUnavailable as error:
        return error


def _said(odd: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{name}: {text!r}": count for (name, text), count in odd.most_common()}


def _find_annotations(root: Path, given: Path | str | None) -> Path:
    if given is not None:
        if not Path(given).is_file():
            raise InputError(f"{given} is not a file; give the data set's {ANNOTATIONS}")
        return Path(given)
    places = [root / "data" / ANNOTATIONS, root / ANNOTATIONS]
    for path in places:
        if path.is_file():
            return path
    raise InputError(
        f"{root} has no data/{ANNOTATIONS}; name the folder that holds data/, or fetch "
        "WISA-80K as docs/wisa.md says; for videos of your own give their list "
        "(docs/own-videos.md), or put a .txt beside each"
    )


def read_list(source: Path) -> list[WisaRecord]:
    """The records of a data set's folder or JSON list, without its videos; only objects are taken.

    Raises:
        InputError: no such list, or it cannot be read.
    """
    path = source if source.is_file() else _find_annotations(source, None)
    entries = [entry for entry in _load(path) if isinstance(entry, dict)]
    return [WisaRecord.model_validate(entry, context=Oddities()) for entry in entries]


def has_annotations(root: Path) -> bool:
    """Whether a folder is in WISA-80K's form."""
    return any((root / place).is_file() for place in (f"data/{ANNOTATIONS}", ANNOTATIONS))


def _load(path: Path) -> list[Any]:
    try:
        content = read_json(path, limit=ANNOTATION_BYTES)
    except InputError as error:
        raise InputError(
            f"{path} {why_unreadable(path, error)}; fetch it again (docs/wisa.md)"
        ) from error
    if not isinstance(content, list):
        raise InputError(
            f"{path} is a JSON {type(content).__name__}, not the list of records that WISA-80K has"
        )
    return content


def _video_name(record: WisaRecord) -> str:
    """The video's file name, without folders and with its ending."""
    name = PurePosixPath(record.video_name.replace("\\", "/")).name
    return name if not name or name.lower().endswith(SUFFIX) else name + SUFFIX


def _video(name: str, record: WisaRecord, found: Found) -> Video | tuple[Reason, str]:
    """A record's video, or why there is none."""
    video = found.videos.get(name)
    if video is None:
        shard = PurePosixPath(record.file.replace("\\", "/")).parent.name
        for place, why in found.broken.items():
            if shard and PurePosixPath(place).stem == shard:
                return Reason.BROKEN_ARCHIVE, f"{place} {why}"
        text = f"in none of the {found.archives} archives, nor unpacked"
        if found.broken:
            places = ", ".join(list(found.broken)[:3]) + (", ..." if len(found.broken) > 3 else "")
            others = f"{len(found.broken)} more cannot be read: {places}"
            return Reason.BROKEN_ARCHIVE, f"{text}; {others}"
        return Reason.MISSING, text
    if video.size == 0:
        return Reason.EMPTY, f"{video.path.name} has it with 0 bytes"
    return video
