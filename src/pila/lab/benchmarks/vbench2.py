"""VBench-2.0 (arXiv 2503.21755, Apache-2.0): yes-or-no questions on three clips of each prompt.

A result is 1, 0, or -1 where the first question, a gate, fails: such a clip leaves the
denominator. Mechanics, Material and Thermotics have gates; a prompt with one question has none.
Motion Rationality and Dynamic Spatial Relationship need yes to all questions. The Physics score is
the mean of Material, Mechanics, Multi-View Consistency and Thermotics.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.benchmarks.generating import read_sampling
from pila.lab.benchmarks.judges import Judge, Question
from pila.lab.benchmarks.judges.asking import ask_all, judged_by
from pila.lab.benchmarks.judges.frames import View
from pila.lab.benchmarks.prompt_list import Item, PromptList, find_clips
from pila.lab.benchmarks.reading import listed, read_entries, refuse, repeated
from pila.lab.benchmarks.records import write_json, write_record
from pila.lab.benchmarks.results import Result, Rows, origin
from pila.labels.parser import check_prompt

NAME = "vbench2"
SAMPLES = 3
KEPT = 180
"""Characters of a prompt in a clip's name."""
PROMPTS = {
    "Camera_Motion": 108,
    "Complex_Landscape": 30,
    "Complex_Plot": 60,
    "Composition": 53,
    "Diversity": 10,
    "Dynamic_Attribute": 91,
    "Dynamic_Spatial_Relationship": 69,
    "Human_Anatomy": 120,
    "Human_Clothes": 75,
    "Human_Identity": 46,
    "Human_Interaction": 100,
    "Instance_Preservation": 57,
    "Material": 50,
    "Mechanics": 57,
    "Motion_Order_Understanding": 99,
    "Motion_Rationality": 58,
    "Multi-View_Consistency": 97,
    "Thermotics": 50,
}
"""Prompts of each dimension."""
JUDGED = ("Dynamic_Spatial_Relationship", "Mechanics", "Material", "Motion_Rationality")
"""Dimensions that are judged by questions here."""
GATED = frozenset(("Mechanics", "Material", "Thermotics"))
LEAVING = GATED | {
    "Human_Clothes",
    "Human_Identity",
    "Motion_Order_Understanding",
    "Multi-View_Consistency",
}
"""Dimensions in which -1 leaves the denominator."""
MOST_FAILED = 0.9
"""Share of -1 above which Motion Order Understanding is 0."""
CATEGORIES = {
    "Physics": ("Material", "Mechanics", "Multi-View_Consistency", "Thermotics"),
    "Commonsense": ("Instance_Preservation", "Motion_Rationality"),
    "Creativity": ("Composition", "Diversity"),
    "Human_Fidelity": ("Human_Anatomy", "Human_Clothes", "Human_Identity"),
    "Controllability": (
        "Camera_Motion",
        "Complex_Landscape",
        "Complex_Plot",
        "Dynamic_Attribute",
        "Dynamic_Spatial_Relationship",
        "Human_Interaction",
        "Motion_Order_Understanding",
    ),
}
GATE_FAILED = -1
FRAMES = 64
"""That the official judge samples."""
_CLIP = re.compile(r"(?P<prompt>.+)-(?P<sample>\d+)\.\w+$", re.DOTALL)
_CLOSE = 1e-6


def clip_name(prompt: str, sample: int) -> str:
    """The official name of a clip; samples start at 0."""
    return f"{prompt[:KEPT]}-{sample}.mp4"


def read_prompts(source: Path, dimensions: Sequence[str] = JUDGED) -> PromptList:
    """Prompts and questions from a checkout of VBench, or one of its JSON files.

    Args:
        source: the repository, its folder `VBench-2.0/prompts/meta_info`, or a JSON list with
            `prompt_en`, `dimension` and `auxiliary_info`.
        dimensions: of `JUDGED`.

    Raises:
        InputError: no such file, an unknown dimension, or not the official number of prompts.
    """
    unknown = [d for d in dimensions if d not in JUDGED]
    if unknown:
        raise InputError(f"dimensions has {listed(unknown)}; use some of {', '.join(JUDGED)}")
    entries = [e for path in _files(source, dimensions) for e in read_entries(path)]
    items: list[Item] = []
    for dimension in dimensions:
        mine = [e for e in entries if dimension in _dimensions(e)]
        if len(mine) != PROMPTS[dimension]:
            raise InputError(
                f"{source} has {len(mine)} prompts of {dimension}, and the benchmark "
                f"{PROMPTS[dimension]}; give the whole official file"
            )
        for entry in mine:
            prompt = check_prompt(entry["prompt_en"])
            questions = entry.get("auxiliary_info")
            if not isinstance(questions, list) or not questions:
                raise InputError(f"{source}: {prompt[:60]!r} has no questions; update the checkout")
            items.append(
                Item(
                    key=f"{dimension}: {prompt}",
                    prompt=prompt,
                    group=dimension,
                    files=tuple(clip_name(prompt, i) for i in range(SAMPLES)),
                    details={"questions": questions},
                )
            )
    return PromptList(benchmark=NAME, source=str(source), items=tuple(items))


