"""A real browser for the tests of the page; without one they are skipped, with what to install."""

from __future__ import annotations

import shutil

import pytest

from ghostpoint.explorer import page

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), "")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is tested in a browser: pip install 'ghostpoint[browser]'"
    )
    if not CHROMIUM:
        pytest.skip("the page is tested in a browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def page_file(tmp_path_factory):
    """The page as a file on the disk."""
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(page(), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, page_file):
    """Open a part of the page; at the end no message of the browser, error or request may be left."""
    opened, said = [], []

    def visit(address="", path=page_file, **options):
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        tab.set_default_timeout(120_000)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else said.append(request.url))
        tab.goto(f"{path.as_uri()}{address}")
        tab.wait_for_function("window.ghostpoint !== undefined")
        opened.append(tab)
        return tab

    yield visit
    for tab in opened:
        tab.close()
    assert said == []
