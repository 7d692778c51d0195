"""The documentation's picture of the page: `make page-picture`, with the demo's prompt.

It takes the machine's own Chromium, and playwright out of `.[dev]`.
"""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pila.errors import InputError
from pila.files import atomic_write

log = logging.getLogger(__name__)

PICTURE = Path("docs/page.png")
WIDTH, HEIGHT = 1280, 900
FRAME = 24
"""Where the difference shows; the last of the 33 is 32."""
WAIT = 600_000
"""Milliseconds for the clip on a slow machine."""


def take(picture: Path, *, prompt: str, seed: int = 0) -> None:
    """Start the page, generate a prompt with the page's own values, and photograph it.

    Raises:
        InputError: there is no Chromium, or no playwright.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise InputError("there is no Chromium on the PATH; apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("playwright is not installed; pip install -e '.[dev]'") from None
    with _served() as url, sync_playwright() as playwright:
        # Containers that run as root have no sandbox; all that is opened is our own page.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # Without motion the clip waits for the frame that is chosen below.
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            reduced_motion="reduce",
            color_scheme="light",
        )
        page.set_default_timeout(WAIT)
        page.goto(url)
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.get_by_role("button", name="Sampling").click()
        page.get_by_label("Seed", exact=True).fill(str(seed))
        page.get_by_role("button", name="Sampling").click()
        page.get_by_role("button", name="Generate").click()
        page.get_by_role("button", name="Show clip 1").wait_for()
        page.get_by_label("Frame of both clips").fill(str(FRAME))
        page.wait_for_function(
            "[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && !v.seeking)"
        )
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_function("!document.querySelector('#pila-start').disabled")
        with atomic_write(picture) as part:
            part.write_bytes(page.screenshot(animations="disabled"))
        browser.close()


@contextmanager
def _served() -> Iterator[str]:
    command = [sys.executable, "-m", "pila.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--parser", "offline"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line:
                raise InputError("the page did not start; the lines above say why")
            yield json.loads(line)["url"]
        finally:
            server.terminate()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    take(PICTURE, prompt=sys.argv[1])
    log.info("wrote %s", PICTURE)
