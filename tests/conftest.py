"""Settings of the property tests: no deadline, since the first example of some compiles a kernel; a
real browser.
"""

from __future__ import annotations

import shutil

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright; without them the test is skipped, with what to install."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is tested in a browser: pip install 'ghostpoint[browser]'"
    )
    if not CHROMIUM:
        pytest.skip("the page is tested in a browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
