"""Why critical rates of networks fall as T**-2 where the toy model's fall as T**-4: the toy model,
the overlaps of the initial weights, and measured critical rates side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.critical_rate import before_crossing, escape_gradient, first_order_rate, probe
from ghostpoint.experiments.critical_rate_scaling import TOY_EXPONENT, exponent
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.experiments.shared.shares import NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.tasks import DelayedActivation
from ghostpoint.theory import OverlapDescent, SlowRegion, critical_rate
from ghostpoint.training.reference import evaluate

#: ratio of neighbouring rates, and how many of them lie below and above the middle of a condition
STEP, BELOW, ABOVE = 1.1, 8, 11
#: how far an update of the flow to t = T moves the escape time, in T, and updates at most
MOVE, MOVES = 0.04, 300
#: what is measured of a network
MEASURES = (
    "measured", "lowest", "overlaps", "linear", "first_order", "gradient_norm", "terms_norm", "width", "sensitivity",
    "time",
)  # fmt: skip
#: rough critical rates, which only choose the rates that are trained: at 12 steps, and exponent
MIDDLE = {
    ("rank_one", 10.0): (0.045, -1.97), ("rank_one", 5.0): (0.08, -1.9), ("rank_one", 2.0): (0.17, -1.45),
    ("rank_two", 10.0): (0.05, -1.9), ("full_rank", 10.0): (2.2, -0.7),
}  # fmt: skip


def _condition(delay: int, family: str = "rank_one", confidence: float = 10.0, **changes: Any) -> dict[str, Any]:
    """A row of the experiment."""
    standard = {"units": 50 if family == "full_rank" else 100, "updates": 4000 if family == "full_rank" else 6000}
    return {"family": family, "delay_steps": delay, "confidence": confidence, **standard, **changes}


PAPER: Mapping[str, Any] = {
    "seeds": list(range(100, 120)),
    "conditions": [
        *(_condition(delay) for delay in (8, 12, 16, 24, 32, 48, 64, 96)),
        *(_condition(delay, "rank_two") for delay in (8, 16, 32, 64)),
        *(_condition(delay, confidence=5.0) for delay in (12, 24, 48)),
        *(_condition(delay, confidence=2.0) for delay in (12, 24, 48)),
        *(_condition(delay, "full_rank") for delay in (8, 16, 32, 64)),
    ],
    # delays at which training starts from the initial weights too, with updates until the drop
    "from_start": {"12": 10_000, "24": 30_000},
}
QUICK: Mapping[str, Any] = {
    "seeds": list(range(100, 106)),
    "conditions": [
        *(_condition(delay, updates=3000) for delay in (8, 16, 48)),
        *(_condition(delay, "rank_two", updates=3000) for delay in (8, 16)),
    ],
    "from_start": {},
}


def rates_of(condition: Mapping[str, Any]) -> NDArray[np.float64]:
    """The rates of a condition, :data:`STEP` apart; twice that for full rank."""
    middle, power = MIDDLE[condition["family"], condition["confidence"]]
    step = STEP**2 if condition["family"] == "full_rank" else STEP
    return middle * (condition["delay_steps"] / 12) ** power * step ** np.arange(-BELOW, ABOVE + 1.0)


def models_of(condition: Mapping[str, Any], seeds: list[int]) -> Record:
    """The networks of a condition, drawn as published."""
    if condition["family"] == "full_rank":
        return FullRankRNN.initialize(condition["units"], seeds)
    rank = {"rank_one": 1, "rank_two": 2}[condition["family"]]
    return LowRankRNN.initialize(condition["units"], seeds, rank=rank, confidence=condition["confidence"])


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Every condition; then again from the initial weights where that is asked for."""
    seeds, conditions = parameters["seeds"], parameters["conditions"]
    jobs = []
    for condition in conditions:
        total = len(seeds) * len(rates_of(condition)) * condition["updates"]
        settings = {"condition": condition, "seeds": seeds}
        jobs.append(Job("condition", settings, total, partial(_compared, condition, seeds), _compared))
    ahead(progress, jobs)
    done = []
    for condition, job in zip(conditions, jobs, strict=True):
        label = f"{condition['family']}, T = {condition['delay_steps']}, c = {condition['confidence']:g}"
        progress.phase(label.replace("_", " "), job.total)
        done.append(counted_part(progress, job))
    dims = ("condition", "seed")
    coords: dict[str, Any] = {"seed": np.array(seeds)}
    for name in ("family", "delay_steps", "confidence", "units"):
        coords[name] = ("condition", np.array([condition[name] for condition in conditions]))
    values: dict[str, Any] = {name: (dims, np.stack([one[name].values for one in done])) for name in MEASURES}
    delays = coords["delay_steps"][1].astype(float)
    toy = SlowRegion.of_toy(delays)
    values |= {"toy": ("condition", toy.rate), "toy_width": ("condition", toy.width)}
    again = [_from_start(int(delay), epochs, seeds, progress) for delay, epochs in parameters["from_start"].items()]
    values["from_start"] = (("start_delay", "seed"), np.reshape(again, (len(again), len(seeds))))
    coords["start_delay"] = np.array([int(delay) for delay in parameters["from_start"]], np.int64)
    return xr.Dataset(values, coords=coords)


