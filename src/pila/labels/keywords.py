"""The offline parser: a lexicon of concepts and rules of mechanism, no network, deterministic.

Words are matched to concepts (`lexicon.toml`); concepts alone, together in a sentence, or as a
thing with its action ("water pours", "throws a ball") earn points for categories. A category
with at least one point is answered, three at most.
"""

from collections.abc import Iterable, Mapping, Sequence

from pila.labels.lexicon import Lexicon, Match, Rule, load_lexicon
from pila.labels.parser import Parse, check_prompt
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
_SUBJECTS = 2
_SUBJECT_REACH = 8
_OBJECT_REACH = 6


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
    """Points of each category that has any, and the words that gave them, in textual order.

    Every concept and every rule counts once a prompt, however often it occurs: a long prompt
    earns no points by repetition.
    """
    lexicon = load_lexicon()
    points: dict[Category, float] = {}
    words: dict[Category, list[str]] = {}

    def grant(gives: Mapping[Category, float], matches: Iterable[Match]) -> None:
        for category, value in gives.items():
            points[category] = points.get(category, 0.0) + value
            if value > 0:
                words.setdefault(category, []).extend(m.words for m in matches)

    sentences = lexicon.sentences(text)
    concepts: set[str] = set()
    for match in (m for sentence in sentences for m in sentence):
        for concept in sorted(match.concepts - concepts):
            grant(lexicon.gives[concept], [match])
        concepts |= match.concepts
    for rule in lexicon.rules:
        for sentence in sentences:
            matches = _fires(rule, sentence, lexicon)
            if matches:
                grant(rule.gives, matches)
                break
    evidence = {category: tuple(dict.fromkeys(found)) for category, found in words.items()}
    return {c: p for c, p in points.items() if p > 0 and c in evidence}, evidence


def _fires(rule: Rule, sentence: Sequence[Match], lexicon: Lexicon) -> list[Match]:
    """The matches on which a rule rests in this sentence; empty where it does not apply."""
    if any(match.concepts & rule.absent for match in sentence):
        return []
    found: list[Match] = []
    for wanted in rule.everywhere:
        match = next((m for m in sentence if m.concepts & wanted), None)
        if match is None:
            return []
        found.append(match)
    if rule.actions:
        pair = _acting(rule, sentence, lexicon)
        if pair is None:
            return []
        found.extend(pair)
    return found


def _acting(rule: Rule, sentence: Sequence[Match], lexicon: Lexicon) -> tuple[Match, Match] | None:
    """A thing and its action: the nearest things before the action, or the next one after it."""
    for action in (m for m in sentence if m.concepts & rule.actions):
        things = [m for m in sentence if m is not action and m.concepts & lexicon.things]
        before = [m for m in things if 0 < action.first - m.last <= _SUBJECT_REACH]
        after = [m for m in things if 0 < m.first - action.last <= _OBJECT_REACH][:1]
        if before and "quantity" in before[-1].concepts:
            continue  # a temperature drops, a pressure rises: no body moves
        sides = {"subject": before[-1:], "object": after, "acts": before[-_SUBJECTS:] + after}
        for thing in sides[rule.side]:
            if thing.concepts & rule.things:
                return thing, action
    return None
