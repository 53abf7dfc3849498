"""The critical rate without the long training: from a backward pass, and from short descents
through the drop.

*First order.* With ``dL/dt`` the slope of the loss in the escape time t and T the delay, the update
``-alpha dL/dt grad t`` lengthens t by ``alpha |dL/dt| |grad t|**2``, and by (3/8) T at

    alpha = (3/8) T / (|dL/dt| |grad t|**2)

which is exactly the toy model's critical rate (letter, eq. 15) at its minimum. It says whether *the
next update* of *this* network can be lethal. A network in training does not keep its gradient: it
sharpens until the curvature of the loss is 2 over the rate it is trained at and no further, so on a
trained network the formula returns a multiple of that rate. What decides is how violently the
network passes through its drop, while it is still sharper than the rate allows, and there each
update changes the gradient by as much as the gradient is.

*Short descents.* On the plateau training follows the gradient flow, whatever the rate. So the
network is brought to the brink of its first crossing once, and descends from there at each rate of
a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import integer
from ghostpoint.critical_rate.escape import Escape, escape_gradient
from ghostpoint.critical_rate.measurement import EPOCHS, GRID, Probes, probe
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.remedies import crossings
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import Task
from ghostpoint.training import Computing, train
from ghostpoint.training.reference import approach, evaluate, follow, global_norm

#: updates of a short descent
HORIZON = 3_000
#: how far an update may move the readout towards its crossing before the drop (logit)
ADVANCE = 0.02
#: updates between two looks at that distance, and looks at most
STRIDE, LOOKS = 10, 500


@dataclass(frozen=True)
class CriticalRate:
    """Critical learning rates of R networks.

    Attributes
    ----------
    predicted : (R,)
        Lowest rate at which the short descent ends in the no-learning zone; NaN where none of the
        grid does.
    interval : (R, 2)
        Highest rate below it that was kept (0 if it is the lowest of the grid), and ``predicted``:
        the descents cannot tell rates between them.
    first_order : (R,)
        :func:`first_order_rate` of the networks as given; NaN where they do not cross yet.
    measured : (R,) or None
        Lowest rate at which training of the networks as given ends there, if that was asked for. An
        upper bound only where ``training.bound``: ``epochs`` were too few for a lower rate.
    trained_first : (R,) bool
        The network did not answer yet, and was first brought up to its first crossing
        (:func:`before_crossing`).
    start : LowRankRNN or FullRankRNN
        The networks from which the short descents start.
    descents, training : Probes, and Probes or None
        All probes behind ``predicted`` and ``measured``.
    method : str
        How ``predicted`` was obtained, in words.
    """

    predicted: NDArray[np.float64]
    interval: NDArray[np.float64]
    first_order: NDArray[np.float64]
    measured: NDArray[np.float64] | None
    trained_first: NDArray[np.bool_]
    start: Record
    descents: Probes
    training: Probes | None
    method: str


def critical_learning_rate(
    models: Record,
    task: Task,
    *,
    measure: bool = False,
    optimizer: Any = "sgd",
    rates: ArrayLike = GRID,
    horizon: int = HORIZON,
    epochs: int = EPOCHS,
    on_progress: Callable[[int], None] | None = None,
    **keywords: Any,
) -> CriticalRate:
    """The learning rate above which training loses a network that it has taught, one per network.

    ``predicted`` is the lowest rate of the grid at which a descent of ``horizon`` updates through
    the drop loses the network; ``measured`` the same for ``epochs`` updates from the networks as
    given (:func:`probe` has the rule). The first fits no constant and is the cheaper by about
    ``epochs / horizon``; it misses losses long after the drop.

    Parameters
    ----------
    models : LowRankRNN or FullRankRNN
        R networks, trained or not.
    task : Task
        With fixed trials.
    measure : bool
        Train in full too.
    optimizer
        As for :func:`ghostpoint.train`. The descents start with its state empty.
    rates : (P,) array
        The grid, ascending.
    horizon, epochs : int
        Updates of a descent and of a measurement; more than the 50 over which a lost network must
        stay at chance.
    on_progress : callable, optional
        Called with network-epochs done.
    keywords
        For :func:`ghostpoint.train`: engine, dtype, threads.

    Raises
    ------
    ValueError
        For a task with random trials or without a transition between two answers, and as
        :func:`ghostpoint.train`.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> models, task = gp.LowRankRNN.published([0]), gp.tasks.DelayedActivation(delay=60)
    >>> found = gp.critical_learning_rate(models, task, rates=[0.01, 0.1, 1.0], horizon=300)
    >>> found.predicted.shape, bool(found.interval[0, 1] == found.predicted[0])
    ((1,), True)
    """
    horizon = integer("horizon", horizon, at_least=NO_LEARNING_WINDOW + 1)
    epochs = integer("epochs", epochs, at_least=NO_LEARNING_WINDOW + 1)
    start, trained_first = before_crossing(models, task, on_progress=on_progress, **keywords)
    shared = {"optimizer": optimizer, "on_progress": on_progress, **keywords}
    descents = probe(start, task, rates, horizon, **shared)
    training = probe(models, task, rates, epochs, **shared) if measure else None
    return CriticalRate(
        predicted=descents.critical,
        interval=np.stack([descents.kept, descents.critical], axis=1),
        first_order=first_order_rate(escape_gradient(models, task), task),
        measured=None if training is None else training.critical,
        trained_first=trained_first,
        start=start,
        descents=descents,
        training=training,
        method=f"descents of {horizon} updates at {len(descents.rates)} rates from just before the first crossing",
    )


def first_order_rate(escape: Escape, task: Task) -> NDArray[np.float64]:
    """``(3/8) T / (|dL/dt| |grad t|**2)``: to first order one update at this rate reaches the point
    of no return, (R,).

    ``|dL/dt| = w (b - a)**2`` is the slope of the loss for confident outputs: an answer that comes
    a step late errs by b - a once more, with weight w. For delayed activation w = 1 / T, and the
    rate is ``(3/8) T**2 / |grad t|**2``. The lowest over the crossings; NaN where none crosses.

    Parameters
    ----------
    escape : Escape
        With its gradient, in the task's own trials.
    """
    if escape.norm is None:
        raise InputError("escape must have its gradient: escape_gradient(models, task), got escape times alone")
    trial = task.trial()
    weights = task.weights(trial)
    slope = np.empty(len(escape.crossings))
    for row, crossing in enumerate(escape.crossings):
        at = crossing.start + crossing.delay
        late, due = trial.targets[crossing.trial, at - 1 : at + 1, crossing.output]
        slope[row] = weights[crossing.trial, at, crossing.output] * (due - late) ** 2
    rate = 3 / 8 * escape.delay[:, None] / (slope[:, None] * escape.norm**2)
    return np.asarray(np.where(np.isnan(rate).all(axis=0), np.nan, np.fmin.reduce(rate)))


def before_crossing(
    models: Record,
    task: Task,
    *,
    on_progress: Callable[[int], None] | None = None,
    engine: str | Computing = "auto",
    **keywords: Any,
) -> tuple[Any, NDArray[np.bool_]]:
    """Networks just before their readout first crosses, and which of them had to be trained for it.

    Plain gradient descent at a rate of its own for each network and every ten updates: with g the
    largest margin of the readout over the trial, an update moves it by 0.02 at most,
    ``rate |grad L| |grad g| = 0.02``. That is safe by the theory, because a network that has not
    crossed cannot be lost, and follows the gradient flow (in the tail of a sigmoid the gradient
    grows e-fold in half a logit) across the plateau in hundreds of updates, however flat it is. A
    network that crosses already is left as it is; one that does not in 5,000 updates stays where it
    got to.

    Parameters
    ----------
    models, task
        R networks, and a task with a fixed trial and a crossing.
    on_progress, engine, keywords
        As for :func:`ghostpoint.critical_rate.probe`.

    Returns
    -------
    models, (R,) bool
    """
    trial = task.trial()
    found = crossings(task, trial, models.activation)
    if not found:
        raise InputError("task must have a target that goes from one counted answer to another, got none")
    current = earlier = models
    running = np.arange(len(models))
    kept = {part: getattr(models, part).copy() for part in models.trainable}
    needed = np.zeros(len(models), bool)
    rose = np.zeros(len(models), bool)
    computing = replace(Computing.of(engine), on_progress=on_progress, on_interrupt="raise")
    for look in range(LOOKS):
        # |grad L| |grad g| of the crossing whose margin moves fastest
        path = follow(current, task, trial)
        loss_norm = evaluate(current, task).gradient_norm
        speed, crossed = np.zeros(len(current)), np.zeros(len(current), bool)
        for crossing in found:
            near = approach(current, task, trial, path, crossing)
            steep = global_norm([near.gradient[part] for part in current.trainable], len(current))
            crossed |= near.crossed | (near.peak > 0)  # at once above is beyond the drop too
            speed = np.maximum(speed, loss_norm * steep)
        if look == 0:
            needed = ~crossed
        # at the end of the plateau a readout can cross and come back between two looks
        done = crossed | rose | (speed == 0)
        for part, values in kept.items():
            values[running[done]] = getattr(earlier, part)[done]
        running, rate = running[~done], ADVANCE / speed[~done]
        if not len(running):
            break
        earlier = current[~done]
        run = train(earlier, task, rate, STRIDE, record=[0], engine=computing, **keywords)
        current, rose = run.models, run.events["first_above_chance"].values > 0
    else:
        for part, values in kept.items():
            values[running] = getattr(current, part)
    return models.replace(**kept), needed
