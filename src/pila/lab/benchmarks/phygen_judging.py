"""PhyGenBench's three stages, asked of one judge that sees frames.

The official stages use VQAScore, CLIP and two kinds of judges. Here one judge answers all of them
and fills one route, closed or open, of the official file; a second judge may fill the other. Where
officially CLIP picks a moment and VQAScore weighs it (0 to 1), the judge is asked whether the
moment is there (0 or 1). Scales and cut points are the official ones; the judging is not, and the
record says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.benchmarks.generating import read_sampling
from pila.lab.benchmarks.judges import Judge, Question
from pila.lab.benchmarks.judges.asking import ask_all, judged_by
from pila.lab.benchmarks.judges.frames import View
from pila.lab.benchmarks.phygen_stages import LAST, SEEN, cut_one, cut_two
from pila.lab.benchmarks.phygenbench import AVERAGE, ROUTES, average_score, route_score
from pila.lab.benchmarks.prompt_list import Item, PromptList, find_clips
from pila.lab.benchmarks.reading import read_entries, refuse
from pila.lab.benchmarks.records import read_record, write_json, write_record

FRAMES = 16
MIDDLE = "Middle Frame"
NEEDS = ("singleimage_question", "multiimage_question", "video_question", "explicit_caption")
_ORDER: tuple[tuple[str, View], ...] = (
    ("1", "first and middle"),
    ("2", "middle and last"),
    ("3", "first, middle and last"),
)
_MOMENT = "Is this moment in the video?\n{}"
_HOLDS = "Is this statement true of what the video shows?\n{}"
_ENDS = "Is this statement true of the picture?\n{}"
_RUNS = "Do these frames show, in this order, what the description says?\n{}"
_WHOLE = (
    "The video was made for this prompt: {caption}\nIt should show this law: {law}\n"
    "Which description fits the video best? Be strict with the last one.\n"
    "A: {Description1}\nB: {Description2}\nC: {Description3}\nD: {Description4}"
)


def judge(
    prompts: PromptList,
    folder: Path,
    out: Path,
    judge: Judge,
    *,
    route: str = "closed",
    model_name: str = "model",
    frames: int = FRAMES,
) -> Path:
    """Judge every clip by one route and write `<model_name>.json` in the official form.

    A file that is there keeps its other route, and gets the average where both are known.

    Raises:
        InputError: an unknown route, questions that the prompts lack, clips that are missing or
            damaged, a file of other prompts, or questions without an answer, all named.
    """
    if route not in ROUTES:
        raise InputError(f"route is {route!r}; use {' or '.join(ROUTES)}")
    lacking = [f"{i.key}: {n}" for i in prompts.items for n in NEEDS if not i.details.get(n)]
    refuse(lacking, f"{prompts.source} lacks questions", "use a whole checkout of PhyGenBench")
    clips = find_clips(prompts, folder)
    path = out / f"{model_name}.json"
    entries, record = _before(path, prompts)
    questions = [q for item in prompts.items for q in _questions(item, clips[item.key], frames)]
    values = ask_all(judge, questions)
    single, multi, video = ROUTES[route]
    for item, entry in zip(prompts.items, entries, strict=True):
        stages = _stages(item, values)
        # Both routes share the first stage, officially too: the closed judge's, where there is one.
        entry[f"{single} of {route}"] = stages[0]
        entry[multi], entry[video] = stages[1:]
        entry[single] = entry.get(f"{single} of closed", stages[0])
        for name, (_, *rest) in ROUTES.items():
            if all(stage in entry for stage in rest):
                entry[f"{model_name}_{name}"] = route_score([entry[s] for s in (single, *rest)])
        if all(f"{model_name}_{name}" in entry for name in ROUTES):
            both = [entry[f"{model_name}_{name}"] for name in ROUTES]
            entry[f"{model_name}_{AVERAGE}"] = average_score(both[0], both[1])
        entry["video"] = str(clips[item.key])
    write_json(path, entries)
    protocol = {
        **record.get("protocol", {}),
        route: {
            **judged_by(judge, questions, prompts.digest),
            "stages": "one judge, moments asked for",
        },
    }
    write_record(path, {"protocol": protocol, "sampling": read_sampling(folder)})
    return path


def _before(path: Path, prompts: PromptList) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The entries of a file that is there, or new ones; and its record."""
    if not path.is_file():
        names = ("physical_laws", "sub_category", "main_category")
        return [
            {"caption": i.prompt, **{n: i.details.get(n) for n in names}} for i in prompts.items
        ], {}
    entries = read_entries(path)
    if [e.get("caption") for e in entries] != [i.prompt for i in prompts.items]:
        raise InputError(f"{path} is of other prompts; give another --out or --model-name")
    return entries, read_record(path) or {}


def _questions(item: Item, clip: Path, frames: int) -> list[Question]:
    details = item.details
    asked: list[tuple[str, str, str, View]] = []
    for n, q in enumerate(details["singleimage_question"]):
        if q["Retrieval Prompt"] == LAST:
            asked.append((f"single {n}", _ENDS.format(q["Statement"]), "yes", "last"))
        else:
            asked.append((f"moment {n}", _MOMENT.format(q["Retrieval Prompt"]), "yes", "all"))
            asked.append((f"single {n}", _HOLDS.format(q["Statement"]), "yes", "all"))
    order = details["multiimage_question"]
    texts = (order["Description1"], order["Description2"], details["explicit_caption"])
    if order["Retrieval Prompt"] != MIDDLE:
        asked.append(("moment", _MOMENT.format(order["Retrieval Prompt"]), "yes", "all"))
    for (n, view), text in zip(_ORDER, texts, strict=True):
        asked.append((f"multi {n}", _RUNS.format(text), "yes", view))
    whole = _WHOLE.format(
        caption=item.prompt, law=details["physical_laws"], **details["video_question"]
    )
    asked.append(("video", whole, "description", "all"))
    return [
        Question(
            key=f"{item.key} {key}", video=clip, text=text, answers=kind, frames=frames, view=view
        )
        for key, text, kind, view in asked
    ]


def _stages(item: Item, values: Mapping[str, int]) -> tuple[int, int, int]:
    """Key phenomena, order and naturalness, 0 to 3 each."""

    def value(key: str) -> int:
        return values[f"{item.key} {key}"]

    singles = item.details["singleimage_question"]
    scores = [value(f"single {n}") for n in range(len(singles))]
    if len(singles) == 1:
        first = cut_one(scores[0])
    else:
        moments = [
            value(f"moment {n}") for n, q in enumerate(singles) if q["Retrieval Prompt"] != LAST
        ]
        first = cut_two(sum(scores) + sum(moments))
    answers = [value(f"multi {n}") for n, _ in _ORDER]
    if item.details["multiimage_question"]["Retrieval Prompt"] != MIDDLE:
        answers = [int(answer + value("moment") >= SEEN) for answer in answers]
    return first, sum(answers), value("video")
