"""The page in a real browser, and its API: the command itself, with the embedded model.

The browser is the machine's own Chromium; where there is none, its tests are skipped.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.web.browser import (
    SMALL,
    WAIT,
    choose,
    clips,
    fill,
    generate,
    message,
    needs_browser,
    served,
)

from pila.cli import run
from pila.video import read_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(place):
    with served(place, "--queue", "2") as url:
        yield url


def wait_for_log(place, words):
    end = time.monotonic() + WAIT / 1000
    while not re.search(words, (place / "log").read_text()):
        assert time.monotonic() < end, (place / "log").read_text()
        time.sleep(0.1)


@needs_browser
def test_a_newcomer_generates_and_compares(open_page, tmp_path):
    """At the model's own size: laws, pictures, both clips together, downloads that repeat."""
    page = open_page()
    choose(page, steps=2, seed=4)
    page.get_by_label("Prompt", exact=True).fill("a heavy red ball is thrown fast to the right")
    generate(page)
    page.wait_for_function("document.querySelector('#pila-bar progress')?.value > 0")
    page.locator("pila-player").wait_for()
    message(page, "Done in")
    page.wait_for_function(
        "[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && !v.paused)"
    )
    assert page.locator("#pila-labels input:checked").count() == 1
    assert page.get_by_label("rigid body").is_checked()

    # One set of controls: paused, both stand at the same frame; a key moves both by one.
    page.get_by_role("button", name="Pause").click()
    slider = page.get_by_label("Frame of both clips")
    slider.fill("10")
    assert slider.get_attribute("aria-valuetext") == "frame 11 of 33"
    assert [t for t, *_ in clips(page)] == pytest.approx([10.5 / 16] * 2)
    slider.press("ArrowRight")
    assert [t for t, *_ in clips(page)] == pytest.approx([11.5 / 16] * 2)
    page.get_by_role("button", name="One frame back").click()
    assert [(t, still) for t, still, _ in clips(page)] == [(10.5 / 16, True)] * 2

    page.get_by_role("tab", name="Laws").click()
    table = page.get_by_role("tabpanel").filter(has_text="thrown_ball")
    assert table.get_by_role("rowheader").all_inner_texts() == ["gravity", "trajectory", "shape"]
    page.get_by_role("tab", name="Bank").click()
    page.wait_for_function(
        "document.querySelector('img[alt^=\"The ten slots\"]')?.naturalWidth > 500"
    )
    page.get_by_role("tab", name="Routing").click()
    assert page.get_by_role("row", name=re.compile("rigid body .* named")).is_visible()

    with page.expect_download() as settings:
        page.get_by_role("link", name="Settings (JSON)").click()
    with page.expect_download() as clip:
        page.get_by_role("link", name="Corrected clip (mp4)").click()
    settings.value.save_as(tmp_path / "settings.json")
    again = tmp_path / "again.mp4"
    assert run(["generate", "--from", str(tmp_path / "settings.json"), "--output", str(again)]) == 0
    assert again.read_bytes() == Path(clip.value.path()).read_bytes()


@needs_browser
def test_edited_labels_count_and_the_gallery_shows_again(open_page):
    page = open_page()
    choose(page, **SMALL)
    page.get_by_role("button", name="Find categories now").click()
    page.get_by_text("Found: thermal").wait_for()
    assert page.get_by_label("Find categories when generating").is_checked()
    page.get_by_label("thermal").uncheck()
    page.get_by_label("optical").check()
    page.locator("#pila-labels input:checked").first.wait_for()
    page.wait_for_function("!document.querySelector('#pila-auto input').checked")
    generate(page)
    message(page, "Done in")
    page.get_by_role("tab", name="Settings").click()
    assert page.get_by_role("row", name="categories optical").is_visible()
    page.get_by_label("Seed", exact=True).fill("5")
    generate(page)
    page.get_by_role("button", name="Show clip 2").wait_for()
    first = page.locator("pila-player video").last.get_attribute("src")
    page.get_by_role("button", name="Show clip 1").click()
    page.wait_for_function(
        "src => document.querySelectorAll('pila-player video')[1].getAttribute('src') !== src",
        arg=first,
    )


@needs_browser
def test_cancel_stops_and_the_next_one_runs(open_page, place):
    page = open_page()
    choose(page, **SMALL | {"steps": 500})
    generate(page)
    page.wait_for_function("document.querySelector('#pila-bar progress')?.value > 1")
    page.get_by_role("button", name="Cancel").click()
    message(page, re.compile(r"Cancelled after \d+ of 1000 steps"))
    assert page.locator("#pila-bar progress").count() == 0
    fill(page, "number input for Steps", 1)
    generate(page)
    message(page, "Done in")

    # Who leaves cancels, too.
    fill(page, "number input for Steps", 498)
    generate(page)
    page.wait_for_function("document.querySelector('#pila-bar progress')?.value > 1")
    page.context.close()
    wait_for_log(place, r"cancelled after \d+ of 996 steps")


