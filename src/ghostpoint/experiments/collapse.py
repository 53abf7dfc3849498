"""Article, Fig. 3B: at a high rate learning collapses through a saddle-node; one network shown, the
claims over 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim, published_claim
from ghostpoint.experiments.shared.networks import (
    NETWORKS,
    Segments,
    linear_grid,
    models_of,
    task_of,
    train_segments,
    trained,
)
from ghostpoint.experiments.shared.shares import (
    HARDLY_ANY_OF,
    NEARLY_ALL_OF,
    hardly_any,
    judge_share,
    nearly_all,
    share,
)
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_flow

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "learning_rate": 0.02,
    "epochs": 6000,
    "segment": 500,
    "flow_stride": 1,
    "float64_too": True,  # once more in float64, for what rounding decides
    "curve_limits": [-8.0, 4.0],
    "curve_points": 401,
    "shown_offsets": [-200, -2, 0, 2, 200],  # epochs from the fold
}
PARAMETERS = {"quick": {**PAPER, "flow_stride": 20, "float64_too": False}, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train a network for each seed and count the zeros of its latent flow every ``flow_stride``
    epochs.
    """
    epochs, stride, seeds = parameters["epochs"], parameters["flow_stride"], parameters["seeds"]
    counts: list[Any] = []
    complete: list[Any] = []
    traces: dict[str, list[Any]] = {name: [] for name in ("loss", "gradient_norm", "accuracy")}
    whole = Segments(models_of(parameters, seeds), epochs)
    for _, result in train_segments(
        progress,
        f"training {len(seeds)} networks, zeros of their flows every {stride} epochs",
        whole,
        parameters,
        parameters["learning_rate"],
        parameters["segment"],
        stride,
    ):
        kept = result.checkpoints
        assert kept is not None
        shape = kept["b"].shape
        zeros = flow_zeros(*(kept[name].values.reshape(-1, shape[2]) for name in ("m", "n", "b")))
        counts.append(zeros.count.reshape(shape[:2]))
        complete.append(zeros.complete.reshape(shape[:2]))
        for name, values in traces.items():
            values.append(result.history[name].values)
    count = np.concatenate(counts).T
    flow_epoch = np.arange(0, epochs, stride)
    entry = whole.entry
    # the epoch of the first recorded flow of the last stretch with three zeros or more
    ends_with_pair = count[:, -1] >= 3
    changes = np.where(count >= 3, -1, np.arange(len(flow_epoch))).max(axis=1) + 1
    fold = np.where(ends_with_pair, flow_epoch[np.minimum(changes, len(flow_epoch) - 1)], -1)

    # shown is the published network, if it is lost through a saddle-node; else one that is; else
    # any
    published = np.flatnonzero(np.asarray(seeds) == 40)
    candidates = np.flatnonzero((entry >= 0) & (fold > 0))
    order = [*np.intersect1d(published, candidates), *candidates, *published, 0]
    shown = int(order[0])
    final = whole.models
    grid = linear_grid(parameters["curve_limits"], parameters["curve_points"])
    offsets = np.array(parameters["shown_offsets"])
    offsets = np.sign(offsets) * np.maximum(np.abs(offsets), stride * (offsets != 0))  # flows are this far apart
    around = fold[shown] + offsets if fold[shown] >= 0 else np.array([0, epochs // 2, epochs - 1])
    shown_epochs = np.unique(np.clip(around, 0, epochs - 1))
    # a network's bits do not depend on its stack, so the one shown is trained again alone, keeping
    # its weights
    again = trained(
        progress,
        "the network shown, once more",
        models_of(parameters, [seeds[shown]]),
        parameters,
        parameters["learning_rate"],
        epochs,
        record=[0],
        checkpoints=shown_epochs,
    ).checkpoints
    assert again is not None
    parts = [again[name].values.reshape(len(shown_epochs), -1) for name in ("m", "n", "b")]
    traced = {name: np.concatenate(values, axis=1) for name, values in traces.items()}
    start = parts[1].astype(np.float64).sum(axis=1) * parameters["initial_state"]
    finish = flow_zeros(final.m[:, :, 0], final.n[:, :, 0], final.b)
    passage = flow_ghosts(final.m[:, :, 0], final.n[:, :, 0], final.b).escape_time
    slowest = np.where(np.isnan(passage), 0.0, passage).max(axis=1, initial=0.0)
    task = task_of(parameters)
    attributes = {
        "shown_seed": int(seeds[shown]),
        "fold_epoch": int(fold[shown]),
        "entry_epoch": int(entry[shown]),
        "trial_in_tau": task.steps * task.alpha,
    }
    if parameters["float64_too"]:
        attributes |= _in_float64(parameters, progress)
    return xr.Dataset(
        {
            "learned": ("network", whole.first >= 0),
            "entry": ("network", entry, {"missing": -1}),
            "fold": ("network", fold, {"missing": -1}),
            "n_fixed_points": ("network", finish.count),
            "slowest_passage": ("network", slowest, {"units": "tau"}),
            "most_fixed_points": ("network", count.max(axis=1)),
            "complete": ("network", np.concatenate(complete).all(axis=0) & finish.complete),
            "last_gradient_norm": ("network", traced["gradient_norm"][:, -1]),
            "loss": ("epoch", traced["loss"][shown], {"units": "chance"}),
            "gradient_norm": ("epoch", traced["gradient_norm"][shown]),
            "accuracy": ("epoch", traced["accuracy"][shown]),
            "count": ("flow_epoch", count[shown]),
            "curve": (("shown", "kappa"), latent_flow(grid, *parts)),
            "start": ("shown", start, {"units": "kappa"}),
        },
        coords={
            "seed": ("network", np.array(seeds)),
            "epoch": np.arange(epochs),
            "flow_epoch": flow_epoch,
            "kappa": grid,
            "shown": shown_epochs,
        },
        attrs=attributes,
    )


def _in_float64(parameters: Mapping[str, Any], progress: Progress) -> dict[str, int]:
    """How many networks learn, are lost, and are lost with three zeros, when the same training is
    done in float64.
    """
    result = trained(
        progress,
        "the same in float64",
        models_of(parameters, parameters["seeds"]),
        {**parameters, "dtype": "float64"},
        parameters["learning_rate"],
        parameters["epochs"],
        record=[0],
    )
    models, lost = result.models, result.events["no_learning_zone_entry"].values >= 0
    three = flow_zeros(models.m[:, :, 0], models.n[:, :, 0], models.b).count >= 3
    learned = result.events["first_above_chance"].values >= 0
    return {
        "float64_learned": int(learned.sum()),
        "float64_lost": int(lost.sum()),
        "float64_lost_three": int((lost & three).sum()),
        "float64_other_three": int((~lost & three).sum()),
    }


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Lost networks have gone through a saddle-node, others have not, and the gradient is gone."""
    learned, lost = dataset["learned"].values, dataset["entry"].values >= 0
    three = dataset["n_fixed_points"].values >= 3
    kept, never = learned & ~lost, ~learned
    a, rest, gone = dataset.attrs, lost & ~three, int(lost.sum())
    in_float64 = ""
    if "float64_lost" in a:
        in_float64 = f"; trained in float64, {a['float64_lost_three']} of {a['float64_lost']}"
    passage = dataset["slowest_passage"].values
    slow = passage > a["trial_in_tau"]
    through = lost & three
    dated = through & (dataset["fold"].values >= 0)  # not a pair born after the last flow that was looked at
    fold, entry = dataset["fold"].values[dated], dataset["entry"].values[dated]
    apart = np.abs(fold - entry)
    stride = parameters["flow_stride"]
    norm = dataset["last_gradient_norm"].values
    incomplete = int((~dataset["complete"].values).sum())
    others = int((three & ~lost).sum()), int((~lost).sum())
    return [
        published_claim(
            "Networks that are lost have gone through a saddle-node: one zero of their flow has become three.",
            source="Fig. 3B; letter, Fig. 3B (one network)",
            published="the one network shown",
            rule=f"Nearly all lost networks end with three zeros, and no zero is undecided at any epoch. "
            f"{NEARLY_ALL_OF}",
            measured=f"{share(int(through.sum()), gone)} of the lost networks end with three zeros{in_float64}; "
            f"{incomplete} networks undecided at some epoch",
            verdict=judge_share(nearly_all(int(through.sum()), gone) and incomplete == 0, gone),
            note="Whether a given seed is lost, and how far beyond the point of no return it is thrown, depends on "
            "rounding.",
        ),
        own_claim(
            "A lost network without the pair has a ghost that outlasts the trial.",
            source="Letter, eq. 12: the point of no return lies at r = r*/4, before the saddle-node",
            published="no-learning zone from r*/4 down",
            rule="The passage of the slowest ghost takes longer than the trial in every such network.",
            measured=f"{int((slow & rest).sum())} of {int(rest.sum())}; passage times "
            f"{', '.join(f'{value:.0f}' for value in sorted(passage[rest]))} tau, trial {a['trial_in_tau']:g} tau"
            if rest.any()
            else f"none of {gone} lost networks is without the pair",
            verdict=judge(gone > 0 and bool(slow[rest].all()), testable=bool(rest.any()) or not gone),
            note="Such a network is in the no-learning zone without a bifurcation, as the toy model is for "
            "0 < r < r*/4.",
        ),
        own_claim(
            "Networks that keep what they learned, and those that never learn, have no such pair.",
            source="The converse of Fig. 3B",
            rule=f"Some network is lost, and hardly any that is not ends with three zeros. {HARDLY_ANY_OF}",
            measured=f"{int((three & kept).sum())} of {int(kept.sum())} kept and {int((three & never).sum())} of "
            f"{int(never.sum())} that never learned end with three zeros: {share(*others)}",
            verdict=judge_share(gone > 0 and hardly_any(*others), others[1]),
        ),
        published_claim(
            "The pair is born as the network enters the no-learning zone.",
            source="Fig. 3B; letter, text on Fig. 3B",
            published="same epoch by eye",
            rule="Over at least four networks the median distance of the two epochs is at most 2, or the distance of "
            "the flows looked at.",
            measured=f"median {np.median(apart):g} epochs apart, 90 % within {np.quantile(apart, 0.9):g} "
            f"({len(apart)} networks; flows every {stride} epochs)"
            if len(apart)
            else "no such network",
            verdict=judge_share(len(apart) > 0 and bool(np.median(apart) <= max(stride, 2)), len(apart)),
        ),
        published_claim(
            "In the no-learning zone the gradient is practically zero.",
            source="Letter, Fig. 3B (caption) and text",
            published="nearly zero (no number)",
            rule="At the last epoch the norm is below 1e-6 in the median of the lost networks, and above 1e-3 in more "
            "than half of those that keep the task.",
            measured=f"norm at the last epoch: median {np.median(norm[lost]):.1e}, largest {norm[lost].max():.1e} of "
            f"{gone} lost networks; "
            + (f"median {np.median(norm[kept]):.1e} of {kept.sum()} kept" if kept.any() else "none kept")
            if gone
            else "no network is lost",
            verdict=judge_share(
                gone > 0 and bool(np.median(norm[lost]) < 1e-6) and bool((norm[kept] > 1e-3).sum() > 0.5 * kept.sum()),
                gone,
                testable=bool(kept.any()) or not gone,
            ),
        ),
    ]


COLLAPSE = Experiment(
    id="collapse",
    title="Collapse at a high rate: a saddle-node and a flat gradient",
    figure="Fig. 3B (letter: Fig. 3B)",
    question="At rate 0.02 networks learn and are then lost. The publication shows one that is lost through a "
    "saddle-node. As one network's fate depends on rounding, one is shown here and the claims are made over all 100 "
    "seeds, with every zero of every flow found with proof.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
