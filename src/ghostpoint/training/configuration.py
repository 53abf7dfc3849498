"""What a run was asked to do, as JSON has it: the ``config`` of a
:class:`~ghostpoint.results.TrainingRun`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.plan import Plan

#: values that are written out; more are kept as arrays elsewhere in the run
MOST = 500


def configuration(
    models: Record,
    task: Task,
    plan: Plan,
    *,
    learning_rate: ArrayLike,
    record: str | int | Sequence[int],
    checkpoints: Any,
    readout_norm: ArrayLike | None,
    remedies: Sequence[Any],
    solved: float,
    dtype: str,
    engine: str,
) -> dict[str, Any]:
    """The arguments of ``train`` as they were given, ready for JSON, and what of the models and the
    task is not in their arrays.

    ``remedies`` are those that the argument ``remedy`` stood for, ``engine`` the name of the one
    that trained, ``plan`` what all of this came to; the others are :func:`ghostpoint.train`'s own.
    """
    asked: dict[str, Any] = {
        "task": task.to_dict(array=brief),
        "chance_loss": float(task.chance_loss),
        "chance_accuracy": float(task.chance_accuracy),
        "model": type(models).__name__,
        "networks": len(models),
        "units": models.n_units,
        "rank": models.rank,
        "activation": models.activation,
        "trainable": list(models.trainable),
        "learning_rate": brief(learning_rate),
        "initial_state": _same(models.initial_state),
        "epochs": plan.epochs,
        "optimizer": repr(plan.optimizer),
        "remedy": [one.to_dict() for one in remedies],
        "readout_norm": None if readout_norm is None else brief(readout_norm),
        "seed": plan.seed,
        "solved": solved,
        "dtype": dtype,
        "engine": engine,
        "record": record if isinstance(record, str) else brief(record),
        "checkpoints": brief(checkpoints),
    }
    if "confidence" in models.present_parts():
        asked |= {name: _same(models.arrays()[name]) for name in ("confidence", "threshold")}
    return asked


def _same(values: NDArray[Any]) -> Any:
    """The one value of an array of equal values, else :func:`brief` of it."""
    return values.flat[0].item() if values.size and (values == values.flat[0]).all() else brief(values)


def brief(values: ArrayLike) -> Any:
    """A number or list as it is, evenly spaced whole numbers as a range, and more than 500 others
    as a digest.

    A digest has the shape and the SHA-256 of the values in C order: enough to tell whether two are
    the same.
    """
    array = np.asarray(values)
    if array.ndim == 1 and len(array) > 2 and array.dtype.kind in "iu":
        step = int(array[1]) - int(array[0])
        if step > 0 and (np.diff(array) == step).all():
            return {"start": int(array[0]), "stop": int(array[-1]) + 1, "step": step}
    if array.size <= MOST:
        return array.tolist()
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"shape": list(array.shape), "sha256": digest}
