"""Matplotlib's SVG figures as elements of one HTML page, a third to a half as long as they were
saved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from xml.etree import ElementTree

__all__ = ["Plates", "relative_path"]

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = (f"{{{_XLINK}}}href", "href")
_REFERENCE = re.compile(r"url\(\s*#([^)\s]+)\s*\)")
_TOKEN = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NUMBER = re.compile(r"-?\d+\.\d{3,}(?![\d.]*[eE])")
#: numbers that each command of a path takes; other commands leave a path as it is
_TAKES = {"M": 2, "L": 2, "C": 6, "Q": 4, "Z": 0}
#: steps of the coordinates: a hundredth of a point is far below a pixel at any zoom that a reader
#: uses
_PER_POINT = 100

#: symbols of a run that is put on one path
_FEWEST = 6

Element = ElementTree.Element


class Plates:
    """The figures of one page. Glyphs are kept once for all of them, in :meth:`definitions`."""

    def __init__(self) -> None:
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", _XLINK)
        self._glyphs: dict[str, str] = {}
        self._figures = 0

    def add(self, svg: str, name: str, label: str) -> str:
        """``svg`` as an element for the page, with the id ``name``.

        Matplotlib gives its elements the same ids in every figure, and its style rules apply to the
        whole page; with several figures in a page each has to refer to its own. So ids inside are
        the figure's number and their own, short because a figure may refer to one 6000 times. The
        element scales with the page and carries ``label`` for readers who do not see it.
        Coordinates are rounded to hundredths of a point, ids that nothing refers to are dropped,
        equal styles become one class, and many equal markers the vertices of one path.
        """
        root = ElementTree.fromstring(svg)
        _remove(root, "metadata")
        names = self._shared(root)
        for element in root.iter():
            self._rename(element, names)
            for each in ("d", "transform", "x", "y", "points"):
                if each in element.attrib:
                    text = element.attrib[each]
                    element.set(each, relative_path(text) if each == "d" else _rounded(text))
        _unwrap(root)
        _classify(root, name)
        _string(root, f"f{self._figures - 1}-m")
        for element in root.iter():
            for part in ("text", "tail"):
                text = getattr(element, part)
                if text and not text.strip():
                    setattr(element, part, None)
        for each in ("width", "height", "version"):
            root.attrib.pop(each, None)
        root.set("id", name)
        root.set("role", "img")
        root.set("aria-label", label)
        return _text(root)

    def definitions(self) -> str:
        """The element, invisible, that holds what the figures share; the page needs it once, before
        any figure.
        """
        glyphs = "".join(f'<path id="{name}" {shape}/>' for shape, name in self._glyphs.items())
        return f'<svg xmlns="{_SVG}" class="shared" width="0" height="0" aria-hidden="true"><defs>{glyphs}</defs></svg>'

    def _shared(self, root: Element) -> dict[str, str]:
        """Take the glyphs out of ``root``; the new names of all ids that something refers to."""
        wanted = set(_references(root))
        names = {}
        for parent in list(root.iter(f"{{{_SVG}}}defs")):
            for child in list(parent):
                if child.tag == f"{{{_SVG}}}path" and set(child.attrib) <= {"id", "d", "transform"}:
                    shape = f'd="{relative_path(child.get("d", ""))}"'
                    if "transform" in child.attrib:
                        shape += f' transform="{child.get("transform")}"'
                    names[child.get("id", "")] = self._glyphs.setdefault(shape, f"g{len(self._glyphs)}")
                    parent.remove(child)
        known = [element.get("id", "") for element in root.iter()]
        kept = [name for name in dict.fromkeys(known) if name in wanted]
        number, self._figures = self._figures, self._figures + 1
        return {**{name: f"f{number}-{place}" for place, name in enumerate(kept)}, **names}

    def _rename(self, element: Element, names: dict[str, str]) -> None:
        for name, value in list(element.attrib.items()):
            if name == "id":
                if value in names:
                    element.set(name, names[value])
                else:
                    del element.attrib[name]
            elif name in _HREF and value.startswith("#"):
                del element.attrib[name]
                element.set("href", f"#{names.get(value[1:], value[1:])}")
            elif "url(" in value:
                element.set(name, _REFERENCE.sub(lambda found: f"url(#{names.get(found[1], found[1])})", value))


def relative_path(path: str) -> str:
    """The data of an SVG path with coordinates relative to the point before, rounded to hundredths.

    Every point is rounded where it stands, so that errors do not add up along the path. A path with
    other commands than matplotlib's M, L, C, Q and Z is returned as it is.

    Examples
    --------
    >>> relative_path("M 10.004 20 L 13 20 L 13 17.5 z")
    'M10 20h3v-2.5z'
    """
    tokens = _TOKEN.findall(path)
    if any(token.isalpha() and token.upper() != token and token != "z" for token in tokens):
        return path
    written, at, start, command, place = [], (0, 0), (0, 0), "", 0
    while place < len(tokens):
        if tokens[place].isalpha():
            command, place = tokens[place].upper(), place + 1
        count = _TAKES.get(command)
        if count is None:
            return path
        numbers = [round(float(token) * _PER_POINT) for token in tokens[place : place + count]]
        place += count
        if command == "Z":
            written.append("z")
            at, command = start, ""
            continue
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        steps = [(x - at[0], y - at[1]) for x, y in points]
        if command == "M":
            written.append("M" + _joined(numbers))
            start, command = points[-1], "L"
        elif len(steps) == 1 and 0 in steps[0]:
            horizontal = steps[0][1] == 0
            written.append(("h" if horizontal else "v") + _joined([steps[0][0] if horizontal else steps[0][1]]))
        else:
            letter = command.lower()
            text = _joined([value for step in steps for value in step])
            # a command that repeats the one before needs no letter
            repeated = written and written[-1][0] == letter
            written.append(letter + text if not repeated else f"{letter}\0{text}")
        at = points[-1]
    return "".join(part if "\0" not in part else (part[2:] if part[2] == "-" else " " + part[2:]) for part in written)


def _joined(hundredths: list[int]) -> str:
    """Numbers as short as SVG allows: no leading zero, no space before a minus sign."""
    texts = [_short(value) for value in hundredths]
    return "".join(text if not place or text[0] == "-" else " " + text for place, text in enumerate(texts))


def _short(hundredths: int) -> str:
    text = f"{hundredths / _PER_POINT:.2f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _rounded(text: str) -> str:
    return _NUMBER.sub(lambda found: _short(round(float(found[0]) * _PER_POINT)), text)


def _references(root: Element) -> Iterator[str]:
    """Every id that an attribute of the figure refers to."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in _HREF:
                yield value.removeprefix("#")
            yield from _REFERENCE.findall(value)


