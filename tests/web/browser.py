"""What the tests of the page in a browser share: a server, the browser, and what it may not say."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt install chromium (or put one on the PATH)"
)
WAIT = 240_000
"""Milliseconds within which anything must happen: a bound for hangs, not a judgement of speed."""
SETTLES = 500
"""Milliseconds that Gradio gets to mount what was opened, and to take in what was typed: a machine
that presses at once, beside other work, is faster than its page, and sends the value before."""
SMALL: dict[str, Any] = {"height": 48, "width": 48, "num_frames": 9, "steps": 2}
FIELDS = {
    "height": "Height",
    "width": "Width",
    "num_frames": "Frames",
    "steps": "number input for Steps",
    "seed": "Seed",
}
"""A request's values by the labels of their fields."""


@contextmanager
def served(place: Path, *options: str) -> Iterator[str]:
    """`pila serve` in a process of its own, ended as a service manager would; its URL."""
    (place / "tmp").mkdir()
    command = [sys.executable, "-m", "pila.cli", "serve", "--port", "0", "--json"]
    command += ["--parser", "offline", "--max-steps", "500", "--device", "cpu", *options]
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"TMPDIR": str(place / "tmp"), "GRADIO_SHARE": "true"},
        )
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            assert line, (place / "log").read_text()
            yield json.loads(line)["url"]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=120) == 0
            server.stdout.close()
    assert list((place / "tmp").glob("pila-serve-*")) == [], "results are removed at the end"
    assert "Traceback" not in (place / "log").read_text()


def listen(page: Any, asked: list[str], faults: list[str]) -> None:
    """Keep what a page asks for, and all that goes wrong in it."""

    def failed(request: Any) -> None:
        # The browser itself gives up a stream that has ended, and a clip that another replaces.
        if request.failure != "net::ERR_ABORTED":
            faults.append(f"{request.failure}: {request.url}")

    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", failed)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on(
        "response",
        lambda answer: answer.status >= 400 and faults.append(f"{answer.status}: {answer.url}"),
    )


def choose(page: Any, **sizes: Any) -> None:
    """Fill in sampling values by their labels."""
    page.get_by_role("button", name="Sampling").click()
    page.wait_for_timeout(SETTLES)
    for key, value in sizes.items():
        fill(page, FIELDS[key], value)


def fill(page: Any, label: str, value: Any) -> None:
    """Write into a field and leave it."""
    field = page.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Tab")
    page.wait_for_timeout(SETTLES)


def generate(page: Any) -> None:
    """Press the button, as soon as it can be."""
    page.wait_for_timeout(SETTLES)
    page.get_by_role("button", name="Generate").click()


def message(page: Any, text: Any) -> None:
    """Wait for the page to say something."""
    page.locator("#pila-message", has_text=text).wait_for()


def clips(page: Any) -> list[list[Any]]:
    """Times, and whether they stand still, of both videos."""
    return page.evaluate(
        "[...document.querySelectorAll('video')].map(v => [v.currentTime, v.paused, v.readyState])"
    )
