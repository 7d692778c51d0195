"""Every write is ended, or refused for want of space, at each of its file operations in turn."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.train.crashes import DONE, KILLED, SAID, SURVIVED, ended_at

MOST = 400
"""Operations after which a write is taken for endless."""
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Write:
    """Something that is written.

    Attributes:
        begin: makes what is there before.
        act: writes.
        check: repairs as the next start does; says what is wrong then.
    """

    begin: Callable[[Path], None]
    act: Callable[[Path], object]
    check: Callable[[Path], str | None]


def _begin_file(place: Path) -> None:
    (place / "clip.txt").write_text(BEFORE)


def _write_file(place: Path) -> None:
    from pila.files import atomic_write

    with atomic_write(place / "clip.txt") as part:
        part.write_text(AFTER)


def _check_file(place: Path) -> str | None:
    from pila.files import clear_left_over

    clear_left_over(place)
    found = {p.name: p.read_text() for p in place.iterdir()}
    return None if found in ({"clip.txt": BEFORE}, {"clip.txt": AFTER}) else f"there is {found}"


def _write_folder(place: Path, text: str = AFTER) -> None:
    from pila.files import whole_folder

    with whole_folder(place / "adapter") as beside:
        for name in ("config.json", "weights"):
            (beside / name).write_text(text)


def _check_folder(place: Path) -> str | None:
    from pila.files import mend

    mend(place / "adapter")
    found = {str(p.relative_to(place)): p.read_text() for p in place.rglob("*") if p.is_file()}
    whole = [{f"adapter/{n}": t for n in ("config.json", "weights")} for t in (BEFORE, AFTER)]
    return None if found in whole else f"there is {found}"


def _save(place: Path, step: int) -> None:
    import torch

    from pila.train import checkpoint

    checkpoint.save(place, step, {"x": torch.full((3,), float(step))}, {"validation": 1 / step})


def _begin_checkpoints(place: Path) -> None:
    for step in (1, 2):
        _save(place, step)


def _check_checkpoints(place: Path) -> str | None:
    from pila.train import checkpoint

    checkpoint.repair(place)
    found = checkpoint.latest(place)
    if found is None or found[1]["step"] not in (2, 3):
        return f"the last checkpoint is {found and found[1]}"
    if found[0]["x"][0] != found[1]["step"]:
        return "the last checkpoint has another one's tensors"
    best = json.loads((place / "best" / "record.json").read_text())["step"]
    if best != found[1]["step"]:
        return f"the best is {best}, the last {found[1]['step']}"
    return next((f"{p.name} is left over" for p in place.glob(".*")), None)


def _begin_metrics(place: Path) -> None:
    (place / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1, "lo')


def _write_metrics(place: Path) -> None:
    from pila.train.metrics import MetricsFile

    with MetricsFile(place / "metrics.jsonl") as file:
        file.write({"step": 1})


def _check_metrics(place: Path) -> str | None:
    from pila.files import clear_left_over

    _write_metrics(place)
    clear_left_over(place)
    lines = (place / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    if steps not in ([0, 1], [0, 1, 1]):
        return f"the steps are {steps}"
    return next((f"{p.name} is left over" for p in place.glob(".*")), None)


def _repair(place: Path) -> None:
    from pila.train import checkpoint

    checkpoint.repair(place)


def _begin_cut(place: Path) -> None:
    """Between the renames of the best, behind a checkpoint that is better still."""
    _begin_checkpoints(place)
    shutil.copytree(place / "step-00000002", place / "step-00000003")
    _save(place / "other", 3)
    for name in ("record.json", "state.safetensors"):
        shutil.copy(place / "other" / "step-00000003" / name, place / "step-00000003" / name)
    shutil.rmtree(place / "other")
    (place / "best").rename(place / ".best.old")
    shutil.copytree(place / "step-00000002", place / ".best.partial")
    (place / ".step-00000004.partial").mkdir()


WRITES = {
    "crash point: atomic_write": Write(_begin_file, _write_file, _check_file),
    "crash point: whole_folder": Write(
        lambda place: _write_folder(place, BEFORE), _write_folder, _check_folder
    ),
    "crash point: checkpoint": Write(
        _begin_checkpoints, lambda place: _save(place, 3), _check_checkpoints
    ),
    "crash point: repair": Write(_begin_cut, _repair, _check_checkpoints),
    "crash point: metrics": Write(_begin_metrics, _write_metrics, _check_metrics),
}


def every_point(name: str, folder: Path) -> Iterator[str | None]:
    """What is wrong after each end, for each file operation of a write: None where all is well."""
    write = WRITES[name]
    for refuse in (False, True):
        for point in range(MOST):
            place = folder / f"{refuse}-{point}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            write.begin(place)
            end = ended_at(point, lambda place=place: write.act(place), refuse=refuse)
            fits = (SAID, SURVIVED, DONE) if refuse else (KILLED, DONE)
            fault = write.check(place) if end in fits else f"it ends with {end}"
            shutil.rmtree(place)
            yield fault and f"operation {point}{' refused' if refuse else ''}: {fault}"
            if end == DONE:
                break
        else:
            yield f"no end after {MOST} operations"
