"""Networks of six architectures on four tasks: how one condition is trained, and what is kept of
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Progress
from ghostpoint.models import FAMILIES, Record
from ghostpoint.remedies import ClipGradient
from ghostpoint.slow_points.visits.ghost_sequence import ghost_sequence
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample, Task, from_arrays
from ghostpoint.training import Computing, train

#: a network has learned below this share of its plateau's loss, and is lost above the other
LEARNED, LOST = 0.25, 0.9
#: the drop is from the first to the second share of the plateau's loss
DROP = (0.9, 0.1)
#: epochs over which a final loss is the median
LAST = 50
#: mean |logit| from which a network that failed counts as confident
CONFIDENT = 3.0
#: points of a loss curve that is shown
POINTS = 120


class Architecture(NamedTuple):
    """Name for readers; the library's family, or None; Euler step in units of tau."""

    label: str
    family: str | None
    alpha: float


#: the reference first; those without a family need PyTorch
ARCHITECTURES: Mapping[str, Architecture] = {
    "tanh": Architecture("leaky tanh", "FullRankRNN", 0.5),
    "relu": Architecture("leaky ReLU", None, 0.5),
    "gru": Architecture("GRU", "GRU", 1.0),
    "lstm": Architecture("LSTM", "LSTM", 1.0),
    "convolution": Architecture("convolution", None, 1.0),
    "transformer": Architecture("transformer", None, 1.0),
}
ACTIVATION, CUE, MATCH, SIGN = "delayed activation", "cue discrimination", "match to sample", "sign of the input"
#: those that need memory, in the order of the claims
MEMORY = (ACTIVATION, CUE, MATCH)
#: what is kept of every network, over (rate, seed)
MEASURES = (
    "drop_from", "drop_to", "first_learned", "lowest", "final", "gradient_start", "gradient_end", "logit_start",
    "logit_learned", "logit_collapse", "logit_end", "recovered", "alone",
)  # fmt: skip


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return find_spec("torch") is not None


def task_of(name: str, delay: int, alpha: float) -> Task:
    """A task with a second input of one at every step, which tells every architecture that the
    trial runs. The answer is read after the step, and the loss is the mean over trials and steps.

    Parameters
    ----------
    name : str
    delay : int
        In steps; the steps of a trial for the sign of the present input, which has no delay.
    alpha : float
        Euler step in units of the time constant.
    """
    dt, tau = 5.0, 5.0 / alpha
    thresholds = None
    if name == SIGN:
        inputs = np.random.default_rng(0).choice([-1.0, 1.0], (4, delay, 1))
        targets = inputs
    else:
        task: Task = {
            ACTIVATION: lambda: DelayedActivation(delay * dt, dt, tau),
            CUE: lambda: DelayedCueDiscrimination(2 * dt, delay * dt, 5 * dt, dt, tau),
            MATCH: lambda: DelayedMatchToSample(2 * dt, delay * dt, 5 * dt, dt, tau),
        }[name]()
        inputs, targets = task.trial().inputs, task.trial().targets
        thresholds = task.thresholds
    running = np.ones((*inputs.shape[:2], 1))
    return from_arrays(
        np.concatenate([inputs, running], axis=2), targets, dt=dt, tau=tau, thresholds=thresholds, read_out="after"
    )


def plateau_loss(name: str, task: Task) -> float:
    """The loss of the plateau: of the best answer that is the same in every trial; on delayed
    activation, which has one trial, of the best that is the same at every step.
    """
    trial = task.trial()
    axis = 1 if name == ACTIVATION else 0
    return float(task.loss(np.broadcast_to(trial.targets.mean(axis, keepdims=True), trial.targets.shape), trial))


def output_of(name: str) -> str:
    """The activation of the output."""
    return "tanh" if name in (CUE, SIGN) else "sigmoid"


@dataclass(frozen=True)
class History:
    """What is seen before each update, each (network, epoch); parameters (checkpoint, network,
    ...). ``logit`` is NaN without PyTorch.
    """

    loss: NDArray[Any]
    gradient_norm: NDArray[Any]
    logit: NDArray[Any]
    parameters: Mapping[str, NDArray[Any]]
    networks: Any = None


def records(architecture: str, task: Task, units: int, seeds: Iterable[int], activation: str) -> Record:
    """Networks of one of the library's families, at rest in 0 before a trial."""
    family = FAMILIES[ARCHITECTURES[architecture].family or ""]
    return family.initialize(
        units, list(seeds), n_inputs=task.n_inputs, n_outputs=1, activation=activation, initial_state=0.0
    )