@needs_browser
def test_bad_input_is_told_in_words(open_page):
    page = open_page()
    page.get_by_label("Prompt", exact=True).fill("  ")
    generate(page)
    message(page, "the prompt is empty")
    page.get_by_label("Prompt", exact=True).fill("<b id=injected>{{value}} ${1 + 1}</b>")
    choose(page, height=50)
    generate(page)
    message(page, "height is 50; it must be a multiple of 16")
    fill(page, "Height", 512)
    generate(page)
    message(page, "height is 512, over this page's limit; use at most 64")
    fill(page, "Height", 48)
    page.get_by_role("button", name="Correction").click()
    page.get_by_label("Steps to correct").fill("9-1")
    generate(page)
    message(page, "the steps run from 1 to 8")
    assert page.locator("#injected").count() == 0


@needs_browser
def test_two_users_at_once(open_page):
    one, two = open_page(), open_page(390, 844)
    for page, seed in ((one, 11), (two, 12)):
        choose(page, **SMALL | {"seed": seed, "steps": 3})
    generate(one)
    generate(two)
    message(one, "Done in")
    message(two, "Done in")
    for page, seed in ((one, 11), (two, 12)):
        assert page.locator("#pila-results li").count() == 1
        assert page.get_by_text(f"seed {seed}, 3 steps").is_visible()
    assert two.evaluate("document.documentElement.scrollWidth") == 390, "a phone scrolls one way"


@needs_browser
def test_by_keyboard_alone(open_page):
    """From the prompt to a paused clip with Tab, Space, Enter and arrows."""
    page = open_page()

    def tab_to(name, *, most=60):
        for _ in range(most):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(() => { const e = document.activeElement; return [e.getAttribute('aria-label'),"
                " e.innerText, e.labels?.[0]?.innerText, e.value].filter(Boolean).join('|'); })()"
            )
            if name in focused:
                return
        raise AssertionError(f"{name} cannot be reached by Tab")

    tab_to("a wide hot spot")
    page.keyboard.press("Control+A")
    page.keyboard.type("two rubber balls collide head-on")
    tab_to("Generate")
    tab_to("Sampling")
    page.keyboard.press("Enter")
    for name, value in (("Steps", "1"), ("Height", "48"), ("Width", "48"), ("Frames", "9")):
        tab_to(name)
        page.keyboard.press("Control+A")
        page.keyboard.type(value)
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.innerText") == "Generate":
            break
    page.keyboard.press("Enter")
    page.locator("pila-player").wait_for()
    message(page, "Done in")
    tab_to("Pause")
    page.keyboard.press("Space")
    tab_to("Frame of both clips")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert [(t, still) for t, still, _ in clips(page)] == [(1.5 / 16, True)] * 2
    tab_to("Routing")
    page.keyboard.press("ArrowRight")


# In a process of its own, as a user's: the client leaves sockets to the garbage collector.
CLIENT = """
import json, sys, time
from gradio_client import Client
from gradio_client.exceptions import AppError

url, downloads, small = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = Client(url, download_files=downloads, verbose=False)
seen = {"found": client.predict("two steel balls collide", api_name="/categories")}
seen["made"] = client.predict(
    "two steel balls collide", categories=["collision"], seed=3, api_name="/generate", **small
)
for name, bad in (("steps", {"steps": 501}), ("model", {"model": "/etc"})):
    try:
        client.predict("two balls", api_name="/generate", **bad)
    except AppError as error:
        seen[name] = str(error)
job = client.submit("two balls", **small | {"steps": 499}, api_name="/generate")
while not (progress := job.status().progress_data):
    assert not job.done()
    time.sleep(0.02)
seen["steps of progress"] = progress[0].length
job.cancel()
print(json.dumps(seen))
client.close()
"""


def test_the_api(url, place):
    args = [sys.executable, "-c", CLIENT, url, str(place / "downloads"), json.dumps(SMALL)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=WAIT / 1000)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "collision" in seen["found"]["categories"]
    corrected, frozen, both, settings, report = seen["made"]
    assert read_video(Path(corrected)).shape == (9, 48, 48, 3)
    assert read_video(Path(frozen)).shape == (9, 48, 48, 3)
    assert Path(both).stat().st_size > 0
    assert json.loads(Path(settings).read_text())["settings"]["seed"] == 3
    assert report["categories"] == ["collision"]
    assert report["routing"]["collision"] > 0
    assert "steps is 501, over this page's limit" in seen["steps"]
    assert "model '/etc' is not on offer" in seen["model"]
    assert seen["steps of progress"] == 998
    wait_for_log(place, r"cancelled after \d+ of 998 steps")


def test_nothing_else_is_served(url):
    base = url.rstrip("/")
    for path, status in (
        ("/gradio_api/file=/etc/passwd", 403),
        (f"/gradio_api/file={Path(__file__).resolve()}", 403),
        ("/gradio_api/file=http://127.0.0.1/", 403),
        ("/monitoring/summary", 404),
        ("/gradio_api/runs", 404),
    ):
        assert httpx.get(base + path).status_code == status, path
    upload = httpx.post(f"{base}/gradio_api/upload", files={"files": b"x"})
    assert upload.status_code == 404
    file = {"path": "https://example.com/", "meta": {"_type": "gradio.FileData"}}
    for call, body in (("categories", {"data": [file]}), ("v2/categories", {"prompt": file})):
        assert httpx.post(f"{base}/gradio_api/call/{call}", json=body).status_code == 400
    assert httpx.get(base, headers={"host": "evil.example"}).status_code == 403
