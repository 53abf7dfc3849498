"""Article, text on Fig. 7: firing rates and outputs just before and after delayed match to sample
is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, published_claim
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, answers, networks_of, task_of
from ghostpoint.experiments.shared.networks import cued, trained
from ghostpoint.experiments.shared.shares import MOST_OF, NEARLY_ALL_OF, judge_share, most, nearly_all, share
from ghostpoint.results import TrainingRun

#: a unit is saturated beyond this rate, an output within this distance of 0 or 1
SATURATED_RATE, SATURATED_OUTPUT = 0.95, 0.05
#: outputs are sure when more than this share is saturated, and wrong above this loss in units of
#: chance
SURE, WRONG = 0.9, 0.4
PAPER: Mapping[str, Any] = {
    "figure": "7D",
    "dtype": "float32",
    "task": cued("DelayedMatchToSample", 30.0, 80.0),
    "seeds": list(range(160)),
    "learning_rate": 1.4384499,
    "epochs": 6000,
    "after": 10,  # epochs from the last one at which the network still has the task
    "window": 300,  # epochs of the loss shown around it
}
PARAMETERS = {"quick": {**PAPER, "seeds": list(range(8)), "epochs": 3000}, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed; look at those that are lost in the last epoch at which they have the task,
    and after it.

    If none is lost, the dimension ``lost`` is empty and what is shown of the first lost network is
    missing.
    """
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
    lag = np.arange(parameters["window"] // 2 * 2) - parameters["window"] // 2
    # the three moments of every lost network, (moment, lost)
    after = np.minimum(last[lost] + parameters["after"], epochs - 1)
    moments = np.stack([last[lost], after, np.full(len(lost), epochs - 1)])
    saturated = np.zeros((2, 3, 0))
    rates = np.full((3, task.n_trials, task.steps, models.n_units), np.nan, np.float32)
    outputs, window = np.full((3, task.n_trials, task.steps), np.nan), np.full((2, len(lag)), np.nan)
    shown_seed, moment_epoch = -1, np.full(3, -1)
    if len(lost):
        # a network's bits do not depend on its stack, so the lost ones are trained again, now
        # keeping their weights
        again = trained(
            progress, f"{len(lost)} lost networks once more", models[lost], parameters, rate, epochs, task,
            record=[0], checkpoints=np.unique(moments[:2]), keep="lost",
        )  # fmt: skip
        shown = [answers(networks, task) for networks in (*(_at(again, epoch) for epoch in moments[:2]), again.models)]
        every = np.stack([each.rates[:, :, 1:] for each in shown])  # (moment, lost, trial, step, unit)
        answered = np.stack([each.outputs for each in shown])
        answering = task.trial().targets[:, :, 0].any(axis=0)  # the steps of the response
        extreme = np.minimum(answered, 1 - answered) < SATURATED_OUTPUT
        saturated = np.stack(
            [(np.abs(every[:, :, :, answering]) > SATURATED_RATE).mean(axis=(2, 3, 4)), extreme.mean(axis=(2, 3))]
        )
        order = every[0, 0, 0].mean(axis=0).argsort()  # of the units shown: by their mean rate in a trial before
        rates, outputs = every[:, 0][..., order].astype(np.float32), answered[:, 0]
        around = np.clip(lag + last[lost[0]], 0, epochs - 1)
        window = np.stack([loss[lost[0], around], norm[lost[0], around]])
        shown_seed, moment_epoch = seeds[lost[0]], moments[:, 0]
    of_lost = ("moment", "lost")
    return xr.Dataset(
        {
            "learned": ("network", learned),
            "last_learned": ("network", last, {"missing": -1}),
            "end_loss": ("network", loss[:, -50:].min(axis=1), {"units": "chance"}),
            "targets": (("trial", "step"), task.trial().targets[:, :, 0]),
            "saturated_units": (of_lost, saturated[0]),
            "saturated_outputs": (of_lost, saturated[1]),
            "loss": (of_lost, loss[lost, moments], {"units": "chance"}),
            "gradient_norm": (of_lost, norm[lost, moments]),
            "window_loss": ("lag", window[0], {"units": "chance"}),
            "window_norm": ("lag", window[1]),
            "peak_norm": ("lost", norm[lost].max(axis=1)),
            "rates": (("moment", "trial", "step", "unit"), rates),
            "outputs": (("moment", "trial", "step"), outputs),
        },
        coords={
            "moment": np.array(["before", "after", "end"]),
            "seed": ("network", np.array(seeds)),
            "lost": np.array(seeds)[lost],
            "moment_epoch": ("moment", moment_epoch),
            "lag": lag,
        },
        attrs={"after": parameters["after"], "dt": task.dt, "shown_seed": int(shown_seed)},
    )


def _at(run: TrainingRun, epochs: NDArray[np.int64]) -> Any:
    """The networks of a run, each at a kept epoch of its own."""
    assert run.checkpoints is not None
    rows = np.searchsorted(run.checkpoints["epoch"].values, epochs)
    parts = {str(name): values.values for name, values in run.checkpoints.data_vars.items()}
    return run.models.replace(**{name: values[rows, np.arange(len(rows))] for name, values in parts.items()})


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Networks do not keep the task at this rate; in those that are lost units saturate and
    gradients vanish.
    """
    d = dataset
    seeds, learned, lost = len(d["seed"]), int(d["learned"].sum()), len(d["lost"])
    units, outputs, norm, loss = (
        d[name].values for name in ("saturated_units", "saturated_outputs", "gradient_norm", "loss")
    )
    without = int((d["end_loss"].values >= LEARNED).sum())
    more = int((units[2] > 2 * units[0]).sum())
    wrong = int(((outputs[2] > SURE) & (loss[2] > WRONG)).sum())
    gone = int((norm[2] < 1e-3 * d["peak_norm"].values).sum())
    source, none = "Fig. 7 (text; one network)", "no network is lost"
    claim, also = (partial(published_claim, source=each) for each in (source, f"{source}; abstract of 2026"))
    return [
        claim(
            "At this rate networks do not hold the task.",
            published="the one network shown (seed 0)",
            rule=f"In nearly all networks the loss is at least {LEARNED:g} of chance at all of the last 50 epochs. "
            f"{NEARLY_ALL_OF}",
            measured=f"{share(without, seeds)} after {parameters['epochs']:,} epochs",
            verdict=judge_share(nearly_all(without, seeds), seeds),
            note="Rounding decides what becomes of a single seed, so all claims are over seeds.",
        ),
        claim(
            "Networks that learn match to sample at this rate lose it.",
            published="the one network shown (seed 0)",
            rule=f"Most networks that fall below {LEARNED:g} of chance at some epoch are lost more than 50 epochs "
            f"before the end. {MOST_OF}",
            measured=f"{share(lost, learned)} of the networks that learn, of {seeds} seeds"
            + (f"; lost are seeds {', '.join(str(seed) for seed in d['lost'].values)}" if lost else ""),
            verdict=judge_share(most(lost, learned), learned),
        ),
        claim(
            "With the collapse units saturate.",
            published="saturated firing rates (no number)",
            rule=f"In nearly all lost networks the share of rates in the response beyond {SATURATED_RATE:g} is more "
            f"than twice as high at the end as in the last epoch with the task. {NEARLY_ALL_OF}",
            measured=f"{share(more, lost)} lost networks; median share {np.median(units[0]):.2f} in the last epoch "
            "with "
            f"the task, {np.median(units[1]):.2f} {d.attrs['after']} epochs later, {np.median(units[2]):.2f} at the end"
            if lost
            else none,
            verdict=judge_share(nearly_all(more, lost), lost),
            note="A rise counts, not that most units saturate.",
        ),
        also(
            "The outputs saturate: confident, and wrong.",
            published="high-confidence but incorrect predictions (no number)",
            rule=f"In nearly all lost networks more than {SURE:g} of the outputs are within {SATURATED_OUTPUT:g} of 0 "
            f"or 1 at the end, and the loss is above {WRONG:g} of chance. {NEARLY_ALL_OF}",
            measured=f"{share(wrong, lost)} lost networks; median share {np.median(outputs[0]):.2f}, "
            f"{np.median(outputs[1]):.2f} and {np.median(outputs[2]):.2f} at the same epochs, at losses of "
            f"{np.median(loss[0]):.2f}, {np.median(loss[1]):.2f} and {np.median(loss[2]):.2f} of chance"
            if lost
            else none,
            verdict=judge_share(nearly_all(wrong, lost), lost),
        ),
        also(
            "After the collapse the gradient vanishes.",
            published="vanishing gradients (no number)",
            rule=f"In nearly all lost networks the norm at the end is below 1/1000 of its largest value. "
            f"{NEARLY_ALL_OF}",
            measured=f"{share(gone, lost)} lost networks; median norm {np.median(norm[0]):.1e}, "
            f"{np.median(norm[1]):.1e} and {np.median(norm[2]):.1e} at the same epochs"
            if lost
            else none,
            verdict=judge_share(nearly_all(gone, lost), lost),
        ),
    ]


SATURATION_DMTS = Experiment(
    id="saturation_dmts",
    title="What a collapse looks like: saturated rates and outputs",
    figure="Fig. 7 (text)",
    question="Delayed match to sample at a rate just beyond what works. What do units and outputs do in the last epoch "
    "with the task, and after it? One lost network is shown, and the claims are made over all that are lost.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