def verdict(dimension: str, answers: Sequence[bool]) -> int:
    """1, 0, or -1 of one clip from its answers, in the order of the questions.

    With a gate the first answer opens it and the second decides; later ones do not count.
    """
    if dimension in GATED and len(answers) > 1:
        return int(answers[1]) if answers[0] else GATE_FAILED
    return int(all(answers))


def judge(
    prompts: PromptList,
    folder: Path,
    out: Path,
    judge: Judge,
    *,
    frames: int = FRAMES,
    official_parser: bool = False,
) -> Path:
    """Ask a judge every question of every clip and write the official `*_eval_results.json`.

    The first question on dynamic spatial relations sees the first half of the frames, the second
    the last frame alone; all others see all.

    Raises:
        InputError: clips that are missing or damaged, or questions without an answer, all named.
    """
    clips = find_clips(prompts, folder)
    views: dict[str, tuple[View, ...]] = {"Dynamic_Spatial_Relationship": ("first half", "last")}
    asked: dict[tuple[str, str], list[Question]] = {}
    for item in prompts.items:
        for name in item.files:
            asked[item.group, name] = [
                Question(
                    key=f"{item.group} {name} {i}",
                    video=clips[name],
                    text=f"Answer yes or no about this video.\n{text}",
                    answers="official yes" if official_parser else "yes",
                    frames=frames,
                    view=dict(enumerate(views.get(item.group, ()))).get(i, "all"),
                )
                for i, text in enumerate(item.details["questions"])
            ]
    questions = [question for some in asked.values() for question in some]
    values = ask_all(judge, questions)
    results: dict[str, list[dict[str, Any]]] = {}
    for (dimension, name), some in asked.items():
        found = verdict(dimension, [bool(values[q.key]) for q in some])
        row = {"video_path": str(clips[name]), "video_results": found}
        results.setdefault(dimension, []).append(row)
    content: dict[str, Any] = {}
    for dimension, rows in results.items():
        counted = [r["video_results"] for r in rows if r["video_results"] != GATE_FAILED]
        content[dimension] = [sum(counted) / len(counted) if counted else None, rows]
    path = out / "vbench2_eval_results.json"
    write_json(path, content)
    protocol = judged_by(judge, questions, prompts.digest)
    write_record(path, {"protocol": protocol, "sampling": read_sampling(folder)})
    return path


def aggregate(
    path: Path,
    *,
    method: str | None = None,
    partial: bool = False,
    prompts: PromptList | None = None,
    judge: str | None = None,
) -> Result:
    """Dimensions and categories of an official `*_eval_results.json`.

    Args:
        path: `{dimension: [score, [{"video_path", "video_results"}]]}`.
        method: a name for tables.
        partial: count what is there where clips are missing.
        prompts: the list that the clips were made from; every clip of it must then be judged.
        judge: who judged, for a file without a record.

    Raises:
        InputError: clips that are missing or repeated, results out of range, or a score that is
            not that of its clips.
    """
    content = read_entries(path, dict)
    names = {d: d.replace(" ", "_").replace("Multi_View", "Multi-View") for d in content}
    unknown = [d for d in content if names[d] not in PROMPTS]
    refuse(unknown, f"{path} has unknown dimensions", "give a file of VBench-2.0")
    measures: dict[str, Rows] = {}
    notes: list[str] = []
    for said, dimension in names.items():
        measures[dimension] = _dimension(content[said], dimension, path, partial, notes)
    if not measures:
        raise InputError(f"{path} has 0 dimensions; judge the clips again")
    if prompts is not None:
        _check_cover(content, names, prompts, path)
    means = {c: parts for c, parts in CATEGORIES.items() if all(p in measures for p in parts)}
    for category in ("Physics", "Commonsense"):
        lacking = [p for p in CATEGORIES[category] if p not in measures]
        if lacking and len(lacking) < len(CATEGORIES[category]):
            notes.append(f"no {category} score without {', '.join(lacking)}")
    traced = origin({"questions": path}, "vbench2, gate -1 out of the denominator", judge)
    traced["notes"] = (*traced["notes"], *notes)
    if partial and any(note.startswith("a part") for note in notes):
        traced["protocol"]["part"] = [note for note in notes if note.startswith("a part")]
    name = path.name.removesuffix(".json").removesuffix("_eval_results")
    return Result(benchmark=NAME, method=method or name, measures=measures, means=means, **traced)


def as_json(result: Result) -> dict[str, Any]:
    """Scores of dimensions and categories, counts, and what a reader must know."""
    return {
        "dimensions": {name: result.value(name) for name in result.measures},
        "categories": {name: result.value(name) for name in result.means},
        "counted": {
            n: int(sum(b for _, b in rows.values())) for n, rows in result.measures.items()
        },
        "notes": result.notes,
    }