def trained(
    architecture: str,
    name: str,
    task: Task,
    units: int,
    seeds: list[int],
    rates: NDArray[Any],
    epochs: int,
    progress: Progress,
    *,
    clip: float | None = None,
    confidence: float = 1.0,
    checkpoints: Iterable[int] = (),
) -> History:
    """Train one network per seed and rate, both (network,); by PyTorch where it is there, else by
    the reference engine, which has the library's families alone.
    """
    activation = output_of(name)
    known = ARCHITECTURES[architecture].family is not None
    if not has_torch():
        run = train(
            records(architecture, task, units, seeds, activation), task, rates, epochs, record="all",
            checkpoints=list(checkpoints), remedy=None if clip is None else ClipGradient(clip),
            engine=Computing("reference", dtype="float64", on_progress=progress.advance),
        )  # fmt: skip
        kept = {} if run.checkpoints is None else {str(k): v.values for k, v in run.checkpoints.data_vars.items()}
        loss, norm = (run.history[quantity].values for quantity in ("loss", "gradient_norm"))
        return History(loss, norm, np.full(loss.shape, np.nan), kept)
    from ghostpoint.torch.architectures import stack, stack_of, train_stack

    networks = (
        stack_of(records(architecture, task, units, seeds, activation), task)
        if known
        else stack(architecture, task, units, seeds)
    )
    found = train_stack(
        networks, task, rates, epochs, activation=activation, clip=clip, confidence=confidence,
        checkpoints=checkpoints, on_progress=progress.advance,
    )  # fmt: skip
    return History(found.loss, found.gradient_norm, found.logit, found.parameters, networks)


def fates(history: History, level: float) -> dict[str, NDArray[np.float64]]:
    """What became of every network, each (network,); losses in units of the plateau's.

    ``drop_to`` is the first epoch below 0.1, ``drop_from`` the last one before it at 0.9 or above
    (0 for none), ``first_learned`` the first below :data:`LEARNED`; NaN for never. Logits are means
    of |logit|: at the start, when learned first, just after the last epoch that was learned
    (``collapse``, for networks that end above :data:`LOST`), and at the end.
    """
    loss = np.nan_to_num(history.loss / level, nan=np.inf)
    count, epochs = loss.shape
    rows = np.arange(count)
    below, learned = loss < DROP[1], loss < LEARNED
    to = np.where(below.any(axis=1), below.argmax(axis=1), epochs)
    before = (loss >= DROP[0]) & (np.arange(epochs) < to[:, None])
    start = np.where(before.any(axis=1), epochs - 1 - before[:, ::-1].argmax(axis=1), 0)
    first = learned.argmax(axis=1)
    last = epochs - 1 - learned[:, ::-1].argmax(axis=1)
    ever, dropped = learned.any(axis=1), below.any(axis=1)
    final = np.median(loss[:, -LAST:], axis=1)
    lost = ever & (final >= LOST)
    after = np.minimum(last + 1, epochs - 1)
    gradient = np.nan_to_num(history.gradient_norm, nan=np.inf)
    return {
        "drop_from": np.where(dropped, start, np.nan),
        "drop_to": np.where(dropped, to, np.nan),
        "first_learned": np.where(ever, first, np.nan),
        "lowest": loss.min(axis=1),
        "final": final,
        "gradient_start": gradient[:, 0],
        "gradient_end": gradient[:, -1],
        "logit_start": history.logit[:, 0],
        "logit_learned": np.where(ever, history.logit[rows, first], np.nan),
        "logit_collapse": np.where(lost, history.logit[rows, after], np.nan),
        "logit_end": history.logit[:, -1],
    }


