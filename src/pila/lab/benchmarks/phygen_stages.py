"""PhyGenBench's stages from its raw judge files, as its own aggregation reads them.

Five files, each a list of the 160 entries: key phenomena (`single`), order by a closed and by an
open judge (`multi_gpt`, `multi_llava`), naturalness by both (`video_gpt`, `video_intern`). What is
odd in the official rules is kept, since published numbers rest on it, and said in the notes:

- one question: the score over its retrieval score is cut at 0.25, 0.5, 0.75; a negative one, which
  the official retrieval score of the last frame makes possible, counts 3;
- an answer counts as no where "no" is anywhere in it, before "yes" is looked for.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.benchmarks.phygenbench import TOP
from pila.lab.benchmarks.reading import read_entries, refuse, repeated, whole_number

STAGES = ("single", "multi_gpt", "multi_llava", "video_gpt", "video_intern")
SEEN = 1.5
"""A retrieved moment counts where its retrieval score and its yes reach this."""
LAST = "Last Frame"
Entry = Mapping[str, Any]


def cut_one(score: float) -> int:
    """0 to 3 for a prompt with one question; below 0 it is 3, as officially."""
    for level, edge in enumerate((0.25, 0.5, 0.75)):
        if 0 <= score < edge:
            return level
    return TOP


def cut_two(total: float) -> int:
    """0 to 3 for the total of a prompt with two questions: up to 1, 1.5 and 2.25."""
    return sum(total > edge for edge in (1, 1.5, 2.25))


def says_yes(text: str) -> bool:
    """The official reading of an answer: no "no" anywhere, and a "yes"."""
    plain = text.strip().lower()
    return "no" not in plain and "yes" in plain


def key_phenomena(entry: Entry, model: str) -> int:
    """The stage `single` of an entry.

    Raises:
        KeyError, TypeError, ValueError: what it needs is missing or no number.
    """
    questions = entry["singleimage_question"]
    if len(questions) == 1:
        (question,) = questions
        score = _finite(question[model])
        if question["Retrieval Prompt"] != LAST:
            score -= _finite(question["clip_retrieval"])
        return cut_one(score)
    level = whole_number(entry[f"{model}_descrete"], range(TOP + 1))
    if level is None:
        raise ValueError(f"{model}_descrete is {entry[f'{model}_descrete']!r}, not 0 to {TOP}")
    total = entry.get(f"{model}_score")
    if total is not None and cut_two(_finite(total)) != level:
        raise ValueError(f"{model}_descrete is {level}, its score {total} gives {cut_two(total)}")
    return level


def order_closed(entry: Entry, model: str = "") -> int:
    """The stage `multi_gpt`: three answers; with retrieved moments each needs `SEEN`.

    Raises:
        KeyError, TypeError, ValueError: what it needs is missing or no number.
    """
    asked = entry["multiimage_question"]
    if "CLIP_Index" in asked:
        return sum(_finite(asked[f"GPT4o_{n}_Score"]) >= SEEN for n in (1, 2, 3))
    return sum(says_yes(_choice(asked[f"GPT4o_{n}"])) for n in (1, 2, 3))


def order_open(entry: Entry, model: str = "") -> int:
    """The stage `multi_llava`: with retrieved moments the best of them counts, and plainly the
    third answer.

    Raises:
        KeyError, TypeError, ValueError: what it needs is missing or no number.
    """
    asked = entry["multiimage_question"]
    if "CLIP_Index" not in asked:
        return sum(says_yes(_choice(asked[f"LLava_{n}"])) for n in (1, 2, 3))
    start, best, end = (int(part) for part in asked["CLIP_Index"].split(","))

    def seen(n: int, frames: range) -> bool:
        found = [
            _finite(asked[f"retrieval_{n}_{k}"]) + says_yes(_choice(asked[f"LLava_{n}_{k}"]))
            for k in frames
        ]
        return max(found) >= SEEN

    third = says_yes(_choice(asked["LLava_3"]))
    return third + seen(1, range(start, best + 1)) + seen(2, range(best, end))


def _naturalness(field: str) -> Callable[[Entry, str], int]:
    def stage(entry: Entry, model: str) -> int:
        level = whole_number(entry[field], range(TOP + 1))
        if level is None:
            raise ValueError(f"{field} is {entry[field]!r}, not 0 to {TOP}")
        return level

    return stage


_RULES: dict[str, Callable[[Entry, str], int]] = {
    "single": key_phenomena,
    "multi_gpt": order_closed,
    "multi_llava": order_open,
    "video_gpt": _naturalness("GPT4o_score"),
    "video_intern": _naturalness("InternVideo2_score"),
}


def read_stages(files: Mapping[str, Path], model: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries with their stages, as an official result file has them, and notes.

    Entries are joined by caption; clips are numbered by the order of the first file, which must
    be that of all.

    Args:
        files: raw judge files by stage, of `STAGES`.
        model: the name that the files use for the model.

    Raises:
        InputError: files disagree on prompts or their order, or a stage cannot be computed.
    """
    tables = {stage: read_entries(path) for stage, path in files.items()}
    first = next(iter(tables))
    captions = [str(e.get("caption")) for e in tables[first]]
    refuse(repeated(captions), f"{files[first]} has prompts twice", "give the official file")
    for stage, entries in tables.items():
        others = [str(e.get("caption")) for e in entries]
        missing = [f"lacks {c[:60]!r}" for c in captions if c not in set(others)]
        missing += [f"alone has {c[:60]!r}" for c in others if c not in set(captions)]
        refuse(missing, f"{files[stage]} against {files[first]}", "judge the same prompts")
        if others != captions:
            raise InputError(
                f"{files[stage]} has its prompts in another order than {files[first]}; clips are "
                "numbered by order, so judge them again in the official one"
            )
    faults: list[str] = []
    result: list[dict[str, Any]] = []
    for i, caption in enumerate(captions):
        entry = tables[first][i]
        row = {k: entry.get(k) for k in ("caption", "physical_laws", "sub_category")}
        row["main_category"] = entry.get("main_category")
        row["video"] = f"output_video_{i + 1}.mp4"
        for stage, entries in tables.items():
            try:
                row[stage] = _RULES[stage](entries[i], model)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                what = f"has no {error}" if isinstance(error, KeyError) else str(error)
                faults.append(f"{stage} of entry {i + 1} ({caption[:40]}) {what}")
        result.append(row)
    refuse(faults, "raw judge files", "judge these prompts again")
    return result, _notes(tables, model)


def _notes(tables: Mapping[str, Sequence[Entry]], model: str) -> list[str]:
    """What the official rules let pass."""
    negative = [
        str(i + 1)
        for i, e in enumerate(tables.get("single", ()))
        if len(e["singleimage_question"]) == 1
        and (q := e["singleimage_question"][0])["Retrieval Prompt"] != LAST
        and q[model] < q["clip_retrieval"]
    ]
    if not negative:
        return []
    return [f"below 0 and counted 3, as officially: entries {', '.join(negative)}"]


def _choice(answer: Any) -> str:
    """The text of an answer: the object's Choice, or the text that was no JSON."""
    text = answer["Choice"] if isinstance(answer, Mapping) else answer
    if not isinstance(text, str):
        raise ValueError(f"an answer is {text!r}, not text")
    if not any(word in text.lower() for word in ("yes", "no")):
        raise ValueError(f"an answer says neither yes nor no: {text[:40]!r}")
    return text


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a score is {value!r}, not a number")
    return float(value)
