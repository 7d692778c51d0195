"""A command in a copy of this process, with a limit of time and memory, and possibly its end."""

import logging
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import psutil

MEMORY = 4 * 2**30
"""Bytes that a command may take beside what this process holds."""
HANG = 60.0
"""Seconds without an end, on a machine that does nothing else."""
TICK = 0.004


NEEDED = (
    *(
        "pila.generate.generate",
        "pila.lab.experiments.run",
        "pila.lab.benchmarks.run",
        "pila.train.loop",
        "pila.train.tasks",
    ),
    *("pila.data.shards", "pila.data.sources", "pila.labels.llm", "pila.recipes", "openai"),
    *("pila.cli", "cv2", "av", "pyarrow.parquet", "pila.lab.world", "pandas", "scipy.ndimage"),
)
"""What commands import; copies of a process that has it need not."""


def preload() -> None:
    """Import what commands take, and have OpenCV start no threads, which copies would lack."""
    for name in NEEDED:
        with suppress(ImportError):
            import_module(name)
    from diffusers import WanPipeline  # noqa: F401
    from transformers import UMT5EncoderModel  # noqa: F401

    sys.modules["cv2"].setNumThreads(1)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative for a signal; None where it had to be ended as it hung.
        out: what it printed.
        err: what it said beside that.
        seconds: from its start to its end.
        peak: the most bytes that it held.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    peak: int


def hang_limit() -> float:
    """`HANG`, as much longer as this machine's processors are shared among more processes."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return HANG * max(1.0, 2 * busy)


class Command:
    """A started `pila ...`, in a session of its own.

    Args:
        args: behind `pila`.
        folder: where it keeps what it prints.
        environment: variables that it sees beside this process's.
    """

    def __init__(
        self, args: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.said = [Path(tempfile.mkstemp(dir=folder, suffix=s)[1]) for s in (".out", ".err")]
        self._begun = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(args, self.said, environment or {})

    def wait(self, *, kill_after: float | None = None, whole: bool = True) -> Ended:
        """Wait for its end.

        Args:
            kill_after: SIGKILL comes after so many seconds, if it still runs.
            whole: the kill meets the processes that it has started, too.
        """
        limit, killed, status = hang_limit(), False, 0
        while True:
            done, status, used = os.wait4(self.pid, os.WNOHANG)
            if done:
                break
            ran = time.monotonic() - self._begun
            hangs = ran > limit
            if not killed and (hangs or (kill_after is not None and ran >= kill_after)):
                self.kill(whole=whole or hangs)
                killed = hangs
                _, status, used = os.wait4(self.pid, 0)
                break
            time.sleep(TICK)
        seconds = time.monotonic() - self._begun
        out, err = (path.read_text(errors="replace") for path in self.said)
        for path in self.said:
            path.unlink()
        code = None if killed else os.waitstatus_to_exitcode(status)
        return Ended(code, out, err, seconds, used.ru_maxrss * 1024)

    def kill(self, *, whole: bool = True) -> None:
        """SIGKILL for the process, and for all that it has started."""
        if whole:
            with suppress(ProcessLookupError):  # it has no session of its own yet
                os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)

    def orphans(self) -> bool:
        """Whether a process that it has started still runs after `hang_limit` seconds."""
        end = time.monotonic() + hang_limit()
        while any(_is_of(process, self.pid) for process in psutil.process_iter()):
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                return True
            time.sleep(0.05)
        return False


def _is_of(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _become(args: Sequence[str], said: Sequence[Path], environment: Mapping[str, str]) -> None:
    """Be that command, and end."""
    code = 1
    try:
        os.setsid()
        for number, path in zip((1, 2), said, strict=True):
            os.dup2(os.open(path, os.O_WRONLY), number)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        logging.getLogger().handlers.clear()
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        os.environ.update(environment)
        here = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (here + MEMORY, here + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from accelerate.state import AcceleratorState, GradientState

        # What this process has trained does not say which of how many processes the copy is.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        from pila.cli import run

        code = run(args)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def run_command(
    args: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command to its end."""
    return Command(args, folder, environment).wait()


def fault_of(ended: Ended) -> str | None:
    """What is wrong with how a command ended: anything but success, or one line with a remedy.

    Exit code 1 with one line is for what only shows while it is computed: values that are not
    finite.
    """
    if ended.code is None:
        return f"hangs: no end within {hang_limit():.0f} s"
    if "Traceback (most recent call last)" in ended.err:
        return f"traceback: {ended.err.strip().splitlines()[-1][:200]}"
    if ended.peak > MEMORY:
        return f"takes {ended.peak / 2**30:.1f} GiB"
    if ended.code == 0:
        return None
    if ended.code not in (1, 2):
        return f"exit code {ended.code}: {ended.err[-200:]}"
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    if ended.code == 2 and not lines and "For full helptext" in ended.err:
        return None  # tyro's own, with the option and what it takes
    if len(lines) != 1:
        return f"exit code {ended.code} with {len(lines)} lines of error: {ended.err[-200:]!r}"
    if len(lines[0]) > 2000:
        return f"an error of {len(lines[0])} characters: {lines[0][:100]}"
    if not any(sign in lines[0][7:] for sign in (";", ":", ",", " use ", " give ", " pass ")):
        return f"no remedy: {lines[0]}"
    return None
