"""The README is short, and what it and the pages name exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT

README = PAGES["README.md"]


def test_the_readme_is_short() -> None:
    assert README.count("\n") < 80


@pytest.mark.parametrize("page", PAGES)
def test_the_places_a_page_names_exist(page: str) -> None:
    text = PAGES[page]
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", text)
    built = ("gallery/", "reference/", "results/")
    folder = (ROOT / page).parent
    for link in links:
        inside = link.removeprefix("../")
        assert inside.startswith(built) or (folder / link).exists(), link
    for path in re.findall(r"`((?:src|benchmarks|tests|explorer|examples)/[\w./-]*\w)`", text):
        assert (ROOT / path).exists() or path == "explorer/", path
