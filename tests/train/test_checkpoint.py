"""Checkpoints and finished folders are whole at every moment, and what a kill has cut is mended."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.train.crashes import DONE, KILLED, SAID, SURVIVED, ended_at

from pila.errors import InputError
from pila.files import mend, whole_folder
from pila.train import checkpoint

LOSSES = {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.35}
"""Validation after each step."""
MOST = 200
"""More file operations than any of these acts has."""


def save(folder, step, losses=LOSSES):
    tensors = {"x": torch.full((64,), float(step))}
    return checkpoint.save(folder, step, tensors, {"validation": losses[step]})


def content(folder):
    """Every file below a folder, by name."""
    return {
        str(p.relative_to(folder)): p.read_bytes().decode("latin-1")
        for p in folder.rglob("*")
        if p.is_file()
    }


def steps_of(folder):
    """Steps of the checkpoints that can be seen, each of which must be whole."""
    found = []
    for path in sorted(folder.glob("step-*")):
        assert {p.name for p in path.iterdir()} == {"state.safetensors", "record.json"}
        found.append(json.loads((path / "record.json").read_text())["step"])
    return found


def best_of(folder):
    return json.loads((folder / "best" / "record.json").read_text())["step"]


@pytest.mark.parametrize("refuse", [False, True], ids=["killed", "disk full"])
@pytest.mark.parametrize("again", [False, True], ids=["new", "written before"])
def test_every_crash_point_of_a_checkpoint(tmp_path, refuse, again):
    before, unbroken = tmp_path / "before", tmp_path / "unbroken"
    for step in (1, 2, 3) if again else (1, 2):
        save(before, step)
    shutil.copytree(before, unbroken)
    for step in (3, 4):
        save(unbroken, step)
    ends = set()
    for point in range(MOST):
        folder = tmp_path / str(point)
        shutil.copytree(before, folder)
        end = ended_at(point, lambda folder=folder: save(folder, 3), refuse=refuse)
        ends.add(end)
        assert steps_of(folder)[-1] in (2, 3)
        checkpoint.repair(folder)
        reached = steps_of(folder)[-1]
        assert reached in ((3,) if again else (2, 3))
        # Neither the best one that was there is lost, nor one that came just before the end.
        assert best_of(folder) == reached
        assert not list(folder.glob(".*"))
        found = checkpoint.latest(folder)
        assert found is not None
        assert found[1]["step"] == reached == found[0]["x"][0]
        for step in range(reached + 1, 5):
            save(folder, step)
        assert content(folder) == content(unbroken)
        shutil.rmtree(folder)
        if end == DONE:
            break
    assert point > 10
    assert ends <= ({SAID, SURVIVED, DONE} if refuse else {KILLED, DONE})
    assert end == DONE


@pytest.mark.parametrize("refuse", [False, True], ids=["killed", "disk full"])
def test_every_crash_point_of_a_repair(tmp_path, refuse):
    for point in range(MOST):
        folder = tmp_path / str(point)
        for step in (1, 2):
            save(folder, step)
        # Between the renames of the best, behind a checkpoint that is better still.
        shutil.copytree(folder / "step-00000002", folder / "step-00000003")
        record = {"step": 3, "validation": 0.3}
        (folder / "step-00000003" / "record.json").write_text(json.dumps(record))
        (folder / "best").rename(folder / ".best.old")
        shutil.copytree(folder / "step-00000002", folder / ".best.partial")
        (folder / ".step-00000004.partial").mkdir()
        end = ended_at(point, lambda folder=folder: checkpoint.repair(folder), refuse=refuse)
        checkpoint.repair(folder)
        assert steps_of(folder) == [2, 3]
        assert best_of(folder) == 3
        assert not list(folder.glob(".*"))
        shutil.rmtree(folder)
        if end == DONE:
            break
    assert point > 10
    assert end == DONE


@pytest.mark.parametrize("refuse", [False, True], ids=["killed", "disk full"])
def test_every_crash_point_of_a_finished_folder(tmp_path, refuse):
    """What each task exports, and the run's own adapter, are written so."""

    def write(place, text):
        with whole_folder(place) as beside:
            (beside / "inner").mkdir()
            for name in ("config.json", "inner/weights"):
                (beside / name).write_text(text)

    for point in range(MOST):
        place = tmp_path / str(point) / "adapter"
        write(place, "before")
        end = ended_at(point, lambda place=place: write(place, "after"), refuse=refuse)
        mend(place)
        assert content(place) in (
            {"config.json": text, "inner/weights": text} for text in ("before", "after")
        )
        assert [p.name for p in place.parent.iterdir()] == ["adapter"]
        if end == DONE:
            break
    assert point > 10
    assert end == DONE


def test_an_error_of_the_block_leaves_what_was_there(tmp_path):
    place = tmp_path / "adapter"
    with whole_folder(place) as beside:
        (beside / "config.json").write_text("before")
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            _fail(place, error)
        assert content(tmp_path) == {"adapter/config.json": "before"}
    with pytest.raises(InputError, match=r"nowhere could not be written .* the same command again"):
        _fail(Path("/proc/nowhere"), AssertionError)


def _fail(place, error):
    with whole_folder(place) as beside:
        (beside / "config.json").write_text("after")
        raise error


def test_a_folder_that_was_deleted_does_not_come_back_in_half(tmp_path):
    """A kill while the one before is removed; then the user deletes the new one."""
    place = tmp_path / "adapter"

    def write(text):
        with whole_folder(place) as beside:
            for name in ("a", "b", "c"):
                (beside / name).write_text(text)

    write("before")
    for point in range(MOST):
        end = ended_at(point, lambda: write("after"))
        shutil.rmtree(place, ignore_errors=True)
        mend(place)
        assert content(tmp_path) in ({}, {f"adapter/{n}": "before" for n in "abc"}, _after())
        if end == DONE:
            break
        shutil.rmtree(place, ignore_errors=True)
        write("before")


def _after():
    return {f"adapter/{n}": "after" for n in "abc"}


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), None])
def test_a_loss_that_is_no_number_is_never_the_best(tmp_path, loss):
    losses = {1: loss, 2: 0.4, 3: loss}
    for step in (1, 2, 3):
        save(tmp_path, step, losses)
    assert best_of(tmp_path) == 2
    assert steps_of(tmp_path) == [2, 3]


def test_a_best_that_an_earlier_version_left_empty_is_made_anew(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    shutil.rmtree(tmp_path / "best")
    (tmp_path / "best").mkdir()
    checkpoint.repair(tmp_path)
    assert best_of(tmp_path) == 2
