"""A tenth of the torture, drawn anew by a seed that stays: `make torture` tries all of it.

Kills and changed input are tried in copies of this process, which need no second start of Python.
The page, crash points of checkpoints, and kills of long commands are `slow`.
"""

import json

import pytest
from tests.mutations import of_csv, of_json, of_prompt, of_safetensors, of_video
from tests.torture.__main__ import _read
from tests.torture.ground import Ground, make_ground
from tests.torture.kills import KILLS
from tests.torture.page import close_pages
from tests.torture.plan import FULL, attempt, cases, table
from tests.torture.process import fault_of, run_command

SEED = 0
LONG = {"input: HTTP", *KILLS} - {"kill: world make", "kill: generate"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory, wan_folder, adapter_folder):
    """The suite's own tiny model and adapter, and the rest of the sound input."""
    yield make_ground(tmp_path_factory.mktemp("torture"), model=wan_folder, adapter=adapter_folder)
    close_pages()


def _marked(group: str) -> object:
    return pytest.param(group, marks=pytest.mark.slow) if group in LONG else group


@pytest.mark.parametrize("group", [_marked(group) for group in FULL])
def test_a_tenth_is_clean(ground: Ground, group: str):
    bad = {
        index: fault
        for name, index in cases("tenth", [group])
        if name == group
        for fault in attempt(group, index, ground, SEED).bad
    }
    assert bad == {}


def test_full_is_what_is_promised():
    full = cases("full")
    assert sum(name.startswith("kill: ") for name, _ in full) == 200
    assert sum(name.startswith("input: ") for name, _ in full) == 1000
    assert {name for name, _ in cases("tenth")} == {name for name, _ in full}
    # A run that is stopped after a tenth has tried some of everything that has more than one case.
    assert {n for n, _ in full[:150]} >= {n for n in FULL if not n.startswith("crash point")}


def test_the_same_seed_draws_the_same():
    import random

    sound = json.dumps({"a": 1, "b": {"c": [1, 2]}}).encode()
    for change, given in ((of_json, sound), (of_video, bytes(5000)), (of_csv, b"a,b\n1,2\n")):
        assert change(random.Random(1), given) == change(random.Random(1), given)
    assert of_prompt(random.Random(1), "a ball") == of_prompt(random.Random(1), "a ball")


def test_mutations_change_what_they_are_given(ground: Ground):
    """All but those that say so mean something else, so that a clean result proves something."""
    import random

    weights = next(ground.model.rglob("*.safetensors")).read_bytes()
    index = (ground.model / "model_index.json").read_bytes()
    for change, given in ((of_json, index), (of_safetensors, weights)):
        mutants = [change(random.Random(i), given) for i in range(60)]
        assert sum(m.content != given for m in mutants) > 55
        assert len({m.kind.split()[0] for m in mutants}) > 5


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (0, "", None),
        (2, "error: steps is 0; use at least 1\n", None),
        (2, "Parsing error\nFor full helptext, run pila label --help", None),
        (1, "Traceback (most recent call last):\n  x\nKeyError: 'a'\n", "traceback: KeyError"),
        (2, "error: a; b\nerror: c; d\n", "2 lines"),
        (2, "", "0 lines"),
        (2, "error: wrong\n", "no remedy"),
        (-11, "", "exit code -11"),
        (None, "", "hangs"),
    ],
)
def test_what_is_a_fault(code, err, fault):
    from tests.torture.process import MEMORY, Ended

    found = fault_of(Ended(code, "", err, 1.0, 1000))
    assert (found is None) if fault is None else fault in (found or "")
    assert "GiB" in (fault_of(Ended(0, "", "", 1.0, MEMORY + 2**30)) or "")


def test_a_command_is_really_run_and_really_killed(tmp_path):
    from tests.torture.process import Command

    assert run_command(["--version"], tmp_path).out.startswith("pila ")
    assert run_command(["generate"], tmp_path).code == 2
    args = ["world", "make", "--out", str(tmp_path / "w"), "--clips", "200", "--size", "64"]
    command = Command(args, tmp_path)
    assert command.wait(kill_after=0.5, whole=False).code == -9
    assert not command.orphans()


def test_a_stopped_run_goes_on_behind_its_last_whole_line(tmp_path):
    path = tmp_path / "full-0.jsonl"
    line = json.dumps({"group": "input: CSV", "index": 3, "tried": 1, "bad": ["x"]})
    path.write_text(f'{line}\n{{"group": "input: C')
    rows = _read(path)
    assert [row["index"] for row in rows] == [3]
    assert path.read_text() == line + "\n"
    assert "| input: CSV | 1 | 0 | 1 |" in table(rows)
    assert "| all | 1 | 0 | 1 |" in table(rows)
