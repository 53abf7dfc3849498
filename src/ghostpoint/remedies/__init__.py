"""Remedies: records of what to do about an update that would end in the no-learning zone. Training
acts on them.

:class:`Remedy` is the contract; a new one is a class and a line of :data:`REMEDIES`.
"""

from ghostpoint.remedies.after_collapse import ReduceRate, Rewind
from ghostpoint.remedies.confidence_schedule import ConfidenceSchedule
from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.guard import Guard
from ghostpoint.remedies.limits import ClipGradient, HazardLimit
from ghostpoint.remedies.registry import REMEDIES, from_dict, resolve
from ghostpoint.remedies.remedy import Near, Reaction, Remedy, Step, Update
from ghostpoint.remedies.rules import allowed, scale
from ghostpoint.remedies.trust_region import TrustRegion

__all__ = [
    "REMEDIES",
    "ClipGradient",
    "ConfidenceSchedule",
    "Crossing",
    "Guard",
    "HazardLimit",
    "Near",
    "Reaction",
    "ReduceRate",
    "Remedy",
    "Rewind",
    "Step",
    "TrustRegion",
    "Update",
    "allowed",
    "crossings",
    "from_dict",
    "resolve",
    "scale",
]
