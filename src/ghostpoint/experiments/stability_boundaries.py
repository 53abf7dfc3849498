"""The critical learning rate over delay, size, rank, confidence, optimiser and task: where training
is stable, as a sweep of the package predicts it and measures it.

The sweeps are files of ``ghostpoint.sweeps``, so that ``ghostpoint sweep stability_boundaries``
computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.shares import MOST_OF, NEARLY_ALL_OF, judge_share, most, nearly_all, share
from ghostpoint.experiments.shared.sweep_runs import computed, run_sweeps, shipped
from ghostpoint.sweeps.boundaries import exponents
from ghostpoint.sweeps.shard_work import Networks, Settings
from ghostpoint.sweeps.sweep_file import read_sweep

#: a prediction is right within this factor of what is measured, or within a step of the grid if
#: that is more
FACTOR = 2.0
#: an exponent of the size below this means that the size hardly matters
HARDLY = 0.25
#: what is kept of every network
KEPT = ("measured", "predicted", "kept_below", "learned")


PARAMETERS = {
    "quick": {
        "activation": shipped("stability_boundaries_quick"),
        "tasks": shipped("stability_boundaries_tasks_quick"),
    },
    "paper": {"activation": shipped("stability_boundaries"), "tasks": shipped("stability_boundaries_tasks")},
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Predict and measure the critical rate of every network of both sweeps.

    Returns
    -------
    Dataset
        Over delay, units, rank, confidence, optimizer and seed: ``measured``, ``predicted``,
        ``kept_below``, the highest rate below the predicted one that was kept, and ``learned``, 1
        where the network learns at some rate. The same with the prefix ``tasks_``, over task and
        ``tasks_`` dimensions. Over optimizer and axis: ``exponent``, ``low``, ``high`` and
        ``count`` of the measured rates (:func:`ghostpoint.sweeps.exponents`). Attribute ``step``:
        the factor between two rates of the grid.
    """
    sweeps = {name: next(iter(parameters[name].values())) for name in ("activation", "tasks")}
    found = run_sweeps(progress, sweeps, _rates)
    activation, tasks = found["activation"], found["tasks"]
    fits = [exponents(activation.sel(optimizer=one)) for one in activation["optimizer"].values]
    inner = {name: f"tasks_{name}" for name in (*KEPT, *map(str, tasks.coords)) if name not in ("task", "activation")}
    rates = read_sweep(sweeps["activation"]).settings["measurement"]["rates"]
    return xr.merge([activation, xr.concat(fits, activation["optimizer"]), tasks.rename(inner)]).assign_attrs(
        step=rates[1] / rates[0]
    )


def _rates(settings: Settings, networks: Networks, progress: Progress) -> xr.Dataset:
    """Critical rates of the networks of a shard."""
    arrays = computed(settings, networks, progress)
    return xr.Dataset({name: arrays[name] for name in KEPT})


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """How the critical rate goes with each axis, whether short descents predict it, and whether
    tasks with inputs have one.
    """
    measured = dataset["measured"]
    cells = measured.size // dataset.sizes["seed"]
    sample = f"{cells:,} cells of {dataset.sizes['seed']} networks, {share(_finite(measured), measured.size)} lost"
    source = "Letter, eq. 15, carried over to networks"
    return [
        _sign(dataset, "sgd", "delay", -1, "The critical rate falls with the delay.", source, sample),
        *(
            _sign(dataset, one, "delay", -1, f"The critical rate of {one} falls with the delay.", source, sample)
            for one in dataset["optimizer"].values
            if one != "sgd"
        ),
        _sign(
            dataset, "sgd", "confidence", -1, "The critical rate falls with the confidence.",
            "Letter, Fig. 4, and article, Fig. 8, carried over to critical rates", sample,
        ),
        _sign(
            dataset, "sgd", "rank", 1, "The critical rate rises with the rank, the readout being fixed.",
            "Abstract of 2026: more ranks are more stable, carried over to critical rates", sample,
        ),
        _size(dataset, sample),
        *(_prediction(dataset, str(one)) for one in dataset["optimizer"].values),
        _adam(measured),
        *(_task(dataset, str(task)) for task in dataset["task"].values),
    ]  # fmt: skip


def _finite(values: xr.DataArray) -> int:
    return int(np.isfinite(values.values).sum())


def _fit(dataset: xr.Dataset, optimizer: str, axis: str) -> tuple[float, float, str, bool]:
    """Limits of an exponent, both in words, and whether the axis was varied."""
    if axis not in dataset["axis"].values:
        return np.nan, np.nan, f"the {axis} was not varied", False
    at = dataset.sel(optimizer=optimizer, axis=axis)
    middle, low, high = (float(at[name]) for name in ("exponent", "low", "high"))
    values = dataset[axis].values
    words = f"exponent {middle:.2f} ({low:.2f} to {high:.2f}) from {values.min():g} to {values.max():g}"
    return low, high, words if np.isfinite(middle) else "no two values have critical rates", True


