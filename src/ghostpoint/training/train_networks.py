"""``train``: check what is asked for, hand it to an engine, label what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, memory_for, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.remedies import ClipGradient, Guard, Remedy
from ghostpoint.remedies import resolve as resolve_remedy
from ghostpoint.remedies.crossings import RANGES
from ghostpoint.results import TrainingRun, no_learning_zone_entry
from ghostpoint.tasks import Task
from ghostpoint.training.computing import Computing
from ghostpoint.training.configuration import configuration
from ghostpoint.training.engines import ENGINES, can_try, choose
from ghostpoint.training.optimizers import Optimizer, resolve
from ghostpoint.training.outcome import EVENTS, QUANTITIES, Outcome
from ghostpoint.training.plan import Plan

#: epochs that "auto" records at most
AUTO_RECORDS = 10_000
#: epochs that "log" records per factor of ten
LOG_RECORDS = 100


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`train`; ``run`` is the run up to there, with ``complete = False``."""

    def __init__(self, run: TrainingRun):
        super().__init__(f"training was interrupted after {run.config['epochs_done']} epochs")
        self.run = run


#: former arguments of ``train`` and what stands in their place
MOVED = {
    "clip_norm": "remedy=ghostpoint.remedies.ClipGradient(...)",
    **{
        name: f"engine=ghostpoint.Computing({name}=...)"
        for name in ("dtype", "layout", "threads", "on_progress", "on_record", "on_interrupt")
    },
}
P = ParamSpec("P")


def _naming_what_moved(function: Callable[P, TrainingRun]) -> Callable[P, TrainingRun]:
    """``function`` with an error for :data:`MOVED` arguments that says where they are now."""

    @wraps(function)
    def checked(*arguments: P.args, **keywords: P.kwargs) -> TrainingRun:
        for name in MOVED.keys() & keywords.keys():
            raise TypeError(f"train() has no argument {name!r}: pass {MOVED[name]} instead")
        return function(*arguments, **keywords)

    return checked


