"""Captions: sentences from templates; a sixth of the templates is kept for testing only.

A template is a sentence with named gaps. Training captions use all but the last `HELD_OUT`
templates of a scene; held-out captions use only those.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pila.labels.wording import fill_template

HELD_OUT = 4
"""Templates of each scene that no model is trained on."""


def write_caption(
    templates: Sequence[str], words: Mapping[str, str], rng: np.random.Generator, held_out: bool
) -> str:
    """Fill one template with words; `rng` chooses among the allowed ones.

    Args:
        templates: sentences with `{gaps}`, the last `HELD_OUT` of them held out.
        words: what each gap says.
        rng: the scene's stream for captions.
        held_out: take a held-out template instead of a training one.
    """
    allowed = templates[-HELD_OUT:] if held_out else templates[:-HELD_OUT]
    return fill_template(allowed[int(rng.integers(len(allowed)))], words)


def choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely as any other."""
    return options[int(rng.integers(len(options)))]
