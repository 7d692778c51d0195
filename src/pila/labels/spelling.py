"""Mends misspelt words: an unknown word becomes the near word of a vocabulary, if there is one."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_WORDS = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_SHORTEST = 5
"""Letters from which a word is mended; shorter ones have too many neighbours..."""
_DROPPED = 4
"""... but for words of this length that lack one letter of a known word."""
_LONG = 8
"""Letters from which a word may have two errors."""
_FOREIGN = 0.5
"""Share of unknown words up to which a text is taken for English."""


class Speller:
    """Mends words that lie near a vocabulary.

    Args:
        words: the vocabulary, in lower case; its regular inflections are added.
        ordinary: further words that are right as they are, with their inflections.
    """

    def __init__(self, words: Iterable[str], ordinary: Collection[str] = ()) -> None:
        forms = {form for word in words for form in _inflect(word)}
        self._known = forms | {form for word in ordinary for form in _inflect(word)}
        self._near: dict[str, list[str]] = {}
        for form in sorted(forms):
            if len(form) >= _DROPPED:
                self._near.setdefault(form[0], []).append(form)
        self._mend = lru_cache(4096)(self._find)

    def mend(self, text: str) -> str:
        """The text, lower case, with its misspelt words replaced.

        A text mostly of words that are neither known nor near known ones is left as it is: it is
        in another language, or about other things, and nearness there is chance.
        """
        plain = text.lower()
        words = _WORDS.findall(plain)
        unknown = [word for word in words if self._foreign(word)]
        if len(unknown) > _FOREIGN * len(words):
            return plain
        return _WORD.sub(lambda match: self._mend(match[0]), plain)

    def _foreign(self, word: str) -> bool:
        return word.split("'")[0] not in self._known and self._mend(word) == word

    def _find(self, word: str) -> str:
        bare = word.split("'")[0]
        if bare in self._known or len(bare) < _DROPPED:
            return word
        allowed = 2 if len(bare) >= _LONG else 1
        best, least = word, allowed + 1
        for form in self._near.get(bare[0], ()):
            if abs(len(form) - len(bare)) > allowed or (
                len(bare) < _SHORTEST and len(form) <= len(bare)
            ):
                continue
            errors = distance(bare, form)
            if errors > 1 and form[1] != bare[1]:
                continue
            if errors < least:
                best, least = form, errors
        return best


def distance(a: str, b: str) -> int:
    """Least number of letters left out, put in, changed or swapped with the next one.

    Source: Damerau, "A technique for computer detection and correction of spelling errors", 1964
    (each letter takes part in at most one error).
    """
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]


def _inflect(word: str) -> set[str]:
    """The word and its regular forms in -s, -ed and -ing."""
    if re.fullmatch(r".*[aeiouy].*(?:[^s]s|ed|ing)", word):
        return {word}
    root = word.removesuffix("e")
    forms = {word, word + "s", root + "ed", root + "ing"}
    if word.endswith(("s", "sh", "ch", "x", "z")):
        forms.add(word + "es")
    if word.endswith("y"):
        forms |= {word[:-1] + "ies", word[:-1] + "ied"}
    if re.fullmatch(r".*[^aeiou][aeiou][bdglmnprt]", word):
        forms |= {word + word[-1] + "ed", word + word[-1] + "ing"}
    return forms
