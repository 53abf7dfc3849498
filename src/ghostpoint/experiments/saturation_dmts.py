"""Text on Fig. 7: firing rates and outputs just before and after learning of delayed match to sample collapses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.full_rank_runs import LEARNED, answers, networks_of, task_of
from ghostpoint.experiments.networks import share, trained

#: a unit is saturated beyond this rate, an output within this distance of 0 or 1
SATURATED_RATE, SATURATED_OUTPUT = 0.95, 0.05

PAPER: Mapping[str, Any] = {
    "figure": "7D",
    "dtype": "float32",
    "task": {"task": "DelayedMatchToSample", "cue": 30.0, "delay": 80.0, "response": 50.0, "dt": 5.0, "tau": 10.0},
    "seeds": list(range(40)),
    "learning_rate": 1.4384499,
    "epochs": 6000,
    "after": 10,  # epochs from the last one at which the network still has the task
    "window": 300,  # epochs of the loss shown around it
}
PARAMETERS = {"quick": {**PAPER, "seeds": list(range(8)), "epochs": 3000}, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed; look at those that are lost in the last epoch at which they have the task, and after it."""
    task, seeds, epochs = task_of(parameters), parameters["seeds"], parameters["epochs"]
    models, rate = networks_of(parameters, seeds), parameters["learning_rate"]
    first = trained(
        progress, f"training {len(seeds)} networks", models, parameters, rate, epochs, task,
        record="all", solved=LEARNED, keep="training",
    )  # fmt: skip
    loss, norm = (first.history["loss"] / task.chance_loss).values, first.history["gradient_norm"].values
    learned = first.events["first_solved"].values >= 0
    last = np.where(learned, epochs - 1 - (loss[:, ::-1] < LEARNED).argmax(axis=1), -1)
    lost = np.flatnonzero(learned & (last < epochs - 50))
    if not len(lost):
        raise InputError(f"seeds and epochs must include a network that is lost; none of {len(seeds)} was in {epochs}")
    # a network's bits do not depend on its stack, so the lost ones are trained again, now keeping their weights
    moments = np.stack([last[lost], np.minimum(last[lost] + parameters["after"], epochs - 1)])
    again = trained(
        progress, f"{len(lost)} lost networks once more", models[lost], parameters, rate, epochs, task,
        record=[0], checkpoints=np.unique(moments), keep="lost",
    )  # fmt: skip
    assert again.checkpoints is not None
    kept = again.checkpoints["epoch"].values

    def at(moment: NDArray[np.int64]) -> Any:
        rows = [(int(np.searchsorted(kept, epoch)), place) for place, epoch in enumerate(moment)]
        return again.models.replace(
            **{
                str(name): np.stack([values.values[row] for row in rows])
                for name, values in (again.checkpoints or {}).items()
            }
        )

    shown = [answers(networks, task) for networks in (at(moments[0]), at(moments[1]), again.models)]
    rates = np.stack([each.rates[:, :, 1:] for each in shown])  # (moment, lost, trial, step, unit)
    outputs = np.stack([each.outputs for each in shown])
    answering = task.trial().targets[:, :, 0].any(axis=0)  # the steps of the response
    order = rates[0, 0, 0].mean(axis=0).argsort()  # of the units shown: by their mean rate in a trial before
    looked = np.append(moments, np.full((1, len(lost)), epochs - 1), axis=0)
    window = np.clip(np.arange(-parameters["window"] // 2, parameters["window"] // 2) + last[lost[0]], 0, epochs - 1)
    lag = np.arange(len(window)) - parameters["window"] // 2
    return xr.Dataset(
        {
            "learned": ("network", learned),
            "last_learned": ("network", last, {"missing": -1}),
            "end_loss": ("network", loss[:, -50:].min(axis=1), {"units": "chance"}),
            "saturated_units": (
                ("moment", "lost"),
                (np.abs(rates[:, :, :, answering]) > SATURATED_RATE).mean(axis=(2, 3, 4)),
            ),
            "saturated_outputs": (
                ("moment", "lost"),
                (np.minimum(outputs, 1 - outputs) < SATURATED_OUTPUT).mean(axis=(2, 3)),
            ),
            "loss": (("moment", "lost"), loss[lost, looked], {"units": "chance"}),
            "gradient_norm": (("moment", "lost"), norm[lost, looked]),
            "window_loss": ("lag", loss[lost[0], window], {"units": "chance"}),
            "window_norm": ("lag", norm[lost[0], window]),
            "peak_norm": ("lost", norm[lost].max(axis=1)),
            "rates": (("moment", "trial", "step", "unit"), rates[:, 0][..., order].astype(np.float32)),
            "outputs": (("moment", "trial", "step"), outputs[:, 0]),
            "targets": (("trial", "step"), task.trial().targets[:, :, 0]),
        },
        coords={
            "moment": np.array(["before", "after", "end"]),
            "seed": ("network", np.array(seeds)),
            "lost": np.array(seeds)[lost],
            "moment_epoch": ("moment", looked[:, 0]),
            "lag": lag,
        },
        attrs={"after": parameters["after"], "shown_seed": int(np.array(seeds)[lost[0]]), "dt": task.dt},
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Networks learn and are lost at this rate; then units and outputs saturate and the gradient vanishes."""
    d = dataset
    learned, lost = int(d["learned"].sum()), len(d["lost"])
    units, outputs, norm, loss = (
        d[name].values for name in ("saturated_units", "saturated_outputs", "gradient_norm", "loss")
    )
    peak = d["peak_norm"].values
    doubled = int((units[2] > 2 * units[0]).sum())
    gone = int((norm[2] < 1e-3 * peak).sum())
    return [
        Claim(
            "At this rate learning of delayed match to sample collapses.",
            "Fig. 7 (text)",
            "the one network shown (seed 0)",
            f"{share(lost, learned)} of the networks that learn are lost within {parameters['epochs']:,} epochs; "
            f"{len(d['seed'])} seeds",
            judge(lost >= 0.1 * learned),
            "Seeds draw other initial weights here than in the publication; lost are seeds "
            + ", ".join(str(seed) for seed in d["lost"].values)
            + ".",
        ),
        Claim(
            "With the collapse units saturate.",
            "Fig. 7 (text)",
            "saturated firing rates (no number)",
            f"share of rates in the response beyond {SATURATED_RATE:g}: median {np.median(units[0]):.2f} in the last "
            f"epoch with the task, {np.median(units[1]):.2f} {d.attrs['after']} epochs later, "
            f"{np.median(units[2]):.2f} at the end; it more than doubles in {share(doubled, lost)} lost networks",
            judge(doubled >= 0.9 * lost),
            "A rise counts, not that most units saturate.",
        ),
        Claim(
            "The outputs saturate: confident, and wrong.",
            "Fig. 7 (text); abstract of 2026",
            "high-confidence but incorrect predictions (no number)",
            f"share of outputs within {SATURATED_OUTPUT:g} of 0 or 1: median {np.median(outputs[0]):.2f}, "
            f"{np.median(outputs[1]):.2f} and {np.median(outputs[2]):.2f} at the same epochs, at losses of "
            f"{np.median(loss[0]):.2f}, {np.median(loss[1]):.2f} and {np.median(loss[2]):.2f} of chance",
            judge(bool(np.median(outputs[2]) > 0.9) and bool(np.median(loss[2]) > 0.4)),
        ),
        Claim(
            "After the collapse the gradient vanishes.",
            "Fig. 7 (text); abstract of 2026",
            "vanishing gradients (no number)",
            f"median norm {np.median(norm[0]):.1e}, {np.median(norm[1]):.1e} and {np.median(norm[2]):.1e} at the same "
            f"epochs; {share(gone, lost)} end below 1/1000 of their largest",
            judge(gone >= 0.9 * lost),
        ),
    ]


EXPERIMENT = Experiment(
    id="saturation_dmts",
    title="What a collapse looks like: saturated rates and outputs",
    figure="Fig. 7 (text)",
    question=(
        "Delayed match to sample at a rate just beyond what works. What do units and outputs do in the last epoch "
        "with the task, and after it? One lost network is shown, and the claims are made over all that are lost."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
