"""Settings of the property tests: no deadline, since the first example of some compiles a kernel;
Ctrl-C for processes that tests start; which tests run in which process of several, and in which
order; a real browser.
"""

from __future__ import annotations

import shutil
import signal
from collections import Counter

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# a shell starts what runs in the background with Ctrl-C ignored, and children inherit that; tests
# stop some of theirs by it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: the files that run first. The training kernels are compiled by the first and third in one process
#: while another has files that need none of them, so that no kernel is compiled twice; then what
#: takes long, so that no process is left alone with it at the end
FIRST = (
    "tests/training/compiled/test_remedies.py",
    "tests/slow_points/passages/test_passages.py",
    "tests/training/kernels/test_low_rank_lanes.py",
    "tests/slow_points/proofs/test_no_wrong_certificate.py",
    "tests/slow_points/latents/test_ghost_definition.py",
    "tests/command/test_cli.py",
    "tests/slow_points/test_cases.py",
    "tests/slow_points/test_complete.py",
    "tests/numerics/test_compiled_code.py",
    "tests/training/cuda/test_engine.py",
    "tests/docs/test_readme.py",
    "tests/experiments/test_before_the_drop.py",
)


def home(nodeid: str) -> str:
    """The file whose process a test runs in: its own, but figures are drawn where the data of their
    experiments were computed, which are kept within a process.
    """
    file = nodeid.split("::", 1)[0]
    return file.replace("tests/figures/", "tests/experiments/").replace(
        *("_figures.py", "_experiments.py") if file.endswith("_figures.py") else ("_figure.py", "_experiment.py")
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """``--dist loadfile`` by :func:`home`, in the order of the collection."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByHome(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return home(nodeid)

    config.option.loadscopereorder = False
    return ByHome(config, log)


def pytest_collection_modifyitems(config, items):
    """In a process of several: the files of :data:`FIRST`, then those of many tests."""
    if hasattr(config, "workerinput"):
        count = Counter(home(item.nodeid) for item in items)
        place = {file: number for number, file in enumerate(FIRST)}
        items.sort(key=lambda item: (place.get(home(item.nodeid), len(FIRST)), -count[home(item.nodeid)]))


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
