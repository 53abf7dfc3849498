"""Remedies: records of what to do about an update that would end in the no-learning zone. Training acts on them."""

from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.records import (
    ClipGradient,
    ConfidenceSchedule,
    HazardLimit,
    ReduceRate,
    Remedy,
    Rewind,
    TrustRegion,
    allowed,
    resolve,
    scale,
)

__all__ = [
    "ClipGradient",
    "ConfidenceSchedule",
    "Crossing",
    "HazardLimit",
    "ReduceRate",
    "Remedy",
    "Rewind",
    "TrustRegion",
    "allowed",
    "crossings",
    "resolve",
    "scale",
]
