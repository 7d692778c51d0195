"""PhyGenBench (arXiv 2410.05363): 160 prompts in four domains, judged in three stages of 0 to 3.

closed = round(mean of key phenomena, order by GPT-4o, naturalness by GPT-4o); open the same with
open judges; average = (closed + open) // 2. A score is the mean over prompts, over 3. The project
has no licence: its prompts and files are read from the user's checkout and never shipped.

The repository's own result file of Kling gives 0.45, 0.58, 0.50, 0.40 and 0.49 by the average
route: the leaderboard's row for Kling.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.benchmarks.prompt_list import Item, PromptList, checked_items
from pila.lab.benchmarks.reading import (
    group_counts,
    listed,
    read_entries,
    refuse,
    repeated,
    whole_number,
)
from pila.lab.benchmarks.results import Result, Rows, origin

NAME = "phygenbench"
DOMAINS = {"mechanics": 40, "optics": 50, "thermal": 30, "material": 40}
"""Prompts of each domain."""
OVERALL = "overall"
ROUTES = {
    "closed": ("single", "multi_gpt", "video_gpt"),
    "open": ("single", "multi_llava", "video_intern"),
}
"""The stages of a route: key phenomena, order, naturalness."""
AVERAGE = "average"
TOP = 3
_DOMAIN = {
    "Force": "mechanics",
    "Light": "optics",
    "Heat": "thermal",
    "Physical Properties": "material",
    "Chemical Properties": "material",
}
_VIDEO = re.compile(r"output_video_(\d+)\.\w+$")
_ORDERED = "give the whole official file of one model, with a score of 0 to 3 for each stage"


def clip_name(number: int) -> str:
    """The name of a prompt's clip; numbers start at 1."""
    return f"output_video_{number}.mp4"


def domain_of(entry: Mapping[str, Any]) -> str | None:
    """The domain of an entry, None for an unknown main_category."""
    return _DOMAIN.get(str(entry.get("main_category")))


def read_prompts(checkout: Path) -> PromptList:
    """Prompts and questions from a checkout of the official repository.

    Args:
        checkout: its folder, or the folder with `prompts.json` and the question files.

    Raises:
        InputError: files are missing, or are not the official 160 prompts in one order.
    """
    folder = next((f for f in (checkout / "PhyGenBench", checkout) if f.is_dir()), checkout)
    main = read_entries(folder / "prompts.json")
    unknown = [str(e.get("caption")) for e in main if domain_of(e) is None]
    refuse(unknown, f"{folder}/prompts.json has entries of no known domain", "repair the checkout")
    refuse(
        group_counts([str(domain_of(e)) for e in main], DOMAINS),
        f"{folder}/prompts.json",
        "update the checkout; 160 prompts are needed",
    )
    extra: dict[int, dict[str, Any]] = {i: {} for i in range(len(main))}
    for name, field in (
        ("single_question", "singleimage_question"),
        ("multi_question", "multiimage_question"),
        ("video_question", "video_question"),
        ("explicit_prompts", "explicit_caption"),
    ):
        path = folder / f"{name}.json"
        if not path.is_file():
            continue  # prompts alone are enough to generate; a judge says what it lacks
        entries = read_entries(path)
        wrong = [
            f"entry {i + 1} is {str(e.get('caption'))[:60]!r}"
            for i, (e, m) in enumerate(zip(entries, main, strict=False))
            if e.get("caption") != m["caption"]
        ]
        if len(entries) != len(main):
            wrong.append(f"{len(entries)} entries for {len(main)} prompts")
        refuse(wrong, f"{path} is not in the order of prompts.json", "restore the official files")
        for i, entry in enumerate(entries):
            extra[i][field] = entry.get(field)
    items = (
        Item(
            key=clip_name(i + 1),
            prompt=entry["caption"],
            group=str(domain_of(entry)),
            files=(clip_name(i + 1),),
            details={k: v for k, v in entry.items() if k != "caption"} | extra[i],
        )
        for i, entry in enumerate(main)
    )
    checked = checked_items(items, sum(DOMAINS.values()), folder)
    return PromptList(benchmark=NAME, source=str(checkout), items=checked)


