"""Relabelling: from WISA-80K's 17 laws to the eight categories (paper, App. B.1).

The paper labels a clip by its prompt, its physical description and its observable motion: the
dominant mechanism, and others where mechanisms couple. Here three witnesses give points, and a
category needs `ENOUGH`:

- the label for which people collected the clip: trusted alone (3), and what its law often brings
  along, such as the running liquid of a melt, is half believed (2);
- the annotation, which a language model wrote from the caption and which is right in 84 % of
  dynamics, 71 % of optics and 64 % of thermodynamics (WISA's paper, App. A.6): 2;
- the caption with its physical description, as a prompt parser reads it: 1. Captions name much
  scenery, so that a parser alone adds nothing: it confirms.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pila.data.laws import Law, read_laws
from pila.errors import InputError
from pila.json_files import parse_json
from pila.labels.parser import parse_category
from pila.physics.layout import Category

LABEL, COUPLE_CORPUS, ANNOTATION, CAPTION = 3, 2, 2, 1
"""Points: of a law's own categories in the label, of those that it often brings along, of a law's
own categories in the annotation, and of the caption."""
ENOUGH = 3
"""Points from which a category is given."""
MOST = 3
"""Categories of a clip at most."""
MOVING = frozenset(
    (
        Category.RIGID_BODY,
        Category.ELASTIC,
        Category.FLUID,
        Category.COMPRESSIBLE,
        Category.COLLISION,
    )
)
"""Categories that are nothing without motion. Heat, phases and light also work in a still scene."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a law means in categories.

    Attributes:
        gives: its own categories, the dominant one first.
        coupled: what it often brings along; given where another witness agrees.
    """

    gives: tuple[Category, ...]
    coupled: tuple[Category, ...] = ()


_HEATED = (Category.PHASE_CHANGE, Category.THERMAL)
_BLAST = (Category.COMPRESSIBLE, Category.THERMAL)
_FIRE = (Category.THERMAL, Category.COMPRESSIBLE)

MAPPING: Mapping[Law, Effect] = MappingProxyType(
    {
        Law.COLLISION: Effect((Category.COLLISION,), (Category.RIGID_BODY,)),
        Law.RIGID_BODY_MOTION: Effect((Category.RIGID_BODY,)),
        Law.ELASTIC_MOTION: Effect((Category.ELASTIC,)),
        Law.LIQUID_MOTION: Effect((Category.FLUID,)),
        Law.GAS_MOTION: Effect((Category.COMPRESSIBLE,)),
        Law.DEFORMATION: Effect((Category.ELASTIC,)),
        Law.MELTING: Effect(_HEATED, (Category.FLUID,)),
        Law.SOLIDIFICATION: Effect(_HEATED, (Category.FLUID,)),
        Law.VAPORIZATION: Effect(_HEATED, (Category.FLUID,)),
        Law.LIQUEFACTION: Effect(_HEATED, (Category.FLUID,)),
        Law.EXPLOSION: Effect(_BLAST),
        Law.COMBUSTION: Effect(_FIRE),
        Law.REFLECTION: Effect((Category.OPTICAL,)),
        Law.REFRACTION: Effect((Category.OPTICAL,)),
        Law.SCATTERING: Effect((Category.OPTICAL,)),
        Law.INTERFERENCE_AND_DIFFRACTION: Effect((Category.OPTICAL,)),
        Law.UNNATURAL_LIGHT_SOURCE: Effect((Category.OPTICAL,)),
    }
)
"""The table in docs/wisa.md. The paper does not print its own; this one is our guess."""


def relabel(
    *,
    label: Sequence[Law],
    annotation: Sequence[Law] = (),
    caption: Sequence[Category] = (),
    still: bool = False,
    mapping: Mapping[Law, Effect] = MAPPING,
) -> tuple[Category, ...]:
    """The categories of a clip, `MOST` at most, in `Category` order.

    Where no category has `ENOUGH` points, those with the most are given: an annotation without a
    label counts, and a caption without either. Nothing is given where nobody names a mechanism,
    or only motion in a clip that is still.

    Args:
        label: laws that the clip was collected for.
        annotation: laws of the annotation (`q0`, `q1`, `q2`).
        caption: categories that a parser reads in the caption.
        still: whether nothing moves; then no category of `MOVING` is given.
        mapping: what each law means.
    """
    collected = dict.fromkeys((c for law in label for c in mapping[law].coupled), COUPLE_CORPUS)
    collected |= dict.fromkeys((c for law in label for c in mapping[law].gives), LABEL)
    annotated = dict.fromkeys((c for law in annotation for c in mapping[law].gives), ANNOTATION)
    possible = [c for c in Category if not (still and c in MOVING)]
    heard = {c: annotated.get(c, 0) + (CAPTION if c in caption else 0) for c in possible}
    points = {c: heard[c] + collected.get(c, 0) for c in possible}
    chosen = [c for c in possible if points[c] >= ENOUGH]
    if not chosen:
        most = max(heard.values())
        chosen = [c for c in possible if most and heard[c] == most]
    chosen.sort(key=lambda c: (-points[c], -collected.get(c, 0), -annotated.get(c, 0)))
    return tuple(c for c in Category if c in chosen[:MOST])


def load_mapping(path: Path) -> Mapping[Law, Effect]:
    """The table with a user's changes: laws that the file does not name keep what they give.

    A JSON file is an object of laws, each with its categories: `{"deformation": ["elastic"]}`,
    or with both columns: `{"melting": {"gives": ["phase_change"], "coupled": ["fluid"]}}`. A CSV
    file has the columns `law`, `gives` and, if wanted, `coupled`, categories separated by `;`.
    A law with no category counts for nothing.

    Raises:
        InputError: no such file, another form, an unknown law or category, more than `MOST`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a JSON or CSV file") from error
    if path.suffix.lower() == ".json":
        rows = _json_rows(path, text)
    elif path.suffix.lower() == ".csv":
        rows = _csv_rows(path, text)
    else:
        raise InputError(f"{path} has the ending {path.suffix!r}; a mapping is .json or .csv")
    changed: dict[Law, Effect] = {}
    for name, gives, coupled in rows:
        law = _law(path, name)
        if law in changed:
            raise InputError(f"{path} has '{law}' twice; keep one")
        effect = Effect(_categories(path, law, gives), _categories(path, law, coupled))
        if len(effect.gives) > MOST:
            raise InputError(
                f"{path}: '{law}' gives {len(effect.gives)} categories; a clip has {MOST} at most"
            )
        changed[law] = effect
    if not changed:
        raise InputError(f"{path} names no law; leave the option away for the built-in table")
    return MappingProxyType({**MAPPING, **changed})


