"""VideoPhy-2 (arXiv 2503.06800, MIT): 590 prompts; semantics (SA) and physics (PC) of 1 to 5.

Joint is the share of clips with SA >= 4 and PC >= 4, joined by the clip's path and not by row
order. A rule is 0 violated, 1 followed, 2 not to be told; there is no official aggregate of rules,
so each way is named. Prompts come from the data set's CSV, which has a row for each clip of seven
models: captions repeat.
"""

import ast
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.benchmarks.generating import read_sampling
from pila.lab.benchmarks.judges import Judge, Question
from pila.lab.benchmarks.judges.asking import ask_all, judged_by
from pila.lab.benchmarks.prompt_list import (
    Item,
    PromptList,
    checked_items,
    find_clips,
    local_or_hub,
)
from pila.lab.benchmarks.reading import listed, read_table, refuse, repeated, whole_number
from pila.lab.benchmarks.records import write_record
from pila.lab.benchmarks.results import Result, Rows, origin

NAME = "videophy2"
PROMPTS = 590
HUB = "videophysics/videophy2_test"
HIGH = 4
SCORES = range(1, 6)
RULES = range(3)
VIOLATED, FOLLOWED, UNTOLD = RULES
RULE_COLUMNS = (
    "physics_rules_followed",
    "physics_rules_unfollowed",
    "physics_rules_cannot_be_determined",
)
TASKS = ("sa", "pc", "rule")
FRAMES = 32
"""That the official judge samples."""
_TEXTS = {
    "sa": "How much of this description does the video show?\n{caption}\n"
    "5: all of it. 4: all that matters. 3: about half. 2: little. 1: nothing.",
    "pc": "How plausible is the physics of this video, whatever its subject: solids keep their "
    "shape, things fall, flow, collide and stop as they would in the world?\n"
    "5: nothing is wrong. 4: small faults. 3: some clear faults. 2: many. 1: it is impossible.",
    "rule": "Is this rule followed in the video?\n{rule}\n"
    "1: it is followed. 0: it is violated. 2: the video does not let one tell.",
}
_AGAIN = "judge these clips again, then aggregate"


def clip_name(caption: str, number: int = 0) -> str:
    """A clip's name after the official examples: underscores for blanks, no full stop, its number.

    Longer names than file systems take are cut.
    """
    stem = caption.strip().rstrip(".").replace("/", "-").replace(" ", "_")
    return f"{stem.encode()[:230].decode(errors='ignore')}_{number}.mp4"


