"""Gradient descent of the toy model at a rate below and a rate above the critical one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.theory import OUTCOMES, SaddleNodeToy

PARAMETERS: Mapping[str, Any] = {
    "T": 100.0,
    "start": 10.0,  # in units of r_star
    "learning_rates": [1e-10, 1e-9],
    "epochs": 3000,
}
PUBLISHED_DROP = 1500
READING_ERROR = 75  # the letter says "around epoch 1500" and shows a figure


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """r and loss at every epoch, and the exact outcome of each run."""
    toy = SaddleNodeToy(parameters["T"])
    rates = np.array(parameters["learning_rates"])
    start = parameters["start"] * toy.r_star
    progress.phase("gradient descent of the toy model", 1)
    descent = toy.descend(start, rates, parameters["epochs"])
    below = rates < toy.critical_learning_rate
    bounds = np.array(
        [toy.oscillation_bounds(rate) if low else (np.nan, np.nan) for rate, low in zip(rates, below, strict=True)]
    )
    progress.advance(1)
    codes = np.argmax(np.asarray(OUTCOMES) == descent.outcome[..., None], axis=-1).astype(np.int8)
    per_run = "learning_rate"
    r_unit, time = {"units": "1 / time**2"}, {"units": "time"}
    return xr.Dataset(
        {
            "r": ((per_run, "epoch"), descent.r, r_unit),
            "u": ((per_run, "epoch"), descent.r / toy.r_star, {"units": "r_star"}),
            "loss": ((per_run, "epoch"), descent.loss, time),
            "outcome": (per_run, codes, {"flag_meanings": list(OUTCOMES)}),
            "lost_epoch": (per_run, descent.lost_epoch, {"missing": -1}),
            "crossing_epoch": (per_run, descent.crossing_epoch, {"missing": -1}),
            "predicted_crossing": (per_run, toy.approach_epochs(start, rates)),
            "r_low": (per_run, descent.r_low, r_unit),
            "r_high": (per_run, descent.r_high, r_unit),
            "loss_high": (per_run, descent.loss_high, time),
            "u_bound_low": (per_run, bounds[:, 0] / toy.r_star, {"units": "r_star"}),
            "u_bound_high": (per_run, bounds[:, 1] / toy.r_star, {"units": "r_star"}),
        },
        coords={
            per_run: (per_run, rates, {"units": "1 / time**5"}),
            "epoch": ("epoch", descent.epoch, {"units": "updates"}),
        },
        attrs={
            "T": toy.T,
            "r_star": toy.r_star,
            "point_of_no_return": toy.point_of_no_return,
            "critical_learning_rate": toy.critical_learning_rate,
        },
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The drop, the missing bifurcation, the oscillation and the no-learning zone of Fig. 2B-C."""
    d, unit, T = dataset, dataset.attrs["r_star"], dataset.attrs["T"]
    slow, fast = d.isel(learning_rate=0), d.isel(learning_rate=-1)
    drop = int(slow.crossing_epoch)  # -1 where the minimum is never reached
    loss = slow.loss.values
    recent = loss[drop:] if drop >= 0 else loss[:0]
    low, high = float(slow.r_low) / unit, float(slow.r_high) / unit
    within = float(slow.u_bound_low), float(slow.u_bound_high)
    lost = int(fast.lost_epoch)
    outcomes = list(OUTCOMES)
    one = "1 run per rate, deterministic"
    slow_rate, fast_rate = (f"{float(each.learning_rate):.3g}" for each in (slow, fast))
    average = f"mean {recent.mean():.3f} ± {_block_error(recent):.3f}" if len(recent) > 10 else "no mean"
    return [
        published_claim(
            f"At learning rate {slow_rate} the loss drops abruptly near epoch {PUBLISHED_DROP}.",
            source="Letter, Fig. 2B-C",
            published=f"around epoch {PUBLISHED_DROP}",
            rule=f"The first epoch with r ≤ r* is within {READING_ERROR} epochs of {PUBLISHED_DROP}, the error of "
            "reading the figure.",
            measured=f"r first at or below r* at epoch {drop} (± 0, {one}); {_fall(loss[: drop + 1])}; gradient flow "
            f"predicts {float(slow.predicted_crossing):.1f}"
            if drop >= 0
            else f"r does not come down to r* within {d.sizes['epoch']} epochs",
            verdict=judge(drop >= 0 and abs(drop - PUBLISHED_DROP) <= READING_ERROR),
        ),
        published_claim(
            "No bifurcation precedes the drop: r stays positive throughout.",
            source="Letter, Fig. 2B",
            published="r does not change its sign",
            rule="r is positive at every epoch of every run, and the loss of the first one drops.",
            measured=f"smallest r over all epochs {float(slow.r.min()) / unit:.4f} r* (rate {slow_rate}) and "
            f"{float(fast.r.min()) / unit:.4f} r* (rate {fast_rate}), {one}",
            verdict=judge(drop >= 0 and bool((d.r > 0).all())),
        ),
        published_claim(
            "After the drop the loss oscillates near its minimum instead of settling.",
            source="Letter, Fig. 2B-C; abstract of 2026 (oscillatory gradients near minima)",
            published="oscillations near the global optimum",
            rule="The run ends in an oscillation that stays within the bounds derived for it (theory.descent) and is "
            "more than half as wide.",
            measured=f"r between {low:.4f} and {high:.4f} r* (never outside {within[0]:.4f} to {within[1]:.4f}); loss "
            f"up to {float(slow.loss_high):.3f}, {average} (epochs {drop} to {int(d.epoch[-1])}, s.e. of 10 blocks)",
            verdict=judge(
                outcomes[int(slow.outcome)] == "oscillation"
                and bool(low >= within[0] and high <= within[1])
                and high - low > 0.5 * (within[1] - within[0])
            ),
        ),
        published_claim(
            "Gradient descent does not attain the zero loss of the minimum.",
            source="Letter, text on Fig. 2",
            published="not easily attained (no number)",
            rule="The run is not lost, and its mean loss from the drop to the last epoch is above T / 1000.",
            measured=f"{average}, smallest {recent.min():.2g} (T = {T:g})" if len(recent) else "no drop",
            verdict=judge(int(slow.lost_epoch) < 0 and len(recent) > 10 and bool(recent.mean() > T / 1000)),
        ),
        published_claim(
            f"At learning rate {fast_rate}, above the critical rate, the run ends in the no-learning zone.",
            source="Letter, Fig. 2B-C",
            published="pushed into the no-learning zone",
            rule="The rate is above eq. 15 and the last r is below the point of no return.",
            measured=f"in the zone from epoch {lost} on, r = {float(fast.r[-1]) / unit:.4f} r*, loss "
            f"{float(fast.loss[-1]):g}; {one}",
            verdict=judge(
                outcomes[int(fast.outcome)] == "no-learning zone"
                and float(fast.learning_rate) > d.attrs["critical_learning_rate"]
            ),
        ),
    ]


def _fall(loss: np.ndarray[Any, Any]) -> str:
    """Where the losses up to the drop fall most, and are half of the first."""
    if len(loss) < 2:
        return "at once"
    half = np.flatnonzero(loss <= loss[0] / 2)
    return f"steepest fall at epoch {int(np.argmin(np.diff(loss))) + 1}; loss halved by epoch " + (
        str(half[0]) if len(half) else "none"
    )


def _block_error(values: np.ndarray[Any, Any], blocks: int = 10) -> float:
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    return float(means.std(ddof=1) / np.sqrt(blocks))


TOY_DESCENT = Experiment(
    id="toy_descent",
    title="Abrupt learning without a bifurcation, and its collapse at a higher rate",
    figure="Fig. 2B-C (letter: 2B-C)",
    question="What does plain gradient descent on the analytic loss of the toy model do from r = 10 r*, at a rate "
    "below the critical one and at a rate above it? One deterministic run each; every epoch is kept.",
    parameters={"quick": PARAMETERS, "paper": PARAMETERS},  # a second either way
    run=run,
    claims=claims,
)
