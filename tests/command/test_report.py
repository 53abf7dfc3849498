import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.command.report import abridged, compact_json, draw_svg, duration, tally
from ghostpoint.command.reproduce import reproduce
from ghostpoint.command.reproduction_folder import Folder
from ghostpoint.experiments import Claim

from . import fake_experiments
from .fake_experiments import IDS

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page, with a check that every one is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def run(monkeypatch, tmp_path):
    fake_experiments.install(monkeypatch.setattr)

    def run(ids=None, **behaviour):
        monkeypatch.setenv("FAKE_BEHAVIOUR", json.dumps(behaviour))
        return reproduce(ids, "quick", tmp_path / "out").report.read_text(encoding="utf-8")

    return run


def test_the_page_needs_nothing_from_elsewhere(run, tmp_path):
    page = Page(run())
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert page.all("script") == [{}]  # one, and its text is in the page
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "xlink:href"):
            target = attributes.get(name, "#")
            outside = target.startswith(("http:", "https:", "//"))
            assert not outside or tag == "a", (tag, target)
            if not outside and not target.startswith("#"):
                assert (tmp_path / "out" / target).is_file()
    style = "".join(re.findall(r"<style>(.*?)</style>", run_text(tmp_path), re.S))
    assert "@import" not in style
    assert "url(" not in style


def run_text(tmp_path):
    return (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_every_id_is_there_once_and_every_reference_leads_to_one(run):
    text = run()
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", text))
    for _, attributes in page.elements:
        for name in ("href", "xlink:href"):
            if attributes.get(name, "").startswith("#"):
                wanted.add(attributes[name][1:])
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert len(wanted) > 3 * len(IDS)  # markers, clip paths, links from the table
    assert wanted <= set(ids)


def test_what_is_said_about_every_claim(run):
    page = Page(run())
    text = re.sub(r"\s+", " ", page.text)
    assert text.index("Published claims") < text.index("6 claims") < text.index("Claims of this project")
    assert text.index("Claims of this project") < text.index("3 claims")
    for id in IDS:
        assert page.text.count(f"{id} rises <&> fast") == 3  # in the summary, in its row, in the label of its link
        assert {"href": f"#{id}"} in page.all("a")
    assert page.text.count("does not hold") == len(IDS)
    assert page.text.count("not testable at this scale") == len(IDS)
    for words in ("1 holds", "1 does not", "1 not testable"):  # a badge in each experiment's row of the contents
        assert page.text.count(f"{words} ") == len(IDS)
    assert "Note: It rises." in page.text
    assert page.text.count("Rule: It rises by 2 < 3.") == len(IDS)
    assert "eq. 3" in page.text
    labels = [attributes["aria-label"] for attributes in page.all("ul") if attributes["class"] == "tally"]
    assert labels == [
        "6 published claims: 3 hold, 3 do not, 0 not testable",
        "3 own claims: 0 hold, 0 do not, 3 not testable",
    ]


def test_configuration_citation_and_captions_are_in_the_page(run):
    text = Page(run(["first"])).text
    for part in (
        '"init_seed": 7',
        "model.init_seed = 7",
        "Phys. Rev. X 16, 021058 (2026)",
        "arXiv:2501.02378",
    ):
        assert part in text
    assert "The caption of first <b>." in text
    assert "Not run in this folder: second, third." in text


def test_tables_and_figures_can_be_read_without_seeing_them(run):
    page = Page(run())
    assert len(page.all("caption")) == len(page.all("table")) == 2 + 2 * len(IDS)
    assert all("scope" in attributes for attributes in page.all("th"))
    figures = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert [attributes["aria-label"] for attributes in figures] == [f"Figure of The {id} thing" for id in IDS]
    assert page.all("html") == [{"lang": "en"}]


def test_every_claim_leads_to_the_line_of_code_that_makes_it_and_to_its_data(run):
    text = run()
    page = Page(text)
    ids = {attributes.get("id") for _, attributes in page.elements}
    code = Path(fake_experiments.__file__).read_text(encoding="utf-8").splitlines()
    for id in IDS:
        # texts as short as the other two could stand anywhere: these lead to the function
        for place, sentence in enumerate(("rises <&> fast", "def claims", "def claims")):
            row = text[text.index(f'id="claim-{id}-{place}"') :]
            target = re.search(r'href="#(fake_experiments-py-(\d+))">code', row)
            assert target
            assert target[1] in ids
            assert sentence in code[int(target[2]) - 1]
            assert f'href="{id}/data.zarr.zip">data' in row[: row.index("</tr>")]


def test_the_summary_can_be_quoted(run):
    text = re.sub(r"\s+", " ", Page(run(["first", "second"])).text)
    assert (
        "Of 4 statements of the publication, each tested by a rule fixed before the run, 2 hold, 2 do not "
        "(ghostpoint 0.1.0, quick scale, 2 of 3 experiments, " in text
    )
    assert "Of 2 statements of this project beyond it, 0 hold and 0 do not; 2 cannot be tested at this scale." in text
    assert "second falls eq. 3. Measured: none. It rises." in text


def test_a_failure_is_shown_with_where_it_happened(run):
    page = Page(run(second="raise", third="bad figure"))
    text = re.sub(r"\s+", " ", page.text)
    assert "2 experiments did not come through: second, third." in text
    assert "This experiment stopped with an error: RuntimeError: second cannot be run" in text
    assert "Its figure could not be drawn: RuntimeError: no figure" in text
    assert "Traceback (most recent call last)" in text


def test_a_report_of_nothing_is_a_page(monkeypatch, tmp_path):
    fake_experiments.install(monkeypatch.setattr)
    monkeypatch.setenv("FAKE_BEHAVIOUR", '{"first": "interrupt"}')
    page = Page(reproduce(None, "quick", tmp_path / "out").report.read_text(encoding="utf-8"))
    assert "No experiment in this folder has been finished yet." in page.text


def test_equal_data_give_equal_figures(run, tmp_path):
    run(["first"])
    folder = Folder.open(tmp_path / "out")
    assert draw_svg("first", folder.dataset("first")) == folder.figure("first")


def test_the_tally_adds_up(run, tmp_path):
    run()
    folder = Folder.open(tmp_path / "out")
    counts = tally([folder.record(id) for id in IDS])
    assert counts.pop("claims") == sum(counts.values()) == 9
    apart = [tally([folder.record(id) for id in IDS], origin) for origin in ("published", "own")]
    assert [each["claims"] for each in apart] == [6, 3]
    assert all(apart[0][verdict] + apart[1][verdict] == count for verdict, count in counts.items())


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_claims_saved_before_rules_were_kept_are_read(scale):
    saved = json.loads((Path(__file__).parents[2] / f"benchmarks/results/claims_{scale}.json").read_text())
    for id, entry in saved["experiments"].items():
        for fields in entry["claims"]:
            claim = Claim.from_dict(fields)
            assert Claim.from_dict(claim.to_dict()) == claim
            assert {**claim.to_dict(), **fields} == claim.to_dict()
            if "rule" not in fields:
                assert claim.rule == ""
            if id == "remedies":
                assert claim.origin == "own"
            elif id == "confidence":
                assert claim.origin == "published"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0421, "0.042 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None, max_examples=50)
@given(JSON)
def test_configuration_is_shown_as_the_json_it_is(value):
    assert json.loads(compact_json(value)) == value


def test_a_long_list_of_seeds_is_abridged():
    assert abridged(list(range(100))) == "[0, 1, 2, …, 99] (100 values)"
    assert abridged([3, 4]) == "[3, 4]"
