"""Fig. 6A (letter: S1): rank-one networks over learning rates; too low never learns, too high is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import linregress

from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.networks import NETWORKS, log_grid, models_of, trained

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(10)),
    "log10_rates": [-4.0, -1.0],
    "rates": 30,
    "epochs": 200_001,
    "epochs_shown": [1000, 3000, 10_000, 30_000, 100_000, 200_000],
}
PARAMETERS = {
    "quick": {**PAPER, "epochs": 20_001, "epochs_shown": [1000, 3000, 10_000, 20_000]},
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed at every rate, as one stack."""
    seeds = parameters["seeds"]
    rates = log_grid(parameters["log10_rates"], parameters["rates"])
    models = models_of(parameters, seeds).repeat(len(rates))
    shown = parameters["epochs_shown"]
    result = trained(
        progress,
        f"training {len(rates)} rates x {len(seeds)} seeds",
        models,
        parameters,
        np.repeat(rates, len(seeds)),
        parameters["epochs"],
        record=shown,
    )
    grid = (len(rates), len(seeds))

    def by_rate(values: Any) -> Any:
        return np.asarray(values).reshape(*grid, *np.shape(values)[1:])

    dims = ("learning_rate", "seed")
    events = {name: (dims, by_rate(values.values), {"missing": -1}) for name, values in result.events.items()}
    return xr.Dataset(
        {
            "loss": ((*dims, "epoch"), by_rate(result.history["loss"].values), {"units": "chance"}),
            "accuracy": ((*dims, "epoch"), by_rate(result.history["accuracy"].values)),
            **{str(name): value for name, value in events.items()},
        },
        coords={"learning_rate": rates, "seed": np.array(seeds), "epoch": np.array(shown)},
        attrs={"epochs": parameters["epochs"]},
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The lowest rate that learns, the range that works for all, the rate at which all are lost, and the trade-off."""
    rates = dataset["learning_rate"].values
    first = np.asarray(dataset["first_above_chance"])
    left: NDArray[np.bool_] = first >= 0
    lost = dataset["no_learning_zone_entry"].values >= 0
    at_chance_at_end = np.asarray(dataset["accuracy"][:, :, -1] <= 0.5)
    full = parameters["epochs"] >= PAPER["epochs"]
    networks = len(dataset["seed"])
    step = rates[1] / rates[0]

    any_left = np.asarray(left.any(axis=1))
    all_fine = np.asarray((left & ~lost).all(axis=1))
    lowest = rates[any_left.argmax()] if any_left.any() else np.nan
    fine = rates[all_fine]
    # the lowest rate from which on every network is at chance at the end
    some_above = np.flatnonzero(np.asarray(~at_chance_at_end).any(axis=1))
    above_all = rates[some_above[-1] + 1 :] if len(some_above) else rates
    dead = above_all[0] if len(above_all) and left.any() else np.nan
    final = dataset["loss"].values[:, :, -1]
    mean = final.mean(axis=1)
    best = int(mean.argmin())
    x, y = np.log(np.repeat(rates, networks)[left.ravel()]), np.log(first[left])
    fitted = len(np.unique(x)) > 2
    slope, slope_error, speed = np.nan, np.nan, "too few networks leave chance"
    if fitted:
        fit = linregress(x, y)
        slope, slope_error = float(fit.slope), float(fit.stderr)
        quickest = rates[all_fine][-1:] if all_fine.any() else rates[any_left][-1:]
        row = int(np.flatnonzero(rates == quickest[0])[0])
        speed = (
            f"epochs until a network leaves chance scale as rate^({slope:.3f} ± {slope_error:.3f}) over {len(x)} "
            f"networks that do; median {np.median(first[row][left[row]]):,.0f} "
            f"at rate {rates[row]:.2g}, the highest that loses none"
        )
    grid = f"grid of {len(rates)} rates, a factor {step:.2f} apart; {networks} seeds; {parameters['epochs']} epochs"
    scale_note = "" if full else "Needs the full 200,001 epochs."
    return [
        Claim(
            "There is a lowest rate at which any network leaves chance.",
            "Fig. 6A (value: independent implementation, 200,001 epochs)",
            "no number; an independent run: 3.3e-4",
            f"{lowest:.2g} ({grid})",
            judge(abs(np.log(lowest / 3.3e-4)) < 1.01 * np.log(step), testable=full),
            scale_note,
        ),
        Claim(
            "In a range of rates all networks learn and none is lost.",
            "Fig. 6A (values: independent implementation, 200,001 epochs)",
            "no number; an independent run: 8.5e-4 to 9.2e-3",
            f"{fine[0]:.2g} to {fine[-1]:.2g}" if len(fine) else "no such rate",
            judge(
                len(fine) > 0
                and abs(np.log(fine[0] / 8.5e-4)) < 1.01 * np.log(step)
                and abs(np.log(fine[-1] / 9.2e-3)) < 1.01 * np.log(step),
                testable=full,
            ),
            scale_note,
        ),
        Claim(
            "From some rate on no network has learned at the end.",
            "Fig. 6A; letter, Fig. S1 (value: independent implementation, 200,001 epochs)",
            "no number; an independent run: 2.4e-2",
            f"{dead:.2g}",
            judge(abs(np.log(dead / 2.4e-2)) < 1.01 * np.log(step), testable=full),
            scale_note or "Agreement within one step of the grid counts, here and above.",
        ),
        Claim(
            "Final losses fall and then rise with the rate: learning needs a rate near, and below, the critical one.",
            "Letter, Fig. S1 (as Fig. 2D for the toy model)",
            "a minimum at an intermediate rate (no number)",
            f"lowest mean loss {mean[best]:.2g} at rate {rates[best]:.2g}; {mean[0]:.2g} at {rates[0]:.2g}, "
            f"{mean[-1]:.2g} at {rates[-1]:.2g}",
            judge(0 < best < len(rates) - 1 and bool(mean[best] < 0.2 * min(mean[0], mean[-1]))),
        ),
        Claim(
            "Learning in few epochs needs a rate near the critical one: the epochs needed grow as the rate falls.",
            "Letter, Fig. 2D and S1",
            "epochs fall as the rate rises (no number)",
            speed,
            judge(bool(slope + 2 * slope_error < -0.7), testable=fitted),
            "On the plateau gradient descent follows the gradient flow, for which the exponent is -1.",
        ),
    ]


EXPERIMENT = Experiment(
    id="rates_rank_one",
    title="Rank-one networks over learning rates",
    figure="Fig. 6A (letter: Fig. S1)",
    question=(
        "Thirty learning rates, ten networks each. The toy model predicts that a rate too low stays on the plateau, "
        "a rate too "
        "high ends in the no-learning zone, and rates just below the critical one learn soonest."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
