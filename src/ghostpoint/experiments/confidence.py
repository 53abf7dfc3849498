"""Fig. 8B (letter: Fig. 4): lost networks learn again once the confidence of their output is lowered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.shared.networks import NETWORKS, log_grid, models_of, trained
from ghostpoint.experiments.shared.shares import ENOUGH, judge_share, nearly_all, share

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "learning_rate": 0.02,
    "epochs": 6000,
    "log10_confidences": [-3.0, 1.0],
    "confidences": 30,
    "recovery_epochs": 100,
}
PARAMETERS = {"quick": PAPER, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train 100 networks; go on with the lost ones at every confidence, from the same weights.

    If no network is lost, the dimension ``lost`` is empty and means over it are missing.
    """
    rate, epochs = parameters["learning_rate"], parameters["epochs"]
    first = trained(
        progress,
        f"training {len(parameters['seeds'])} networks",
        models_of(parameters, parameters["seeds"]),
        parameters,
        rate,
        epochs,
        record=10,
    )
    lost = np.flatnonzero(first.events["no_learning_zone_entry"].values >= 0)
    confidences = log_grid(parameters["log10_confidences"], parameters["confidences"])
    more = parameters["recovery_epochs"]
    shape = (len(confidences), len(lost), more)
    accuracy, loss = np.zeros((2, *shape))
    if len(lost):
        stack = first.models[lost].repeat(len(confidences)).replace(confidence=np.repeat(confidences, len(lost)))
        name = f"{len(lost)} lost networks at {len(confidences)} confidences"
        second = trained(progress, name, stack, parameters, rate, more, record="all")
        accuracy, loss = (second.history[each].values.reshape(shape) for each in ("accuracy", "loss"))
    final = accuracy[:, :, -1]
    # over the lost networks; nothing over none of them
    none = np.full(len(confidences), np.nan)
    some, several = len(lost) > 0, len(lost) > 1
    return xr.Dataset(
        {
            "first_above_chance": ("network", first.events["first_above_chance"].values, {"missing": -1}),
            "entry": ("network", first.events["no_learning_zone_entry"].values, {"missing": -1}),
            "first_loss": (("network", "first_epoch"), first.history["loss"].values, {"units": "chance"}),
            "accuracy": (("confidence", "lost"), final),
            "accuracy_mean": ("confidence", final.mean(axis=1) if some else none),
            "accuracy_sem": ("confidence", final.std(axis=1, ddof=1) / np.sqrt(len(lost)) if several else none),
            "recovered": ("confidence", (final > 0.5).mean(axis=1) if some else none),
            "path_mean": (
                ("confidence", "epoch"),
                accuracy.mean(axis=1) if some else np.full((len(confidences), more), np.nan),
            ),
            "loss": (("confidence", "lost"), loss[:, :, -1], {"units": "chance"}),
        },
        coords={
            "seed": ("network", np.array(parameters["seeds"])),
            "lost": np.array(parameters["seeds"])[lost],
            "confidence": confidences,
            "epoch": np.arange(more),
            "first_epoch": first.history["epoch"].values,
        },
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """How many learn, how many are lost, and at which confidences the lost come back."""
    learned = int((dataset["first_above_chance"] >= 0).sum())
    lost = int((dataset["entry"] >= 0).sum())
    networks = len(dataset["seed"])
    confidence, mean = dataset["confidence"].values, dataset["accuracy_mean"].values
    sem, recovered = dataset["accuracy_sem"].values, dataset["recovered"].values
    back = np.round(np.nan_to_num(recovered) * lost).astype(int)
    best = int(np.nan_to_num(mean).argmax())
    well = np.array([nearly_all(count, lost) for count in back]) & (mean > 0.75)
    freeing = confidence[well]
    most = int(back[best])
    source = "Letter, Fig. 4; article, Fig. 8B"
    return [
        Claim(
            "74 of 100 networks learn the task at some epoch.",
            origin="published",
            source=source,
            published="74 of 100",
            rule="Exactly 74 networks have an accuracy above 0.5 at some epoch.",
            measured=share(learned, networks),
            verdict=judge(learned == 74, testable=networks == 100),
            note="On the published initial weights; the interval is what other seeds could give.",
        ),
        Claim(
            "54 of them enter the no-learning zone.",
            origin="published",
            source=source,
            published="54 of 74",
            rule="53 to 55 of the networks that learned have an accuracy of at most 0.5 over the last 50 epochs. One "
            "network's fate depends on rounding.",
            measured=share(lost, learned),
            verdict=judge(53 <= lost <= 55, testable=networks == 100),
        ),
        Claim(
            "Lowering the confidence lets lost networks learn again.",
            origin="published",
            source=source,
            published="recovery at low c (no number)",
            rule="At some c below 1 the mean accuracy of the lost networks is above 0.75, and at least 90 % of them "
            f"are above chance; at least {ENOUGH} are lost.",
            measured=f"highest mean accuracy {mean[best]:.3f} ± {sem[best]:.3f} (s.e.m. over {lost} networks) at c = "
            f"{confidence[best]:.2g}, with {share(most, lost)} above chance; "
            + (f"so for c from {freeing.min():.2g} to {freeing.max():.2g}" if len(freeing) else "so at no c")
            if lost
            else "no network is lost",
            verdict=judge_share(bool((freeing < 1).any()), lost, testable=bool((confidence < 1).any())),
            note=f"{parameters['recovery_epochs']} more epochs from the lost weights, read at that same confidence.",
        ),
        Claim(
            f"Without lowering it (c = {parameters['confidence']:g}) no network comes back.",
            origin="published",
            source=source,
            published="accuracy stays 0.5",
            rule=f"None of the lost networks, at least {ENOUGH} of them, is above chance at the end.",
            measured=f"accuracy {mean[-1]:.3f} ± {sem[-1]:.3f} at c = {confidence[-1]:g}; "
            f"{share(int(back[-1]), lost)} above chance"
            if lost
            else "no network is lost",
            verdict=judge_share(
                bool(back[-1] == 0), lost, testable=bool(np.isclose(confidence[-1], parameters["confidence"]))
            ),
        ),
    ]


EXPERIMENT = Experiment(
    id="confidence",
    title="Lowering the confidence frees lost networks",
    figure="Fig. 8B (letter: Fig. 4)",
    question=(
        "100 rank-one networks are trained at rate 0.02 with confidence c = 10. Those that learned and were lost go "
        "on from their "
        "last weights at 30 confidences. Beyond the point of no return the toy model has no gradient at high "
        "confidence and a small one "
        "at low confidence."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
