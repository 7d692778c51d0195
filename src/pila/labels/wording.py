"""Sentences with gaps, as captions are written."""

from collections.abc import Mapping


def fill_template(template: str, words: Mapping[str, str]) -> str:
    """A sentence with its `{gaps}` filled by these words, and "an" before a vowel."""
    sentence = template.format(**words)
    for vowel in "aeio":
        sentence = sentence.replace(f" a {vowel}", f" an {vowel}")
        if sentence.startswith(f"a {vowel}"):
            sentence = "an" + sentence[1:]
    return sentence