def route_score(stages: Sequence[int]) -> int:
    """Rounded mean of three stages of 0 to 3. Thirds are never halfway, so `round` is plain."""
    return round(sum(stages) / TOP)


def average_score(closed: int, open_: int) -> int:
    """The mean of both routes, rounded down."""
    return (closed + open_) // 2


def aggregate(
    path: Path,
    *,
    method: str | None = None,
    model_name: str | None = None,
    routes: Sequence[str] = (*ROUTES, AVERAGE),
    partial: bool = False,
    prompts: PromptList | None = None,
    judge: str | None = None,
) -> Result:
    """The scores of an official per-model result file.

    Args:
        path: `result/<model>.json`: a list of entries with stages, routes, and the clip's path.
        method: a name for tables; the model's by default.
        model_name: whose routes are read where a file has several (`<model>_closed` ...).
        routes: of closed, open and average.
        partial: count what is there where prompts are missing.
        prompts: the list that the clips were made from, to check captions against.
        judge: who judged, for a file without a record.

    Raises:
        InputError: entries are missing, repeated, out of range, or disagree with themselves.
    """
    entries = read_entries(path)
    model = _model(entries, model_name, path)
    numbers = _check_entries(entries, path, partial=partial)
    if prompts is not None:
        _check_captions(entries, numbers, prompts, path)
    wanted = tuple(ROUTES) if AVERAGE in routes else tuple(r for r in ROUTES if r in routes)
    scores = _scores(entries, model, wanted, routes, path)
    measures: dict[str, Rows] = {}
    for route in routes:
        by_domain: dict[str, Rows] = {domain: {} for domain in DOMAINS}
        for i, entry in enumerate(entries):
            key = entry["caption"]
            by_domain[str(domain_of(entry))][key] = (scores[i][route], TOP)
        measures |= {f"{route}/{d}": rows for d, rows in by_domain.items() if rows}
        measures[f"{route}/{OVERALL}"] = {
            k: v for rows in by_domain.values() for k, v in rows.items()
        }
    traced = origin({"stages": path}, f"phygenbench {'+'.join(routes)}", judge)
    if len(entries) < sum(DOMAINS.values()):
        part = f"{len(entries)} of {sum(DOMAINS.values())} prompts"
        traced["notes"] = (*traced["notes"], f"a part: {part}")
        traced["protocol"]["part"] = part
    return Result(benchmark=NAME, method=method or model or path.stem, measures=measures, **traced)


def as_json(result: Result) -> dict[str, dict[str, float]]:
    """Scores by route and domain."""
    nested: dict[str, dict[str, float]] = {}
    for name in result.names:
        route, _, domain = name.partition("/")
        nested.setdefault(route, {})[domain] = result.value(name)
    return nested


def _model(entries: Sequence[Mapping[str, Any]], wanted: str | None, path: Path) -> str | None:
    """The name before `_closed` and the like, None where the file holds stages alone."""
    endings = tuple(f"_{route}" for route in (*ROUTES, AVERAGE))
    found = {k.rpartition("_")[0] for e in entries for k in e if k.endswith(endings)}
    if wanted is not None:
        if found and wanted not in found:
            raise InputError(f"{path} has no {wanted}; it has {', '.join(sorted(found))}")
        return wanted
    if len(found) > 1:
        raise InputError(
            f"{path} holds routes of {', '.join(sorted(found))}; name one with --model-name"
        )
    return next(iter(found), None)