@_naming_what_moved
def train(
    models: Record,
    task: Task,
    learning_rate: ArrayLike,
    epochs: int,
    *,
    optimizer: str | Optimizer = "sgd",
    remedy: Remedy | Sequence[Remedy | str] | str | None = None,
    readout_norm: ArrayLike | None = None,
    seed: int = 0,
    record: str | int | Sequence[int] = "auto",
    checkpoints: Sequence[int] | NDArray[Any] = (),
    solved: float = 0.05,
    engine: str | Computing = "auto",
) -> TrainingRun:
    """Train a stack of networks, each with its own learning rate.

    One update changes every trainable part p of a model by the optimiser's rule; plain gradient
    descent is ``p <- p - learning_rate dL/dp``. With the compiled engine the result of a network
    depends on nothing but its own weights and settings: not on the stack, the layout or the number
    of threads, to the last bit.

    Parameters
    ----------
    models : Record
        R networks of a family: LowRankRNN, FullRankRNN or GRU.
    task : Task
        Its channels must be the models', and its targets within the range of their outputs. Random
        trials are drawn anew every epoch.
    learning_rate : scalar or (R,)
        Positive.
    epochs : int
        Number of updates.
    optimizer : "sgd", "momentum", "adam" or an Optimizer
        With the semantics of ``torch.optim``; "momentum" is SGD with momentum 0.9, and
        ``ghostpoint.training.SGD(momentum=0.5)`` has another one.
    remedy : None, "auto", or one or several of ``ghostpoint.remedies``
        Records, or names in ``REMEDIES``. What to do about updates that would end in the
        no-learning zone: shorten or lengthen them, each network's by a factor of its own, the trust
        region two parts of an update by two. The history then has the length of the update over
        that of the optimiser's as ``update_scale``, the events the number of epochs in which a
        remedy changed anything as ``remedy_epochs``. "auto": a
        :class:`~ghostpoint.remedies.TrustRegion` where the task is one crossing of the readout from
        one level to another, else :class:`~ghostpoint.remedies.Guard`. Where trials are not the
        same in every epoch, with ``readout_norm`` or the engine "cuda", it is a trust region where
        there are crossings (a more careful one where only some channels of some trials want one)
        and else :class:`~ghostpoint.remedies.HazardLimit`.
    readout_norm : scalar or (R,), optional
        Before every epoch's forward pass, ``w_out`` and ``b_out`` of a network are multiplied by
        what makes the L1 norm of its ``w_out`` (over all outputs) this, trainable or not (article,
        Fig. 8C). No gradient goes through it. The final models are those after the last update, not
        projected once more.
    seed : int
        Of the trials, the initial rates and the noise, where the task has them.
    record : "auto", "all", "log", int or epochs
        Which epochs the history keeps: all of them, every k-th, or those listed; "auto" is every
        epoch up to 10,000 of them and evenly spaced ones beyond; "log" is the first, the last, and
        100 per factor of ten evenly on a logarithmic scale, rounded. Events are exact in any case.
    checkpoints : epochs
        At which the parameters are kept too (epoch k is after k updates, k < epochs).
    solved : float
        A network is solved at a loss below this share of the task's chance loss, at most 1.
    engine : str or Computing
        The name of an engine: "auto", "compiled", "torch" or "reference"; or a
        :class:`~ghostpoint.Computing`, which also has the floating-point type, the threads, the
        vector layout, what hears of progress, and what Ctrl-C does. "auto" is the compiled engine
        where it can, else torch, with a warning about speed.

    Returns
    -------
    TrainingRun

    Raises
    ------
    ValueError
        For anything out of range, with its name and what is valid. A network that diverges is no
        error but an event.
    TrainingInterrupted
        After Ctrl-C, so that a loop around this call ends too; it is a ``KeyboardInterrupt``.
    MemoryError
        For a history or checkpoints that do not fit, with the argument and the size.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> models, task = gp.LowRankRNN.published([0, 1]), gp.tasks.DelayedActivation()
    >>> run = gp.train(models, task, 0.02, 10)
    >>> run.history["loss"].shape
    (2, 10)
    >>> slow = gp.Computing("reference", dtype="float64")
    >>> gp.train(models, task, 0.02, 10, engine=slow).config["dtype"]
    'float64'
    """
    plan, outcome, chosen, remedies = outcome_of(
        models, task, learning_rate, epochs, optimizer=optimizer, remedy=remedy, readout_norm=readout_norm, seed=seed,
        record=record, checkpoints=checkpoints, solved=solved, engine=engine,
    )  # fmt: skip
    computing = Computing.of(engine)
    config = configuration(
        models, task, plan, learning_rate=learning_rate, record=record, checkpoints=checkpoints,
        readout_norm=readout_norm, remedies=remedies, solved=solved, dtype=computing.dtype, engine=chosen,
    )  # fmt: skip
    run = _labelled(outcome, models, task, plan, config)
    if outcome.interrupted and computing.on_interrupt == "raise":
        raise TrainingInterrupted(run)
    return run


