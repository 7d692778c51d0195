"""A record of WISA-80K's JSON list, read leniently; what was odd in it is counted.

No verbatim record was at hand, so every field may be missing, of another type, or sloppy.
"""

import json
import math
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from pila.data.laws import Law, read_laws

_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*[a-z]*", re.IGNORECASE)
_SHOWN = 60
"""Characters of an odd string that are shown."""


@dataclass(slots=True)
class Oddities:
    """Strings that are not as they should be: (field, text) counted."""

    repaired: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Understood all the same."""
    unread: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Not understood, and taken as if nothing were said."""


def _count(info: ValidationInfo, raw: Any, *, understood: bool) -> None:
    if isinstance(info.context, Oddities):
        kind = info.context.repaired if understood else info.context.unread
        kind[info.field_name or "record", shortened(raw)] += 1


def shortened(raw: Any) -> str:
    """A value as text of at most `_SHOWN` characters."""
    text = raw if isinstance(raw, str) else repr(raw)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _text(raw: Any, info: ValidationInfo) -> str:
    """Text without line breaks and NULs; a list of texts is joined."""
    if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
        _count(info, raw, understood=True)
        raw = " ".join(raw)
    if isinstance(raw, str):
        # A lone surrogate, which JSON can hold, can be written into no file.
        sound = raw.encode("utf-8", "replace").decode()
        return " ".join(sound.replace("\x00", " ").split())
    if raw is not None:
        _count(info, raw, understood=False)
    return ""


def _number(raw: Any, info: ValidationInfo) -> float | None:
    """A finite number, from text too."""
    if isinstance(raw, int) and abs(raw) > sys.float_info.max:
        raw = math.inf
    if isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
        return float(raw)
    if isinstance(raw, str) and (match := _NUMBER.fullmatch(raw.strip())):
        _count(info, raw, understood=True)
        return float(match[1])
    if raw is not None:
        _count(info, raw, understood=False)
    return None


def _laws(raw: Any, info: ValidationInfo) -> tuple[Law, ...]:
    """Laws, whatever they are written in."""
    reading = read_laws(raw)
    for piece in reading.unread:
        _count(info, piece, understood=False)
    if not reading.as_published and not reading.unread:
        _count(info, raw, understood=True)
    return reading.laws


def _annotation(raw: Any, info: ValidationInfo) -> Any:
    """An object, also one that was written as text; otherwise nothing is annotated."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
            _count(info, "an object in quotes", understood=isinstance(raw, dict))
        except json.JSONDecodeError:
            _count(info, raw, understood=False)
    elif raw is not None and not isinstance(raw, dict):
        _count(info, raw, understood=False)
    return raw if isinstance(raw, dict) else {}


Text = Annotated[str, BeforeValidator(_text)]
Number = Annotated[float | None, BeforeValidator(_number)]
Laws = Annotated[tuple[Law, ...], BeforeValidator(_laws)]


class PhysicalAnnotation(BaseModel):
    """What a language model made of the caption; objects' states and quantities are not read."""

    model_config = ConfigDict(extra="ignore")

    phys_law: Text = ""
    """The physical description."""
    q0: Laws = ()
    """Dynamics."""
    q1: Laws = ()
    """Thermodynamics."""
    q2: Laws = ()
    """Optics."""


class WisaRecord(BaseModel):
    """One entry of the JSON list; whatever is missing or illegible is None or empty."""

    model_config = ConfigDict(extra="ignore")

    video_name: Text = ""
    captions: Text = ""
    label: Laws = ()
    """The law for which people collected the clip."""
    width: Number = None
    duration: Number = None
    motion_score: Number = None
    text_bbox_num: Number = None
    physical_annotation: Annotated[PhysicalAnnotation, BeforeValidator(_annotation)] = (
        PhysicalAnnotation()
    )
    file: Text = ""
    """Where the training copy of the list has the video."""

    @property
    def annotated(self) -> tuple[Law, ...]:
        """The laws of the annotation's three branches, without repeats."""
        a = self.physical_annotation
        return tuple(dict.fromkeys((*a.q0, *a.q1, *a.q2)))

    @property
    def caption(self) -> str:
        """Caption and physical description, as WISA's own training joins them."""
        return f"{self.captions} {self.physical_annotation.phys_law}".strip()
