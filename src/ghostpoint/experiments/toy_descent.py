"""Gradient descent of the toy model at a rate below and a rate above the critical one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
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
    per_run = "learning_rate"
    r_unit, time = {"units": "1 / time**2"}, {"units": "time"}
    return xr.Dataset(
        {
            "r": ((per_run, "epoch"), descent.r, r_unit),
            "u": ((per_run, "epoch"), descent.r / toy.r_star, {"units": "r_star"}),
            "loss": ((per_run, "epoch"), descent.loss, time),
            "outcome": (per_run, _codes(descent.outcome), {"flag_meanings": list(OUTCOMES)}),
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


def _codes(outcome: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Outcomes as their index in ``OUTCOMES``."""
    return np.argmax(np.asarray(OUTCOMES) == outcome[..., None], axis=-1).astype(np.int8)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The drop, the missing bifurcation, the oscillation and the no-learning zone of Fig. 2B-C."""
    d, unit = dataset, dataset.attrs["r_star"]
    slow, fast = d.isel(learning_rate=0), d.isel(learning_rate=-1)
    drop = int(slow.crossing_epoch)
    loss = slow.loss.values
    falls = -np.diff(loss[: drop + 1])
    steepest = int(np.argmax(falls)) + 1
    half = int(np.argmax(loss <= loss[0] / 2))
    recent = loss[drop:]
    low, high = float(slow.r_low) / unit, float(slow.r_high) / unit
    within = float(slow.u_bound_low), float(slow.u_bound_high)
    lost = int(fast.lost_epoch)
    outcomes = list(OUTCOMES)
    one = "1 run per rate, deterministic"
    slow_rate, fast_rate = (f"{float(each.learning_rate):.3g}" for each in (slow, fast))
    return [
        Claim(
            f"At learning rate {slow_rate} the loss drops abruptly near epoch {PUBLISHED_DROP}.",
            "letter, Fig. 2B-C",
            f"around epoch {PUBLISHED_DROP}",
            f"r first at or below r* at epoch {drop} (± 0, {one}); steepest fall at epoch {steepest}; "
            f"loss halved by epoch {half}; gradient flow predicts {float(slow.predicted_crossing):.1f}",
            judge(abs(drop - PUBLISHED_DROP) <= READING_ERROR),
            "The drop is dated by the first epoch with r ≤ r*, where the loss is as good as it gets.",
        ),
        Claim(
            "No bifurcation precedes the drop: r stays positive throughout.",
            "letter, Fig. 2B",
            "r does not change its sign",
            f"smallest r over all epochs {float(slow.r.min()) / unit:.4f} r* (rate {slow_rate}) and "
            f"{float(fast.r.min()) / unit:.4f} r* (rate {fast_rate}), {one}",
            judge(bool((d.r > 0).all())),
        ),
        Claim(
            "After the drop the loss oscillates near its minimum instead of settling.",
            "letter, Fig. 2B-C",
            "oscillations near the global optimum",
            f"r between {low:.4f} and {high:.4f} r* (theory derived here: never outside {within[0]:.4f} "
            f"to {within[1]:.4f}); loss up to {float(slow.loss_high):.3f}, mean {recent.mean():.3f} ± "
            f"{_block_error(recent):.3f} (epochs {drop} to {int(d.epoch[-1])}, s.e. of 10 blocks)",
            judge(
                outcomes[int(slow.outcome)] == "oscillation"
                and bool(low >= within[0] and high <= within[1])
                and high - low > 0.5 * (within[1] - within[0])
            ),
        ),
        Claim(
            f"At learning rate {fast_rate}, above the critical rate, the run ends in the no-learning zone.",
            "letter, Fig. 2B-C",
            "pushed into the no-learning zone",
            f"in the zone from epoch {lost} on, r = {float(fast.r[-1]) / unit:.4f} r*, loss "
            f"{float(fast.loss[-1]):g}; {one}",
            judge(
                outcomes[int(fast.outcome)] == "no-learning zone"
                and float(fast.learning_rate) > d.attrs["critical_learning_rate"]
            ),
        ),
    ]


def _block_error(values: np.ndarray[Any, Any], blocks: int = 10) -> float:
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    return float(means.std(ddof=1) / np.sqrt(blocks))


EXPERIMENT = Experiment(
    id="toy_descent",
    title="Abrupt learning without a bifurcation, and its collapse at a higher rate",
    figure="Fig. 2B-C (letter: 2B-C)",
    question="What does plain gradient descent on the analytic loss of the toy model do from r = 10 "
    "r*, at a rate below the critical one and at a rate above it? One deterministic run each; every "
    "epoch is kept.",
    parameters={"quick": PARAMETERS, "paper": PARAMETERS},  # a second either way
    run=run,
    claims=claims,
)
