"""Fig. 8B: a confidence that training may change does not keep networks out of the no-learning zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.errors import InputError
from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.networks import NETWORKS, models_of, share, trained

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "shown_seed": 40,
    "learning_rate": 0.02,
    "epochs": 10_000,
    "reset_confidence": 1.0,
    "reset_epochs": 10_000,
    "record_stride": 10,
}
PARAMETERS = {"quick": PAPER, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train with c trainable from 10; set it to 1 and go on, c still trainable. Beside it the same with c fixed at
    10."""
    rate, stride = parameters["learning_rate"], parameters["record_stride"]
    if parameters["shown_seed"] not in parameters["seeds"]:
        raise InputError(f"shown_seed must be one of the seeds, got {parameters['shown_seed']}")
    models = models_of(parameters, parameters["seeds"], trainable=("m", "n", "b", "confidence"))
    free = trained(progress, "c trainable from 10", models, parameters, rate, parameters["epochs"], record=stride)
    fixed = trained(
        progress,
        "c fixed, for comparison",
        models.replace(trainable=("m", "n", "b")),
        parameters,
        rate,
        parameters["epochs"],
        record=[parameters["epochs"] - 1],
    )
    reset = trained(
        progress,
        f"c set to {parameters['reset_confidence']:g}, and on",
        free.models.replace(confidence=parameters["reset_confidence"]),
        parameters,
        rate,
        parameters["reset_epochs"],
        record=stride,
    )
    dims = ("network", "epoch")
    names = ("loss", "accuracy", "confidence", "gradient_norm")
    joined = {
        name: (dims, np.concatenate([free.history[name].values, reset.history[name].values], axis=1)) for name in names
    }
    missing = {"missing": -1}
    seeds = np.array(parameters["seeds"])
    shown = int(np.flatnonzero(seeds == parameters["shown_seed"])[0])
    return xr.Dataset(
        {
            **joined,
            "first_above_chance": ("network", free.events["first_above_chance"].values, missing),
            "entry": ("network", free.events["no_learning_zone_entry"].values, missing),
            "entry_fixed": ("network", fixed.events["no_learning_zone_entry"].values, missing),
            "first_above_chance_fixed": ("network", fixed.events["first_above_chance"].values, missing),
            "entry_reset": ("network", reset.events["no_learning_zone_entry"].values, missing),
        },
        coords={
            "seed": ("network", seeds),
            "epoch": np.concatenate(
                [free.history["epoch"].values, parameters["epochs"] + reset.history["epoch"].values]
            ),
        },
        attrs={"shown": shown, "reset_epoch": parameters["epochs"]},
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The confidence rises or stays, networks are lost as before, and setting it to 1 brings them back."""
    reset = dataset.attrs["reset_epoch"]
    learned = dataset["first_above_chance"].values >= 0
    lost = dataset["entry"].values >= 0
    learned_fixed = dataset["first_above_chance_fixed"].values >= 0
    lost_fixed = dataset["entry_fixed"].values >= 0
    before = dataset.sel(epoch=slice(None, reset - 1)).isel(epoch=-1)
    c = before["confidence"].values
    after = dataset["accuracy"].sel(epoch=slice(reset, None)).values
    shown = dataset.attrs["shown"]
    seed = int(dataset["seed"].values[shown])
    back = (after[lost] > 0.5).any(axis=1)
    return [
        Claim(
            "A network whose confidence is trainable still gets stuck in the no-learning zone.",
            "Letter, text on Fig. 3B (one network); article, Fig. 8B",
            "one network, lost",
            f"{share(int(lost.sum()), int(learned.sum()))} of the networks that learned are lost with c trainable, "
            f"{share(int(lost_fixed.sum()), int(learned_fixed.sum()))} with c fixed",
            judge(
                bool(lost.sum() >= 0.75 * lost_fixed.sum()) and bool(lost.sum() >= 0.5 * learned.sum()),
                testable=bool(learned.any()),
            ),
            f"Seed {seed}, the published one: " + _fate(dataset, shown) + ". A single seed's fate depends on rounding.",
        ),
        Claim(
            "Training does not lower the confidence of the lost networks enough to free them.",
            "Article, Fig. 8B",
            "c stays high (no number)",
            f"c of the lost networks at epoch {int(before['epoch'])}: median {np.median(c[lost]):.2f}, "
            f"{c[lost].min():.2f} to {c[lost].max():.2f}"
            if lost.any()
            else "no network lost",
            judge(bool(lost.any()) and bool((c[lost] > 5).all())),
        ),
        Claim(
            f"Setting the confidence to {parameters['reset_confidence']:g} by hand lets them learn again.",
            "Article, Fig. 8B",
            "the network recovers",
            f"{share(int(back.sum()), int(lost.sum()))} of the lost networks rise above chance within "
            f"{parameters['reset_epochs']} epochs; {int((after[lost][:, -5:] > 0.5).all(axis=1).sum())} are above "
            f"it at the end",
            judge(bool(lost.any()) and bool(back.mean() >= 0.75)),
        ),
    ]


def _fate(dataset: xr.Dataset, network: int) -> str:
    first, entry = int(dataset["first_above_chance"][network]), int(dataset["entry"][network])
    if first < 0:
        return "never above chance"
    return f"above chance from epoch {first}, " + (f"lost at epoch {entry}" if entry >= 0 else "not lost")


EXPERIMENT = Experiment(
    id="trainable_confidence",
    title="A trainable confidence does not help",
    figure="Fig. 8B (letter: text on Fig. 3B)",
    question=(
        "If the confidence is the trouble, could training lower it? It is made trainable, from 10, on the published "
        "networks; "
        "after 10,000 epochs it is set to 1 by hand and training goes on."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
