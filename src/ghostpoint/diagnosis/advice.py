"""What to do about a verdict, in a sentence or two."""

from __future__ import annotations

import numpy as np

from ghostpoint.diagnosis.judged import Judged
from ghostpoint.diagnosis.levels import Levels, tail_is_flat
from ghostpoint.diagnosis.series import Series

__all__ = ["advice_for"]

#: equal losses that may be so by accident
FEW = 20


def advice_for(judged: Judged, series: Series | None, levels: Levels | None) -> str:
    """A sentence; names a learning rate where the history has one. "Go on" is never said of a flat
    tail.
    """
    rate = None
    if series is not None and series.rate is not None and series.rate[-1] > 0:
        rate = float(series.rate[-1])
    half = "halve the learning rate" if rate is None else f"lower the learning rate below {rate / 2:.3g}"
    evidence = judged.evidence
    if judged.name == "no-learning zone":
        entry = evidence.get("entry_epoch")
        rewind = f"Rewind to before epoch {entry:g} and {half}" if entry is not None else f"Start again and {half}"
        return f"{rewind}, or go on from here with a lower output confidence: more steps as they are will not help."
    if judged.name == "oscillation near a minimum":
        if evidence.get("growth", 1.0) > 1.5:
            return f"The swings grow: {half} now, before a step leads into the no-learning zone."
        return f"To go lower, {half} or decay it; each swing risks a step into the no-learning zone."
    gone = evidence.get("gradient_share", 1.0) == 0.0 or evidence.get("last_gradient_norm", 1.0) == 0.0
    if judged.name == "plateau at chance" and gone:
        return "The gradient is gone: lower the output confidence or start from other weights."
    if series is not None and (idle := _nothing_is_trained(judged, series)):
        return idle
    if judged.name == "plateau at chance":
        return "Wait, for plateaus can end abruptly; a lower output confidence or more trainable ranks shorten them."
    if judged.name == "plateau at a constant answer":
        return (
            "The network gives one answer to every input: more steps alone may take long. Check that the inputs "
            "reach it and the targets fit them, and try another learning rate, initialisation or output confidence."
        )
    if judged.name == "divergence":
        return f"Rewind and {half}, or clip the gradient."
    if judged.name == "rise of the loss":
        where = f"Keep the weights of epoch {evidence['rises_since']:g}" if "rises_since" in evidence else "Rewind"
        if "last_validation_loss" in evidence:
            return f"{where}: stop earlier, or regularise, or train on more data."
        return f"{where}: {half}, or stop there if this is a validation loss (over-fitting)."
    if judged.name == "recovered":
        return f"It works again, but {half}: what threw the network off once can do so again."
    if judged.name == "restart of a schedule":
        return "Judge the loss at the end of a cycle of the schedule: between, it is raised by the restart."
    if judged.name == "cannot tell":
        return "Record more: more epochs, the gradient norm and the accuracy."
    flat, since = (False, 0.0) if series is None or levels is None else tail_is_flat(series, levels)
    if judged.name == "converged" or flat:
        begin = f" since epoch {since:g}" if flat else ""
        return (
            f"The loss is flat{begin}: stop here, or {half} to see whether it falls further; more steps as they are "
            "change little."
        )
    if judged.name in ("abrupt learning", "staircase learning"):
        return "Go on, and lower the learning rate now: the same rate is riskier after the drop than on the plateau."
    return "Go on: the loss still comes down."


def _nothing_is_trained(judged: Judged, series: Series) -> str:
    """What to check where no parameter seems to change; empty where some may."""
    rates = np.zeros(0) if series.rate is None else series.rate[np.isfinite(series.rate)]
    if judged.name.startswith(("plateau", "converged")) and len(rates) and not rates.any():
        return (
            "The recorded learning rate is 0 in every row. Unless it is rounded, or that of other parameters is not, "
            "nothing is trained."
        )
    if judged.name not in ("divergence", "cannot tell") and len(series.loss) >= FEW and np.ptp(series.loss) == 0:
        return (
            "The loss is the same number in every row. Unless it is rounded, nothing is trained: check that the "
            "optimizer holds the network's parameters and that gradients reach them. If it is rounded, record more "
            "digits."
        )
    return ""
