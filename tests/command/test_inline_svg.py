import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.command.inline_svg import Plates, relative_path

NAME = "{http://www.w3.org/2000/svg}"
SVG = """<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/a.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
width="9pt" viewBox="0 0 9 9">
<metadata><x/></metadata><defs><style type="text/css">*{fill: red} path {stroke: none}</style>
<path id="a-b.1" d="M 0 0" style="fill: blue"/><path id="letter" d="M 1 1 L 2 1" transform="scale(0.015625)"/></defs>
<g id="g" clip-path="url(#a-b.1)" style="fill: url( #a-b.1 ); mask: url(#g)"><use xlink:href="#a-b.1"/></g>
<g id="nobody"><g><use xlink:href="#letter" x="1.23456"/></g></g><path d="M 1 1" style="fill: blue"/>
</svg>"""


def test_ids_and_every_kind_of_reference_are_the_figures_own():
    plates = Plates()
    markup = plates.add(SVG, "p", 'a "label" <')
    root = ElementTree.fromstring(markup)
    assert root.get("aria-label") == 'a "label" <'
    assert root.get("width") is None
    assert root.get("viewBox") == "0 0 9 9"
    assert [element.get("id") for element in root.iter() if element.get("id")] == ["p", "f0-0", "f0-1"]
    group = root.find(f"{NAME}g")
    assert group.get("id") == "f0-1"
    assert group.get("clip-path") == "url(#f0-0)"
    assert group[0].get("href") == "#f0-0"
    assert root.find(f"{NAME}metadata") is None
    assert "<?xml" not in markup
    assert "DOCTYPE" not in markup


def test_styles_become_classes_of_this_figure_alone():
    root = ElementTree.fromstring(Plates().add(SVG, "p", ""))
    assert root.find(f".//{NAME}style").text == (
        "#p *{fill: red}#p path {stroke: none}#p .s0{fill:blue}#p .s1{fill:url(#f0-0);mask:url(#f0-1)}"
    )
    assert [element.get("class") for element in root.iter() if element.get("class")] == ["s0", "s1", "s0"]
    assert not any(element.get("style") for element in root.iter())


def test_glyphs_are_kept_once_for_all_figures():
    plates = Plates()
    figures = [ElementTree.fromstring(plates.add(SVG, prefix, "")) for prefix in "pq"]
    for root in figures:
        assert root.findall(f".//{NAME}use")[-1].attrib == {"href": "#g0", "x": "1.23"}
    shared = ElementTree.fromstring(plates.definitions())
    assert [path.attrib for path in shared.iter(f"{NAME}path")] == [
        {"id": "g0", "d": "M1 1h1", "transform": "scale(0.015625)"}
    ]


def corners(path):
    """The points of a path of M, L, C, Q, h, v and z, absolute."""
    at, start, points = [0.0, 0.0], [0.0, 0.0], []
    for letter, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(each) for each in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        if letter in "hv":
            at = [at[0] + numbers[0], at[1]] if letter == "h" else [at[0], at[1] + numbers[0]]
            points.append(at)
        elif letter == "z":
            at = start
        else:
            base = at if letter.islower() else [0.0, 0.0]
            size = {"m": 2, "l": 2, "q": 4, "c": 6}[letter.lower()]
            for place in range(0, len(numbers), 2):
                points.append([base[0] + numbers[place], base[1] + numbers[place + 1]])
                if (place + 2) % size == 0:
                    at = points[-1]
                    base = at if letter.islower() else base
            start = at if letter == "M" else start
    return points


NUMBER = st.floats(-2000, 2000, allow_nan=False).map(lambda value: round(value, 6))
COMMAND = st.tuples(st.sampled_from("MLCQ"), st.lists(NUMBER, min_size=6, max_size=6))


@given(st.lists(COMMAND, max_size=12))
def test_a_relative_path_goes_through_the_same_points(commands):
    takes = {"M": 2, "L": 2, "C": 6, "Q": 4}
    path = "M 1 2 " + " ".join(
        f"{letter} {' '.join(f'{v:.6f}' for v in values[: takes[letter]])}" for letter, values in commands
    )
    path += " z M 3 4 L 5.5 6.25"
    before, after = corners(path), corners(relative_path(path))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new == pytest.approx(old, abs=0.0051)


@pytest.mark.parametrize("path", ["M 0 0 A 1 1 0 0 0 2 2", "m 1 1 l 2 2", "M 0 0 H 3", "M 0 0 z 3"])
def test_other_commands_are_left_alone(path):
    assert relative_path(path) == path


def scatter(*runs):
    """A figure with runs of a symbol: (style, places)."""
    groups = []
    for style, places in runs:
        groups += [f'<use xlink:href="#dot" x="{x}" y="{y}" style="{style}"/>' for x, y in places]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
        '<defs><path id="dot" d="M 0 0 L 1 1" style="stroke: red"/></defs>'
        f'<g clip-path="url(#dot)">{"".join(groups)}<path d="M 5 5"/></g></svg>'
    )


places = st.lists(st.tuples(*[st.integers(-(10**5), 10**5).map(lambda n: n / 100)] * 2), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["fill: red", "fill: blue; opacity: 0.5"]), places), min_size=1, max_size=4))
def test_every_symbol_is_drawn_once_at_its_place_in_its_style_and_in_order(runs):
    root = ElementTree.fromstring(Plates().add(scatter(*runs), "p", ""))
    styles = dict(re.findall(r"#p \.(s\d+)\{([^}]*)\}", root.find(f".//{NAME}style").text))
    markers = {f"url(#{marker.get('id')})": marker for marker in root.iter(f"{NAME}marker")}
    drawn = []
    for element in root.find(f"{NAME}g"):
        if element.tag == f"{NAME}use":
            drawn.append((styles[element.get("class")], (float(element.get("x")), float(element.get("y")))))
        elif element.get("marker-mid"):
            assert element.get("marker-start") == element.get("marker-mid") == element.get("marker-end")
            assert element.get("fill") == element.get("stroke") == "none"
            marker = markers[element.get("marker-mid")]
            assert (marker.get("overflow"), marker.get("markerUnits")) == ("visible", "userSpaceOnUse")
            drawn += [(styles[marker[0].get("class")], place) for place in corners(element.get("d"))]
    asked = [(style.replace(": ", ":").replace("; ", ";"), place) for style, places in runs for place in places]
    assert [style for style, _ in drawn] == [style for style, _ in asked]
    assert [place for _, place in drawn] == [pytest.approx(place, abs=1e-6) for _, place in asked]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_many_symbols_take_a_quarter_of_the_room():
    svg = scatter(("fill: red", [(x / 7, x**2 / 7) for x in range(100)]))
    assert len(Plates().add(svg, "p", "")) < len(svg) / 4