def _remove(root: Element, tag: str) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}{tag}":
                parent.remove(child)


def _unwrap(parent: Element) -> None:
    """Put the children of every group without attributes, and of empty definitions, in its
    place.
    """
    children: list[Element] = []
    for child in parent:
        _unwrap(child)
        bare = child.tag in (f"{{{_SVG}}}g", f"{{{_SVG}}}defs") and not child.attrib
        if bare and (child.tag.endswith("}g") or not len(child)):
            children.extend(child)
        else:
            children.append(child)
    parent[:] = children


def _classify(root: Element, prefix: str) -> None:
    """Turn equal ``style`` attributes into one class each, by rules for this figure alone."""
    classes: dict[str, str] = {}
    sheet = None
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}style" and element.text:
            element.text = re.sub(r"(^|\})\s*([^{}]+)\{", rf"\1#{prefix} \2{{", element.text)
            sheet = element
        style = element.attrib.pop("style", None)
        if style:
            element.set("class", classes.setdefault(style.replace("; ", ";").replace(": ", ":"), f"s{len(classes)}"))
    if sheet is None:
        sheet = ElementTree.Element(f"{{{_SVG}}}style")
        root.insert(0, sheet)
    sheet.text = (sheet.text or "") + "".join(f"#{prefix} .{name}{{{style}}}" for style, name in classes.items())


def _string(root: Element, prefix: str) -> None:
    """Put runs of equal symbols, as a scatter plot has, on the vertices of one path that is itself
    not seen.

    A vertex takes about ten characters, a symbol of its own fifty. The symbols are drawn in the
    same order and at the same places, each by itself, so that overlaps look the same.
    """
    strung = 0
    for parent in list(root.iter()):
        children: list[Element] = []
        for (use, shown), run in groupby(parent, _symbol):
            symbols = list(run)
            if not use or len(symbols) < _FEWEST:
                children.extend(symbols)
                continue
            name, strung = f"{prefix}{strung}", strung + 1
            marker = ElementTree.Element(
                f"{{{_SVG}}}marker", {"id": name, "markerUnits": "userSpaceOnUse", "overflow": "visible"}
            )
            ElementTree.SubElement(marker, f"{{{_SVG}}}use", {"href": use, **({"class": shown} if shown else {})})
            vertices = " L ".join(f"{symbol.get('x')} {symbol.get('y')}" for symbol in symbols)
            at_each = {f"marker-{where}": f"url(#{name})" for where in ("start", "mid", "end")}
            path = {"d": relative_path(f"M {vertices}"), "fill": "none", "stroke": "none", **at_each}
            children += [marker, ElementTree.Element(f"{{{_SVG}}}path", path)]
        parent[:] = children


def _symbol(element: Element) -> tuple[str, str]:
    """What a symbol at a place refers to, and its class; empty for any other element."""
    if element.tag != f"{{{_SVG}}}use" or not set(element.attrib) <= {"x", "y", "href", "class"} or len(element) > 0:
        return "", ""
    if "x" not in element.attrib or "y" not in element.attrib:
        return "", ""
    return element.get("href", ""), element.get("class", "")


def _text(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")
