"""The 17 laws of WISA-80K, and how its sloppy strings are read as laws.

The names are those of its paper (arXiv 2503.08153, App. A.5). A language model wrote most of the
strings, so one field may hold "Deformation ", "no obvious thermodynamic phenomenon.",
"deformation, collision" or a numbered list.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any


class Law(StrEnum):
    """What a clip was collected for: six of dynamics, six of thermodynamics, five of optics."""

    COLLISION = "collision"
    RIGID_BODY_MOTION = "rigid body motion"
    ELASTIC_MOTION = "elastic motion"
    LIQUID_MOTION = "liquid motion"
    GAS_MOTION = "gas motion"
    DEFORMATION = "deformation"
    MELTING = "melting"
    SOLIDIFICATION = "solidification"
    VAPORIZATION = "vaporization"
    LIQUEFACTION = "liquefaction"
    EXPLOSION = "explosion"
    COMBUSTION = "combustion"
    REFLECTION = "reflection"
    REFRACTION = "refraction"
    SCATTERING = "scattering"
    INTERFERENCE_AND_DIFFRACTION = "interference and diffraction"
    UNNATURAL_LIGHT_SOURCE = "unnatural light source"


DYNAMICS = tuple(Law)[:6]
THERMODYNAMICS = tuple(Law)[6:12]
OPTICS = tuple(Law)[12:]


_LAWS = {str(law): law for law in Law}
_ALIASES = {
    "rigid motion": Law.RIGID_BODY_MOTION,
    "rigid body movement": Law.RIGID_BODY_MOTION,
    "elastic movement": Law.ELASTIC_MOTION,
    "fluid motion": Law.LIQUID_MOTION,
    "liquid flow": Law.LIQUID_MOTION,
    "gas flow": Law.GAS_MOTION,
    "freezing": Law.SOLIDIFICATION,
    "solidifying": Law.SOLIDIFICATION,
    "vaporisation": Law.VAPORIZATION,
    "evaporation": Law.VAPORIZATION,
    "boiling": Law.VAPORIZATION,
    "liquification": Law.LIQUEFACTION,
    "condensation": Law.LIQUEFACTION,
    "burning": Law.COMBUSTION,
    "light scattering": Law.SCATTERING,
    "interference": Law.INTERFERENCE_AND_DIFFRACTION,
    "diffraction": Law.INTERFERENCE_AND_DIFFRACTION,
    "artificial light source": Law.UNNATURAL_LIGHT_SOURCE,
}
_NOTHING = re.compile(r"(no|not|none|nothing|without|n a|null|nan)\b")
"""How a piece begins that says that there is none: "no obvious optical phenomenon"."""
_PUBLISHED_NOTHING = re.compile(r"no obvious (dynamic|thermodynamic|optical) phenomenon")
_BORDER = re.compile(r"[,;|\n\r]+|\.(?=\s|$)|(?:(?<=\s)|^)\(?\d+[.):]")
"""What separates the pieces of a list, its numbers too."""
_JOINT = re.compile(r"(and|but|or|also)\b\s*")
_FRINGE = " \t.:!?\"'`*•·–()[]{}"
_ALIKE = 0.85
"""Least likeness (difflib's ratio) of a misspelt name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a field was read as.

    Attributes:
        laws: what it names, without repeats, in the order of the text.
        unread: pieces that were not understood.
        as_published: whether it is written as the paper spells it.
    """

    laws: tuple[Law, ...]
    unread: tuple[str, ...] = ()
    as_published: bool = True


def read_laws(value: Any) -> Reading:
    """Read a label or an annotation as laws: text, a list of texts, or nothing."""
    texts = list(_texts(value))
    found: list[Law] = []
    unread: list[str] = []
    for piece in (p for text in texts for p in _pieces(text)):
        if piece in _LAWS:
            found.append(_LAWS[piece])
        elif not _NOTHING.match(piece):
            near = get_close_matches(piece, _LAWS, 1, _ALIKE)
            said = _within(piece) or [_LAWS[name] for name in near]
            found.extend(said)
            if not said:
                unread.append(piece)
    spelt = [part for text in texts for part in text.split(", ")]
    proper = all(p in _LAWS or _PUBLISHED_NOTHING.fullmatch(p) for p in spelt if p)
    tidy = isinstance(value, str | list | None)
    return Reading(tuple(dict.fromkeys(found)), tuple(unread), proper and tidy)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value; a number or a flag is shown as the text that it is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))
    elif value is not None and value == value:
        yield str(value)


def _pieces(text: str) -> Iterator[str]:
    """The parts of a list, in small letters, single blanks between words, fringes cut."""
    plain = unicodedata.normalize("NFKC", text).replace("\x00", " ").lower().replace("&", " and ")
    for part in _BORDER.split(plain):
        piece = " ".join(re.sub(r"[_/-]", " ", part).split()).strip(_FRINGE)
        if joint := _JOINT.match(piece):
            piece = piece[joint.end() :]
        if piece:
            yield piece


def _within(piece: str) -> list[Law]:
    """Laws said somewhere in a piece, the longest names first, plurals too, "no ..." left out."""
    names = {**_ALIASES, **_LAWS}
    places: dict[int, Law] = {}
    for name in sorted(names, key=len, reverse=True):
        said = re.compile(rf"(\bno )?\b{re.escape(name)}s?\b")
        for match in said.finditer(piece):
            if not match[1]:
                places[match.start()] = names[name]
        piece = said.sub(lambda match: " " * len(match[0]), piece)
    return [places[start] for start in sorted(places)]
