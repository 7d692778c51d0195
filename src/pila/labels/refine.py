"""The offline counterpart of the refining template: look and camera out, mechanisms in."""

import re
from collections.abc import Sequence

from pila.labels.lexicon import load_lexicon, stem
from pila.physics.layout import Category

MECHANISMS = {
    Category.RIGID_BODY: "solid bodies keep their shape and follow inertia and gravity",
    Category.ELASTIC: "soft material strains under load, stores energy and springs back",
    Category.FLUID: "liquid flows continuously, keeps its volume and finds its level",
    Category.COMPRESSIBLE: "gas expands, is compressed and carries its density along",
    Category.PHASE_CHANGE: "matter changes phase at a moving front and takes or frees latent heat",
    Category.COLLISION: "contact exchanges momentum in a short impulse",
    Category.THERMAL: "heat spreads from hot to cold and temperatures even out",
    Category.OPTICAL: "light and waves propagate, reflect, refract and interfere",
}
"""One clause a category, from the relations that its expert refines (method.md, 29 terms)."""

_SEGMENT = re.compile(r"\s*[,;]\s*|\s*[.!?]+(?:\s+|$)")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "in",
        "on",
        "of",
        "at",
        "with",
        "from",
        "by",
        "and",
        "shot",
        "is",
        "as",
        "very",
    ]
)


def refine(prompt: str, categories: Sequence[Category]) -> str:
    """Drops segments that only speak of style or camera and names the mechanisms at work.

    The scene comes first, so that an encoder with a short window still reads it.
    """
    segments = [part for part in _SEGMENT.split(" ".join(prompt.split())) if part]
    kept = [part for part in segments if not _is_style(part)] or segments
    scene = ", ".join(kept)
    if not categories:
        return f"{scene}."
    return f"{scene}. Physics: {'; '.join(MECHANISMS[c] for c in categories)}."


def _is_style(segment: str) -> bool:
    """Whether nothing but style, camera and function words is left of a segment."""
    lexicon = load_lexicon()
    words = _WORD.findall(segment.lower())
    stems = [stem(word, lexicon.irregular) for word in words]
    position = content = 0
    while position < len(words):
        for length in range(min(lexicon.longest, len(words) - position), 0, -1):
            concepts = lexicon.terms.get(tuple(stems[position : position + length]), frozenset())
            if concepts & {"style", "camera"}:
                position += length
                break
        else:
            content += words[position] not in _FUNCTION_WORDS
            position += 1
    if words[:1] == ["camera"] or words[:2] == ["the", "camera"]:
        return True
    return content == 0
