"""Tables of numbers in the pages are those that the saved results give."""

from __future__ import annotations

import re
import sys

import pytest

from tests.docs.pages import PAGES, ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import tables

sys.path.remove(str(ROOT / "benchmarks"))  # where a module has the name of NVIDIA's package

MARKED = {page: text for page, text in PAGES.items() if "benchmarks/tables.py writes this" in text}


@pytest.mark.parametrize("page", MARKED)
def test_a_page_has_what_the_results_give(page: str) -> None:
    assert tables.filled(MARKED[page]) == MARKED[page], "make it again: python benchmarks/tables.py"


def test_every_mark_is_filled_and_closed() -> None:
    assert {"docs/training.md", "docs/cuda.md", "docs/remedies.md"} <= MARKED.keys()
    for page, text in MARKED.items():
        named = re.findall(r"<!-- ([\w, -]+): benchmarks/tables\.py writes this -->", text)
        assert [found["name"] for found in tables.MARK.finditer(text)] == named, page


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_is_whole(name: str) -> None:
    lines = tables.TABLES[name]().splitlines()
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1
    assert "nan" not in " ".join(lines).lower()


def test_a_changed_number_is_noticed() -> None:
    page = MARKED["docs/training.md"]
    first = re.search(r"\| DA rank 1 \| (\d+) ", page)
    assert first is not None
    wrong = page.replace(first[0], first[0].replace(first[1], str(int(first[1]) + 1)))
    assert tables.filled(wrong) == page
