"""When a plateau of this library's own trainings will end, where the theory says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ghostpoint.diagnosis.record import Finding
from ghostpoint.errors import InputError
from ghostpoint.results import TrainingRun
from ghostpoint.theory import Plateau

__all__ = ["with_forecasts"]


def with_forecasts(findings: Sequence[Finding], run: TrainingRun) -> tuple[Finding, ...]:
    """The findings on a run's networks, with a note on when the theory has a plateau end.

    The theory (:func:`ghostpoint.theory.plateau_length`) starts from the weights after the last
    update. There is a note for networks on the plateau at chance that still move, trained by plain
    or heavy-ball gradient descent without a remedy, within the theory's range of validity.
    """
    waiting = [finding.verdict == "plateau at chance" for finding in findings]
    descent = re.fullmatch(r"SGD\(momentum=([0-9.e+-]+)\)", str(run.config.get("optimizer")))
    if not any(waiting) or len(waiting) != len(run.models) or descent is None or run.config.get("remedy"):
        return tuple(findings)
    rate, momentum = run.history["learning_rate"].values.astype(float), float(descent[1])
    try:
        plateau = Plateau.of(run.models, run.task)
    except InputError:  # another network or task
        return tuple(findings)
    known = waiting & plateau.valid(rate, momentum=momentum) & (run.events["frozen"].values < 0)
    ends = run.config["epochs_done"] + np.ceil(plateau.length(rate, momentum=momentum))
    return tuple(
        replace(finding, notes=(*finding.notes, f"the theory gives the end of this plateau at epoch {end:,.0f}"))
        if sure
        else finding
        for finding, sure, end in zip(findings, known, ends, strict=True)
    )
