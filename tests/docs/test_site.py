"""The site builds strictly, asks no other host for anything, and is searched from files."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class SubResources(HTMLParser):
    """Addresses that a browser fetches by itself; links that a reader follows are none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            fetched = name in ("src", "srcset", "poster") or (tag == "link" and name == "href")
            if value and fetched:
                self.found.append(value)


def test_no_page_asks_another_host(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        parser = SubResources()
        parser.feed(page.read_text())
        assert parser.found
        assert [a for a in parser.found if re.match(r"(https?:)?//", a)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text()), sheet


def test_results_and_examples_are_in_the_site(site: Path):
    assert (site / "results" / "laws" / "results.html").is_file()
    assert (site / "examples" / "category.patch").is_file()
    assert list((site / "benchmarks" / "results").glob("*.json"))
    assert "incompressibility" in (site / "extend.html").read_text()
    assert not (site / "hooks.py").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_search_works_on_a_page_opened_from_a_file(site: Path):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("incompressibility", delay=20)
        first = page.locator(".md-search-result__item a").first
        first.wait_for(timeout=60_000)
        assert "extend.html" in (first.get_attribute("href") or "")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
