"""Commands that are ended by SIGKILL at a random moment, and then given again.

Between the two no file may be half there; afterwards all must be that of an unbroken run.
"""

import json
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.ground import PROMPT, Ground, digests, half_in, left_in
from tests.torture.process import Command, Ended, fault_of

TRIES = 6
"""Earlier and earlier moments are tried until a kill comes before the command's own end."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A command to end.

    Attributes:
        args: from the sound input and the output's place to what stands behind `pila`.
        processes: that a launcher would start.
        changing: names of entries in JSON that differ between unbroken runs, too.
    """

    args: Callable[[Ground, Path], list[str]]
    processes: int = 1
    changing: tuple[str, ...] = ()


def _world(ground: Ground, out: Path) -> list[str]:
    options = ("--clips", "6", "--size", "32", "--scene", "thrown_ball", "--processes", "2")
    return ["world", "make", "--out", str(out), *options]


def _cache(ground: Ground, out: Path) -> list[str]:
    options = ("--clips", "6", "--shard-clips", "2", "--processes", "1", "--device", "cpu")
    return ["data", "cache", "world", "--model", str(ground.model), "--out", str(out), *options]


def _train(ground: Ground, out: Path) -> list[str]:
    options = ("--steps", "8", "--checkpoint-every", "2", "--checkpoint-minutes", "0")
    changes = ("--set", "optim.batch=4", "optim.warmup=2")
    return ["train", "embedded-text", "--output", str(out), *options, *changes]


def _experiment(ground: Ground, out: Path) -> list[str]:
    given = ("--model", str(ground.model), "--adapters", f"pila={ground.adapter}")
    options = ("--clips", "2", "--processes", "1")
    return ["experiment", "bank", "--output", str(out), *given, *options]


def _evaluate(ground: Ground, out: Path) -> list[str]:
    given = ("--model", str(ground.model), "--adapters", f"pila={ground.adapter}")
    options = ("--prompts", str(ground.prompts), "--steps", "1", "--device", "cpu")
    return ["evaluate", "vbench2", "generate", "--output", str(out), *given, *options]


def _generate(ground: Ground, out: Path) -> list[str]:
    clip = ("--output", str(out / "clip.mp4"), "--compare")
    return ["generate", PROMPT, *clip, *ground.generate]


_RATES = ("seconds_per_step", "processor_seconds_per_step")

KILLS = {
    "kill: world make": Kill(_world),
    "kill: data cache": Kill(_cache),
    "kill: train": Kill(_train, changing=(*_RATES, "commit")),
    "kill: train, 2 processes": Kill(_train, processes=2, changing=(*_RATES, "commit")),
    "kill: experiment": Kill(_experiment, changing=("seconds", "commit")),
    "kill: evaluate": Kill(_evaluate, changing=("commit",)),
    "kill: generate": Kill(_generate, changing=("commit",)),
}
_unbroken: dict[str, tuple[dict[str, str], float]] = {}
"""Of each class: digests of an unbroken run's folder, and its seconds."""


def try_kill(name: str, ground: Ground, index: int, draw: random.Random) -> str | None:
    """End a command once, run it again, and say what is wrong with what is there then."""
    kill = KILLS[name]
    key = f"{ground.folder} {name}"
    if key not in _unbroken:
        with ground.room(f"{name} unbroken") as room:
            ended = _run(kill, ground, room)[0]
            if fault := fault_of(ended) or (ended.code and ended.err[-300:]):
                return f"the unbroken run: {fault}"
            _unbroken[key] = _result(kill, room / "out"), ended.seconds
    sound, seconds = _unbroken[key]
    share, whole = draw.random(), kill.processes > 1 or draw.random() < 0.5
    with ground.room(f"{name} {index}") as room:
        for attempt in range(TRIES):
            after = seconds * share * 0.7**attempt
            ended, orphans = _run(kill, ground, room, kill_after=after, whole=whole)
            if orphans:
                return "a process that the killed one has started runs on"
            if ended.code is not None and ended.code < 0:
                break
            if fault := _wrong(kill, ended, room / "out", sound):
                return f"not killed: {fault}"
        if half := half_in(room / "out", digests(room / "out") | sound):
            return f"killed after {after:.2f} s: {half} is half there"
        ended, _ = _run(kill, ground, room)
        fault = _wrong(kill, ended, room / "out", sound)
        return f"killed after {after:.2f} s: {fault}" if fault else None


def _wrong(kill: Kill, ended: Ended, out: Path, sound: Mapping[str, str]) -> str | None:
    if fault := fault_of(ended) or (ended.code and f"exit code {ended.code}: {ended.err[-300:]}"):
        return fault
    if left := left_in(out):
        return f"{left[0]} is left over"
    found = _result(kill, out)
    other = sorted(n for n in found.keys() | sound.keys() if found.get(n) != sound.get(n))
    return f"differs from an unbroken run in {', '.join(other)}" if other else None


def _run(
    kill: Kill,
    ground: Ground,
    room: Path,
    *,
    kill_after: float | None = None,
    whole: bool = True,
) -> tuple[Ended, bool]:
    """The first process's end, and whether one that the command has started runs on."""
    (room / "out").mkdir(exist_ok=True)
    # What is kept for all commands is this case's own, so that each makes it, and is killed at it.
    base = {"PILA_CACHE": str(room / "kept"), "XDG_CACHE_HOME": str(room / "kept")}
    args = kill.args(ground, room / "out")
    if kill.processes == 1:
        command = Command(args, room / "said", base)
        ended = command.wait(kill_after=kill_after, whole=whole)
        return ended, command.orphans()
    launched = base | {"WORLD_SIZE": str(kill.processes), "MASTER_ADDR": "127.0.0.1"}
    launched |= {"MASTER_PORT": str(_free_port()), "ACCELERATE_USE_CPU": "true"}
    ranks = [
        Command(args, room / "said", launched | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(kill.processes)
    ]
    first = ranks[0].wait(kill_after=kill_after)
    if first.code != 0:  # a launcher ends the others then
        for rank in ranks[1:]:
            rank.kill()
    for rank in ranks[1:]:
        rank.wait()
    left = [rank.orphans() for rank in ranks]
    return first, any(left)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _result(kill: Kill, out: Path) -> dict[str, str]:
    """What a finished command has left, but for entries that differ between unbroken runs."""
    found = digests(out)
    found.pop("commit", None)  # of the code; a tree that is worked on moves on meanwhile
    for place in found:
        path = out / place
        if path.suffix == ".json" and kill.changing:
            found[place] = json.dumps(_without(json.loads(path.read_text()), kill.changing, out))
        elif path.name == "metrics.jsonl":
            found[place] = _steps(path)
        elif path.suffix in (".json", ".md"):
            found[place] = (
                path.read_text().replace(str(out), "OUT").replace(os.fspath(out.parent), "")
            )
    return found


def _without(value: Any, names: Sequence[str], out: Path) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, names, out) for k, v in value.items() if k not in names}
    if isinstance(value, list):
        return [_without(v, names, out) for v in value]
    return value.replace(str(out), "OUT") if isinstance(value, str) else value


def _steps(path: Path) -> str:
    """A run's metrics by step: those behind the last checkpoint come a second time."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps({row["step"]: row for row in rows}, sort_keys=True)
