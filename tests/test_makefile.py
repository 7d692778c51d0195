"""`make` on machines with one Python or several: which it takes, and what becomes of a .venv."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")

# Stands for a Python of some version, and for that of each .venv that it makes.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c "*) case "$2" in *pip*) [ ! -e .venv/no-pip ] || exit 1 ;; esac; echo VERSION ;;
    "-m venv")
        echo "VERSION $*" >> log
        [ "$3" = --clear ] && rm -rf .venv
        mkdir -p .venv/bin && [ -e .venv/bin/python ] || cp "$0" .venv/bin/python ;;
    "-m pip")
        echo "VERSION pip" >> log
        case VERSION in 3.10) exit 1 ;; esac
        cp "$0" .venv/bin/pila ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A clone, and Python 3.10 to 3.14 on the path; python3 is the one that a test wants."""
    place, programs = tmp_path / "clone", tmp_path / "bin"
    place.mkdir()
    programs.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(MAKEFILE.parent / name, place)
    for minor in range(10, 15):
        python = programs / f"python3.{minor}"
        python.write_text(PYTHON.replace("VERSION", f"3.{minor}"))
        python.chmod(0o755)

    def make(*words, python3=None):
        (programs / "python3").unlink(missing_ok=True)
        if python3:
            (programs / "python3").symlink_to(f"python3.{python3}")
        (place / "log").unlink(missing_ok=True)
        path = f"{programs}:/usr/bin:/bin" if python3 else f"{programs}:{os.environ['PATH']}"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PYTHON"))}
        done = subprocess.run(
            ["make", *words], cwd=place, env=env | {"PATH": path}, capture_output=True, text=True
        )
        log = (place / "log").read_text().split("\n") if (place / "log").exists() else [""]
        return done, log[:-1]

    make.place = place
    return make


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_a_fresh_machine(clone, minor):
    done, log = clone(python3=minor)
    assert done.returncode == 0, done.stderr
    assert log == [f"3.{minor} -m venv --clear .venv", f"3.{minor} pip"]
    assert clone(python3=minor)[1] == [], "and nothing is left to do"


@pytest.mark.parametrize("minor", [10, 14])
def test_another_python_is_refused_by_name(clone, minor):
    done, log = clone(python3=minor)
    assert done.returncode != 0
    said = f"python3 is Python 3.{minor}; pila takes one of 3.11 3.12 3.13: make PYTHON=python3.12"
    assert said in done.stderr
    assert log == []
    done, log = clone("PYTHON=python9", python3=minor)
    assert "python9 is no Python that runs" in done.stderr
    assert log == []
    assert clone("PYTHON=python3.12", python3=minor)[1][0] == "3.12 -m venv --clear .venv"


def a_venv_of(clone, minor):
    """What an older Makefile, or a user, left there."""
    (clone.place / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(clone.place.parent / "bin" / f"python3.{minor}", clone.place / ".venv/bin/python")


def test_what_a_too_old_python_left_is_made_anew(clone):
    a_venv_of(clone, 10)
    done, log = clone("PYTHON=python3.12", python3=10)
    assert done.returncode == 0, done.stderr
    assert log == ["3.12 -m venv --clear .venv", "3.12 pip"]


def test_a_venv_without_pip_is_made_anew(clone):
    a_venv_of(clone, 11)
    (clone.place / ".venv" / "no-pip").touch()
    assert clone(python3=11)[1] == ["3.11 -m venv --clear .venv", "3.11 pip"]


def test_a_venv_of_another_python_is_kept_unless_one_is_given(clone):
    assert clone("PYTHON=python3.12", python3=11)[0].returncode == 0
    assert clone(python3=11)[1] == []
    assert clone("PYTHON=python3.12", python3=11)[1] == []
    os.utime(clone.place / "pyproject.toml", (2**31, 2**31))  # newer than what is installed
    assert clone(python3=10)[1] == ["3.12 pip"]
    assert clone("PYTHON=python3.13", python3=11)[1] == ["3.13 -m venv --clear .venv", "3.13 pip"]
    assert clone("PYTHON=python3.10", python3=11)[1] == []
    assert (clone.place / ".venv/bin/pila").exists(), "a mistake leaves what there was"


def test_pictures_are_made_by_one_target():
    """Every picture under docs/ has its line in `make pictures`, but for the page's own."""
    root = MAKEFILE.parent
    done = subprocess.run(
        ["make", "-n", "pictures", "PROMPT=a red ball falls"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for command in (
        "-m pila.lab.experiments.showcase",
        'generate "a red ball falls" --compare',
        "strip.png docs/strip.png",
        "benchmarks/scaling.py --rows benchmarks/results/scaling-",
        "benchmarks/page_memory.py --rows benchmarks/results/page-memory-",
        "-m pila.lab.experiments.tables.summary",
        "diagnose routing embedded",
        "diagnose correction embedded",
    ):
        assert command in done.stdout
    writers = done.stdout
    writers += "".join(
        (root / "benchmarks" / name).read_text() for name in ("scaling.py", "page_memory.py")
    )
    writers += "".join(
        (root / "src/pila/lab/experiments" / name).read_text()
        for name in ("showcase.py", "tables/summary.py")
    )
    pictures = {
        p.name for kind in ("png", "webp", "gif") for p in (root / "docs").rglob(f"*.{kind}")
    }
    assert {name for name in pictures - {"page.png"} if name not in writers} == set()