def _check_entries(
    entries: Sequence[Mapping[str, Any]], path: Path, *, partial: bool
) -> dict[int, int]:
    """The clip's number of each entry that names its clip."""
    captions = [str(e.get("caption", "")) for e in entries]
    faults = [f"entry {i + 1} has no caption" for i, c in enumerate(captions) if not c.strip()]
    faults += [
        f"{captions[i][:60]!r} has the unknown main_category {e.get('main_category')!r}"
        for i, e in enumerate(entries)
        if domain_of(e) is None
    ]
    faults += [f"{c[:60]!r} is there twice" for c in repeated(captions) if c.strip()]
    numbers = {
        i: int(match[1])
        for i, e in enumerate(entries)
        if (match := _VIDEO.search(str(e.get("video", ""))))
    }
    total = sum(DOMAINS.values())
    twice = repeated(map(str, numbers.values()))
    faults += [f"{clip_name(int(n))} is there twice" for n in twice]
    faults += [
        f"{clip_name(n)} is not of 1 to {total}" for n in numbers.values() if not 1 <= n <= total
    ]
    refuse(faults, path, _ORDERED)
    domains = [str(domain_of(e)) for e in entries]
    extra = [
        f"{d} has {domains.count(d)} of {n}" for d, n in DOMAINS.items() if domains.count(d) > n
    ]
    refuse(extra, path, "remove the entries that are too many")
    short = group_counts(domains, DOMAINS)
    if short and not partial:
        missing = sorted(set(range(1, total + 1)) - set(numbers.values())) if numbers else []
        named = f" (missing: {listed(clip_name(n) for n in missing)})" if missing else ""
        raise InputError(
            f"{path} has {len(entries)} of {total} prompts: {listed(short)}{named}; judge the "
            "rest, or count a part with --partial"
        )
    return numbers


def _check_captions(
    entries: Sequence[Mapping[str, Any]],
    numbers: Mapping[int, int],
    prompts: PromptList,
    path: Path,
) -> None:
    expected = {item.key: item.prompt for item in prompts.items}
    wrong = [
        f"{clip_name(numbers[i])} is judged as {entry['caption'][:60]!r}"
        for i, entry in enumerate(entries)
        if i in numbers and expected.get(clip_name(numbers[i])) != entry["caption"]
    ]
    refuse(wrong, f"{path} has prompts in another order", "judge each clip with its own prompt")


def _scores(
    entries: Sequence[Mapping[str, Any]],
    model: str | None,
    wanted: Sequence[str],
    routes: Sequence[str],
    path: Path,
) -> list[dict[str, int]]:
    """Routes of each entry, computed from its stages and compared with what the file says."""
    faults: list[str] = []
    scores: list[dict[str, int]] = []
    for i, entry in enumerate(entries):
        who = f"entry {i + 1} ({entry['caption'][:40]})"

        def number(field: str, who: str = who, entry: Mapping[str, Any] = entry) -> int | None:
            value = whole_number(entry[field], range(TOP + 1))
            if value is None:
                faults.append(f"{who}: {field} is {entry[field]!r}, not 0 to {TOP}")
            return value

        found: dict[str, int] = {}
        for route in wanted:
            said = number(f"{model}_{route}") if f"{model}_{route}" in entry else None
            absent = [stage for stage in ROUTES[route] if stage not in entry]
            if absent and said is None:
                faults.append(f"{who}: no {', '.join(absent)}")
            elif absent and said is not None:
                found[route] = said
            else:
                stages = [number(stage) for stage in ROUTES[route]]
                given = [stage for stage in stages if stage is not None]
                if len(given) == len(stages):
                    found[route] = route_score(given)
                    if said is not None and said != found[route]:
                        faults.append(f"{who}: {route} is {said}, its stages give {found[route]}")
        if AVERAGE in routes and len(found) == len(ROUTES):
            found[AVERAGE] = average_score(found["closed"], found["open"])
            field = f"{model}_{AVERAGE}"
            if field in entry and (said := number(field)) not in (None, found[AVERAGE]):
                faults.append(f"{who}: {AVERAGE} is {said}, its routes give {found[AVERAGE]}")
        scores.append(found)
    refuse(list(dict.fromkeys(faults)), path, f"{_ORDERED}, or leave a route out with --routes")
    return scores
