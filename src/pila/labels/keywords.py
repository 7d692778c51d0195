"""The offline parser: a lexicon of concepts and rules of mechanism, no network, deterministic.

Words are matched to concepts (`lexicon.toml`); concepts alone, together in a sentence, or as a
thing with its action ("water pours", "throws a ball") earn points for categories. A category
with at least one point is answered, three at most.
"""

from pila.labels.lexicon import load_lexicon
from pila.labels.parse import Parse, check_prompt
from pila.labels.refine import refine
from pila.physics.layout import Category

THRESHOLD = 0.95
"""Points from which a category is answered."""
WEAK_THRESHOLD = 0.6
"""Points from which the best category is answered when none reaches `THRESHOLD`."""
SHARE = 0.35
"""A further category has at least this share of the best one's points..."""
AMPLE = 2.5
"""... of which no more than this are counted: much evidence for one hides no other."""
MOST = 3


class OfflineParser:
    """Parses a prompt from the lexicon alone, in milliseconds."""

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt.

        Raises:
            InputError: the prompt is empty or too long (`check_prompt`).
        """
        text = check_prompt(prompt)
        points, evidence = score(text)
        ranked = sorted(points, key=lambda c: (-points[c], list(Category).index(c)))
        best = points[ranked[0]] if ranked else 0.0
        chosen = tuple(c for c in ranked if points[c] >= max(THRESHOLD, SHARE * min(best, AMPLE)))[
            :MOST
        ]
        if not chosen and best >= WEAK_THRESHOLD:
            chosen = (ranked[0],)
        return Parse(
            refined_prompt=refine(text, chosen),
            categories=chosen,
            evidence={category: evidence[category] for category in chosen},
            parser="offline",
        )


def score(text: str) -> tuple[dict[Category, float], dict[Category, tuple[str, ...]]]:
    """Points of each category that has any, and the words that gave them (`Lexicon.score`)."""
    points, evidence = load_lexicon().score(text)
    return (
        {Category(name): value for name, value in points.items()},
        {Category(name): words for name, words in evidence.items()},
    )
