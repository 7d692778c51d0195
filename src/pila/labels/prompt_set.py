"""The project's own labelled prompts, and the fixed halves they are divided into.

`data/prompts.jsonl` holds 200 prompts written for this project. The labelling guide, which is
mechanism-oriented as the paper asks (App. B.1), is in `data/README.md`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from pila.physics.layout import Category

Half = Literal["development", "held_out"]
HALVES: tuple[Half, Half] = ("development", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPrompt:
    """A prompt, its one to three categories (none where no mechanism is shown), and its half."""

    prompt: str
    categories: tuple[Category, ...]
    half: Half


def load_prompts(half: Half | None = None) -> tuple[LabelledPrompt, ...]:
    """Reads the labelled prompts, all of them or one half, in file order."""
    text = (files("pila.labels") / "data" / "prompts.jsonl").read_text(encoding="utf-8")
    records = (json.loads(line) for line in text.splitlines() if line.strip())
    prompts = (
        LabelledPrompt(
            prompt=record["prompt"],
            categories=tuple(Category(name) for name in record["categories"]),
            half=record["half"],
        )
        for record in records
    )
    return tuple(item for item in prompts if half is None or item.half == half)


def assign_halves(items: Sequence[tuple[str, tuple[Category, ...]]]) -> list[Half]:
    """Divides (prompt, categories) pairs into two equal halves with balanced categories.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): the rarest category left
    is dealt out first, each prompt to the half that still wants that category most. Ties are
    broken by the prompt's SHA-256, so the outcome depends on the texts alone and neither on
    their order nor on any score. An odd count gives the held-out half one prompt less.
    """
    digest = [hashlib.sha256(prompt.encode()).hexdigest() for prompt, _ in items]
    left = sorted(range(len(items)), key=digest.__getitem__)
    totals = Counter(category for _, categories in items for category in categories)
    wanted = [{category: totals[category] / 2 for category in Category} for _ in HALVES]
    room = [len(items) - len(items) // 2, len(items) // 2]
    halves: dict[int, Half] = {}
    while left:
        counts = Counter(category for index in left for category in items[index][1])
        rarest = min(counts, key=lambda c: (counts[c], c)) if counts else None
        chosen = [i for i in left if rarest is None or rarest in items[i][1]]
        for index in chosen:
            turn = int(digest[index][-1], 16) % 2
            want = [wanted[side][rarest] if rarest else 0.0 for side in (0, 1)]
            desire = [(room[side] > 0, want[side], room[side], side == turn) for side in (0, 1)]
            side = desire.index(max(desire))
            halves[index] = HALVES[side]
            room[side] -= 1
            for category in items[index][1]:
                wanted[side][category] -= 1
        left = [i for i in left if i not in halves]
    return [halves[index] for index in range(len(items))]
