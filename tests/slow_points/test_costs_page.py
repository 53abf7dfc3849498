"""The tables of costs in the documentation are those of the saved results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import slow_points

ROOT = Path(__file__).parent.parent.parent


def test_the_tables_are_those_of_the_results():
    results = json.loads((ROOT / slow_points.OUTPUT).read_text())
    text = (ROOT / "docs/slow_points.md").read_text()
    assert results["rows"]
    assert results["sizes"]
    assert slow_points.page(text, results) == text
