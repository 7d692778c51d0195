"""A browser, and pages in it that may not complain."""

import pytest
from tests.web.browser import CHROMIUM, WAIT, listen


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Containers that run as root have no sandbox; all that is opened is our own page.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, url):
    """Opens the page as one more user: nothing fails, and no request leaves this machine."""
    contexts, asked, faults = [], [], []

    def open_page(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        listen(page, asked, faults)
        page.goto(url)
        page.get_by_role("button", name="Generate").wait_for()
        # Gradio lays this over each part that its own first request fills in.
        for overlay in page.get_by_text("Loading...", exact=True).all():
            overlay.wait_for(state="hidden")
        return page

    yield open_page
    for context in contexts:
        context.close()
    away = [u for u in asked if not u.startswith((url, "data:", "blob:"))]
    assert asked
    assert away == []
    assert faults == []