def outcome_of(
    models: Record,
    task: Task,
    learning_rate: ArrayLike,
    epochs: int,
    *,
    optimizer: str | Optimizer = "sgd",
    remedy: Remedy | Sequence[Remedy | str] | str | None = None,
    readout_norm: ArrayLike | None = None,
    seed: int = 0,
    record: str | int | Sequence[int] = "auto",
    checkpoints: Sequence[int] | NDArray[Any] = (),
    solved: float = 0.05,
    engine: str | Computing = "auto",
) -> tuple[Plan, Outcome, str, Sequence[Remedy]]:
    """The plan, the outcome without labels, the engine's name, and the remedies of a training.

    Arguments and errors are those of :func:`train`; an interrupted outcome is returned. Labels cost
    as much as some thousand network-epochs, which a sweep of many short trainings would notice.
    """
    if not isinstance(models, Record):
        raise InputError(f"models must be one of {', '.join(FAMILIES)}; got {type(models).__name__}")
    if not isinstance(task, Task):
        raise InputError(f"task must be a task such as ghostpoint.tasks.DelayedActivation(), got {type(task).__name__}")
    networks = len(models)
    epochs = integer("epochs", epochs, at_least=1)
    rule = resolve(optimizer)
    computing = Computing.of(engine)
    dtype = computing.dtype
    solved = number("solved", solved, above=0, at_most=1)
    seed = integer("seed", seed, at_least=0)
    if not networks:
        raise InputError("models must hold at least one network to be trained, got none")
    _check_channels(models, task)
    with memory_for("task", task):
        _check_reach(models, task)
    rate = finite_array("learning_rate", learning_rate)
    if rate.shape not in ((), (networks,)):
        raise InputError(f"learning_rate must be one value or one per network ({networks}), got shape {rate.shape}")
    if (rate <= 0).any():
        raise InputError(f"learning_rate must be positive, got {rate[rate <= 0].flat[0]:g}")
    rate = np.array(np.broadcast_to(rate, (networks,)))
    tries = readout_norm is None and can_try(computing.engine)
    remedies = resolve_remedy(remedy, task, models.activation, tries=tries)
    clips = [one for one in remedies if type(one) is ClipGradient]
    kept = max((one.secants for one in remedies if isinstance(one, Guard)), default=0)
    with memory_for("remedy", "guard"):
        np.empty((kept, sum(getattr(models, part).size for part in models.trainable)), dtype)
    for name, values in {**models.arrays(), "learning_rate": rate}.items():
        _check_fits(name, values, dtype)
    with memory_for("record", record):
        record_epochs = recorded_epochs(record, epochs)
        np.empty((len(QUANTITIES) + 2, networks, len(record_epochs)), dtype)  # what the history will take
    snapshot_epochs = _epoch_list("checkpoints", checkpoints, epochs)
    with memory_for("checkpoints", f"{len(snapshot_epochs)} epochs"):
        for part in models.present_parts():
            np.empty((len(snapshot_epochs), *getattr(models, part).shape), dtype)
    plan = Plan(
        rate=rate,
        epochs=epochs,
        record_epochs=record_epochs,
        snapshot_epochs=snapshot_epochs,
        optimizer=rule,
        clip_norm=clips[0].norm if clips else None,
        solved_loss=solved * task.chance_loss,
        seed=seed,
        readout_norm=_readout_norm(readout_norm, models),
        remedies=tuple(one for one in remedies if one not in clips),
    )
    chosen = choose(models, task, plan, computing)
    outcome = ENGINES[chosen].run(models, task, plan, computing)
    return plan, outcome, chosen, remedies


def _check_channels(models: Record, task: Task) -> None:
    if models.n_inputs != task.n_inputs:
        raise InputError(
            f"models must have w_in for the task's {task.n_inputs} input channels, got {models.n_inputs} channels"
        )
    if models.n_outputs != task.n_outputs:
        raise InputError(f"models must have the task's {task.n_outputs} output channels, got {models.n_outputs}")


def _check_reach(models: Record, task: Task) -> None:
    """Whether the outputs can come as near as one likes to the targets that count."""
    trial = task.trial((0, 0)) if task.random else task.trial()
    counted = trial.targets[np.broadcast_to(trial.mask, trial.targets.shape)]
    reached = {name: reach for name, reach in RANGES.items() if ((counted >= reach[0]) & (counted <= reach[1])).all()}
    if models.activation not in reached:
        low, high = RANGES[models.activation]
        raise InputError(
            f"models must have activation {' or '.join(map(repr, reached))} for targets from {counted.min():g} to "
            f"{counted.max():g}, got {models.activation!r}, whose outputs lie between {low:g} and {high:g}"
        )


