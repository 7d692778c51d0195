"""Long work shows a bar on a terminal, lines where there is none, and nothing if it is quiet."""

import gc
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tqdm import tqdm

import pila
from pila import progress
from pila.lab.world.dataset import make_clips
from pila.progress import progress_bar


@pytest.fixture(autouse=True)
def _no_terminal(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    level = logging.getLogger("pila").level
    yield
    logging.getLogger("pila").setLevel(level)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)


def wait_for(found: "pytest.LogCaptureFixture", count: int) -> None:
    for _ in range(3000):
        if len(found.records) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(found.text)


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO, logging.DEBUG])
@pytest.mark.usefixtures("often")
def test_lines_come_where_there_is_no_terminal(caplog, capsys, level):
    logging.getLogger("pila").setLevel(level)
    with progress_bar(total=50, unit="step", desc="denoising") as bar:
        bar.update(2)
        bar.set_postfix(loss="0.0213", refresh=False)
        wait_for(caplog, 2)  # also while nothing is updated: one step may take minutes
    form = r"denoising: 2 of 50 steps, loss 0.0213, [\d.]+ s(teps)? a s\w+, [\d:]+ left"
    assert re.fullmatch(form, caplog.messages[1])
    assert {(r.name, r.levelno) for r in caplog.records} == {("pila.progress", logging.INFO)}
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("often")
def test_quiet_and_other_processes_write_none(caplog):
    logging.getLogger("pila").setLevel(logging.ERROR)
    for level, shown in ((logging.ERROR, True), (logging.INFO, False)):
        logging.getLogger("pila").setLevel(level)
        with progress_bar(total=2, shown=shown) as bar:
            assert isinstance(bar, tqdm)
            assert bar.disable
            time.sleep(0.05)
    assert not caplog.records


def test_a_line_says_the_recent_rate_and_the_time_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress_bar(total=300, initial=100, unit="step", desc="observe")
    assert bar.line() == "observe: 100 of 300 steps"
    for _ in range(20):  # 20 s a step at first, then half a second
        now[0] += 20
        bar.update()
        bar.line()
    for _ in range(6):
        now[0] += 30
        bar.update(15)
        line = bar.line()
    assert line == "observe: 210 of 300 steps, 2.0 s a step, 03:00 left"
    now[0] += 1
    bar.update(90)
    assert bar.line().startswith("observe: 300 of 300 steps, ")
    assert "left" not in bar.line()
    bar.close()
    unknown = progress_bar(iter([1]), unit="clip")
    now[0] += 0.25
    unknown.update()
    assert unknown.line() == "1 clips, 4.0 clips a second"
    unknown.close()


@pytest.mark.usefixtures("often")
def test_lines_end_with_the_work():
    before = threading.active_count()
    assert list(progress_bar([1, 2])) == [1, 2]
    left = iter(progress_bar([1, 2]))
    next(left)
    del left  # as where the loop is left by an error
    gc.collect()
    bar = progress_bar(total=2)
    del bar  # never entered, never closed
    for _ in range(1000):
        if threading.active_count() <= before:
            return
        time.sleep(0.01)
    raise AssertionError(threading.enumerate())


@pytest.mark.usefixtures("often")
def test_making_clips_writes_lines(caplog, tmp_path):
    make_clips(tmp_path, 4, scenes=["thrown_ball"], size=64, processes=1)
    assert any(re.match(r"\d of 4 clips", text) for text in caplog.messages)


def test_all_long_work_goes_through_one_mechanism():
    source = Path(pila.__file__).parent
    users = {p.name for p in source.rglob("*.py") if re.search(r"\btqdm\b", p.read_text())}
    assert users == {"progress.py"}
