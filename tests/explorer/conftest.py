"""The page in tabs of a real browser."""

from __future__ import annotations

import pytest

from ghostpoint.explorer import page


@pytest.fixture(scope="session")
def page_file(tmp_path_factory):
    """The page as a file on the disk."""
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(page(), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, page_file):
    """Open a part of the page; at the end no message of the browser, error or request may be
    left.
    """
    opened, said = [], []

    def visit(address="", path=page_file, **options):
        # its policy forbids eval, with which Playwright waits for functions
        options = {"viewport": {"width": 1280, "height": 900}, "bypass_csp": True, **options}
        tab = browser.new_page(**options)
        tab.set_default_timeout(120_000)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else said.append(request.url),
        )
        tab.goto(f"{path.as_uri()}{address}")
        tab.wait_for_selector("main svg .axis")
        opened.append(tab)
        return tab

    yield visit
    for tab in opened:
        tab.close()
    assert said == []