def recorded_epochs(record: str | int | Sequence[int], epochs: int) -> NDArray[np.int64]:
    """The epochs that ``record`` stands for, ascending (see :func:`train`)."""
    if isinstance(record, str):
        if one_of("record", record, ("auto", "all", "log")) == "log":
            last = epochs - 1
            spaced = np.geomspace(1, max(last, 1), 1 + math.ceil(LOG_RECORDS * math.log10(max(last, 1))))
            return np.unique([0, *np.minimum(np.rint(spaced), last), last]).astype(np.int64)
        stride = -(-epochs // AUTO_RECORDS) if record == "auto" else 1
        return np.arange(0, epochs, stride, dtype=np.int64)
    if np.ndim(record) == 0:
        return np.arange(0, epochs, integer("record", record, at_least=1), dtype=np.int64)
    return _epoch_list("record", record, epochs)


def _epoch_list(name: str, listed: Any, epochs: int) -> NDArray[np.int64]:
    if np.ndim(listed) != 1:
        raise InputError(f"{name} must be a list of epochs, got {listed!r}")
    values = np.unique([integer(name, value, at_least=0) for value in listed]).astype(np.int64)
    if len(values) and values[-1] >= epochs:
        raise InputError(f"{name} must be below epochs = {epochs}, got {values[-1]}")
    return values


def _readout_norm(value: ArrayLike | None, models: Record) -> NDArray[Any] | None:
    if value is None:
        return None
    norms = finite_array("readout_norm", value)
    if "w_out" not in models.present_parts():
        raise InputError("readout_norm must be left out for networks without w_out")
    if norms.shape not in ((), (len(models),)):
        raise InputError(f"readout_norm must be one value or one per network ({len(models)}), got shape {norms.shape}")
    if (norms <= 0).any():
        raise InputError(f"readout_norm must be positive, got {norms[norms <= 0].flat[0]:g}")
    return np.array(np.broadcast_to(norms, (len(models),)))


def _check_fits(name: str, values: NDArray[Any], dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    if (np.abs(values) > largest).any():
        raise InputError(f"{name} must be within +-{largest:g} for {dtype}, got {np.abs(values).max():g}")


def events_of(outcome: Outcome) -> dict[str, NDArray[np.int64]]:
    """The events of a run by name, each (R,): epochs, -1 for never."""
    events = dict(zip(EVENTS, outcome.events, strict=True))
    events["no_learning_zone_entry"] = no_learning_zone_entry(
        events["first_above_chance"], events["last_above_chance"], outcome.epochs
    )
    if outcome.acted is not None:
        events["remedy_epochs"] = outcome.acted
    return events


def _labelled(outcome: Outcome, models: Record, task: Task, plan: Plan, config: dict[str, Any]) -> TrainingRun:
    per_network = {
        "network": np.arange(len(models)),
        "seed": ("network", np.array(models.seed)),
        "learning_rate": ("network", plan.rate),
        "rank": ("network", np.full(len(models), models.rank)),
    }
    done = outcome.epochs
    history = xr.Dataset(
        {name: (("network", "epoch"), values) for name, values in outcome.history.items()},
        coords={**per_network, "epoch": plan.record_epochs[plan.record_epochs < done]},
    )
    events = events_of(outcome)
    kept = plan.snapshot_epochs[plan.snapshot_epochs < done]
    checkpoints = None
    if len(kept):
        checkpoints = xr.Dataset(
            {
                part: (("checkpoint", "network", *models.dims[part]), values)
                for part, values in outcome.snapshots.items()
            },
            coords={"epoch": ("checkpoint", kept)},
        )
    return TrainingRun(
        history=history,
        events=xr.Dataset({name: ("network", values) for name, values in events.items()}, coords=per_network),
        models=models.replace(**outcome.parameters),
        config={**config, "epochs_done": done},
        checkpoints=checkpoints,
        complete=done == plan.epochs,
        task=task,
    )
