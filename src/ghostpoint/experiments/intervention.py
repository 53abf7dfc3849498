"""Fig. 8C: networks that collapsed at a high rate go on with a readout of a given norm; which of them recover?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.full_rank_runs import LEARNED, networks_of, task_of
from ghostpoint.experiments.networks import share, spread_epochs, trained
from ghostpoint.results import NO_LEARNING_WINDOW, TrainingRun

#: a network has recovered when this share of its answers is right; a blind one has at most 0.77
RECOVERED = 0.9

PAPER: Mapping[str, Any] = {
    "figure": "8C",
    "dtype": "float32",
    "task": {
        "task": "DelayedCueDiscrimination",
        "cue": 10.0,
        "delay": 50.0,
        "response": 50.0,
        "dt": 5.0,
        "tau": 10.0,
        "copies": 10,
        "initial_scale": 0.1,
        "noise": 0.001,
    },
    "seeds": list(range(100)),
    "optimizer": "adam",
    "rate": 0.1,
    "epochs": 10_000,
    "more_epochs": 10_000,
    "norms": [0.1, 0.5, 1.0, 3.0],
    "history_points": 400,
}
PARAMETERS = {"quick": {**PAPER, "seeds": list(range(12)), "epochs": 500, "more_epochs": 500}, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed at the high rate; then go on from there with each norm of the readout, and once without one.

    Returns
    -------
    Dataset over seed, epoch (of the first training), later (epochs after it) and norm (0: left alone)
        ``loss`` and ``accuracy`` of both trainings, ``end_*`` of each network over the last epochs of each (as many as
        the no-learning zone is judged by): the lowest loss, the highest accuracy and the median gradient norm.
        ``readout_norm``: the L1 norm of the readout when the first training ends; ``least_loss``: see the function.
    """
    task, seeds, norms = task_of(parameters), parameters["seeds"], parameters["norms"]
    epochs, more = parameters["epochs"], parameters["more_epochs"]
    models = networks_of(parameters, seeds)
    start = _trained(parameters, progress, f"training {len(seeds)} networks", models, epochs, 0, keep="collapse")
    columns = []
    for norm in [0.0, *norms]:
        name = f"readout of norm {norm:g}" if norm else "left alone"
        longer = _trained(parameters, progress, name, start.models, more, 1, readout_norm=norm or None, keep="recovery")
        columns.append(_summary(longer, task.chance_loss, "later"))
    before = _summary(start, task.chance_loss, "epoch").rename(
        {name: f"before_{name}" for name in ("loss", "accuracy", "end_loss", "end_accuracy", "end_gradient")}
    )
    after = xr.concat(columns, "norm").assign_coords(norm=np.array([0.0, *norms]))
    weights = np.abs(start.models.w_out).sum(axis=(1, 2))
    whole = before.merge(after).assign(readout_norm=("seed", weights))
    whole = whole.assign(least_loss=("norm", least_loss(whole["norm"].values), {"units": "chance"}))
    return whole.assign_attrs(chance_accuracy=task.chance_accuracy)


def _trained(
    parameters: Mapping[str, Any], progress: Progress, name: str, models: Any, epochs: int, seed: int, **more: Any
) -> TrainingRun:
    """A training in either phase; a second one draws other noise."""
    record = np.union1d(spread_epochs(epochs, parameters["history_points"]), _window(epochs))
    return trained(
        progress, name, models, parameters, parameters["rate"], epochs, task_of(parameters),
        optimizer=parameters["optimizer"], solved=LEARNED, record=record, seed=seed, **more,
    )  # fmt: skip


def _window(epochs: int) -> NDArray[np.int64]:
    return np.arange(max(0, epochs - NO_LEARNING_WINDOW), epochs)


def _summary(run: TrainingRun, chance_loss: float, epoch: str) -> xr.Dataset:
    """A run's losses (in units of chance) and accuracies over (seed, epoch), and what they are at its end."""
    history, last = run.history, _window(run.config["epochs"])
    loss, end = history["loss"] / chance_loss, history.sel(epoch=last)
    return xr.Dataset(
        {
            "loss": (("seed", epoch), loss.values, {"units": "chance"}),
            "accuracy": (("seed", epoch), history["accuracy"].values),
            "end_loss": ("seed", loss.sel(epoch=last).min("epoch").values, {"units": "chance"}),
            "end_accuracy": ("seed", end["accuracy"].max("epoch").values),
            "end_gradient": ("seed", end["gradient_norm"].median("epoch").values),
        },
        coords={"seed": run.models.seed, epoch: history["epoch"].values},
    )


