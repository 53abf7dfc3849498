"""Summaries: aligned columns as text, escaped cells as HTML."""

from ghostpoint.summary import html, lines

ROWS = [("kind", "count"), ("fixed", 12), ("ghost", 1), ("a line of text that is wider than any column",)]


def test_columns_are_aligned_and_text_lines_do_not_widen_them():
    assert lines("Points", ROWS).splitlines() == [
        "Points",
        "  kind   count",
        "  fixed  12",
        "  ghost  1",
        "  a line of text that is wider than any column",
    ]


def test_a_title_alone_is_one_line():
    assert lines("Empty", []) == "Empty"


def test_html_escapes_and_spans():
    text = html("a < b", [("x", "<i>"), ("whole row",)])
    assert "a &lt; b" in text
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert '<td colspan="2"' in text
