"""Tasks: what a network is shown and what it should answer, with times in milliseconds.

A task only says how long things last, which answers count, how the error is weighted and what
chance is: see :class:`Task`. Three are those of the publication, three are classics with random
trials, and :func:`from_arrays` takes any other.
"""

from __future__ import annotations

from ghostpoint.tasks.arrays import ArrayTask, from_arrays
from ghostpoint.tasks.base import Seed, Task, Trial, steps_in
from ghostpoint.tasks.delayed_activation import DelayedActivation
from ghostpoint.tasks.delayed_report import DelayedAddition, EvidenceIntegration
from ghostpoint.tasks.flip_flop import NBitFlipFlop
from ghostpoint.tasks.memory import DelayedCueDiscrimination, DelayedMatchToSample

__all__ = [
    "ArrayTask",
    "DelayedActivation",
    "DelayedAddition",
    "DelayedCueDiscrimination",
    "DelayedMatchToSample",
    "EvidenceIntegration",
    "NBitFlipFlop",
    "Seed",
    "Task",
    "Trial",
    "from_arrays",
    "steps_in",
]