def read_prompts(source: str = HUB, *, hard: bool = False) -> PromptList:
    """Prompts with their rules, from Hugging Face or the same CSV on disk.

    Args:
        source: the data set's id, its CSV, or a folder with it.
        hard: the hard subset alone; its size is not checked.

    Raises:
        InputError: no such file, or not 590 prompts.
    """
    path = find_csv(local_or_hub(source, HUB), "caption")
    rules: dict[str, dict[str, None]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for row in read_table(path, ["caption"]):
        caption = row["caption"].strip()
        facts.setdefault(caption, {k: row.get(k) for k in ("action", "category", "is_hard")})
        found = rules.setdefault(caption, {})
        for column in RULE_COLUMNS:
            found |= dict.fromkeys(_texts(row.get(column), path, caption))
    items = [
        Item(
            key=clip_name(caption),
            prompt=caption,
            group=str(facts[caption]["category"] or ""),
            files=(clip_name(caption),),
            details={**facts[caption], "rules": list(rules[caption])},
        )
        for caption in rules
    ]
    if hard:
        items = [i for i in items if str(i.details["is_hard"]).strip().lower() in ("1", "true")]
        if not items:
            raise InputError(f"{path} marks 0 prompts as hard (column is_hard); leave --hard out")
    checked = checked_items(items, len(items) if hard else PROMPTS, path)
    return PromptList(benchmark=NAME, source=f"{source}{' hard' if hard else ''}", items=checked)


def find_csv(path: Path, column: str) -> Path:
    """The file itself, or the only CSV below a folder that has a column.

    Raises:
        InputError: none, or several.
    """
    if not path.is_dir():
        return path
    found = [p for p in sorted(path.rglob("*.csv")) if column in _header(p)]
    if len(found) != 1:
        raise InputError(
            f"{path} has {len(found)} CSV files with a column {column} ({listed(found)}); name "
            "one with --source"
        )
    return found[0]


def judge(
    prompts: PromptList,
    folder: Path,
    out: Path,
    judge: Judge,
    *,
    tasks: Sequence[str] = TASKS,
    frames: int = FRAMES,
    official_parser: bool = False,
) -> list[Path]:
    """Ask a judge about every clip and write `sa.csv`, `pc.csv`, `rule.csv` in the official form.

    Questions are worded here, not as the official judge's own; results say so.

    Raises:
        InputError: clips that are missing or damaged, or questions without an answer, all named.
    """
    clips = find_clips(prompts, folder)
    sampling = read_sampling(folder)
    written: list[Path] = []
    for task in tasks:
        rows: list[dict[str, Any]] = []
        questions: list[Question] = []
        kind = "rule" if task == "rule" else "score"
        for item in prompts.items:
            for name in item.files:
                for rule in item.details.get("rules", ()) if task == "rule" else [""]:
                    key = f"{task} {name} {rule}".strip()
                    rows.append({"key": key, "videopath": str(clips[name]), "rule": rule})
                    rows[-1]["caption"] = item.prompt
                    questions.append(
                        Question(
                            key=key,
                            video=clips[name],
                            text=_TEXTS[task].format(caption=item.prompt, rule=rule),
                            answers=f"official {kind}" if official_parser else kind,
                            frames=frames,
                        )
                    )
        if not questions:
            raise InputError(f"{prompts.source} has 0 rules; leave the task rule out with --tasks")
        values = ask_all(judge, questions)
        for row in rows:
            row["score"] = values[row["key"]]
        columns = ("videopath", "rule") if task == "rule" else ("caption", "videopath")
        path = out / f"{task}.csv"
        write_scores(path, rows, columns)
        protocol = judged_by(judge, questions, prompts.digest)
        write_record(path, {"protocol": protocol, "sampling": sampling})
        written.append(path)
    return written


def aggregate(
    *,
    sa: Path,
    pc: Path,
    rule: Path | None = None,
    method: str | None = None,
    prompts: PromptList | None = None,
    judge: str | None = None,
) -> Result:
    """Joint, SA, PC and rules from the judge's CSV files.

    Args:
        sa: columns `videopath`, `caption`, `score`, and any others.
        pc: the same; `caption` may be left out.
        rule: columns `videopath`, `rule`, `score`, a row for each rule.
        method: a name for tables.
        prompts: the list that the clips were made from; every clip of it must then be judged.
        judge: who judged, for files without a record.

    Raises:
        InputError: rows that are missing, repeated or out of range, or captions that disagree.
    """
    tables = {"sa": _scores(sa, "caption"), "pc": _scores(pc)}
    for name, other in (("sa", "pc"), ("pc", "sa")):
        lacks = [p for p in tables[other] if p not in tables[name]]
        where = {"sa": sa, "pc": pc}[name]
        refuse(lacks, f"{where} lacks {len(lacks)} clips of the other file", _AGAIN)
    wrong = [
        f"{path}: {tables['sa'][path]['caption'][:50]!r} and {row['caption'][:50]!r}"
        for path, row in tables["pc"].items()
        if row["caption"] and row["caption"].strip() != tables["sa"][path]["caption"].strip()
    ]
    refuse(wrong, f"{sa} and {pc} have different captions", "judge both with the same list")
    # Clips of one caption are one prompt: they are resampled together.
    key = {path: row["caption"].strip() or path for path, row in tables["sa"].items()}
    notes = [_cover(tables["sa"], prompts, sa)]
    high = {
        task: {path: float(int(row["score"]) >= HIGH) for path, row in table.items()}
        for task, table in tables.items()
    }
    joint = {path: high["sa"][path] * high["pc"][path] for path in key}
    measures = {"joint": _by_prompt(joint, key)}
    measures |= {task: _by_prompt(values, key) for task, values in high.items()}
    files = {"sa": sa, "pc": pc}
    if rule is not None:
        files["rule"] = rule
        measures |= _rules(rule, key, notes)
    traced = origin(files, "videophy2 joint by path, rules in named variants", judge)
    traced["notes"] = (*traced["notes"], *filter(None, notes))
    return Result(
        benchmark=NAME, method=method or sa.parent.name or NAME, measures=measures, **traced
    )


def as_json(result: Result) -> dict[str, Any]:
    """Scores, how many clips they rest on, and what a reader must know."""
    scores: dict[str, Any] = {n: result.value(n) for n in result.names if "/" not in n}
    rules = {n.partition("/")[2]: result.value(n) for n in result.names if n.startswith("rule/")}
    clips = int(sum(below for _, below in result.measures["joint"].values()))
    return {**scores, **({"rule": rules} if rules else {}), "videos": clips, "notes": result.notes}


def write_scores(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a judge's CSV as the official script does: an index, the input's columns, the score.

    Raises:
        InputError: the place cannot be written.
    """
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *columns, "score"])
        for i, row in enumerate(rows):
            writer.writerow([i, *(row[c] for c in columns), float(row["score"])])


def _scores(path: Path, *columns: str) -> dict[str, dict[str, Any]]:
    """Captions and scores of 1 to 5 by the clip's path."""
    rows = read_table(path, ["videopath", *columns, "score"])
    paths = [row["videopath"].strip() for row in rows]
    faults = [f"{p} is judged twice" for p in repeated(paths)]
    faults += [f"row {i + 1} names no clip" for i, p in enumerate(paths) if not p]
    table: dict[str, dict[str, Any]] = {}
    for name, row in zip(paths, rows, strict=True):
        score = whole_number(row["score"], SCORES)
        if score is None:
            hint = " (0 marks an answer that was not understood)" if row["score"] in _ZEROS else ""
            faults.append(f"{name} has the score {row['score']!r}, not 1 to 5{hint}")
        else:
            table[name] = {"caption": row.get("caption") or "", "score": score}
    refuse(faults, path, _AGAIN)
    return table


_ZEROS = ("0", "0.0")


def _rules(path: Path, key: Mapping[str, str], notes: list[str]) -> dict[str, Rows]:
    """Four ways to count rules, by name."""
    rows = read_table(path, ["videopath", "rule", "score"])
    pairs = [(row["videopath"].strip(), row["rule"].strip()) for row in rows]
    faults = [f"{pair} twice" for pair in repeated(f"{v}: {r}" for v, r in pairs)]
    verdicts: dict[str, list[int]] = {}
    for (video, rule), row in zip(pairs, rows, strict=True):
        score = whole_number(row["score"], RULES)
        if score is None:
            faults.append(f"{video}: {rule[:50]!r} has the score {row['score']!r}, not 0, 1 or 2")
        else:
            verdicts.setdefault(video, []).append(score)
    refuse(faults, path, _AGAIN)
    for names, what in (
        ([v for v in key if v not in verdicts], "no rule is judged for"),
        ([v for v in verdicts if v not in key], "rules alone are judged for"),
    ):
        if names:
            notes.append(f"{what} {len(names)} clips: {listed(names)}")

    def counted(above: Sequence[int], below: Sequence[int]) -> Rows:
        sums: Rows = {}
        for video, found in verdicts.items():
            a, b = sums.get(key.get(video, video), (0.0, 0.0))
            mine = sum(s in above for s in found), sum(s in below for s in found)
            sums[key.get(video, video)] = (a + mine[0], b + mine[1])
        return sums

    clean = {video: float(VIOLATED not in found) for video, found in verdicts.items()}
    every = tuple(RULES)
    ways = {
        "rule/followed_of_told": counted([FOLLOWED], [VIOLATED, FOLLOWED]),
        "rule/followed_of_all": counted([FOLLOWED], every),
        "rule/not_violated": counted([FOLLOWED, UNTOLD], every),
        "rule/clips_without_violation": _by_prompt(clean, {v: key.get(v, v) for v in verdicts}),
    }
    if not any(below for _, below in ways["rule/followed_of_told"].values()):
        notes.append("no rule could be told, so rule/followed_of_told has no value")
        del ways["rule/followed_of_told"]
    return ways


def _by_prompt(values: Mapping[str, float], key: Mapping[str, str]) -> Rows:
    sums: Rows = {}
    for path, value in values.items():
        above, below = sums.get(key[path], (0.0, 0.0))
        sums[key[path]] = (above + value, below + 1)
    return sums


def _cover(table: Mapping[str, Any], prompts: PromptList | None, path: Path) -> str:
    """A note on how much of the benchmark is judged; with a list all of it must be."""
    if prompts is not None:
        by_name = {Path(name).name: row for name, row in table.items()}
        missing = [name for name in prompts.files if name not in by_name]
        refuse(missing, f"{path} lacks {len(missing)} clips of {prompts.source}", _AGAIN)
        swapped = [
            f"{name} as {by_name[name]['caption'][:50]!r}"
            for item in prompts.items
            for name in item.files
            if by_name[name]["caption"].strip() != item.prompt
        ]
        refuse(swapped, f"{path} judges clips with another prompt", _AGAIN)
    captions = {row["caption"].strip() for row in table.values()}
    if len(captions) == PROMPTS:
        return ""
    return f"{len(captions)} prompts, of which the benchmark has {PROMPTS}"


def _texts(field: str | None, path: Path, caption: str) -> list[str]:
    """The texts of a list that is written as Python or JSON writes it."""
    text = (field or "").strip()
    if not text or text.lower() in ("nan", "none"):
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(
            f"{path} has rules of {caption[:50]!r} that are no list: {text[:50]!r}; download the "
            "file again"
        ) from None
    return [str(rule).strip() for rule in value] if isinstance(value, list | tuple) else []


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(io.StringIO(file.readline())), [])