def condition(settings: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """One architecture on one task: what becomes of every network, over (rate, seed).

    Parameters
    ----------
    settings : mapping
        ``architecture``, ``task``, ``delay``, ``epochs``, ``rates``, ``seeds``, ``units``, and
        where there is a remedy ``clip`` or ``confidence``. With ``recovery`` epochs, networks that
        end confident and wrong go on for as many, left alone and with their logits divided by
        their mean size.
    """
    architecture, name, seeds = settings["architecture"], settings["task"], settings["seeds"]
    rates = np.array(settings["rates"])
    task = task_of(name, settings["delay"], ARCHITECTURES[architecture].alpha)
    level = plateau_loss(name, task)
    clip, confidence = settings.get("clip"), settings.get("confidence", 1.0)
    shape = (len(rates), len(seeds))
    all_seeds, all_rates = list(seeds) * len(rates), np.repeat(rates, len(seeds))
    history = trained(
        architecture, name, task, settings["units"], all_seeds, all_rates, settings["epochs"], progress, clip=clip,
        confidence=confidence,
    )  # fmt: skip
    found = fates(history, level)
    found |= {quantity: np.full(len(all_rates), np.nan) for quantity in ("recovered", "alone")}
    if settings.get("recovery") and history.networks is not None:
        found |= _recovered(settings, task, history, found, all_rates, level)
    shown = np.unique(np.geomspace(1, settings["epochs"], POINTS).astype(int)) - 1
    shown = np.pad(shown, (0, POINTS - len(shown)), mode="edge")
    values: dict[str, Any] = {
        quantity: (("rate", "seed"), value.reshape(shape).astype(np.float64)) for quantity, value in found.items()
    }
    curve = (history.loss / level).reshape(*shape, -1)[:, 0][:, shown].astype(np.float64)
    values |= {"curve": (("rate", "point"), curve), "curve_epoch": ("point", shown)}
    return xr.Dataset(values, {"rate": rates, "seed": list(seeds)})


def _recovered(
    settings: Mapping[str, Any],
    task: Task,
    history: History,
    found: Mapping[str, NDArray[Any]],
    rates: NDArray[Any],
    level: float,
) -> dict[str, NDArray[np.float64]]:
    """Whether networks that ended confident and wrong learn when they go on, left alone or with
    their logits divided by their mean size; NaN for the others.
    """
    from ghostpoint.torch.architectures import train_stack

    last = history.logit[:, -1]
    dead = np.flatnonzero((found["final"] >= LOST) & (last >= CONFIDENT) & np.isfinite(last))
    result = {quantity: np.full(len(rates), np.nan) for quantity in ("recovered", "alone")}
    for quantity, sharpness in (("alone", 1.0), ("recovered", 1 / last[dead])):
        if len(dead):
            again = train_stack(
                history.networks.chosen(dead), task, rates[dead], settings["recovery"],
                activation=output_of(settings["task"]), confidence=sharpness,
            )  # fmt: skip
            result[quantity][dead] = np.nan_to_num(again.loss / level, nan=np.inf).min(axis=1) < LEARNED
    return result


#: when slow points are searched
MOMENTS = ("end of the plateau", "middle of the drop", "end of the drop")
#: what is kept of a search
GHOSTS = ("fixed", "ghosts", "passed", "dwell")


def ghosts(settings: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Slow points beside the trial's trajectory around the drop, over (moment, seed).

    ``fixed`` and ``ghosts`` are how many there are; ``passed``: the trajectory passes a ghost;
    ``dwell``: how long at the one where it is longest, in units of the delay. NaN for networks that
    do not drop.
    """
    architecture, seeds, delay = settings["architecture"], settings["seeds"], settings["delay"]
    alpha = ARCHITECTURES[architecture].alpha
    task = task_of(ACTIVATION, delay, alpha)
    kept = np.arange(0, settings["epochs"], settings["stride"])
    models = records(architecture, task, settings["units"], seeds, "sigmoid")
    history = trained(
        architecture, ACTIVATION, task, settings["units"], list(seeds), np.full(len(seeds), settings["rate"]),
        settings["epochs"], progress, checkpoints=kept,
    )  # fmt: skip
    found = fates(history, plateau_loss(ACTIVATION, task))
    values = {quantity: np.full((len(MOMENTS), len(seeds)), np.nan) for quantity in GHOSTS}
    for place in np.flatnonzero(np.isfinite(found["drop_to"])):
        begin, end = found["drop_from"][place], found["drop_to"][place]
        for moment, epoch in enumerate((begin, (begin + end) / 2, end)):
            at = int(np.abs(kept - epoch).argmin())
            parts = {part: value[at][[place]] for part, value in history.parameters.items()}
            model = models[[int(place)]].replace(**parts)
            for quantity, value in zip(GHOSTS, _visits(model, task, delay), strict=True):
                values[quantity][moment, place] = value
    drops = {f"ghost_{quantity}": ("seed", found[quantity]) for quantity in ("drop_from", "drop_to")}
    found_there = {f"ghost_{quantity}": (("moment", "seed"), value) for quantity, value in values.items()}
    return xr.Dataset({**drops, **found_there}, {"moment": list(MOMENTS), "seed": list(seeds)})


def _visits(models: Record, task: Task, delay: int) -> tuple[float, float, float, float]:
    """Fixed points, ghosts, whether one is passed, and the longest stay in units of the delay."""
    u = np.ones(1)
    states = [np.asarray(models.initial_state, np.float64)[None]]
    for _ in range(task.steps):
        states.append(models.step(states[-1], task.alpha, u[None]))
    trajectory = np.concatenate(states)[:, 0]
    sequence = ghost_sequence(models[0], trajectory, task.alpha, inputs=u)
    passes = (sequence.kind == "ghost") & (sequence.way == "passes")
    stay = float(sequence.dwell[passes].max(initial=0.0)) / (delay * task.alpha)
    kinds = sequence.points.kind
    return float((kinds == "fixed").sum()), float((kinds == "ghost").sum()), float(passes.any()), stay