def _json_rows(path: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    content = parse_json(text, path, remedy="see docs/wisa.md")
    if not isinstance(content, dict):
        raise InputError(f"{path} is no object of laws and categories; see docs/wisa.md")
    for name, effect in content.items():
        if not isinstance(effect, dict):
            effect = {"gives": effect}
        unknown = sorted(set(effect) - {"gives", "coupled"})
        if unknown:
            raise InputError(f"{path}: {name!r} has {unknown[0]!r}; it takes gives and coupled")
        yield name, effect.get("gives"), effect.get("coupled")


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in ("law", "gives") if name not in columns]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}, only {', '.join(columns) or 'none'}; "
            "a mapping has law, gives and, if wanted, coupled"
        )
    reader.fieldnames = columns
    for row in reader:
        yield row["law"] or "", row["gives"], row.get("coupled")


def _law(path: Path, name: str) -> Law:
    """The law of that name, with a suggestion where there is none."""
    reading = read_laws(name)
    if len(reading.laws) == 1 and not reading.unread:
        return reading.laws[0]
    near = get_close_matches(name.strip().lower(), [str(law) for law in Law], 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"{path}: unknown law {name!r}; {hint}the laws are {', '.join(Law)}")


def _categories(path: Path, law: Law, value: Any) -> tuple[Category, ...]:
    """Categories from a list, or from text with `;` or `,` between them."""
    if value is None:
        return ()
    names = value.replace(",", ";").split(";") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: '{law}' gives {value!r}; write a list of categories")
    try:
        return tuple(dict.fromkeys(parse_category(name) for name in names if name.strip()))
    except InputError as error:
        raise InputError(f"{path}: '{law}': {error}") from error