def _dimension(value: Any, dimension: str, path: Path, partial: bool, notes: list[str]) -> Rows:
    try:
        stated, clips = value
        names = [Path(str(clip["video_path"])).name for clip in clips]
        results = [clip["video_results"] for clip in clips]
    except (TypeError, ValueError, KeyError):
        raise InputError(
            f"{path}: {dimension} is not [score, [{{video_path, video_results}}]]; give the "
            "official *_eval_results.json"
        ) from None
    faults = [f"{name} is judged twice" for name in repeated(names)]
    faults += [
        f"{name} has the result {result!r}"
        for name, result in zip(names, results, strict=True)
        if not _allowed(dimension, result)
    ]
    low = GATE_FAILED if dimension in LEAVING else 0
    remedy = f"judge these clips again; results are {low} to 1"
    refuse(faults, f"{path}: {dimension}", remedy)
    samples: dict[str, dict[int, float]] = {}
    for name, result in zip(names, results, strict=True):
        match = _CLIP.fullmatch(name)
        if match is None:
            raise InputError(f"{path}: {name} is not named prompt-sample.mp4; keep official names")
        samples.setdefault(match["prompt"], {})[int(match["sample"])] = float(result)
    part = _part(dimension, samples)
    if part and not partial:
        raise InputError(
            f"{path}: {dimension} is a part: {listed(part)}; judge the rest, or count a part with "
            "--partial"
        )
    if part:
        notes.append(f"a part of {dimension}: {len(names)} clips of {len(samples)} prompts")
    failed = sum(r == GATE_FAILED for r in results) if dimension in LEAVING else 0
    rows: Rows = {}
    for prompt, found in samples.items():
        counted = [r for r in found.values() if r != GATE_FAILED or dimension not in LEAVING]
        rows[prompt] = (sum(counted), float(len(counted)))
    if dimension == "Motion_Order_Understanding" and failed > MOST_FAILED * len(results):
        notes.append(f"{dimension}: {failed} of {len(results)} clips fail, so it is 0, officially")
        rows = {prompt: (0.0, float(len(found))) for prompt, found in samples.items()}
    elif failed:
        notes.append(f"{dimension}: {failed} of {len(results)} clips fail their gate, not counted")
    below = sum(b for _, b in rows.values())
    if not below:
        raise InputError(
            f"{path}: {dimension} has 0 clips that pass the gate, so it has no score; generate "
            "better clips, or leave the dimension out"
        )
    mean = sum(a for a, _ in rows.values()) / below
    if isinstance(stated, int | float) and abs(stated - mean) > _CLOSE:
        raise InputError(
            f"{path}: {dimension} says {stated}, its clips give {mean:.6f}; restore the file"
        )
    return rows


def _part(dimension: str, samples: Mapping[str, Mapping[int, float]]) -> list[str]:
    """What a dimension lacks: prompts, and clips by name."""
    # Diversity has one result for all samples of a prompt, filed under the first.
    each = 1 if dimension == "Diversity" else SAMPLES
    short = [
        f"{prompt}-{i}.mp4 is missing"
        for prompt, found in samples.items()
        for i in range(each)
        if i not in found
    ]
    count = PROMPTS[dimension]
    return [f"{len(samples)} of {count} prompts", *short] if len(samples) != count else short


def _allowed(dimension: str, result: Any) -> bool:
    if not isinstance(result, int | float):
        return False
    if dimension in JUDGED or dimension in GATED:
        whole = (GATE_FAILED, 0, 1) if dimension in GATED else (0, 1)
        return not isinstance(result, bool) and result in whole
    return GATE_FAILED * (dimension in LEAVING) <= result <= 1


def _check_cover(
    content: Mapping[str, Any], names: Mapping[str, str], prompts: PromptList, path: Path
) -> None:
    judged = {
        (names[said], Path(str(clip["video_path"])).name)
        for said, (_, clips) in content.items()
        for clip in clips
    }
    wanted = [(item.group, name) for item in prompts.items for name in item.files]
    missing = [name for group, name in wanted if (group, name) not in judged]
    refuse(missing, f"{path} lacks {len(missing)} clips of {prompts.source}", "judge the rest")


def _dimensions(entry: Mapping[str, Any]) -> list[str]:
    said = entry.get("dimension", [])
    return [d.replace(" ", "_") for d in ([said] if isinstance(said, str) else said)]


def _files(source: Path, dimensions: Sequence[str]) -> list[Path]:
    if source.is_file():
        return [source]
    for folder in (source / "VBench-2.0" / "prompts" / "meta_info", source / "meta_info", source):
        files = [folder / f"{dimension}.json" for dimension in dimensions]
        if all(file.is_file() for file in files):
            return files
    raise InputError(
        f"{source} has no VBench-2.0/prompts/meta_info with {', '.join(dimensions)}; give a "
        "checkout of VBench"
    )
