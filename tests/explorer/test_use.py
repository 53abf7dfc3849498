"""The page in use: train, collapse, rescue, scrub a run; by keyboard, in the dark, on a phone."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import ghostpoint as gp
from ghostpoint.explorer import page, read_saved

pytestmark = pytest.mark.browser
PARTS = ["toy", "rank-one", "rank-two", "saved"]
RANK_ONE = "window.ghostpoint.views['rank-one'].hook()"
SAVED = "window.ghostpoint.views.saved.hook()"
TRAINED = f"() => {{ const at = {RANK_ONE}; return !at.running && at.epoch >= 1200; }}"


def settled(tab, part):
    """Wait until a part has drawn what it shows first."""
    if part == "rank-one":
        tab.wait_for_function(TRAINED)
    tab.wait_for_function("document.querySelectorAll('main svg .axis').length >= 4")
    tab.wait_for_timeout(300)


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    models = gp.LowRankRNN.published([3, 40])
    run = gp.train(models, gp.tasks.DelayedActivation(), 0.2, 600, checkpoints=[0, 300, 450, 599])
    return run.save(tmp_path_factory.mktemp("runs") / "two networks.zip")


def test_train_collapse_and_rescue(visit):
    tab = visit("#rank-one")
    settled(tab, "rank-one")
    at = tab.evaluate(RANK_ONE)
    assert at["lost"]  # shown before anything is touched
    assert at["learned"] > 500
    assert at["loss"] == pytest.approx(1.0, abs=1e-3)
    tab.get_by_role("button", name="Rescue: lower the confidence").click()
    tab.wait_for_function(f"() => {RANK_ONE}.epoch >= 1600")
    at = tab.evaluate(RANK_ONE)
    assert not at["lost"]
    assert at["loss"] < 0.1
    assert "rescued" in tab.inner_text("main")


def test_a_push_over_the_edge_and_the_way_back(visit):
    # with the trust region a network keeps what it learned; then one update at ten times the rate
    tab = visit("#rank-one?rate=0.1&remedy=trust&epochs=300")
    tab.wait_for_function(f"() => {{ const at = {RANK_ONE}; return !at.running && at.epoch >= 300; }}")
    assert tab.evaluate(RANK_ONE)["loss"] < 0.05
    tab.get_by_role("button", name="Push it over the edge").click()
    tab.wait_for_function(f"() => {{ const at = {RANK_ONE}; return !at.running && at.epoch >= 451; }}")
    tab.get_by_role("button", name="Rescue: back to the best epoch").click()
    tab.wait_for_function(f"() => {{ const at = {RANK_ONE}; return !at.running && at.epoch >= 851; }}")
    assert tab.evaluate(RANK_ONE)["loss"] < 0.05
    assert "one update at ten times the rate" in tab.inner_text("main")


def test_scrubbing_back_shows_an_earlier_epoch(visit):
    tab = visit("#rank-one")
    settled(tab, "rank-one")
    tab.get_by_label("Epoch shown").focus()
    for _ in range(10):
        tab.keyboard.press("ArrowLeft")
    viewed = tab.evaluate(RANK_ONE)["viewed"]
    assert viewed is not None
    assert viewed < 1200
    assert tab.evaluate(RANK_ONE)["epoch"] == 1200


def test_a_saved_run_in_the_page_and_one_that_is_dropped(visit, saved_run, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(read_saved(saved_run)), encoding="utf-8")
    tab = visit("", path)
    settled(tab, "saved")
    assert tab.evaluate(SAVED)["run"] == "two networks.zip"
    assert tab.evaluate(SAVED)["checkpoints"] == 4
    assert "no-learning zone" in tab.inner_text("main")
    tab.get_by_label("Epoch shown").focus()
    tab.keyboard.press("Home")
    assert tab.evaluate(SAVED)["epoch"] == 0
    tab.keyboard.press("End")
    assert tab.evaluate(SAVED)["epoch"] == 599
    # the same file, read by the page itself
    embedded = tab.evaluate("JSON.parse(document.getElementById('saved-runs').textContent).runs[0]")
    tab.set_input_files("#saved-file", saved_run)
    tab.wait_for_function("document.querySelector('.lead').textContent.includes('two networks.zip')")
    tab.wait_for_timeout(300)
    bytes_of = saved_run.read_bytes()
    read = tab.evaluate(
        """async (bytes) => {
          const run = await window.ghostpoint.readFile(new File([new Uint8Array(bytes)], "x.zip"));
          return { loss: run.networks[1].loss, events: run.networks[1].events, checkpoints: run.checkpoints,
            points: run.networks.map((each) => each.points.map((points) => points.map((p) => p.kind))) };
        }""",
        list(bytes_of),
    )
    assert read["loss"] == pytest.approx(embedded["networks"][1]["loss"], rel=1e-5)
    assert read["checkpoints"] == embedded["checkpoints"]
    for name, at in embedded["networks"][1]["events"].items():
        assert read["events"][name] == at
    for network, points in zip(embedded["networks"], read["points"], strict=True):
        assert [[p["kind"] for p in at] for at in network["points"]] == points


def test_logs_that_are_dropped(visit, tmp_path):
    tab = visit("#saved")
    settled(tab, "saved")
    (tmp_path / "log.csv").write_text("epoch,train_loss,acc\n" + "\n".join(f"{k},{2 / (k + 1)},0.5" for k in range(50)))
    tab.set_input_files("#saved-file", tmp_path / "log.csv")
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('log.csv')")
    (tmp_path / "log.jsonl").write_text("\n".join(f'{{"step": {k}, "loss": {2 / (k + 1)}}}' for k in range(50)))
    tab.set_input_files("#saved-file", tmp_path / "log.jsonl")
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('log.jsonl')")
    (tmp_path / "note.txt").write_text("nothing of that kind")
    tab.set_input_files("#saved-file", tmp_path / "note.txt")
    tab.wait_for_function("document.querySelector('[role=alert]').textContent !== ''")
    assert "note.txt cannot be shown" in tab.inner_text("[role=alert]")


def test_a_view_can_be_shared_by_its_address(visit):
    tab = visit("#toy")
    settled(tab, "toy")
    tab.get_by_role("button", name="Oscillates").click()
    tab.wait_for_function("location.hash.includes('rate=0.6')")
    text = tab.inner_text(".lead")
    other = visit(tab.evaluate("location.hash"))
    settled(other, "toy")
    assert other.inner_text(".lead") == text
    assert "oscillates" in text


def test_damaged_addresses_show_the_defaults(visit):
    for address in (
        "#nothing",
        "#toy?T=abc&rate=&epoch=1e99",
        "#toy?T=-5&start=99&rate=0&readout=x&epoch=0.5",
        "#rank-one?rate=-1&delay=1000&optimizer=none&seed=5&c=0&epochs=-4",
        "#rank-two?shown=1000&input=z",
        "#saved?network=77&run=9&epoch=0.3",
    ):
        tab = visit(address)
        tab.wait_for_function("document.querySelectorAll('main svg .axis').length >= 4")


@pytest.mark.parametrize("part", PARTS)
def test_a_figure_is_saved_as_svg(visit, tmp_path, part):
    tab = visit(f"#{part}")
    settled(tab, part)
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save as SVG").first.click()
    path = tmp_path / "figure.svg"
    download.value.save_as(path)
    root = ElementTree.parse(path).getroot()
    lines = [element for element in root.iter() if element.get("stroke", "none") not in ("none", "")]
    assert len(lines) > 5
    assert "var(" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("part", PARTS)
def test_axe_finds_nothing(visit, part, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="accessibility is tested with axe: pip install 'ghostpoint[browser]'",
    )
    tab = visit(f"#{part}", color_scheme=scheme)
    settled(tab, part)
    found = axe.Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("part", PARTS)
def test_nothing_scrolls_sideways(visit, part, width):
    tab = visit(f"#{part}", viewport={"width": width, "height": 844})
    settled(tab, part)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
