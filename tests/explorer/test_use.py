"""The page in use: train, collapse, rescue, scrub a run; by keyboard, in the dark, on a phone."""

from __future__ import annotations

import threading
from xml.etree import ElementTree

import pytest

import ghostpoint as gp
from ghostpoint.command.explore import server
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


def drawn(tab):
    """Wait until what a control or a file changed is drawn, which is in the next frame."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


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
    drawn(tab)
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


def drop(tab, name, text):
    """Drop a file on the page."""
    files = tab.evaluate_handle(
        """([name, text]) => {
          const files = new DataTransfer();
          files.items.add(new File([text], name));
          return files;
        }""",
        [name, text],
    )
    tab.dispatch_event("main", "drop", {"dataTransfer": files})


CANNOT_BE_SHOWN = {
    "note.txt": "nothing of that kind",
    "empty.csv": "",
    "one row.csv": "epoch,loss\n0,1.0\n",
    "words.csv": "epoch,loss\n0,much\n1,little\n",
    "damaged.zip": "PK, but no archive",
    "torn.jsonl": '{"loss": 1.0}\n{"loss": 0.',
    "list.jsonl": "[1.0, 0.5]\n[0.5, 0.2]",
}
LOG = "step,loss\n" + "".join(f"{k},{2.3 if k < 100 else 0.1}\n" for k in range(200))


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("day,loss\nMonday,1.0\nTuesday,0.5\n", [0, 1]),
        ("epoch,loss\nMonday,1.0\nTuesday,0.5\n", [0, 1]),
        ("epoch,loss\n5,1.0\n,0.75\n15,0.5\n", [0, 1, 2]),
        ("epoch,loss\n5,1.0\n10,\n15,0.5\n", [5, 15]),
        ('{"step": 3, "loss": 1.0}\nnull\n{"step": 6, "loss": 0.5}\n', [3, 6]),
    ],
)
def test_rows_count_themselves_where_no_column_of_numbers_does(visit, text, epoch):
    tab = visit("#saved")
    settled(tab, "saved")
    drop(tab, "log.csv", text)
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('log.csv')")
    read = "(text) => window.ghostpoint.readFile(new File([text], 'log.csv')).then((run) => run.epoch)"
    assert tab.evaluate(read, text) == epoch
    assert "NaN" not in tab.inner_text("main")


def test_a_file_dropped_on_a_page_from_the_disk_names_the_command_that_diagnoses_it(visit):
    tab = visit("#saved")
    settled(tab, "saved")
    drop(tab, "my log.csv", LOG)
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('my log.csv')")
    assert "ghostpoint explore 'my log.csv' shows it with its diagnosis" in tab.inner_text("main")


def test_a_file_dropped_on_the_served_page_is_diagnosed(browser):
    tab = browser.new_page(bypass_csp=True)
    with server(page(reads_files_at="read")) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        tab.goto(f"http://127.0.0.1:{serving.server_address[1]}/#saved")
        settled(tab, "saved")
        # a log that only the command can read
        drop(tab, "train.log", "".join(f"epoch {k} loss {2.3 if k < 100 else 0.1}\n" for k in range(200)))
        tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('train.log')")
        card = tab.locator(".card", has_text="Diagnosis")
        assert "abrupt learning" in card.inner_text()
        drop(tab, "note.txt", "nothing of that kind")
        tab.wait_for_function("document.querySelector('[role=alert]').textContent !== ''")
        assert "note.txt cannot be shown: note.txt: must have a header and rows" in tab.inner_text("[role=alert]")
        assert "train.log" in tab.inner_text(".lead")  # which is still shown
        serving.shutdown()
    drop(tab, "log.csv", LOG)
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('log.csv')")
    assert "The command that served this page has ended; ghostpoint explore log.csv" in card.inner_text()
    tab.close()


def test_what_is_shown_stays_until_a_file_is_read_and_where_it_cannot_be(visit):
    tab = visit("#saved")
    settled(tab, "saved")
    drop(tab, "log.csv", LOG)
    tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('log.csv')")
    tab.evaluate(
        """() => {
          window.changes = [];
          const seen = new MutationObserver(() => window.changes.push(document.querySelector(".lead").textContent));
          seen.observe(document.querySelector(".lead"), { subtree: true, childList: true, characterData: true });
        }"""
    )
    for name, text in CANNOT_BE_SHOWN.items():
        drop(tab, name, text)
        tab.wait_for_function(f"document.querySelector('[role=alert]').textContent.startsWith({name!r})")
        assert tab.inner_text("[role=status]") == ""
    assert all(text.startsWith("log.csv: 1 network") for text in tab.evaluate("window.changes"))
    assert tab.evaluate(SAVED)["run"] == "log.csv"


def test_of_two_files_the_last_is_shown_whichever_is_read_first(visit):
    tab = visit("#saved")
    settled(tab, "saved")
    tab.evaluate(
        """() => {
          const read = Blob.prototype.arrayBuffer;
          Blob.prototype.arrayBuffer = async function () {
            if (this.name.startsWith("slow")) await new Promise((done) => (window.release = done));
            return read.call(this);
          };
        }"""
    )
    shown = tab.inner_text(".lead")
    for slow, text in (("slow.csv", LOG), ("slow note.txt", "nothing of that kind")):
        drop(tab, slow, text)
        tab.wait_for_function("window.release !== undefined")
        drawn(tab)
        assert tab.inner_text("[role=status]") == f"Reading {slow} …"
        assert tab.inner_text(".lead") == shown
        drop(tab, "quick.csv", LOG)
        tab.wait_for_function("document.querySelector('.lead').textContent.startsWith('quick.csv')")
        shown = tab.inner_text(".lead")
        tab.evaluate("() => { window.release(); delete window.release; }")
        tab.wait_for_timeout(100)
        assert tab.inner_text(".lead") == shown
        assert tab.inner_text("[role=status]") == tab.inner_text("[role=alert]") == ""


MOVED = {"toy": "Epoch shown", "rank-one": "Learning rate", "rank-two": "Epoch shown", "saved": "Epoch shown"}


@pytest.mark.parametrize("part", PARTS)
def test_a_dragged_control_draws_each_figure_once_a_frame(visit, part):
    """Twenty moves within a frame are one drawing, while the network trains too."""
    tab = visit(f"#{part}" + ("?epochs=20000" if part == "rank-one" else ""))
    tab.wait_for_function("document.querySelectorAll('main svg .axis').length >= 4")
    tab.wait_for_timeout(500)
    drawn, figures = tab.evaluate(
        """(label) => new Promise((done) => {
          const input = [...document.querySelectorAll("label")].find((each) => each.textContent === label).control;
          const { work } = window.ghostpoint;
          const move = () => {
            for (let k = 0; k < 20; k++) {
              input.value = Number(input.min) + ((input.max - input.min) * k) / 20;
              input.dispatchEvent(new Event("input", { bubbles: true }));
            }
          };
          requestAnimationFrame(() => {
            move();
            const before = work.drawings;
            requestAnimationFrame(() => setTimeout(() =>
              done([work.drawings - before, document.querySelectorAll("main figure").length])));
          });
        })""",
        MOVED[part],
    )
    assert 0 < drawn <= figures


@pytest.mark.parametrize("part", ["toy", "rank-two", "saved"])
def test_a_redraw_leaves_the_axes_and_makes_few_elements(visit, part):
    tab = visit(f"#{part}")
    settled(tab, part)
    kept, made = tab.evaluate(
        """(label) => new Promise((done) => {
          const input = [...document.querySelectorAll("label")].find((each) => each.textContent === label).control;
          const axes = [...document.querySelectorAll("main .axis")];
          let made = 0;
          const observer = new MutationObserver((records) => {
            for (const { addedNodes } of records)
              made += [...addedNodes].filter((each) => each instanceof SVGElement).length;
          });
          observer.observe(document.querySelector("main"), { subtree: true, childList: true });
          input.value = Number(input.value) - 1;
          input.dispatchEvent(new Event("input", { bubbles: true }));
          requestAnimationFrame(() => requestAnimationFrame(() =>
            done([axes.filter((each) => each.isConnected).length / axes.length, made])));
        })""",
        "Epoch shown",
    )
    assert kept >= (1 if part == "toy" else 0.6)  # a flow is drawn where its trials and its points are
    assert 0 < made < 120


def test_a_view_can_be_shared_by_its_address(visit):
    tab = visit("#toy")
    settled(tab, "toy")
    tab.get_by_role("button", name="Oscillates").click()
    tab.wait_for_function("location.hash.includes('rate=0.6')")
    drawn(tab)
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


def test_the_browser_lets_the_page_ask_nothing_of_any_network(browser, page_file):
    """By the page's own policy, within which all parts work."""
    said = []
    for part in PARTS:
        tab = browser.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"{page_file.as_uri()}#{part}")
        tab.wait_for_selector("main svg .axis")
        tab.wait_for_timeout(500)
        assert said == []
        refused = tab.evaluate(
            """() => new Promise((done) => {
              addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
              new Image().src = "http://127.0.0.1:9/x.png";
            })"""
        )
        assert refused == "img-src"
        tab.close()
        said.clear()


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
