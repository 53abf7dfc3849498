"""What to do about a verdict, in a sentence."""

from __future__ import annotations

from ghostpoint.diagnosis.series import Series
from ghostpoint.diagnosis.verdicts import Judged

__all__ = ["advice_for"]


def advice_for(judged: Judged, series: Series | None) -> str:
    """A sentence; names a learning rate where the history has one."""
    rate = None if series is None or series.rate is None else float(series.rate[-1])
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
    if judged.name == "plateau at chance":
        if evidence.get("gradient_share", 1.0) == 0.0 or evidence.get("last_gradient_norm", 1.0) == 0.0:
            return "The gradient is gone: lower the output confidence or start from other weights."
        return "Wait, for plateaus can end abruptly; a lower output confidence or more trainable ranks shorten them."
    if judged.name == "divergence":
        return f"Rewind and {half}, or clip the gradient."
    if judged.name == "abrupt learning":
        return "Go on, and lower the learning rate now: the same rate is riskier after the drop than on the plateau."
    if judged.name == "gradual learning":
        return "Go on: the loss comes down step by step."
    if judged.name == "recovered":
        return f"Go on, but {half}: what threw the network off once can do so again."
    return "Record more: more epochs, the gradient norm and the accuracy."