def _from_start(delay: int, epochs: int, seeds: list[int], progress: Progress) -> NDArray[np.float64]:
    """Critical rates of rank one, trained from the initial weights at every rate."""
    condition = _condition(delay)
    rates, last = rates_of(condition), epochs + condition["updates"]
    progress.phase(f"from the initial weights, T = {delay}", len(seeds) * len(rates) * last)
    probes = probe(
        models_of(condition, seeds), DelayedActivation(5.0 * delay), rates, last, on_progress=progress.advance,
        engine="compiled",
    )  # fmt: skip
    return critical_rate(rates, probes.learned, probes.lost)


def _compared(condition: Mapping[str, Any], seeds: list[int], progress: Progress) -> xr.Dataset:
    """One condition: measured, predicted, and the terms of the first-order formula, over seed."""
    task, models, rates = DelayedActivation(5.0 * condition["delay_steps"]), models_of(condition, seeds), None
    rates, updates = rates_of(condition), condition["updates"]
    values = {name: np.full(len(seeds), np.nan) for name in MEASURES}
    # measured: from just before the first crossing, at every rate
    brink, _ = before_crossing(models, task)
    probes = probe(brink, task, rates, updates, on_progress=progress.advance, engine="compiled")
    values["measured"] = critical_rate(rates, probes.learned, probes.lost)
    values["lowest"] = probes.critical
    # predicted: from the overlaps of the initial weights alone
    if condition["family"] != "full_rank":
        for name, linear in (("overlaps", False), ("linear", True)):
            found = OverlapDescent.of(models, task, rates, updates=updates, linear=linear)
            values[name] = found.critical_rate
    # first order: where the gradient flow has brought the escape time to T
    there = flow_to_delay(brink, task)
    escape = escape_gradient(there, task)
    assert escape.norm is not None
    values["first_order"], values["gradient_norm"] = first_order_rate(escape, task), escape.norm[0]
    values["time"] = escape.time[0]
    if condition["family"] == "rank_one":
        region = SlowRegion.of(there, task)
        values["width"], values["sensitivity"] = region.width, region.sensitivity
        values["terms_norm"] = region.gradient_norm
    return xr.Dataset({name: ("seed", value) for name, value in values.items()})


def flow_to_delay(models: Record, task: DelayedActivation) -> Any:
    """Networks that the gradient flow from ``models`` has brought to an escape time of T.

    Gradient descent with a rate of its own for every network and update, such that the escape time
    moves by 4 % of T to first order; before the readout crosses, such that the highest logit moves by
    0.05. A network stops once its escape time has passed T. As no learning rate enters, no network
    settles at the edge of stability of one.
    """
    from ghostpoint.remedies import crossings
    from ghostpoint.training.reference import approach, follow, global_norm

    trial, delay, count = task.trial(), task.delay_steps, len(models)
    (crossing,) = crossings(task, trial, models.activation)
    side = np.zeros(count)
    for _ in range(MOVES):
        near = approach(models, task, trial, follow(models, task, trial), crossing)
        descent = evaluate(models, task).gradient
        products = [near.gradient[part] * descent[part] for part in models.trainable]
        along = np.abs(sum(one.reshape(count, -1).sum(axis=1) for one in products))
        time = np.where(near.crossed, near.time, np.inf)
        now = np.sign(time - delay)
        side = np.where(side == 0, now, side)
        going = (now == side) & (now != 0) & (along > 0)
        if not going.any():
            break
        length = np.where(near.crossed, MOVE * delay, 0.05)
        rate = np.where(going, length / np.where(along > 0, along, 1.0), 0.0)
        # no further than 2 % of the weights at a time
        size = global_norm([descent[part] for part in models.trainable], count)
        whole = global_norm([getattr(models, part) for part in models.trainable], count)
        rate = np.minimum(rate, 0.02 * whole / np.where(size > 0, size, 1.0))
        models = models.replace(
            **{
                part: getattr(models, part) - rate.reshape(-1, *[1] * (descent[part].ndim - 1)) * descent[part]
                for part in models.trainable
            }
        )
    return models
