"""Fig. 8B: a confidence that training may change does not keep networks out of the no-learning zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress
from ghostpoint.experiments.shared.networks import NETWORKS, models_of, trained
from ghostpoint.experiments.shared.shares import MOST_OF, NEARLY_ALL_OF, judge_share, most, nearly_all, share

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
    learned = int((dataset["first_above_chance"].values >= 0).sum())
    lost = dataset["entry"].values >= 0
    learned_fixed = int((dataset["first_above_chance_fixed"].values >= 0).sum())
    lost_fixed = int((dataset["entry_fixed"].values >= 0).sum())
    before = dataset.sel(epoch=slice(None, reset - 1)).isel(epoch=-1)
    c, gone = before["confidence"].values[lost], int(lost.sum())
    after = dataset["accuracy"].sel(epoch=slice(reset, None)).values[lost]
    shown = dataset.attrs["shown"]
    back, stay = int((after > 0.5).any(axis=1).sum()), int((after[:, -5:] > 0.5).all(axis=1).sum())
    return [
        Claim(
            "Networks whose confidence is trainable still get stuck in the no-learning zone.",
            origin="published",
            source="Letter, text on Fig. 3B (one network); article, Fig. 8B",
            published="one network, lost",
            rule=f"Most networks that learned are lost, at least three quarters as many as with c fixed. {MOST_OF}",
            measured=f"{share(gone, learned)} of the networks that learned are lost with c trainable, "
            f"{share(lost_fixed, learned_fixed)} with c fixed",
            verdict=judge_share(most(gone, learned) and gone >= 0.75 * lost_fixed, learned),
            note=f"Seed {int(dataset['seed'].values[shown])}, the published one: {_fate(dataset, shown)}. A single "
            "seed's fate depends on rounding.",
        ),
        Claim(
            "Training does not lower the confidence of the lost networks enough to free them.",
            origin="published",
            source="Article, Fig. 8B",
            published="c stays high (no number)",
            rule="Every lost network, of at least four, still has more than half of its initial confidence.",
            measured=f"c of the {gone} lost networks at epoch {int(before['epoch'])}: median {np.median(c):.2f}, "
            f"{c.min():.2f} to {c.max():.2f}"
            if gone
            else "no network is lost",
            verdict=judge_share(bool((c > parameters["confidence"] / 2).all()), gone),
        ),
        Claim(
            f"Setting the confidence to {parameters['reset_confidence']:g} by hand lets them learn again.",
            origin="published",
            source="Article, Fig. 8B",
            published="the network recovers",
            rule=f"Nearly all lost networks rise above chance. {NEARLY_ALL_OF}",
            measured=f"{share(back, gone)} of the lost networks rise above chance within "
            f"{parameters['reset_epochs']} epochs; {stay} are above it at the end",
            verdict=judge_share(nearly_all(back, gone), gone),
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
