"""Tables whose rows hold one set or one metric each, made tables with a column for each curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ghostpoint.diagnosis.readers.columns import RUNS, SIDES, STEPS, rank_of, words_of

__all__ = ["by_metric", "by_side"]

#: columns that say which set a row is about, and which metric
_SETS = ("split", "phase", "set", "mode", "subset", "stage", "partition", "dataset")
_METRICS = ("metric", "tag", "key", "variable", "name")


def by_side(columns: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Rows of a training and a validation set, told apart by a column such as ``split``, as columns
    of their own: those of the validation set begin with ``val_``. Columns and a remark; None for
    another table.
    """
    for name, cells in columns.items():
        if words_of(name) not in _SETS:
            continue
        labels, unique = pd.factorize(np.asarray(cells, dtype=object))
        sides = [SIDES.get(words_of(str(label)), "") for label in unique]
        if set(sides) != {"train", "val"} or (labels < 0).any():
            continue
        val = np.array([side == "val" for side in sides])[labels]
        found: dict[str, Any] = {}
        for other, values in columns.items():
            if other == name:
                continue
            if words_of(other) in (*STEPS, *RUNS):
                found[other] = values
            else:
                found[other], found[f"val_{other}"] = _only(values, ~val), _only(values, val)
        return found, f"rows told apart by {name}: {', '.join(map(str, unique))}"
    return None


def by_metric(columns: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Rows that hold one metric each, by its name in a column such as ``metric`` and its ``value``,
    as a column for each metric. Columns and a remark; None for another table.
    """
    words = {words_of(name): name for name in columns}
    place = next((words[word] for word in _METRICS if word in words), None)
    if place is None or "value" not in words:
        return None
    labels, unique = pd.factorize(np.asarray(columns[place], dtype=object))
    if len(unique) > 100 or not any(rank_of(str(label), "loss") for label in unique):
        return None
    values = columns[words["value"]]
    found = {name: cells for name, cells in columns.items() if name not in (place, words["value"])}
    found |= {str(label): _only(values, labels == i) for i, label in enumerate(unique)}
    return found, f"rows told apart by {place}: {', '.join(map(str, unique[:12]))}"


def _only(cells: Any, rows: Any) -> Any:
    """The cells of some rows, None in the others."""
    kept = np.full(len(rows), None, dtype=object)
    kept[rows] = np.asarray(cells, dtype=object)[rows]
    return kept
