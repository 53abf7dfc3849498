"""Article, Fig. 8C: networks that collapsed at a high rate go on with a readout of a given norm;
which recover?
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, own_claim, published_claim
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, networks_of, task_of
from ghostpoint.experiments.shared.networks import cued, spread_epochs, trained
from ghostpoint.experiments.shared.shares import HARDLY_ANY_OF, MOST_OF, hardly_any, judge_share, most, share
from ghostpoint.results import NO_LEARNING_WINDOW, TrainingRun

#: a network has recovered when this share of its answers is right; a blind one has at most 0.77
RECOVERED = 0.9
#: an output beyond this counts as +1 or -1
ANSWERS = 0.33

PAPER: Mapping[str, Any] = {
    "figure": "8C",
    "dtype": "float32",
    "task": cued("DelayedCueDiscrimination", 10.0, 50.0, copies=10, initial_scale=0.1, noise=0.001),
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
    """Train every seed at the high rate; then go on from there with each norm of the readout, and
    once without one.

    Returns
    -------
    Dataset over seed, epoch (of the first training), later (epochs after it) and norm (0: left
    alone)
        ``loss`` and ``accuracy`` of both trainings, ``end_*`` of each network over the last epochs
        of each (as many as the no-learning zone is judged by): the lowest loss, the highest
        accuracy and the median gradient norm.
        ``readout_norm``: the L1 norm of the readout when the first training ends;
        ``least_loss``: see the function.
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
    """A run's losses (in units of chance) and accuracies over (seed, epoch), and what they are at
    its end.
    """
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
    """Lower bound of the DCDT loss, in units of chance, of a tanh readout with weights of this L1
    norm; 0 for norm 0.

    Rates are within [-1, 1], so the two answers are at best ``tanh(b_out +- norm)``. Their mean
    squared errors from +1 and -1 are least for b_out = 0, where they are ``(1 - tanh(norm))**2``,
    the loss of an output of 0 being 1.
    """
    return np.where(norm > 0, (1 - np.tanh(norm)) ** 2, 0.0)


