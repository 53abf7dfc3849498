"""The update that loses a network at its critical rate: how far it moves the escape time, and
through which ghost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostpoint.critical_rate.escape import escape_gradient
from ghostpoint.critical_rate.measurement import Probes
from ghostpoint.models import Record
from ghostpoint.slow_points.latents import flow_ghosts
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training import Computing, train
from ghostpoint.training.reference import evaluate

__all__ = ["LETHAL", "lethal_update"]

#: what :func:`lethal_update` gives
LETHAL = ("hazard", "gradient_norm", "loss_slope", "time", "ghost_height", "ghost_passage")


def lethal_update(
    models: Record, task: DelayedActivation, probes: Probes, *, engine: str | Computing = "auto"
) -> dict[str, NDArray[np.float64]]:
    """The network one update before it is lost at its critical rate, and the hazard of that update.

    The hazard of an update d is ``|grad t . d| / ((3/8) T)``, t being the escape time and T the
    delay; d is ``-rate grad L``, that of plain gradient descent (letter, eq. 15).

    Parameters
    ----------
    models : Record
        R networks before training.
    task : DelayedActivation
        Of the delay T.
    probes : Probes
        Of these networks by plain gradient descent (:func:`probe`).
    engine : str or Computing
        Trains each once more at its critical rate, up to that update; as for
        :func:`ghostpoint.train`, and the one of ``probes``.

    Returns
    -------
    dict
        Of each of :data:`LETHAL` (R,), NaN where there is none: ``hazard``; ``gradient_norm``, of
        the escape time; ``loss_slope``, ``T dL/dt`` along that gradient; ``time``, the escape time
        in updates of the state; ``ghost_passage``, the time ``pi / sqrt(r a)`` for all of the
        slowest ghost over the escape time, and ``ghost_height``, its r.
    """
    found = {name: np.full(len(models), np.nan) for name in LETHAL}
    lost = np.flatnonzero(np.isfinite(probes.critical))
    if len(lost):
        for name, values in _of_lost(models[lost], task, probes, lost, engine).items():
            found[name][lost] = values
    return found


def _of_lost(
    models: Record, task: DelayedActivation, probes: Probes, networks: NDArray[np.int64], engine: str | Computing
) -> dict[str, NDArray[np.float64]]:
    """The same of networks that are lost, which stand at ``networks`` in the probes' stack."""
    # the last epoch above chance: the update from there is the lethal one
    rate = probes.critical[networks]
    last = probes.lost_at[probes.lost.argmax(axis=0)[networks], networks] - 1
    epochs = int(last.max()) + 1
    kept = np.unique(last)
    run = train(models, task, rate, epochs, record=[0], checkpoints=kept, engine=engine)
    assert run.checkpoints is not None
    at = np.searchsorted(kept, last)
    rows = np.arange(len(models))
    parts = {part: run.checkpoints[part].values[at, rows].astype(float) for part in models.trainable}
    before = models.replace(**parts)
    escape, loss = escape_gradient(before, task), evaluate(before, task)
    assert escape.gradient is not None
    assert escape.norm is not None
    # grad t . grad L over all trainable parts
    along = np.zeros(len(models))
    for part, values in escape.gradient.items():
        along += (values[0] * loss.gradient[part]).reshape(len(models), -1).sum(axis=1)
    height, passage = np.full((2, len(models)), np.nan)
    form = before.tanh_form()
    if form is not None and form.n is not None and before.rank == 1:
        ghosts = flow_ghosts(before)
        some = ghosts.count > 0
        if some.any():
            # the ghost that takes longest to pass, which is the one that times the delay
            strength = np.where(np.isnan(ghosts.height), np.inf, ghosts.height * ghosts.curvature)
            slowest = strength.argmin(axis=1)
            height[some] = np.abs(ghosts.height[rows, slowest])[some]
            passage[some] = np.pi / np.sqrt(strength[rows, slowest][some]) / (escape.time[0] * task.alpha)[some]
    return {
        "hazard": rate * np.abs(along) / (0.375 * task.delay_steps),
        "gradient_norm": escape.norm[0],
        "loss_slope": along / escape.norm[0] ** 2 * task.delay_steps,
        "time": escape.time[0],
        "ghost_height": height,
        "ghost_passage": passage,
    }
