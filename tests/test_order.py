"""Which process of several a test file runs in."""

from pathlib import Path

from tests.conftest import FIRST, home

ROOT = Path(__file__).parent.parent


def test_the_files_that_run_first_exist():
    assert [file for file in FIRST if not (ROOT / file).is_file()] == []


def test_figures_run_where_their_data_are_computed():
    figures = [path for path in (ROOT / "tests" / "figures").glob("test_*.py") if "sample(" in path.read_text()]
    assert len(figures) >= 4
    for path in figures:
        file = home(f"{path.relative_to(ROOT).as_posix()}::test_one[a::b]")
        assert file != path.relative_to(ROOT).as_posix()
        assert "sample(" in (ROOT / file).read_text()


def test_other_files_run_by_themselves():
    assert home("tests/test_order.py::test_one") == "tests/test_order.py"
