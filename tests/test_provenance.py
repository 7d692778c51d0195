"""A result's commit is pila's own, or unknown."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pila import provenance


@pytest.fixture
def commit_from(monkeypatch):
    """What `commit` says where the module lies in some place."""

    def call(place: Path) -> str:
        monkeypatch.setattr(provenance, "__file__", str(place))
        provenance.commit.cache_clear()
        return provenance.commit()

    yield call
    provenance.commit.cache_clear()


def git(folder: Path, *args: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *own, *args], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_of_the_repository_that_tracks_the_code(commit_from, tmp_path):
    place = tmp_path / ".venv" / "pila" / "provenance.py"
    place.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, place)
    assert commit_from(place) == "unknown", "no repository"
    git(tmp_path, "init")
    (tmp_path / "mine.py").touch()
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-m", "mine")
    assert commit_from(place) == "unknown", "a project that has pila installed inside"
    git(tmp_path, "add", "-f", str(place))
    assert git(tmp_path, "rev-parse", "HEAD") == commit_from(place)


def test_without_git_it_is_unknown(commit_from, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_from(Path(provenance.__file__)) == "unknown"
