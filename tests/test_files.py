"""Files appear whole or not at all; what killed processes leave goes; a folder has one writer."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pila.errors import InputError
from pila.files import LEFT_OVER, LOCK, atomic_write, clear_left_over, sole_writer


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_broken_write(tmp_path, error):
    (tmp_path / "kept.txt").write_text("before")

    def write():
        with atomic_write(tmp_path / "kept.txt") as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "before"


def test_full_disk_is_an_input_error(tmp_path):
    def write():
        with atomic_write(tmp_path / "clip"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"No space left on device; free space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_the_clean_up_does_not_hide_the_error(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def write():
        with atomic_write(tmp_path / "clip"):
            monkeypatch.setattr(Path, "unlink", refuse)
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write()


def test_content_and_name_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    said = []
    flush, rename = os.fsync, Path.replace

    def fsync(number):
        said.append(Path(f"/proc/self/fd/{number}").readlink().name)
        flush(number)

    def replace(self, target):
        said.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("whole")
    assert said == [part.name, "rename", tmp_path.name]


@pytest.mark.parametrize("name", ["a" * 255, "\u00e9" * 127, "b.mp4"])
def test_the_longest_names_that_a_file_system_takes(tmp_path, name):
    with atomic_write(tmp_path / name) as part:
        part.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [name]


KILLED = """
import os, sys
from pathlib import Path
from pila.files import atomic_write
with atomic_write(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), 9)
"""
HOLDS = """
import sys, time
from pathlib import Path
from pila.files import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_part_goes_at_the_next_start(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.mp4"], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with sole_writer(tmp_path):
        assert not left.exists()


def test_a_part_whose_process_nobody_has_waited_for_goes(tmp_path):
    """It keeps its number, as in containers without an init."""
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "a.mp4"]) as process:
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert len(list(tmp_path.iterdir())) == 1
        clear_left_over(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_part_whose_process_has_its_number_from_another_one_goes(tmp_path):
    with atomic_write(tmp_path / "a.mp4") as part:
        part.write_bytes(b"half")
        then = psutil.Process().create_time() - 60
        os.utime(part, (then, then))
        clear_left_over(tmp_path)
        assert not part.exists()
        part.write_bytes(b"whole")


def test_only_parts_that_nobody_writes_are_left_over(tmp_path):
    ours = atomic_write(tmp_path / "now.mp4")
    with ours as part:
        part.write_bytes(b"half")
        for name, age in (
            (".a.mp4.1.part", 2 * LEFT_OVER),
            (".b.mp4.2.part", 0.0),
            (".c.mp4.elsewhere-3.part", 2 * LEFT_OVER),
            (".d.mp4.elsewhere-4.part", 0.0),
            (".film.part", 2 * LEFT_OVER),  # of another program
        ):
            (tmp_path / name).write_bytes(b"half")
            then = time.time() - age
            os.utime(tmp_path / name, (then, then))
        clear_left_over(tmp_path)
        kept = {p.name for p in tmp_path.iterdir()}
        assert kept == {".b.mp4.2.part", ".d.mp4.elsewhere-4.part", ".film.part", part.name}


def test_a_folder_has_one_writer_whose_lock_dies_with_it(tmp_path):
    folder = tmp_path / "deep" / "out"
    command = [sys.executable, "-c", HOLDS, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match=r"another process writes to .*; wait until"),
            sole_writer(folder),
        ):
            pass
        holder.kill()
    assert (folder / LOCK).exists()
    with sole_writer(folder):
        (folder / "made.txt").write_text("whole")
    assert [p.name for p in folder.iterdir()] == ["made.txt"]


def test_an_empty_folder_made_for_nothing_goes(tmp_path):
    with pytest.raises(InputError, match="wrong"), sole_writer(tmp_path / "deep" / "out"):
        raise InputError("wrong")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), sole_writer(tmp_path / "file" / "x"):
        pass
