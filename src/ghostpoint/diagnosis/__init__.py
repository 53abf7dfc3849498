"""What phase a training is in, and why, from its history alone: :func:`diagnose`.

Loss, and where they are known gradient norm, accuracy, output confidence and learning rate, are enough: no network is
looked at.
"""

from __future__ import annotations

from ghostpoint.diagnosis.diagnose import diagnose
from ghostpoint.diagnosis.read import read_history
from ghostpoint.diagnosis.record import PHASES, Diagnosis, Finding, Phase

__all__ = ["PHASES", "Diagnosis", "Finding", "Phase", "diagnose", "read_history"]
