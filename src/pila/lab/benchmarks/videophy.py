"""VideoPhy (arXiv 2406.03520, MIT): 344 public prompts, SA and PC as a judge's chance of yes.

The official judge writes rows without a header: the clip's path, its whole question, the chance
that the answer is yes. A clip adheres from 0.5 on; the repository prints shares and no threshold,
so that it is an option and is said.
"""

import csv
import io
from pathlib import Path
from typing import Any

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
from pila.lab.benchmarks.reading import own_names, read_table, read_text, refuse, repeated
from pila.lab.benchmarks.records import write_record
from pila.lab.benchmarks.results import Result, Rows, origin
from pila.lab.benchmarks.videophy2 import find_csv

NAME = "videophy"
PROMPTS = 344
HUB = "videophysics/videophy_test_public"
THRESHOLD = 0.5
FRAMES = 32
_TEXTS = {
    "sa": "Does this video show what the description says?\n{caption}",
    "pc": "Does everything in this video move and change as the laws of physics allow?",
}
_AGAIN = "judge these clips again, then aggregate"


def clip_name(caption: str, number: int = 0) -> str:
    """A clip's name after the official examples: underscores for blanks, and its number."""
    stem = caption.strip().replace("/", "-").replace(" ", "_")
    return f"{stem.encode()[:230].decode(errors='ignore')}_{number}.mp4"


def read_prompts(source: str = HUB) -> PromptList:
    """Prompts from Hugging Face or the same CSV on disk, where captions repeat by model.

    Raises:
        InputError: no such file, or not 344 prompts.
    """
    path = find_csv(local_or_hub(source, HUB), "caption")
    states: dict[str, str] = {}
    for row in read_table(path, ["caption"]):
        states.setdefault(row["caption"].strip(), row.get("states_of_matter") or "")
    items = (
        Item(key=clip_name(c), prompt=c, group=state, files=(clip_name(c),))
        for c, state in states.items()
    )
    checked = checked_items(items, PROMPTS, path)
    return PromptList(benchmark=NAME, source=source, items=checked)


def judge(
    prompts: PromptList, folder: Path, out: Path, judge: Judge, *, frames: int = FRAMES
) -> list[Path]:
    """Ask a judge about every clip and write `sa.csv` and `pc.csv` in the official form.

    A judge that answers in words has chances of 0 and 1.

    Raises:
        InputError: clips that are missing or damaged, or questions without an answer, all named.
    """
    clips = find_clips(prompts, folder)
    sampling = read_sampling(folder)
    written: list[Path] = []
    for task, text in _TEXTS.items():
        questions = [
            Question(
                key=f"{task} {name}",
                video=clips[name],
                text=text.format(caption=item.prompt),
                answers="yes",
                frames=frames,
            )
            for item in prompts.items
            for name in item.files
        ]
        values = ask_all(judge, questions)
        path = out / f"{task}.csv"
        with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            for q in questions:
                csv.writer(file).writerow([q.video, q.text, float(values[q.key])])
        protocol = judged_by(judge, questions, prompts.digest)
        write_record(path, {"protocol": protocol, "sampling": sampling})
        written.append(path)
    return written


def aggregate(
    *,
    sa: Path,
    pc: Path,
    threshold: float = THRESHOLD,
    method: str | None = None,
    prompts: PromptList | None = None,
    judge: str | None = None,
) -> Result:
    """Shares of clips that adhere to the prompt, to physics, and to both, joined by path.

    Args:
        sa: the judge's CSV, without a header as officially, or with `videopath` and `score`.
        pc: the same.
        threshold: chance from which a clip adheres.
        method: a name for tables.
        prompts: the list that the clips were made from; every clip of it must then be judged.
        judge: who judged, for files without a record.

    Raises:
        InputError: rows that are missing, repeated or out of range.
    """
    tables = {"sa": read_chances(sa), "pc": read_chances(pc)}
    for name, other, where in (("sa", "pc", sa), ("pc", "sa", pc)):
        lacks = [path for path in tables[other] if path not in tables[name]]
        refuse(lacks, f"{where} lacks {len(lacks)} clips of the other file", _AGAIN)
    if prompts is not None:
        there = {Path(path).name for path in tables["sa"]}
        missing = [name for name in prompts.files if name not in there]
        refuse(missing, f"{sa} lacks {len(missing)} clips of {prompts.source}", _AGAIN)

    # By the clip's own name, so that methods whose clips lie in folders of their own are compared.
    names = own_names(tables["sa"])

    def shares(*tasks: str) -> Rows:
        return {
            name: (float(all(tables[task][path] >= threshold for task in tasks)), 1.0)
            for path, name in names.items()
        }

    measures = {"joint": shares("sa", "pc"), "sa": shares("sa"), "pc": shares("pc")}
    traced = origin({"sa": sa, "pc": pc}, f"videophy, adheres from {threshold:g} on", judge)
    if len(tables["sa"]) != PROMPTS:
        clips = f"{len(tables['sa'])} clips; the benchmark has {PROMPTS} public prompts"
        traced["notes"] = (*traced["notes"], clips)
    return Result(
        benchmark=NAME, method=method or sa.parent.name or NAME, measures=measures, **traced
    )


def as_json(result: Result) -> dict[str, Any]:
    """Scores, the number of clips, and what a reader must know."""
    scores = {name: result.value(name) for name in result.names}
    return {**scores, "videos": len(result.measures["joint"]), "notes": result.notes}


def read_chances(path: Path) -> dict[str, float]:
    """Chances of yes in [0, 1] by clip.

    Raises:
        InputError: no such file; rows that are repeated, cut short or out of range.
    """
    text = read_text(path)
    if "videopath" in text.splitlines()[0]:
        pairs = [(r["videopath"], r["score"]) for r in read_table(path, ["videopath", "score"])]
    else:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        odd = [f"row {i + 1} has {len(r)} fields" for i, r in enumerate(rows) if len(r) != 3]
        refuse(odd, f"{path} must have clip, question and chance in each row", _AGAIN)
        pairs = [(row[0], row[2]) for row in rows]
    faults = [f"{name} is judged twice" for name in repeated(name for name, _ in pairs)]
    chances: dict[str, float] = {}
    for name, said in pairs:
        try:
            chances[name] = float(said)
        except ValueError:
            chances[name] = -1.0
        if not 0 <= chances[name] <= 1:
            faults.append(f"{name} has the score {said!r}, not 0 to 1")
    refuse(faults, path, _AGAIN)
    return chances
