"""Final loss of the toy model over learning rates; the critical rate, measured from descents, over
delays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.power_laws import power_law
from ghostpoint.theory import OUTCOMES, SaddleNodeToy

PARAMETERS: Mapping[str, Any] = {
    "T": 100.0,
    "start_mean": 10.0,  # in units of r_star
    "start_sd": 0.1,
    "starts": 10,
    "seed": 0,
    "log10_rates": [-11.0, -8.0],
    "rates": 100,
    "epochs_shown": [1000, 2000, 3000, 5000, 10000],
    "settled_epochs": 600,  # the mean loss of an oscillation is taken over the last so many
    "critical_delays": [10.0, 1000.0],
    "critical_delay_count": 13,
    "critical_starts": 300,
    "critical_epochs": 2000,
    "critical_tolerance": 1e-5,
    "share_ratios": [0.98, 1.05],  # in units of eq. 15
    "share_points": 71,
    "share_starts": 1000,
    "share_epochs": 10000,
}


def measured_critical_rate(toy: SaddleNodeToy, starts: np.ndarray[Any, Any], epochs: int, tolerance: float) -> float:
    """The lowest learning rate at which any of ``starts`` is lost within ``epochs``, by bisection
    on descents.

    The bracket comes from descents too: its upper end throws the mean start below 0 in one update,
    and is halved until no start is lost. Eq. 15 takes the largest jump there is, from r just above
    r_star; an orbit comes within a small distance of that point sooner or later but not at once, so
    with N starts the result lies above eq. 15 by a relative excess that falls as 1 / N. It cannot
    lie below.
    """

    def loses_any(rate: float) -> bool:
        return bool((toy.descend(starts, rate, epochs, record=[0]).lost_epoch >= 0).any())

    mean = float(starts.mean())
    high = mean / toy.gradient(mean)
    low = high / 2
    while loses_any(low):
        low, high = low / 2, low
    while high / low - 1 > tolerance:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if loses_any(middle) else (middle, high)
    return float(np.sqrt(low * high))


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """The rate sweep of Fig. 2D, the share of lost runs near the critical rate, and critical rates
    over delays.
    """
    (shortest, longest), (low, high) = parameters["critical_delays"], parameters["log10_rates"]
    delays = np.geomspace(shortest, longest, parameters["critical_delay_count"])
    progress.phase("descents of the toy model", 2 + delays.size)
    generator = np.random.default_rng(parameters["seed"])

    def draw(toy: SaddleNodeToy, count: int) -> np.ndarray[Any, Any]:
        return generator.normal(parameters["start_mean"], parameters["start_sd"], count) * toy.r_star

    toy = SaddleNodeToy(parameters["T"])
    rates = np.logspace(low, high, parameters["rates"])
    shown = parameters["epochs_shown"]
    settled = range(shown[-1] - parameters["settled_epochs"] + 1, shown[-1] + 1)
    sweep = toy.descend(draw(toy, parameters["starts"]), rates[:, None], shown[-1], record=[*shown, *settled])
    progress.advance(1)
    left, right = parameters["share_ratios"]
    ratios = np.linspace(left, right, parameters["share_points"])
    near = toy.descend(
        draw(toy, parameters["share_starts"]),
        (ratios * toy.critical_learning_rate)[:, None],
        parameters["share_epochs"],
        record=[0],
    )
    progress.advance(1)
    critical = []
    for delay in delays:
        other = SaddleNodeToy(float(delay))
        starts = draw(other, parameters["critical_starts"])
        critical.append(
            measured_critical_rate(other, starts, parameters["critical_epochs"], parameters["critical_tolerance"])
        )
        progress.advance(1)
    shown_loss = sweep.loss[..., np.searchsorted(sweep.epoch, shown)]
    low_rates = rates < toy.critical_learning_rate
    # Mean loss of slow descents, T k / 4: see ghostpoint.theory.descent.
    settled_theory = np.where(low_rates, 3 * toy.T / 16 * rates / toy.critical_learning_rate, np.nan)
    per_run, time, rate_unit = ("learning_rate", "start"), {"units": "time"}, {"units": "1 / time**5"}
    return xr.Dataset(
        {
            "r0": ("start", sweep.r0[0], {"units": "1 / time**2"}),
            "loss": ((*per_run, "epoch"), shown_loss, time),
            "loss_mean": (("learning_rate", "epoch"), shown_loss.mean(1), time),
            "loss_sem": (("learning_rate", "epoch"), shown_loss.std(1, ddof=1) / np.sqrt(sweep.r0.shape[1]), time),
            "settled_loss": (per_run, sweep.loss[..., np.isin(sweep.epoch, settled)].mean(-1), time),
            "settled_loss_theory": ("learning_rate", settled_theory, time),
            "lost": (per_run, sweep.lost_epoch >= 0),
            "lost_epoch": (per_run, sweep.lost_epoch, {"missing": -1}),
            "crossing_epoch": (per_run, sweep.crossing_epoch, {"missing": -1}),
            "period": (per_run, sweep.period, {"missing": 0}),
            "lost_share": ("near_rate", (near.outcome == OUTCOMES[2]).mean(1)),
            "critical_rate": ("delay", np.array(critical), rate_unit),
            "critical_rate_theory": (
                "delay",
                np.array([SaddleNodeToy(float(delay)).critical_learning_rate for delay in delays]),
                rate_unit,
            ),
        },
        coords={
            "learning_rate": ("learning_rate", rates, rate_unit),
            "epoch": ("epoch", np.array(shown), {"units": "updates"}),
            "near_rate": ("near_rate", ratios * toy.critical_learning_rate, rate_unit),
            "near_ratio": ("near_rate", ratios, {"units": "critical rate, eq. 15"}),
            "delay": ("delay", delays, time),
        },
        attrs={
            "T": toy.T,
            "r_star": toy.r_star,
            "critical_learning_rate": toy.critical_learning_rate,
            "surviving_ratio": toy.surviving_learning_rate / toy.critical_learning_rate,
        },
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The critical rate and its exponent, and the trade of final loss against epochs."""
    d, theory = dataset, dataset.attrs["critical_learning_rate"]
    rates, lost = d.learning_rate.values, d.lost.values
    ratio = (d.critical_rate / d.critical_rate_theory).values
    scatter = float(ratio.std(ddof=1))
    error = scatter / np.sqrt(ratio.size)
    fit = power_law(d.delay, d.critical_rate)
    share, near = d.lost_share.values, d.near_ratio.values
    spacing = near[1] - near[0]
    crossed, n = d.crossing_epoch.values, d.sizes["start"]
    # Rates at which no start is lost and all have oscillated for half of the epochs or more.
    learned = ~lost.any(1) & (crossed >= 0).all(1) & (crossed.max(1) < d.epoch.values[-1] / 2)
    fitted = int(learned.sum()) > 2
    price = epochs = None
    if fitted:
        price = power_law(rates[learned], d.settled_loss.values[learned].mean(1))
        epochs = power_law(rates[learned], crossed[learned].mean(1))
    few = int(d.epoch.values[0])
    soon = rates[~lost.any(1) & (crossed >= 0).all(1) & (crossed.max(1) < few)]
    alive = np.flatnonzero(~lost.all(1))
    starts = f"{parameters['critical_starts']} starts at each of {ratio.size} delays"
    here = int(np.argmin(np.abs(d.delay.values - d.attrs["T"])))
    return [
        published_claim(
            "Learning becomes impossible from a critical rate on: 3 π⁴ / (32 T⁵).",
            source="Letter, Fig. 2D, eq. 15",
            published=f"{theory:.4g} at T = {d.attrs['T']:g} (about 9e-10)",
            rule="At every delay the lowest rate that loses any start is within 1 % of eq. 15.",
            measured=f"lowest rate that loses any start: {float(d.critical_rate[here]):.4g} at T = "
            f"{float(d.delay[here]):g}; {ratio.mean():.5f} ± {error:.5f} times eq. 15 over all delays "
            f"(s.d. {scatter:.5f}; {starts}, bisection); share lost below eq. 15: {share[near < 1].max(initial=0):g}",
            verdict=judge(bool((np.abs(ratio - 1) < 0.01).all())),
            note="Measured as the lowest rate at which any start is lost: eq. 15 is the largest jump an orbit "
            "can make, and most orbits never come close enough to r* to make it.",
        ),
        published_claim(
            "The critical rate falls as the fifth power of the delay.",
            source="Letter, eq. 15; abstract of 2026 (an inverse power law)",
            published="exponent -5",
            rule="The exponent of a log-log fit is within 0.01 of -5.",
            measured=f"{fit.slope:.5f} ± {fit.stderr:.5f} (s.e. of a log-log fit over T = {float(d.delay[0]):g} to "
            f"{float(d.delay[-1]):g}; {starts}, drawn anew for each)",
            verdict=judge(abs(fit.slope + 5) < 0.01),
        ),
        published_claim(
            "Every learning rate at or above the critical one ends in the no-learning zone.",
            source="Letter, text below eq. 15",
            published="any rate from eq. 15 on",
            rule="At every rate of the grid more than half a grid step above eq. 15 all starts are lost.",
            measured=_survivors(share, near)
            + f" ({parameters['share_starts']} starts, {parameters['share_epochs']} epochs, ± {spacing / 2:.4f})",
            verdict=judge(bool((share[near > 1 + spacing / 2] == 1).all())),
            note="A stable orbit of period three outlives the critical rate; theory derived here: up to "
            f"{d.attrs['surviving_ratio']:.4f} times eq. 15. Beyond that every start was lost.",
        ),
        published_claim(
            "On the published grid of rates nothing learns from about 9e-10 on.",
            source="Letter, Fig. 2D",
            published="9e-10",
            rule="The highest rate at which any start survives is within a step of the grid of 9e-10, and rates above "
            "it were tried.",
            measured=f"highest of {rates.size} rates at which any of {n} starts survives {int(d.epoch[-1])} epochs: "
            f"{rates[alive[-1]]:.3g} (grid step {100 * (rates[1] / rates[0] - 1):.0f}%)"
            if len(alive)
            else "no start survives at any rate",
            verdict=judge(
                0 < len(alive) < len(rates)
                and bool(np.abs(np.log(rates[alive[-1:]] / 9e-10)) <= np.log(rates[1] / rates[0]))
            ),
        ),
        published_claim(
            "Lower learning rates reach a lower final loss.",
            source="Letter, Fig. 2D",
            published="lower errors at lower rates",
            rule="The exponent of the settled loss over the rates at which all starts learn is above 0 by two standard "
            "errors.",
            measured=f"settled loss grows as rate^({price.slope:.3f} ± {price.stderr:.3f}) over "
            f"{int(learned.sum())} rates, {n} starts each"
            if price
            else "all starts learn at fewer than three rates",
            verdict=judge(price is not None and price.slope - 2 * price.stderr > 0),
            note="Theory derived here for low rates: exponent 1, mean loss (3/16) T times rate over critical rate.",
        ),
        published_claim(
            "Lower learning rates need more epochs.",
            source="Letter, Fig. 2D",
            published="at the expense of more epochs",
            rule="The exponent of the epochs until r* over the same rates is below 0 by two standard errors.",
            measured=f"epochs to reach r* grow as rate^({epochs.slope:.4f} ± {epochs.stderr:.4f}) over the same rates"
            if epochs
            else "all starts learn at fewer than three rates",
            verdict=judge(epochs is not None and epochs.slope + 2 * epochs.stderr < 0),
        ),
        published_claim(
            "Learning within few epochs is achieved only at rates close to the critical one.",
            source="Letter, text on Fig. 2D",
            published="only for rates near the critical one (no number)",
            rule="All starts learn and are kept within the fewest epochs shown at some rates, none of them below a "
            "tenth of eq. 15.",
            measured=f"within {few} epochs at {len(soon)} rates, {soon[0]:.2g} to {soon[-1]:.2g}: "
            f"{soon[0] / theory:.2f} to {soon[-1] / theory:.2f} times eq. 15"
            if len(soon)
            else f"at no rate within {few} epochs",
            verdict=judge(len(soon) > 0 and bool(soon[0] >= theory / 10)),
        ),
    ]


def _survivors(share: np.ndarray[Any, Any], near: np.ndarray[Any, Any]) -> str:
    """From which ratio to eq. 15 on starts are lost, and from which on all."""
    some, half, spared = (np.flatnonzero(chosen) for chosen in (share > 0, share >= 0.5, share < 1))
    first, middle = (f"{near[place[0]]:.3f}" if len(place) else "nowhere" for place in (some, half))
    last = f"{near[spared[-1]]:.3f}" if len(spared) else "nowhere"
    return f"some starts survive up to {last} times eq. 15; first losses at {first}, half lost from {middle}"


TOY_RATES = Experiment(
    id="toy_rates",
    title="A critical learning rate that falls as the fifth power of the delay",
    figure="Fig. 2D (letter: 2D)",
    question="Which learning rates can teach the toy model to wait for T, how low does the loss get, and from which "
    "rate on is learning lost? Plain gradient descent on the analytic loss from starts near 10 r*; the critical rate "
    "is measured from descents by bisection at delays over two decades, with starts drawn anew at each.",
    parameters={"quick": PARAMETERS, "paper": PARAMETERS},  # seconds either way
    run=run,
    claims=claims,
)