def _sign(
    dataset: xr.Dataset, optimizer: str, axis: str, sign: int, sentence: str, source: str, sample: str
) -> Claim:  # fmt: skip
    """Whether an exponent has the sign that is claimed."""
    low, high, words, varied = _fit(dataset, optimizer, axis)
    side = "above" if sign > 0 else "below"
    level = "with a level for every combination of the other axes"
    return own_claim(
        sentence,
        source=source,
        rule=f"The 95 % interval of the exponent of the {axis} lies {side} 0, {level}.",
        measured=f"{optimizer}: {words}; {sample}",
        verdict=judge(bool(low > 0 if sign > 0 else high < 0), testable=varied),
        note="The interval is that of resampled seeds.",
    )


def _size(dataset: xr.Dataset, sample: str) -> Claim:
    low, high, words, varied = _fit(dataset, "sgd", "units")
    return own_claim(
        "The critical rate hardly depends on the size.",
        source="this project; the toy model has no size",
        rule=f"The 95 % interval of the exponent of the units lies within {HARDLY:g} of 0.",
        measured=f"sgd: {words}; {sample}",
        verdict=judge(low > -HARDLY and high < HARDLY, testable=varied),
    )


def _prediction(dataset: xr.Dataset, optimizer: str) -> Claim:
    """Whether short descents find the rates that training measures; none found is a miss."""
    measured, predicted = (dataset[name].sel(optimizer=optimizer).values.ravel() for name in ("measured", "predicted"))
    lost = np.isfinite(measured)
    ratio = predicted[lost] / measured[lost]
    within = max(FACTOR, 1.001 * dataset.attrs["step"])
    right, found = int(((ratio < within) & (ratio > 1 / within)).sum()), ratio[np.isfinite(ratio)]
    middle = (
        f"; median ratio {np.median(found):.2f} of the {len(found)} predicted" if len(found) else "; none predicted"
    )
    return own_claim(
        f"Short descents through the drop predict the critical rates of nearly all networks trained by {optimizer}.",
        source="this project (critical_rate/prediction.py)",
        rule=f"Of the networks with a measured rate nearly all have a predicted one within a factor {FACTOR:g} of it, "
        f"or a step of the grid if that is more. {NEARLY_ALL_OF}",
        measured=f"{share(right, len(ratio))}{middle}",
        verdict=judge_share(nearly_all(right, len(ratio)), len(ratio)),
        note="A prediction is the lowest rate at which a descent of some hundred updates loses the network.",
    )


def _adam(measured: xr.DataArray) -> Claim:
    """Whether Adam loses networks at lower rates than plain descent."""
    there = {"sgd", "adam"} <= set(measured["optimizer"].values.tolist())
    plain, adam = (measured.sel(optimizer=one).values if there else np.zeros(0) for one in ("sgd", "adam"))
    both = np.isfinite(plain) & np.isfinite(adam)
    lower = int((adam < plain)[both].sum())
    return own_claim(
        "Adam loses most networks at a lower rate than plain gradient descent does.",
        source="this project; an update of Adam does not shrink with the gradient",
        rule=f"Its critical rate is lower in most networks that have both. {MOST_OF}",
        measured=f"{share(lower, int(both.sum()))}"
        + (f"; median ratio {np.median(adam[both] / plain[both]):.2g}" if both.any() else ""),
        verdict=judge_share(most(lower, int(both.sum())), int(both.sum()), testable=there),
    )


def _task(dataset: xr.Dataset, task: str) -> Claim:
    """Whether networks of a task with inputs are lost too."""
    at = dataset.sel(task=task)
    lost, learned = _finite(at["tasks_measured"]), int(at["tasks_learned"].sum())
    each = ", ".join(
        f"{_finite(at['tasks_measured'].sel(tasks_optimizer=one))} of "
        f"{int(at['tasks_learned'].sel(tasks_optimizer=one).sum())} by {one}"
        for one in dataset["tasks_optimizer"].values
    )
    return own_claim(
        f"{task}: most networks that learn have a critical rate too.",
        source="Article, Figs. 6 and 7, carried over to rank two and four",
        rule=f"Of the networks that learn at some rate of the grid most are lost at one. {MOST_OF}",
        measured=f"{share(lost, learned)}: {each}; {at['tasks_learned'].size} networks",
        verdict=judge_share(most(lost, learned), learned, testable=learned > 0),
    )


STABILITY_BOUNDARIES = Experiment(
    id="stability_boundaries",
    title="Where training is stable: critical rates over delay, size, rank, confidence, optimiser and task",
    figure="this project (after eq. 15)",
    question="Above which learning rate does training lose what it has taught, and what moves that boundary? Every "
    "cell of a grid over delay, size, rank, confidence and optimiser is predicted by short descents through the drop "
    "and measured by training at every rate; two tasks with inputs follow, whose readout is trained.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
    origin="own",
)
