"""What phase a training is in, and why, from its record alone: :func:`diagnose`.

Loss, and where they are known gradient norm, accuracy, output confidence, learning rate and
validation loss, are
enough: no network is looked at. :func:`read_history` reads what the common tools write.
"""

from __future__ import annotations

from ghostpoint.diagnosis.diagnose import diagnose
from ghostpoint.diagnosis.history import History, RunHistory
from ghostpoint.diagnosis.readers import read_history
from ghostpoint.diagnosis.record import PHASES, Diagnosis, Finding, Phase

__all__ = ["PHASES", "Diagnosis", "Finding", "History", "Phase", "RunHistory", "diagnose", "read_history"]
