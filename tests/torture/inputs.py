"""Commands that are given changed input: one line with a remedy, or the right result.

Right is: what is written is whole; where the change means nothing (a byte order mark, another
order), it is what the sound input gives, byte for byte.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mutations import (
    Mutant,
    of_answer,
    of_csv,
    of_json,
    of_prompt,
    of_safetensors,
    of_video,
)
from tests.torture.ground import PROMPT, Ground, digests, half_in, left_in
from tests.torture.page import try_page
from tests.torture.process import Ended, fault_of, run_command

ANSWER = {"categories": ["rigid_body"], "refined_prompt": "A red ball falls.", "reason": "a ball"}
_sound: dict[str, Any] = {}
"""Results of sound input."""


def _checked(ended: Ended, out: Path, sound: dict[str, str], *, same: bool) -> str | None:
    """What is wrong with an end and with what it has left in a folder."""
    if fault := fault_of(ended):
        return fault
    out.mkdir(exist_ok=True)
    if left := left_in(out):
        return f"{left[0]} is left over"
    if half := half_in(out, sound):
        return f"{half} is half there"
    if ended.code == 0 and not digests(out):
        return "exit code 0, and nothing is written"
    if same and ended.code:
        return f"what means the same is refused: {ended.err[-300:]}"
    if same and digests(out) != sound:
        return "what means the same gives another result"
    return None


def _copied(folder: Path, place: Path) -> Path:
    """A copy of a folder, of the same files until one is written anew."""
    shutil.copytree(folder, place, copy_function=os.link)
    return place


def _mutated(root: Path, path: Path, mutant: Mutant) -> None:
    target = root / path
    target.unlink()
    target.write_bytes(mutant.content)


def _generated(ground: Ground, room: Path, options: list[str]) -> Ended:
    clip = ["--output", str(room / "out" / "clip.mp4")]
    return run_command(["generate", PROMPT, *clip, *ground.generate, *options], room / "said")


def _sound_clip(ground: Ground) -> dict[str, str]:
    key = f"{ground.folder} clip"
    if key not in _sound:
        with ground.room("sound clip") as room:
            ended = _generated(ground, room, [])
            assert ended.code == 0, ended.err
            _sound[key] = digests(room / "out")
    return {"clip.mp4": _sound[key]["clip.mp4"]}


def _try_model(
    ground: Ground, room: Path, draw: random.Random, suffix: str, change: Callable[..., Mutant]
) -> tuple[str, str | None]:
    """A clip by a model or an adapter of which one file is changed."""
    files = [
        (name, path.relative_to(folder))
        for name, folder in (("model", ground.model), ("adapter", ground.adapter))
        for path in sorted(folder.rglob(f"*{suffix}"))
        if path.stat().st_size < 2**20 or suffix == ".safetensors"
    ]
    name, path = draw.choice(files)
    folder = ground.model if name == "model" else ground.adapter
    mutant = change(draw, (folder / path).read_bytes())
    copy = _copied(folder, room / name)
    _mutated(copy, path, mutant)
    ended = _generated(ground, room, [f"--{name}", str(copy)])
    same = mutant.same and path.name not in ("tokenizer.json",)
    fault = _clip_fault(ended, room, _sound_clip(ground), same=same)
    return f"{name}/{path}: {mutant.kind}", fault


def _clip_fault(ended: Ended, room: Path, sound: dict[str, str], *, same: bool) -> str | None:
    if fault := _checked(ended, room / "out", sound, same=False):
        return fault
    if same and ended.code:
        return f"what means the same is refused: {ended.err[-300:]}"
    if same and digests(room / "out")["clip.mp4"] != sound["clip.mp4"]:
        return "what means the same gives another clip"
    return None


def _try_json(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    if draw.random() < 0.7:
        return _try_model(ground, room, draw, ".json", of_json)
    return draw.choice((_try_prompt_list, _try_world_record, _try_cache_header))(ground, room, draw)


def _try_prompt_list(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    mutant = of_json(draw, ground.prompts.read_bytes())
    (room / "prompts.json").write_bytes(mutant.content)
    options = ("--output", str(room / "out"), "--model", str(ground.model), "--steps", "1")
    options += ("--device", "cpu")
    ended = run_command(
        ["evaluate", "vbench2", "generate", "--prompts", str(room / "prompts.json"), *options],
        room / "said",
    )
    return f"prompts.json: {mutant.kind}", _checked(ended, room / "out", {}, same=False)


def _try_world_record(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    """A folder of clips that is gone on with, of which one record is changed."""
    args = ["--clips", "2", "--size", "32", "--scene", "thrown_ball", "--processes", "1"]
    key = f"{ground.folder} world"
    kept = ground.folder / "world"
    if key not in _sound:
        ended = run_command(["world", "make", "--out", str(kept), *args], room / "said")
        assert ended.code == 0, ended.err
        _sound[key] = digests(kept)
    copy = _copied(kept, room / "out")
    path = draw.choice([Path("000000.json"), Path("000001.json")])
    mutant = of_json(draw, (copy / path).read_bytes())
    _mutated(copy, path, mutant)
    ended = run_command(["world", "make", "--out", str(copy), *args], room / "said")
    fault = fault_of(ended) or ("a part is left over" if left_in(copy) else None)
    return f"world record: {mutant.kind}", fault


def _try_cache_header(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    """A latent cache that is verified, of which one JSON file is changed."""
    kept = ground.folder / "cache"
    if not (kept / "index.parquet").exists():
        ended = _cached(ground, ground.source / "list.csv", kept, room)
        assert ended.code == 0, ended.err
    copy = _copied(kept, room / "out")
    path = draw.choice(sorted(p.relative_to(copy) for p in copy.rglob("*.json")))
    mutant = of_json(draw, (copy / path).read_bytes())
    _mutated(copy, path, mutant)
    if draw.random() < 0.5:
        ended = run_command(["data", "verify", str(copy)], room / "said")
    else:
        ended = _cached(ground, ground.source / "list.csv", copy, room)
    return f"cache {path}: {mutant.kind}", fault_of(ended)


def _cached(ground: Ground, source: Path, out: Path, room: Path) -> Ended:
    given = ("--model", str(ground.model), "--out", str(out), "--root", str(ground.source))
    options = ("--processes", "0", "--device", "cpu", "--shard-clips", "2")
    return run_command(["data", "cache", str(source), *given, *options], room / "said")


def _try_safetensors(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    return _try_model(ground, room, draw, ".safetensors", of_safetensors)


def _try_csv(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    key = f"{ground.folder} list"
    if key not in _sound:
        ended = _cached(ground, ground.source / "list.csv", room / "sound", room)
        assert ended.code == 0, ended.err
        _sound[key] = digests(room / "sound")
    mutant = of_csv(draw, (ground.source / "list.csv").read_bytes())
    (room / "list.csv").write_bytes(mutant.content)
    ended = _cached(ground, room / "list.csv", room / "out", room)
    if ended.code and not fault_of(ended) and not mutant.same:
        return mutant.kind, None  # what is whole of a cache waits for the next call
    return mutant.kind, _checked(ended, room / "out", _sound[key], same=mutant.same)


def _try_video(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    mutant = of_video(draw, (ground.source / "0.mp4").read_bytes())
    (room / "clips").mkdir()
    path = room / "clips" / "0.mp4"
    path.write_bytes(mutant.content)
    if draw.random() < 0.5:
        args = ["world", "measure", str(path), "--scene", "thrown_ball", "--json"]
        ended = run_command(args, room / "said")
        fault = fault_of(ended)
        if ended.code == 0 and not fault:
            laws = json.loads(ended.out)["laws"]
            fault = None if laws else "no law is measured"
        return f"{mutant.kind}, measured", fault
    shutil.copy(ground.source / "1.mp4", room / "clips" / "1.mp4")
    (room / "clips" / "list.csv").write_text(
        "file,caption,categories\n0.mp4,a ball falls,rigid_body\n1.mp4,a ball falls,rigid_body\n"
    )
    given = ("--model", str(ground.model), "--out", str(room / "out"), "--processes", "0")
    ended = run_command(
        ["data", "cache", str(room / "clips" / "list.csv"), *given, "--device", "cpu"],
        room / "said",
    )
    if ended.code == 2:
        return f"{mutant.kind}, cached", f"the sound clip is refused, too: {ended.err[-300:]}"
    return f"{mutant.kind}, cached", _checked(ended, room / "out", {}, same=False)


def _try_settings(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    kept = ground.folder / "kept-settings.json"
    if not kept.exists():
        with ground.room("settings") as place:
            assert _generated(ground, place, []).code == 0
            shutil.copy(place / "out" / "clip-settings.json", kept)
    mutant = of_json(draw, kept.read_bytes())
    (room / "settings.json").write_bytes(mutant.content)
    clip = ("--output", str(room / "out" / "clip.mp4"))
    ended = run_command(["generate", "--from", str(room / "settings.json"), *clip], room / "said")
    return mutant.kind, _clip_fault(ended, room, _sound_clip(ground), same=mutant.same)


def _try_prompt(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    # As a shell hands it over: no zero byte, what is no UTF-8 as a surrogate, 128 KiB at most.
    prompt = of_prompt(draw, PROMPT).replace("\x00", "")
    prompt = os.fsdecode(prompt.encode("utf-8", "surrogatepass"))
    if draw.random() < 0.5:
        args = ["label", prompt, "--parser", "offline", "--json"]
        ended = run_command(args, room / "said")
        fault = fault_of(ended)
        if ended.code == 0 and not fault:
            json.loads(ended.out)
        return f"labelled {prompt[:40]!r}", fault
    clip = ["--output", str(room / "out" / "clip.mp4")]
    ended = run_command(["generate", prompt, *clip, *ground.generate], room / "said")
    if ended.code == 0 and not (room / "out").exists():
        return f"drawn {prompt[:40]!r}", None if ended.out else "nothing is written"
    return f"drawn {prompt[:40]!r}", _checked(ended, room / "out", {}, same=False)


def _try_answer(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    from tests.labels.chat_server import completion
    from tests.torture.page import answering

    from pila.physics import Category

    mutant = of_answer(draw, completion(json.dumps(ANSWER)))
    with answering(mutant.content, room) as url:
        environment = {
            "PILA_LLM_BASE_URL": url,
            "PILA_LLM_MODEL": "tiny",
            "XDG_CACHE_HOME": str(room / "kept"),
        }
        args = ["label", PROMPT, "--parser", "llm", "--json"]
        ended = run_command(args, room / "said", environment)
    fault = fault_of(ended)
    if ended.code == 0 and not fault:
        found = json.loads(ended.out)["categories"]
        odd = [c for c in found if c not in {str(c) for c in Category}]
        fault = f"categories are {found}" if odd else None
    return mutant.kind, fault


Try = Callable[[Ground, Path, random.Random], tuple[str, str | None]]
INPUTS: dict[str, Try] = {
    "input: JSON": _try_json,
    "input: safetensors": _try_safetensors,
    "input: CSV": _try_csv,
    "input: videos": _try_video,
    "input: settings": _try_settings,
    "input: prompts": _try_prompt,
    "input: answers": _try_answer,
    "input: HTTP": try_page,
}


def try_input(name: str, ground: Ground, index: int, draw: random.Random) -> str | None:
    """Give a command one changed input, and say what is wrong with what it does."""
    with ground.room(f"{name.removeprefix('input: ')} {index}") as room:
        kind, fault = INPUTS[name](ground, room, draw)
    return fault and f"{kind}: {fault}"
