"""The README is short, and what it and the pages name exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT

README = PAGES["README.md"]


def test_the_readme_is_short() -> None:
    assert README.count("\n") < 80


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md"])
def test_lines_of_prose_are_short(page: str) -> None:
    text = PAGES[page] if page in PAGES else (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    cannot_be_broken = ("|", "![", "<!--")
    lines = [line for line in prose.splitlines() if not line.startswith(cannot_be_broken)]
    assert [line for line in lines if len(line) > 100 and "http" not in line] == []


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
