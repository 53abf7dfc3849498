"""The report of a reproduction: one self-contained HTML page made from what is saved, and nothing
else.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpoint import experiments, figures
from ghostpoint._version import __version__
from ghostpoint.command.claim_code import Listing
from ghostpoint.command.inline_svg import Plates
from ghostpoint.command.reproduction_folder import Folder, Record
from ghostpoint.experiments.shared.base import ORIGINS
from ghostpoint.storage import write_text_atomic

if TYPE_CHECKING:
    import xarray as xr


VERDICTS = {"holds": "holds", "does not hold": "fails", "not testable at this scale": "untestable"}
#: dots per inch of what a figure rasterises: sharp at three times the width of the page
DPI = 200


def draw_svg(id: str, dataset: xr.Dataset) -> str:
    """The figure of experiment ``id`` from its saved ``dataset``, as SVG text; equal data give
    equal text.
    """
    from ghostpoint.figures.style import styled

    buffer = io.StringIO()
    with styled():  # matplotlib reads the font and id settings of SVG when it saves
        figures.draw(id, dataset).savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def write_report(folder: Folder) -> Path:
    """Write ``report.html`` of the reproduction ``folder`` from what it holds, and return its
    path.
    """
    return write_text_atomic(render(folder, datetime.now(UTC)), folder.path / "report.html")


def render(folder: Folder, written: datetime) -> str:
    """The report of ``folder`` as HTML text that says it was ``written`` then."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("ghostpoint"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["contains"] = lambda names, name: name in names
    environment.filters.update(
        duration=duration, config=compact_json, abridged=abridged, verdict_class=VERDICTS.__getitem__
    )
    finished = folder.finished()
    entries, plates, listings = [], Plates(), dict[str, Listing]()
    for id in experiments.IDS:
        record = folder.record(id) if id in finished else None
        failed = [folder.failures[id]] if id in folder.failures else []
        if record is None and not failed:
            continue
        experiment, svg = experiments.get(id), folder.figure(id) if record else None
        listing = Listing.of(experiment.claims)
        listing = listings.setdefault(listing.name, listing)
        entry = {
            "experiment": experiment,
            "listing": listing,
            "lines": [listing.line_of(claim.sentence) for claim in (record.claims if record else [])],
            "record": record,
            # Safe as markup: it was parsed as XML and written again.
            "figure": Markup(plates.add(svg, f"figure-{id}", f"Figure of {experiment.title}")) if svg else None,
            "caption": figures.caption(id) if svg else "",
            "failures": [*(record.failures if record else []), *failed],
            # An experiment without claims, as they raised, stands where its origin is.
            "counted": {claim.origin for claim in (record.claims if record else [])} or {experiment.origin},
        }
        entries.append(entry)
    records = [folder.record(id) for id in finished]
    page = environment.get_template("report.html.j2")
    return page.render(
        scale=folder.scale,
        version=__version__,
        written=written,
        entries=entries,
        shared=Markup(plates.definitions()),
        listings=list(listings.values()),
        tallies={origin: tally(records, origin) for origin in ORIGINS},
        seconds=sum(record.seconds for record in records),
        processor_seconds=sum(record.processor_seconds or 0.0 for record in records),
        started=min((record.started for record in records), default=None),
        machines=_distinct("{processor}, {cpus} logical CPUs, {platform}".format(**each.machine) for each in records),
        versions=_distinct(", ".join(f"{name} {number}" for name, number in each.versions.items()) for each in records),
        missing=[id for id in experiments.IDS if id not in finished and id not in folder.failures],
        n_experiments=len(experiments.IDS),
    )


def tally(records: list[Record], origin: str = "") -> dict[str, int]:
    """How many claims of ``records`` came out with each verdict, and in all under ``"claims"``.

    With an ``origin``, those claims only: "published" or "own".
    """
    claims = [claim for record in records for claim in record.claims if origin in ("", claim.origin)]
    verdicts = [claim.verdict for claim in claims]
    return {"claims": len(verdicts)} | {verdict: sum(v == verdict for v in verdicts) for verdict in VERDICTS}


def duration(seconds: float) -> str:
    """``seconds`` for people: ``0.42 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def compact_json(value: Any, indent: str = "") -> str:
    """JSON for reading: a line per name, and a list of numbers or texts on one line."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        named = ((json.dumps(str(name), ensure_ascii=False), part) for name, part in value.items())
        lines = [f"{inner}{name}: {compact_json(part, inner)}" for name, part in named]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
        return "[\n" + ",\n".join(inner + compact_json(part, inner) for part in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def abridged(value: Any) -> str:
    """``value`` as JSON, a long list by its first and last items and its length."""
    if isinstance(value, list) and len(value) > 8:
        return f"{json.dumps(value[:3])[:-1]}, …, {json.dumps(value[-1])}] ({len(value)} values)"
    return json.dumps(value)


def _distinct(lines: Any) -> list[str]:
    """The lines without repetitions: one, unless the parts were made on different machines."""
    return list(dict.fromkeys(lines))
