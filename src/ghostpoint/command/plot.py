"""``ghostpoint plot``: a phase diagram of a sweep as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from ghostpoint.errors import InputError
from ghostpoint.figures.phase_diagram import draw_phase_diagram
from ghostpoint.sweeps.diagrams import phase_diagram
from ghostpoint.sweeps.results import open_sweep

__all__ = ["plot_sweep"]

#: dots per inch of the PNG
DPI = 200


def plot_sweep(path: Path, x: str, y: str | None, value: str, out: Path | None) -> str:
    """Draw ``value`` over one or two axes of the sweep in a folder; a line that names both files.

    ``out`` is the name without or with either suffix; by default one in the folder that says what
    is shown.
    """
    diagram = phase_diagram(open_sweep(path), x, y, value)
    name = "-".join(part for part in (value, y, x) if part)
    base = path / "figures" / name if out is None else out
    if base.suffix not in ("", ".svg", ".png"):
        raise InputError(f"--out must end in .svg, .png or neither, as both are written; got {base.name!r}")
    base = base.with_suffix("")
    base.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_phase_diagram(diagram)
    files = [base.with_suffix(suffix) for suffix in (".svg", ".png")]
    figure.savefig(files[0], metadata={"Date": None})
    figure.savefig(files[1], dpi=DPI)
    return f"Figures: {files[0]}, {files[1].name}"
