"""The learning rate above which a network that has learned is lost: predicted, and measured."""

from ghostpoint.critical_rate.escape import Escape, escape_gradient, escape_time
from ghostpoint.critical_rate.lethal import LETHAL, lethal_update
from ghostpoint.critical_rate.measurement import GRID, Probes, probe
from ghostpoint.critical_rate.prediction import (
    CriticalRate,
    before_crossing,
    critical_learning_rate,
    first_order_rate,
)

__all__ = [
    "GRID",
    "LETHAL",
    "CriticalRate",
    "Escape",
    "Probes",
    "before_crossing",
    "critical_learning_rate",
    "escape_gradient",
    "escape_time",
    "first_order_rate",
    "lethal_update",
    "probe",
]