def least_loss(norm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower bound of the DCDT loss, in units of chance, of a tanh readout with weights of this L1 norm; 0 for norm 0.

    Rates are within [-1, 1], so the two answers are at best ``tanh(b_out +- norm)``. Their mean squared errors from +1
    and -1 are least for b_out = 0, where they are ``(1 - tanh(norm))**2``, the loss of an output of 0 being 1.
    """
    return np.where(norm > 0, (1 - np.tanh(norm)) ** 2, 0.0)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Networks collapse; left alone they stay there; with a less confident readout they recover, at every norm."""
    lost = dataset["before_end_accuracy"].values < RECOVERED
    count, seeds = int(lost.sum()), len(lost)
    norms = dataset["norm"].values
    accuracy, loss = dataset["end_accuracy"].values[:, lost], dataset["end_loss"].values[:, lost]
    back = (accuracy >= RECOVERED).sum(axis=1)
    floor = dataset["least_loss"].values
    # three quarters of the way from a blind answer to the best that the norm allows; without a norm a loss of 1/4
    goal = floor + LEARNED * (1 - floor)
    relative = (loss < goal[:, None]).sum(axis=1)
    alone, helped = int(back[0]), back[1:]
    best = int(helped.argmax()) + 1 if len(helped) else 0
    each = [f"norm {norm:g}: {share(int(number), count)}" for norm, number in zip(norms[1:], helped, strict=True)]
    wide = dataset["readout_norm"].values[lost]
    able = np.tanh(norms) > 0.33  # the outputs that count as +1 or -1
    cannot = [f"{norm:g}" for norm, may in zip(norms[1:], able[1:], strict=True) if not may]
    times = dataset["loss"].values[0][lost]
    rule = (
        f"Recovered: an accuracy of at least {RECOVERED:g} at one of the last {NO_LEARNING_WINDOW} epochs; chance "
        f"{dataset.attrs['chance_accuracy']:.2f}."
    )
    return [
        Claim(
            "At this rate learning collapses.",
            "Fig. 8C",
            "networks collapse (no number)",
            f"{share(count, seeds)} are without the task after {parameters['epochs']:,} epochs; median loss "
            f"{np.median(dataset['before_end_loss'].values):.2g} of chance, L1 norm of their readouts "
            f"{np.median(wide) if count else np.nan:.3g}",
            judge(count > 0.5 * seeds),
            f"Without the task: an accuracy below {RECOVERED:g} at all of the last {NO_LEARNING_WINDOW} epochs.",
        ),
        Claim(
            "Left alone, collapsed networks do not recover.",
            "Fig. 8C",
            "no recovery (no number)",
            f"{share(alone, count)} recover in {parameters['more_epochs']:,} more epochs; median loss at their end "
            f"{np.median(times[:, -1]) if count else np.nan:.2g} of chance",
            judge(count > 0 and alone <= 0.1 * count, testable=count > 0),
            rule,
        ),
        Claim(
            "Networks recover after the confidence, the norm of the readout, is lowered.",
            "Fig. 8C; abstract of 2026",
            "recovery (no number)",
            "; ".join(each),
            judge(_clearly_more(int(back[best]), alone, count), testable=count > 0),
            rule + (f" No network can with a norm of {', '.join(cannot)}: its outputs stay below 0.33." * bool(cannot)),
        ),
        Claim(
            "They recover at every norm, measured by the loss that the norm allows.",
            "Fig. 8C",
            "norms 0.1, 0.5, 1 and 3 (no number)",
            ", ".join(f"norm {norm:g}: {number}" for norm, number in zip(norms[1:], relative[1:], strict=True))
            + f"; left alone: {relative[0]}, of {count}",
            judge(
                all(_clearly_more(int(number), int(relative[0]), count) for number in relative[1:]), testable=count > 0
            ),
            "Recovered here: a loss at least three quarters of the way from a blind answer to the best one possible; "
            f"without a norm, {LEARNED:g} of chance.",
        ),
    ]


def _clearly_more(many: int, few: int, total: int) -> bool:
    """Whether a count out of ``total`` exceeds another by more than chance would, by Fisher's exact test at 0.01."""
    table = [[many, total - many], [few, total - few]]
    return bool(fisher_exact(table, alternative="greater").pvalue < 0.01)


EXPERIMENT = Experiment(
    id="intervention",
    title="Recovery from a collapse with a less confident readout",
    figure="Fig. 8C",
    question=(
        "Adam at a rate far too high makes full-rank networks lose a working-memory task, or never have it. They then "
        "go on as before, or with their readout scaled to a given norm before every epoch. Which of them recover?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
