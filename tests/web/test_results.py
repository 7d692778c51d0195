"""The page's own folder: bounded in count and age, closed to others, gone at the end."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pila.errors import InputError
from pila.generate.generate import Report
from pila.web.results import Results

REPORT = Report(
    prompt="p",
    refined_prompt="p",
    parser="given",
    categories=[],
    evidence={},
    note="",
    routing={},
    correction_rms=0.0,
    scene=None,
    drawn_as=None,
    hint=None,
    laws={},
    files={},
    settings={},
    seconds={},
)


@pytest.fixture
def now():
    return [1_000_000.0]


@pytest.fixture
def results(now, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Results(keep=3, keep_hours=2, clock=lambda: now[0])
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


def add(results, when):
    token = results.new_token()
    results.save(token, REPORT)
    os.utime(results.place(token), (when, when))
    return token


def kept(results, token):
    return results.place(token).exists()


def test_only_this_user_may_enter(results):
    assert stat.S_IMODE(results.root.stat().st_mode) == 0o700


def test_saved_and_read(results):
    token = add(results, 1_000_000)
    assert kept(results, token)
    assert results.read(token)["prompt"] == "p"
    results.drop(token)
    assert not kept(results, token)
    with pytest.raises(InputError, match="no longer kept"):
        results.read(token)


def test_the_oldest_go_first(results, now):
    tokens = [add(results, now[0] + i) for i in range(5)]
    results.prune()
    assert [kept(results, t) for t in tokens] == [False, False, True, True, True]
    results.prune(room=1)  # for the one that is about to be made
    assert [kept(results, t) for t in tokens[2:]] == [False, True, True]


def test_the_newest_stays_while_the_next_is_made(results, now):
    """Where one is kept, too: it is served from its place, and its user may be fetching it."""
    tokens = [add(results, now[0] + i) for i in range(2)]
    results.prune(room=results._keep)
    assert [kept(results, t) for t in tokens] == [False, True]


def test_what_is_too_old_goes(results, now):
    old, young = add(results, now[0]), add(results, now[0] + 3600)
    now[0] += 2 * 3600 + 1
    results.prune()
    assert (kept(results, old), kept(results, young)) == (False, True)


@pytest.mark.parametrize("token", ["", "..", "../../etc", "a" * 31, "A" * 32, "a" * 32 + "/.."])
def test_only_tokens_name_places(results, token):
    with pytest.raises(InputError, match="not the token"):
        results.place(token)


def test_bounds():
    with pytest.raises(InputError, match="keep is 0"):
        Results(keep=0)
    with pytest.raises(InputError, match="keep_hours is 0"):
        Results(keep_hours=0)


SERVER = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from pila.web.results import Results
results = Results()
print(results.root, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_server_left_is_cleared_at_the_next_start(tmp_path, monkeypatch):
    """A running one's is not, nor what is no server's, nor what is not yet locked."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    roots = []
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for server in servers:
        assert server.stdout is not None
        roots.append(tmp_path / Path(server.stdout.readline().strip()).name)
    others = [tmp_path / "other", tmp_path / "pila-serve-young", tmp_path / "pila-serve-old"]
    for other in others:
        other.mkdir()
    os.utime(others[2], (1, 1))
    (tmp_path / "pila-serve-link").symlink_to(others[0])
    servers[0].send_signal(signal.SIGKILL)
    servers[0].wait()
    Results().close()
    assert not roots[0].exists()
    assert roots[1].exists()
    assert [other.exists() for other in others] == [True, True, False]
    for server in servers:
        server.communicate()
