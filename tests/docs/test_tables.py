"""Tables of numbers in the pages are those that the saved results give."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from tests.docs.pages import PAGES, ROOT


def program(name: str) -> ModuleType:
    """A benchmark as a module; its folder, where a module is called cuda, stays off the path."""
    spec = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tables = program("tables")
MARKED = {page: text for page, text in PAGES.items() if "benchmarks/tables.py writes this" in text}


@pytest.mark.parametrize("page", MARKED)
def test_a_page_has_what_the_results_give(page: str) -> None:
    assert tables.filled(MARKED[page]) == MARKED[page], "make it again: python benchmarks/tables.py"


@pytest.mark.parametrize("name", ["guards"])
def test_the_page_on_torch_has_what_its_own_programs_give(name: str) -> None:
    page = PAGES["docs/torch.md"]
    assert program(name).filled(page) == page, f"make it again: python benchmarks/{name}.py --markdown"


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
