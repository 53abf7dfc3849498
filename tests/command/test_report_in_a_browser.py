"""The report in a real browser: it fits the screen, its figures zoom, its claims lead to their
code.
"""

from __future__ import annotations

import pytest

from ghostpoint.command.reproduce import reproduce

from . import fake_experiments

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser, monkeypatch, tmp_path):
    fake_experiments.install(monkeypatch.setattr)
    report, opened, said = reproduce(None, "quick", tmp_path / "out").report, [], []

    def visit(**options):
        tab = browser.new_page(**options)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(report.as_uri())
        opened.append(tab)
        return tab

    yield visit
    for tab in opened:
        tab.close()
    assert said == []


@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_scrolls_sideways(visit, width):
    tab = visit(viewport={"width": width, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    wider = """[...document.querySelectorAll("main *")].filter((each) => each.clientWidth > 1
      && each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== "visible").length"""
    assert tab.evaluate(wider) == 0


def test_a_figure_zooms_by_wheel_buttons_and_keys_and_goes_back(visit):
    tab = visit(viewport={"width": 1100, "height": 800})
    figure = tab.locator("#figure-first")
    before = figure.get_attribute("viewBox")
    tab.locator("#first a.plate").click()
    whole = figure.get_attribute("viewBox").split()

    def width():
        return float(figure.get_attribute("viewBox").split()[2])

    tab.mouse.move(500, 400)
    tab.mouse.wheel(0, -300)
    tab.wait_for_function(f"document.getElementById('figure-first').viewBox.baseVal.width < {float(whole[2]) / 1.5}")
    near = width()
    tab.get_by_role("button", name="Zoom in").click()
    assert width() == pytest.approx(near / 1.5)
    tab.keyboard.press("-")
    assert width() == pytest.approx(near)
    tab.keyboard.press("0")
    assert figure.get_attribute("viewBox").split() == whole
    tab.keyboard.press("Escape")
    # the event "close", at which the figure goes back, comes after the dialog is closed
    tab.locator("#first a.plate #figure-first").wait_for()
    assert not tab.evaluate("document.getElementById('zoom').open")
    assert figure.get_attribute("viewBox") == before


def test_the_link_of_a_claim_shows_its_line_of_code(visit):
    tab = visit(viewport={"width": 1100, "height": 800})
    tab.locator("#claim-second-0 .links a").first.click()
    target = tab.locator("pre span:target")
    target.wait_for(state="visible")
    assert "rises <&> fast" in target.text_content()
    tab.wait_for_function("document.querySelector('pre span:target').getBoundingClientRect().y < innerHeight")
    assert target.bounding_box()["y"] > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="accessibility is tested with axe: pip install 'ghostpoint[browser]'",
    )
    found = axe.Axe().run(visit(color_scheme=scheme, viewport={"width": 1100, "height": 800}))
    assert found.violations_count == 0, found.generate_report()
