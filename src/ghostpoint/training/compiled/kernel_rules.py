"""Which optimisers and remedies the compiled kernels know, and an optimiser in their terms.

A class counts as known only itself: one derived from it may have another rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies import Guard, HazardLimit, Remedy, TrustRegion
from ghostpoint.tasks import Task
from ghostpoint.training.optimizers import SGD, Adam, Optimizer
from ghostpoint.training.plan import Plan

#: optimiser to the rule's name in ``kernels/optimizers.py`` and decay, second decay and epsilon of
#: its ``SETTINGS``
OPTIMIZERS: dict[type[Optimizer], Callable[[Any], tuple[str, tuple[float, float, float]]]] = {
    SGD: lambda one: ("momentum" if one.momentum else "sgd", (one.momentum, 0.0, 0.0)),
    Adam: lambda one: ("adam", (*one.betas, one.eps)),
}
#: remedies of ``kernels/trust.py``; ClipGradient is a part of the optimiser
WITHIN: tuple[type[Remedy], ...] = (TrustRegion, HazardLimit)
#: those and the one that acts between calls of the kernels (``guarded_network.py``)
REMEDIES: tuple[type[Remedy], ...] = (*WITHIN, Guard)


def unknown(task: Task, plan: Plan, remedies: tuple[type[Remedy], ...] = REMEDIES) -> str:
    """What of the optimiser and the remedies the kernels do not know, as half a sentence; empty if
    all is known. They know the ``remedies`` that are given.
    """
    if type(plan.optimizer) not in OPTIMIZERS:
        names = " and ".join(kind.__name__ for kind in OPTIMIZERS)
        return f"the kernels know the optimisers {names}, got {type(plan.optimizer).__name__}"
    others = [type(one).__name__ for one in plan.remedies if type(one) not in remedies]
    if others:
        names = ", ".join(kind.__name__ for kind in remedies)
        return f"the kernels know the remedies {names} and ClipGradient, got {', '.join(others)}"
    if task.random and any(one.watches for one in plan.remedies):
        return "the kernels know TrustRegion for fixed trials"
    return ""


def rule_of(plan: Plan, place: int) -> tuple[str, NDArray[np.float64]]:
    """The name of the optimiser's rule and its ``SETTINGS`` for the network at ``place``."""
    name, settings = OPTIMIZERS[type(plan.optimizer)](plan.optimizer)
    limit = np.inf if plan.clip_norm is None else plan.clip_norm
    return name, np.array([float(plan.rate[place]), *settings, limit])
