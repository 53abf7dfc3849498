"""Grids of trainings that survive whatever happens to the machine: one file, one folder, any number
of computers.
"""

from __future__ import annotations

from ghostpoint.sweeps.boundaries import exponents
from ghostpoint.sweeps.diagrams import phase_diagram
from ghostpoint.sweeps.results import export, open_sweep, runs_table
from ghostpoint.sweeps.run import sweep

__all__ = ["exponents", "export", "open_sweep", "phase_diagram", "runs_table", "sweep"]
