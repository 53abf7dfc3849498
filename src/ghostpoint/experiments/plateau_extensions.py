"""The length of the plateau beyond plain gradient descent of rank one: momentum, Adam, higher rank,
a readout of the state, and the second plateau at half the chance loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.critical_rate import before_crossing
from ghostpoint.experiments.shared.base import Claim, Progress
from ghostpoint.experiments.shared.networks import NETWORKS, trained
from ghostpoint.experiments.shared.shares import NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import LowRankRNN
from ghostpoint.tasks import DelayedActivation
from ghostpoint.theory import Plateau, plateau_length
from ghostpoint.training import SGD, Adam

#: level of the loss that ends the second plateau; one at the brink of the first crossing is below
#: half of chance
SECOND = 0.4
#: each with the epochs at which the drop is to come by the theory, which gives the rates, or with
#: the rates
EXTENSIONS: list[dict[str, Any]] = [
    *({"group": "momentum", "momentum": value, "epochs": [500, 1500, 5000]} for value in (0.5, 0.9, 0.99)),
    *({"group": "rank", "rank": rank, "epochs": [500, 1500, 5000]} for rank in (2, 5)),
    *({"group": "state", "readout": "state", "rank": rank, "epochs": [500, 1500, 5000]} for rank in (1, 2)),
    {"group": "second", "second plateau at T": 48, "epochs": [5000, 10_000]},
    {"group": "second", "second plateau at T": 96, "epochs": [15_000]},
    *({"group": "adam", "Adam at T": delay, "rates": [1e-3, 1e-4, 1e-5]} for delay in (8, 20, 48)),
]
#: what is claimed of each group, and the largest error
CLAIMS: dict[str, tuple[str, float]] = {
    "momentum": ("With momentum training rolls along the path of the gradient flow as a ball in one dimension.", 0.01),
    "rank": ("Overlaps give the length of the plateau at rank two and five.", 0.01),
    "state": ("Overlaps give the length of the plateau at half the chance loss with a readout of the state.", 0.03),
    "second": ("Overlaps give the length of the second plateau, at half the chance loss.", 0.03),
    "adam": ("The length of the plateau under Adam follows from units whose latent rests at every step.", 0.03),
}


def label(extension: Mapping[str, Any]) -> str:
    """What an extension changes, in words."""
    changes = {name: value for name, value in extension.items() if name not in ("group", "epochs", "rates")}
    return ", ".join(f"{name} {value}" for name, value in changes.items())


def over_extensions(parameters: Mapping[str, Any], progress: Progress, methods: tuple[str, ...]) -> xr.Dataset:
    """Predicted and measured epochs of each extension at each of its lengths or rates."""
    extensions, seeds = parameters["extensions"], parameters["condition_seeds"]
    precise = {**parameters, "dtype": parameters["condition_dtype"]}
    measured, predicted, valid, rates = [], [], [], []
    for extension in extensions:
        models, task, level = _networks(extension, seeds)
        momentum = extension.get("momentum", 0.0)
        optimizer = Adam() if extension["group"] == "adam" else SGD(momentum)
        flow = Plateau.of(models, task, level=level)
        for aim in extension.get("epochs", extension.get("rates")):
            if extension["group"] == "adam":
                rate, inside = np.full(len(seeds), aim), np.ones(len(seeds), bool)
            else:
                rate = flow.rate_of(aim, momentum=momentum)
                inside = (rate > 0) & np.isfinite(rate)
                rate = np.where(inside, rate, 1e-6)  # no rate brings it so soon
                inside &= flow.valid(rate, momentum=momentum)
            lengths = np.array(
                [_length(models, task, rate, method, optimizer, level) for method in methods], np.float64
            )
            last = int(1.1 * lengths[0, inside].max(initial=0.0)) + 20
            result = trained(
                progress, f"{label(extension)}, {aim:g}", models, precise, rate, last, task,
                record=[0], solved=level, optimizer=optimizer,
            )  # fmt: skip
            measured.append(result.events["first_solved"].values)
            predicted.append(lengths)
            valid.append(inside)
            rates.append(rate)
    runs = [label(each) for each in extensions for _ in each.get("epochs", each.get("rates"))]
    groups = [each["group"] for each in extensions for _ in each.get("epochs", each.get("rates"))]
    return xr.Dataset(
        {
            "extended_measured": (("extended", "condition_seed"), np.array(measured), {"missing": -1}),
            "extended_predicted": (("extended", "prediction", "condition_seed"), np.array(predicted)),
            "extended_valid": (("extended", "condition_seed"), np.array(valid)),
            "extended_rate": (("extended", "condition_seed"), np.array(rates)),
        },
        coords={"extended": np.arange(len(runs)), "extension": ("extended", runs), "group": ("extended", groups)},
    )


def _networks(extension: Mapping[str, Any], seeds: list[int]) -> tuple[LowRankRNN, DelayedActivation, float]:
    """Networks, task, and the loss that ends the plateau."""
    delay = extension.get("second plateau at T", extension.get("Adam at T", 20))
    task = DelayedActivation(delay * NETWORKS["dt_ms"], NETWORKS["dt_ms"], NETWORKS["tau_ms"])
    state = extension.get("readout") == "state"
    scheme = "state_readout" if state else "fixed_readout"
    models = LowRankRNN.initialize(100, seeds, scheme, rank=extension.get("rank", 1))
    if extension["group"] == "second":  # the first plateau would hide the second: it is much longer
        return before_crossing(models, task)[0], task, SECOND
    return models, task, 0.45 if state else 0.9


def _length(
    models: LowRankRNN, task: DelayedActivation, rate: Any, method: str, optimizer: SGD | Adam, level: float
) -> Any:
    """Predicted epochs by a method; NaN where there is none."""
    if isinstance(optimizer, SGD) and method in ("overlaps", "linear"):
        flow = Plateau.of(models, task, level=level, linear=method == "linear")
        return flow.length(rate, momentum=optimizer.momentum)
    if (isinstance(optimizer, Adam) and method != "overlaps") or level <= 0.5:
        return np.full(len(models), np.nan)
    return plateau_length(models, task, rate, optimizer=optimizer, level=level, method=method)


def errors(dataset: xr.Dataset) -> xr.DataArray:
    """Predicted, rounded up to the epoch at which the loss is first seen to be lower, over measured
    epochs, minus 1; infinite without a drop.
    """
    measured = dataset["extended_measured"]
    rounded = xr.apply_ufunc(np.ceil, dataset["extended_predicted"])
    ratio = rounded / measured.where(measured > 0)
    return (xr.where(measured > 0, ratio, np.inf) - 1).transpose(*dataset["extended_predicted"].dims)


def extension_claims(dataset: xr.Dataset, claim: Any) -> list[Claim]:
    """One claim for each group."""
    found = np.abs(errors(dataset).sel(prediction="overlaps").values)
    claims = []
    for group, (sentence, limit) in CLAIMS.items():
        rows = dataset["group"].values == group
        inside = dataset["extended_valid"].values[rows]
        each = found[rows][inside]
        good, total = int((each <= limit).sum()), len(each)
        measured = "none"
        if total:
            measured = f"{share(good, total)}; median {100 * np.median(each):.2f} %, worst {100 * each.max():.2f} %"
        claims.append(
            claim(
                sentence,
                rule=f"In nearly all pairs of a network and a rate within the range of validity the predicted epoch is "
                f"within {100 * limit:g} % of the measured one. {NEARLY_ALL_OF}",
                measured=f"{measured} ({rows.sum()} conditions and rates, "
                f"{dataset.sizes['condition_seed']} seeds each, {total} of {inside.size} within the range)",
                verdict=judge_share(nearly_all(good, total), total),
            )
        )
    return claims