figure_claim = partial(published_claim, source="Fig. 8C")


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Networks collapse; left alone they stay there; with a less confident readout they recover."""
    lost = dataset["before_end_accuracy"].values < RECOVERED
    count, seeds = int(lost.sum()), len(lost)
    norms, chance = dataset["norm"].values, dataset.attrs["chance_accuracy"]
    last = dataset["later"].values[-1] - NO_LEARNING_WINDOW
    # per norm (0: left alone) and lost network the mean accuracy over the last epochs
    accuracy = dataset["accuracy"].values[:, lost][:, :, dataset["later"].values > last].mean(axis=2)
    back = (dataset["end_accuracy"].values[:, lost] >= RECOVERED).sum(axis=1)
    mean, error = _mean(accuracy)
    gain, gain_error = _mean(accuracy[1:] - accuracy[:1])
    able = np.tanh(norms[1:]) > ANSWERS
    cannot = ", ".join(f"{norm:g}" for norm in norms[1:][~able])
    middle = (1 + chance) / 2
    wide, before = dataset["readout_norm"].values[lost], dataset["before_end_loss"].values
    window = f"Accuracies are means over the last {NO_LEARNING_WINDOW} epochs; chance {chance:.2f}."
    none = "no network is without the task"
    return [
        figure_claim(
            "At this rate learning collapses.",
            published="networks collapse (no number)",
            rule=f"Most networks have an accuracy below {RECOVERED:g} at all of the last {NO_LEARNING_WINDOW} epochs. "
            f"{MOST_OF}",
            measured=f"{share(count, seeds)} are without the task after {parameters['epochs']:,} epochs; median loss "
            f"{np.median(before):.2g} of chance, L1 norm of their readouts {np.median(wide) if count else np.nan:.3g}",
            verdict=judge_share(most(count, seeds), seeds),
        ),
        figure_claim(
            "Left alone, collapsed networks do not recover.",
            published="no recovery (no number)",
            rule=f"Their mean accuracy is not above chance by more than two standard errors, and hardly any has an "
            f"accuracy of at least {RECOVERED:g} at one of the last epochs. {HARDLY_ANY_OF}",
            measured=f"mean accuracy {mean[0]:.2f} ± {error[0]:.2f} (s.e.m.); {share(int(back[0]), count)} recover in "
            f"{parameters['more_epochs']:,} more epochs"
            if count
            else none,
            verdict=judge_share(bool(mean[0] <= chance + 2 * error[0]) and hardly_any(int(back[0]), count), count),
            note=window,
        ),
        published_claim(
            "Networks recover after the confidence, the norm of the readout, is lowered.",
            source="Fig. 8C; abstract of 2026",
            published="recovery (no number)",
            rule=f"With each norm that lets outputs count as answers, tanh(norm) > {ANSWERS:g}, the mean accuracy is "
            "above the middle between chance and 1.",
            measured="; ".join(
                f"norm {norm:g}: {value:.2f} ± {uncertain:.2f}, {share(int(number), count)} recover"
                for norm, value, uncertain, number in zip(norms[1:], mean[1:], error[1:], back[1:], strict=True)
            )
            if count
            else none,
            verdict=judge_share(bool(able.any()) and bool((mean[1:][able] > middle).all()), count),
            note=window + (f" No network can with a norm of {cannot}: its outputs stay below 0.33." if cannot else ""),
        ),
        figure_claim(
            "Accuracies are higher with every norm of the readout than when the networks are left alone.",
            published="norms 0.1, 0.5, 1 and 3 (no number)",
            rule="With every norm the mean of each network's gain in accuracy is above 0 by three standard errors.",
            measured=", ".join(
                f"norm {norm:g}: {value:+.3f} ± {uncertain:.3f}"
                for norm, value, uncertain in zip(norms[1:], gain, gain_error, strict=True)
            )
            + f" over {count} networks"
            if count
            else none,
            verdict=judge_share(len(gain) > 0 and bool((gain > 3 * gain_error).all()), count),
            note=window,
        ),
        _loss_claim(dataset, lost),
    ]


def _mean(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard error over the last axis; NaN over no network, and the error over one."""
    rows, count = values.shape
    none = np.full(rows, np.nan)
    mean = values.mean(axis=1) if count else none
    return mean, values.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else none


def _loss_claim(dataset: xr.Dataset, lost: NDArray[np.bool_]) -> Claim:
    """Do networks come close to the least loss that each norm of the readout allows?"""
    count, norms, floor = int(lost.sum()), dataset["norm"].values, dataset["least_loss"].values
    # three quarters of the way from a blind answer to the best that the norm allows; without a norm
    # a loss of 1/4
    goal = floor + LEARNED * (1 - floor)
    near = (dataset["end_loss"].values[:, lost] < goal[:, None]).sum(axis=1)
    return own_claim(
        "Networks recover at every norm, measured by the loss that the norm allows.",
        source="Fig. 8C, with the least loss of a readout of a given norm",
        rule="With every norm more networks than when left alone (Fisher's exact test, p < 0.01) come at least three "
        f"quarters of the way from a blind answer to the best one possible; without a norm, to {LEARNED:g} of chance.",
        measured=", ".join(f"norm {norm:g}: {number}" for norm, number in zip(norms[1:], near[1:], strict=True))
        + f"; left alone: {near[0]}, of {count}",
        verdict=judge_share(
            len(norms) > 1 and all(_clearly_more(int(number), int(near[0]), count) for number in near[1:]), count
        ),
    )


def _clearly_more(many: int, few: int, total: int) -> bool:
    """Whether a count out of ``total`` exceeds another by more than chance would, by Fisher's exact
    test at 0.01.
    """
    table = [[many, total - many], [few, total - few]]
    return bool(fisher_exact(table, alternative="greater").pvalue < 0.01)


INTERVENTION = Experiment(
    id="intervention",
    title="Recovery from a collapse with a less confident readout",
    figure="Fig. 8C",
    question="Adam at a rate far too high makes full-rank networks lose a working-memory task, or never have it. They "
    "then go on as before, or with their readout scaled to a given norm before every epoch. Which of them recover?",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
