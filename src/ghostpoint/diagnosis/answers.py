"""Chance levels from the wanted answers: the loss and accuracy of the best constant answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.errors import InputError

__all__ = ["ConstantAnswer", "constant_answer"]


@dataclass(frozen=True)
class ConstantAnswer:
    """Losses of the best constant answer by the kind of loss, and its accuracy (None for
    numbers).
    """

    losses: dict[str, float]
    accuracy: float | None
    source: str

    def levels(
        self, loss: NDArray[np.float64], given_loss: float | None, given_accuracy: float | None, taken: list[str]
    ) -> tuple[float | None, float | None]:
        """Chance levels for a record: the kind whose level the record starts or stays near, none if
        no kind is.

        Levels that the caller gave stand. ``taken`` gets a sentence on what was taken and how.
        """
        if given_loss is None:
            seen = np.quantile(loss, [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
            seen = np.append(seen, np.median(loss[: max(len(loss) // 20, 3)]))
            gaps = {kind: float(np.abs(np.log(np.maximum(seen, 1e-300) / value)).min())
                    for kind, value in self.losses.items() if value > 0}  # fmt: skip
            kind = min(gaps, key=lambda name: gaps[name]) if gaps else ""
            if kind and gaps[kind] < 0.15:
                given_loss = self.losses[kind]
                taken.append(f"chance loss {given_loss:.4g} from {self.source}, as {kind}")
            else:
                taken.append(f"the loss is never near that of a constant answer to {self.source}: not used")
        if given_accuracy is None and self.accuracy is not None:
            given_accuracy = self.accuracy
            taken.append(f"chance accuracy {given_accuracy:.4g} from {self.source}")
        return given_loss, given_accuracy


def constant_answer(classes: int | None, targets: ArrayLike | None) -> ConstantAnswer | None:
    """The best constant answer to K equally frequent classes, or to the given targets; None for
    neither.

    Raises
    ------
    ValueError
        If both are given, or targets are fewer than two, all alike or neither numbers nor labels.
    """
    if classes is not None and targets is not None:
        raise InputError("classes and targets must not both be given: targets say how many classes there are")
    if classes is not None:
        return ConstantAnswer(_by_frequency(np.full(int(classes), 1.0 / classes)), 1.0 / classes, f"{classes} classes")
    if targets is None:
        return None
    values: Any = np.asarray(targets).ravel()
    if values.size < 2:
        raise InputError(f"targets must be two or more, got {values.size}")
    if values.dtype.kind in "fiub":
        values = values.astype(np.float64)
        values = values[np.isfinite(values)]
    elif values.dtype.kind not in "UO":
        raise InputError(f"targets must be numbers or labels, got {values.dtype}")
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) < 2:
        raise InputError(f"targets must not all be alike, got {unique[0] if len(unique) else 'nothing finite'}")
    source = f"{values.size} targets"
    numbers = values.dtype.kind == "f"
    labels = not numbers or (
        len(unique) <= 1000 and 2 * len(unique) <= values.size and bool((unique == unique.round()).all())
    )
    losses = _by_frequency(counts / counts.sum()) if labels else {}
    if numbers:
        losses |= {
            "squared error": float(values.var()),
            "absolute error": float(np.abs(values - np.median(values)).mean()),
        }
    return ConstantAnswer(losses, float(counts.max() / counts.sum()) if labels else None, source)


def _by_frequency(share: NDArray[np.float64]) -> dict[str, float]:
    entropy = float(-(share * np.log(share)).sum())
    found = {"cross-entropy": entropy, "cross-entropy in bits": entropy / float(np.log(2))}
    if len(share) == 2:
        found["squared error to 0 and 1"] = float(share[0] * share[1])
    return found
