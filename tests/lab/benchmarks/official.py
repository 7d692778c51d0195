"""Files in the benchmarks' official forms, with prompts of our own."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pila.lab.benchmarks import phygenbench
from pila.lab.benchmarks.label_parser import PHYGENBENCH
from pila.lab.benchmarks.phygenbench import average_score, route_score
from pila.video import write_video

MAIN = {
    "Force": 40,
    "Light": 50,
    "Heat": 30,
    "Physical Properties": 25,
    "Chemical Properties": 15,
}
LAW = {
    "Force": "Elasticity",
    "Light": "Reflection",
    "Heat": "Melting",
    "Physical Properties": "Hardness",
    "Chemical Properties": "Redox property",
}


def phygen_prompts() -> list[dict[str, Any]]:
    """160 entries as prompts.json has them."""
    kinds = [main for main, count in MAIN.items() for _ in range(count)]
    return [
        {
            "caption": f"scene number {i + 1} of {main.lower()}",
            "physical_laws": f"law {i + 1}",
            "sub_category": LAW[main],
            "main_category": main,
        }
        for i, main in enumerate(kinds)
    ]


def phygen_result(stages: np.ndarray, model: str = "ours") -> list[dict[str, Any]]:
    """A per-model result file from stages [160, 5] of 0 to 3."""
    entries = phygen_prompts()
    names = ("single", "multi_gpt", "multi_llava", "video_gpt", "video_intern")
    for i, (entry, row) in enumerate(zip(entries, stages.tolist(), strict=True)):
        entry |= dict(zip(names, row, strict=True))
        single, multi_gpt, multi_llava, video_gpt, video_intern = row
        closed = route_score([single, multi_gpt, video_gpt])
        open_ = route_score([single, multi_llava, video_intern])
        entry[f"{model}_average"] = average_score(closed, open_)
        entry[f"{model}_closed"], entry[f"{model}_open"] = closed, open_
        entry["video"] = f"/somewhere/{model}/{phygenbench.clip_name(i + 1)}"
    return entries


def phygen_checkout(folder: Path) -> Path:
    """A folder with the five files that a checkout of PhyGenBench has."""
    place = folder / "PhyGenBench"
    place.mkdir(parents=True)
    main = phygen_prompts()

    def write(name: str, field: str | None = None, value: Any = None) -> None:
        entries = [entry | ({field: value} if field else {}) for entry in main]
        (place / f"{name}.json").write_text(json.dumps(entries))

    ask = {"Question": "", "Answer": "", "Antonym": "a"}
    write("prompts")
    write("explicit_prompts", "explicit_caption", "it starts, goes on and ends")
    write(
        "single_question",
        "singleimage_question",
        [
            {"Retrieval Prompt": "it goes on", "Statement": "it is going on", **ask},
            {"Retrieval Prompt": "Last Frame", "Statement": "it has ended", **ask},
        ],
    )
    write(
        "multi_question",
        "multiimage_question",
        {"Retrieval Prompt": "Middle Frame", "Description1": "starts", "Description2": "ends"},
    )
    write(
        "video_question",
        "video_question",
        {f"Description{n}": f"description {n}" for n in (1, 2, 3, 4)},
    )
    assert {law.lower() for law in LAW.values()} <= set(PHYGENBENCH)
    return folder


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def write_clip(path: Path, seed: int, *, frames: int = 4) -> Path:
    """A small video; another seed is another clip."""
    noise = np.random.default_rng(seed).integers(0, 255, (frames, 16, 16, 3), dtype=np.uint8)
    write_video(path, noise, fps=8)
    return path
