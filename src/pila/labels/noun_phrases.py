"""Finds the things that an English sentence names: its noun phrases, whose last word is the thing.

It is no tagger. It reads what stands after an article, or at the start of a clause, up to the next
word that cannot belong to a noun phrase. That suffices to tell a foam pillow from a foam ball.
"""

import re
from collections.abc import Callable

_CLAUSE = re.compile(r"[^\w\s'-]+(?=\s|$)|[(\n)]")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_PARTICIPLE = re.compile(r"(?:ing|ed)$")
_ARTICLES = frozenset(["a", "an", "the"])
_GRAMMAR = """
about above across after again against all along also am an and another any are around as at
away back be because been before behind being below beneath beside between both but by can
could did do does down during each few for from had has have he her here his how i if in inside
into is it its itself just less like many may me might more most much must my near neither
never next no nor not nothing of off on once one only onto or other our out outside over own
per please quite she should show so some still than that their them then there these they this
those through till to too toward towards two three four five six under until up upon us very
via was we were what when where which while who whom whose why will with without would you your
"""
FUNCTION_WORDS = _ARTICLES | frozenset(_GRAMMAR.split())
"""Words of grammar, which end a noun phrase and are English wherever they stand."""


def noun_phrases(text: str, known: Callable[[str], bool]) -> list[tuple[str, ...]]:
    """The noun phrases after an article or at the start of a clause, in order, without articles.

    What stands after "without" is left out, since it is not there.

    Args:
        text: lower case.
        known: whether a word is a thing (or else) that the caller knows; after such a one, a word
            in -s, -ed or -ing is a verb.
    """
    phrases: list[tuple[str, ...]] = []
    for clause in _CLAUSE.split(text):
        words = _WORD.findall(clause)
        position = 0
        while position < len(words):
            article = words[position] if words[position] in _ARTICLES else ""
            if article or (position == 0 and words[0] not in FUNCTION_WORDS):
                start = position + bool(article)
                position = _phrase_end(words, start, article in ("a", "an"), known)
                absent = words[max(0, start - 2)] == "without"
                bare = not article and position == start + 1 and _PARTICIPLE.search(words[start])
                if position > start and not absent and not bare:
                    phrases.append(tuple(words[start:position]))
                position = max(position, start, 1)
            else:
                position += 1
    return phrases


def _phrase_end(words: list[str], start: int, singular: bool, known: Callable[[str], bool]) -> int:
    """Index after the last word of the noun phrase that begins at `start`."""
    for index in range(start, len(words)):
        word = words[index]
        if word in FUNCTION_WORDS or word.endswith("ly"):
            return index
        if index == start:
            continue
        follows = known(words[index - 1])
        if word.endswith("s") and not word.endswith(("ss", "us", "is", "'s")):
            if singular or follows:
                return index
        elif word.endswith(("ing", "ed")):
            last = index + 1 == len(words) or words[index + 1] in FUNCTION_WORDS
            if follows or last:
                return index
    return len(words)
