"""How many cases of each class there are, how one is tried, and the table of what came out."""

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from tests.torture.crash_points import WRITES, every_point
from tests.torture.ground import Ground
from tests.torture.inputs import INPUTS, try_input
from tests.torture.kills import KILLS, try_kill

FULL = {
    **dict(zip(KILLS, (40, 30, 40, 20, 20, 20, 30), strict=True)),
    **dict.fromkeys(WRITES, 1),
    **dict(zip(INPUTS, (250, 150, 120, 120, 100, 100, 100, 60), strict=True)),
}
"""Cases of each class: 200 kills, every crash point (one case tries them all), 1,000 mutations."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Attributes:
        group: its class.
        index: its number.
        tried: 1; of crash points, how many there are.
        bad: what was wrong, a line each.
    """

    group: str
    index: int
    tried: int
    bad: list[str]

    def to_dict(self) -> dict[str, object]:
        """As a line of results holds it."""
        return asdict(self)


def cases(size: str, only: Iterable[str] = ()) -> list[tuple[str, int]]:
    """Each case's class and number, classes in turn, so that a run that is stopped has of each.

    Args:
        size: full, or tenth: of each class a tenth, and at least 1.
        only: beginnings of classes; all where none is given.
    """
    counts = {n: c if size == "full" else -(-c // 10) for n, c in FULL.items()}
    starts = tuple(only) or ("",)
    chosen = {n: c for n, c in counts.items() if n.startswith(starts)}
    numbered = [((i + 0.5) / c, n, i) for n, c in chosen.items() for i in range(c)]
    return [(n, i) for _, n, i in sorted(numbered, key=lambda case: case[0])]


def attempt(group: str, index: int, ground: Ground, seed: int) -> Outcome:
    """Try a case. The same seed, class and number always try the same."""
    draw = random.Random(hashlib.sha256(f"{seed} {group} {index}".encode()).digest())
    if group in WRITES:
        with ground.room(group) as room:
            faults = list(every_point(group, room))
        return Outcome(group, index, len(faults), [f for f in faults if f])
    fault = (try_kill if group in KILLS else try_input)(group, ground, index, draw)
    return Outcome(group, index, 1, [fault] if fault else [])


def table(outcomes: Iterable[Mapping[str, object]]) -> str:
    """Markdown: what was tried of each class, how much of it was clean, and how much not."""
    tried, bad = dict.fromkeys(FULL, 0), dict.fromkeys(FULL, 0)
    for one in outcomes:
        group, number, faults = str(one["group"]), one["tried"], one["bad"]
        assert isinstance(number, int)
        assert isinstance(faults, list)
        tried[group] += number
        bad[group] += len(faults)
    rows = [(n, tried[n], bad[n]) for n in FULL if tried[n]]
    rows.append(("all", sum(tried.values()), sum(bad.values())))
    lines = [f"| {name} | {count} | {count - wrong} | {wrong} |" for name, count, wrong in rows]
    return "\n".join(["| class | tried | clean | bad |", "|---|---|---|---|", *lines])
