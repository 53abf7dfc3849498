"""Article, Fig. 6A (letter: S1): rank-one networks over learning rates; too low never learns, too
high is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.full_rank_sweeps import RANGE, longest_run
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.networks import NETWORKS, log_grid, models_of, trained
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part, spreading
from ghostpoint.experiments.shared.power_laws import epochs_claim
from ghostpoint.experiments.shared.shares import ENOUGH, judge_share

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(10)),
    "log10_rates": [-4.0, -1.0],
    "rates": 30,
    "epochs": 200_001,
    "epochs_shown": [1000, 3000, 10_000, 30_000, 100_000, 200_000],
}
PARAMETERS = {"quick": {**PAPER, "epochs": 20_001, "epochs_shown": [1000, 3000, 10_000, 20_000]}, "paper": PAPER}


#: rates of a part where other machines compute some
TOGETHER = 8


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed at every rate, as one stack; as several where other machines take part."""
    rates = log_grid(parameters["log10_rates"], parameters["rates"])
    together = TOGETHER if spreading() else len(rates)
    jobs = []
    for first in range(0, len(rates), together):
        some = rates[first : first + together].tolist()
        total = len(some) * len(parameters["seeds"]) * parameters["epochs"]
        settings = {"parameters": dict(parameters), "learning_rates": some}
        jobs.append(Job("rates", settings, total, partial(_at, parameters, some), _at))
    networks = len(rates) * len(parameters["seeds"])
    title = f"training {len(rates)} rates x {len(parameters['seeds'])} seeds"
    ahead(progress, jobs)
    progress.phase(title, sum(job.total for job in jobs), networks)
    whole = xr.concat([counted_part(progress, job) for job in jobs], "learning_rate", combine_attrs="identical")
    return whole.assign_coords(learning_rate=rates)


def _at(parameters: Mapping[str, Any], rates: list[float], progress: Progress) -> xr.Dataset:
    """Every seed at some rates."""
    seeds, shown = parameters["seeds"], parameters["epochs_shown"]
    models = models_of(parameters, seeds).repeat(len(rates))
    result = trained(progress, "", models, parameters, np.repeat(rates, len(seeds)), parameters["epochs"], record=shown)
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
    """Rates too low, the range that works for all, the rate from which on all are lost, and the
    trade-off.
    """
    rates = dataset["learning_rate"].values
    first = np.asarray(dataset["first_above_chance"])
    left: NDArray[np.bool_] = first >= 0
    lost = dataset["no_learning_zone_entry"].values >= 0
    at_end = np.asarray(dataset["accuracy"][:, :, -1] > 0.5)
    networks, step = len(dataset["seed"]), rates[1] / rates[0]
    grid = f"grid of {len(rates)} rates, a factor {step:.2f} apart; {networks} seeds; {parameters['epochs']} epochs"

    some = np.flatnonzero(left.any(axis=1))
    run = longest_run(np.asarray((left & ~lost).all(axis=1)))
    alive = np.flatnonzero(at_end.any(axis=1))
    dead = rates[alive[-1] + 1 :] if len(alive) else rates[:0]
    mean = dataset["loss"].values[:, :, -1].mean(axis=1)
    best = int(mean.argmin())
    claim = partial(published_claim, source="Letter, Fig. S1 (the same dependence as Fig. 2D); article, Fig. 6A")
    return [
        claim(
            "At rates that are too low no network leaves chance.",
            published="a range of effective rates (no number)",
            rule="No network leaves chance at the lowest rate of the grid, and some network does at a higher one.",
            measured=f"lowest rate at which a network leaves chance: {rates[some[0]]:.2g} ({grid})"
            if len(some)
            else f"no network leaves chance ({grid})",
            verdict=judge(len(some) > 0 and bool(some[0] > 0)),
            note="With more epochs lower rates would do, as the epochs needed grow as the rate falls.",
        ),
        claim(
            "In a range of rates all networks learn and none is lost.",
            published="a range of effective rates (no number)",
            rule=f"It is so at {RANGE} neighbouring rates of the grid or more, of at least {ENOUGH} networks each.",
            measured=f"{rates[run[0]]:.2g} to {rates[run[-1]]:.2g}, {len(run)} rates" if len(run) else "no such rate",
            verdict=judge_share(len(run) >= RANGE, networks),
        ),
        claim(
            "From some rate on no network has learned at the end.",
            published="high rates prevent learning (no number)",
            rule="Every network is at chance at the last epoch at the two highest rates or more, and some network is "
            "not at a lower one.",
            measured=f"{dead[0]:.2g}; 0 of {len(dead) * networks} networks above chance at this rate and higher ones"
            if len(dead)
            else f"no such rate; {int(at_end.sum())} networks above chance at the end",
            verdict=judge(len(dead) >= 2),
        ),
        claim(
            "Final losses fall and then rise with the rate: learning needs a rate near, and below, the critical one.",
            published="a minimum at an intermediate rate (no number)",
            rule="The mean final loss is lowest at a rate inside the grid, at under a fifth of its values at both "
            "ends.",
            measured=f"lowest mean loss {mean[best]:.2g} at rate {rates[best]:.2g}; {mean[0]:.2g} at {rates[0]:.2g}, "
            f"{mean[-1]:.2g} at {rates[-1]:.2g}",
            verdict=judge(0 < best < len(rates) - 1 and bool(mean[best] < 0.2 * min(mean[0], mean[-1]))),
        ),
        _speed_claim(rates, first, run, claim),
    ]


def _speed_claim(rates: NDArray[Any], first: NDArray[Any], run: NDArray[Any], claim: Any) -> Claim:
    """How the epochs until a network leaves chance depend on the rate."""
    left = first >= 0

    def median() -> str:
        row = run[-1] if len(run) else np.flatnonzero(left.any(axis=1))[-1]
        return f" that do; median {np.median(first[row][left[row]]):,.0f} at rate {rates[row]:.2g}"

    claim = partial(
        claim,
        "Learning in few epochs needs a rate near the critical one: the epochs needed grow as the rate falls.",
        published="epochs fall as the rate rises (no number)",
        note="On the plateau gradient descent follows the gradient flow, for which the exponent is -1.",
    )
    none = "networks leave chance at fewer than three rates"
    return epochs_claim(claim, rates, first, left, until="leaves chance", detail=median, none=none)


RATES_RANK_ONE = Experiment(
    id="rates_rank_one",
    title="Rank-one networks over learning rates",
    figure="Fig. 6A (letter: Fig. S1)",
    question="Thirty learning rates, ten networks each. The toy model predicts that a rate too low stays on the "
    "plateau, a rate too high ends in the no-learning zone, and rates just below the critical one learn soonest.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
