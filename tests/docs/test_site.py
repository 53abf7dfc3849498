"""The built site in a real browser: ``python3 dev.py docs`` makes it."""

from __future__ import annotations

import pytest

from tests.docs.pages import DOCS

SITE = DOCS / "_build/html"
VISITED = (
    "index",
    "tour",
    "theory",
    "your_network",
    "torch",
    "results/measured",
    "results/benchmarks",
    "reference/training",
    "gallery/index",
    "gallery/toy_model",
)

#: how the theme begins what it logs
THEME = "[PST]: "

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="the site is not built: python3 dev.py docs"),
]


@pytest.fixture
def visit(browser):
    """Open a page from the disk; at the end no message of the browser, error or request to a
    network may be left.
    """
    opened, said = [], []

    def visit(name, **options):
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        tab.on("console", lambda message: None if message.text.startswith(THEME) else said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("requestfailed", lambda request: said.append(request.url))
        tab.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else said.append(request.url),
        )
        tab.goto((SITE / f"{name}.html").as_uri())
        opened.append(tab)
        return tab

    yield visit
    for tab in opened:
        tab.close()
    assert said == []


@pytest.mark.parametrize("name", VISITED)
def test_a_page_opens_from_the_disk_and_fits_a_phone(visit, name):
    tab = visit(name, viewport={"width": 390, "height": 844})
    assert tab.inner_text("h1")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_formulas_are_shown_without_a_network(visit):
    tab = visit("theory")
    tab.wait_for_selector("mjx-container svg", state="attached", timeout=60_000)
    tab.wait_for_function("MathJax.startup.promise.then(() => true)")
    shown = tab.evaluate("document.querySelectorAll('mjx-container').length")
    assert shown == tab.evaluate("document.querySelectorAll('.math').length") > 40
    assert tab.evaluate("document.querySelectorAll('mjx-merror').length") == 0


def test_the_search_finds_a_function(visit):
    tab = visit("search")
    tab.goto((SITE / "search.html").as_uri() + "?q=escape_time")
    tab.wait_for_selector("#search-results li", timeout=60_000)
    assert "escape_time" in tab.inner_text("#search-results")
