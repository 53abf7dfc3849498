"""The toy model's formula for the critical rate, applied to trained networks.

    python benchmarks/first_order_rate.py

Networks of rank one (published seeds 0 to 19, c = 10) are trained at fractions of their own
measured critical rates (``benchmarks/results/critical_rate.json``). The drop is where the loss is
first below half of chance. At 31 epochs, evenly from learning rate times epochs = 3 to 6 after
that, two rates are taken, over the measured one: the formula ``(3/8) T**2 / |grad t|**2`` and
``2 / curvature``, the curvature being that of the loss along grad t. States whose readout does not
cross count for neither. Saved are medians over networks and states, in
``benchmarks/results/first_order_rate.json``; about a minute of a processor.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ghostpoint as gp
from ghostpoint.critical_rate import escape_gradient, first_order_rate
from ghostpoint.storage import write_json_atomic
from ghostpoint.training.reference import evaluate

RESULTS = Path(__file__).parent / "results"
FRACTIONS, DELAYS, AFTER = (0.10, 0.20, 0.35, 0.50, 0.70), (12, 24), np.linspace(3.0, 6.0, 31)
DROP = 0.5  # of chance
STRETCH, STRETCHES = 50.0, 27  # learning rate times epochs of a stretch of training; how many at most
STEP = 1e-4  # of the central difference along grad t, in units of the weights


def curvature(models: Any, task: Any, gradient: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Second derivative of the loss along the unit vector of ``gradient`` (R, ...) by part."""
    flat = np.concatenate([part.reshape(len(models), -1) for part in gradient.values()], axis=1)
    length = np.linalg.norm(flat, axis=1)
    unit = {name: part / length.reshape(-1, *[1] * (part.ndim - 1)) for name, part in gradient.items()}

    def slope(sign: float) -> NDArray[np.float64]:
        moved = models.replace(**{name: getattr(models, name) + sign * STEP * part for name, part in unit.items()})
        found = evaluate(moved, task).gradient
        total: NDArray[np.float64] = sum(
            (found[name] * part).reshape(len(models), -1).sum(axis=1) for name, part in unit.items()
        )
        return total

    return (slope(1.0) - slope(-1.0)) / (2 * STEP)


def before_the_drop(models: Any, task: Any, rate: float) -> tuple[Any, int]:
    """The network at the start of the stretch in which its loss drops, and the epoch in it; -1
    where it does not drop.
    """
    for _ in range(STRETCHES):
        run = gp.train(models, task, rate, int(STRETCH / rate))
        below = np.flatnonzero(run.history["loss"].values[0] < DROP)
        if len(below):
            return models, int(below[0])
        models = run.models
    return models, -1


def measured(delay: int, fraction: float, critical: NDArray[np.float64]) -> dict[str, Any]:
    """Both rates over the measured critical one, at one delay and fraction."""
    models, task = gp.LowRankRNN.published(range(len(critical))), gp.tasks.DelayedActivation(5.0 * delay)
    formula, edge, learned = [], [], 0
    for k, rate in enumerate(fraction * critical):
        near, at = before_the_drop(models[[k]], task, rate)
        if at < 0:
            continue
        learned += 1
        kept = np.unique((at + AFTER / rate).astype(int))
        run = gp.train(near, task, rate, int(kept[-1]) + 1, record=[0], checkpoints=kept)
        for row in range(len(kept)):
            then = run.models_at(row)
            state = then.replace(**{name: getattr(then, name).astype(float) for name in then.trainable})
            escape = escape_gradient(state, task)
            if not np.isfinite(escape.time[0, 0]):
                continue
            formula.append(float(first_order_rate(escape, task)[0]) / critical[k])
            bend = curvature(state, task, {name: part[0] for name, part in (escape.gradient or {}).items()})[0]
            if bend > 0:
                edge.append(2 / float(bend) / critical[k])
    return {
        "delay": delay,
        "fraction": fraction,
        "networks": learned,
        "states": len(formula),
        "formula": float(np.median(formula)),
        "edge": float(np.median(edge)),
    }


def main() -> None:
    """Measure and save."""
    start = time.process_time()
    known = json.loads((RESULTS / "critical_rate.json").read_text(encoding="utf-8"))["measured"]
    rows = []
    for delay in DELAYS:
        critical = np.array(known[f"pub_0-20_T{delay}_N100_c10"]["critical_rate"], float)
        for fraction in FRACTIONS:
            rows.append(measured(delay, fraction, critical))
            print(rows[-1], flush=True)
    saved = {
        "command": "python benchmarks/first_order_rate.py",
        "processor_seconds": round(time.process_time() - start),
    }
    write_json_atomic({**saved, "rows": rows}, RESULTS / "first_order_rate.json")


if __name__ == "__main__":
    main()
