"""The critical learning rate of networks over delay, size and confidence, beside the toy model's
power of the delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.critical_rate import GRID, Probes, escape_gradient, probe
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.experiments.shared.shares import share
from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.slow_points.latents import flow_ghosts
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training import train
from ghostpoint.training.reference import evaluate

#: exponent of the delay in the toy model's critical rate (letter, eq. 15), after the loss is
#: divided by the delay
TOY_EXPONENT = -4.0
SWEEPS = {
    "delay": "delay_steps", "size": "units", "confidence": "confidence", "rank_two": "delay_steps",
    "full_rank": "delay_steps",
}  # fmt: skip
RESAMPLES = 1000
#: what is measured of a network
MEASURES = (
    "critical_rate", "kept_rate", "hazard", "gradient_norm", "loss_slope", "time", "ghost_height", "ghost_passage",
)  # fmt: skip


def _condition(sweep: str, rates: list[float], **changes: Any) -> dict[str, Any]:
    """One point of a sweep; ``rates`` are the limits, as powers of ten, of the part of the grid
    that is trained.
    """
    standard = {"family": "rank_one", "delay_steps": 12, "units": 100, "confidence": 10.0, "epochs": 30_000}
    return {"sweep": sweep, "log10_rates": rates, **standard, **changes}


PAPER: Mapping[str, Any] = {
    "seeds": list(range(100, 120)),
    "conditions": [
        *(
            _condition("delay", rates, delay_steps=delay, epochs=epochs)
            for delay, rates, epochs in (
                (8, [-2.1, -0.4], 30_000),
                (12, [-2.1, -0.7], 30_000),
                (16, [-2.4, -0.9], 30_000),
                (24, [-2.7, -1.2], 30_000),
                (32, [-3.0, -1.4], 30_000),
                (48, [-3.3, -1.8], 60_000),
                (64, [-3.6, -2.1], 100_000),
                (100, [-3.9, -2.5], 200_000),
            )
        ),
        *(_condition("size", [-2.1, -0.6], units=units) for units in (25, 50, 100, 200, 400)),
        *(_condition("confidence", [-2.1, -0.3], confidence=c) for c in (2.0, 3.0, 5.0, 7.0, 10.0)),
        *(
            _condition("rank_two", rates, family="rank_two", delay_steps=delay)
            for delay, rates in ((8, [-2.1, -0.4]), (16, [-2.4, -0.9]), (32, [-3.0, -1.4]))
        ),
        *(
            _condition("full_rank", [-1.5, 1.5], family="full_rank", delay_steps=delay, epochs=3000)
            for delay in (8, 16, 32)
        ),
    ],
}
QUICK: Mapping[str, Any] = {
    "seeds": list(range(100, 106)),
    "conditions": [
        *(
            _condition("delay", rates, delay_steps=delay, epochs=8000)
            for delay, rates in ((8, [-1.8, -0.6]), (12, [-1.95, -0.7]), (16, [-2.1, -0.9]))
        ),
        *(_condition("size", [-1.95, -0.7], units=units, epochs=8000) for units in (50, 200)),
        *(_condition("confidence", [-1.95, -0.5], confidence=c, epochs=8000) for c in (3.0, 6.0)),
    ],
}


def models_of(condition: Mapping[str, Any], seeds: list[int]) -> Record:
    """The networks of a condition, drawn as published (sizes other than 100 with the same
    scaling).
    """
    units, family = condition["units"], condition["family"]
    if family == "full_rank":
        return FullRankRNN.initialize(units, seeds)
    rank = {"rank_one": 1, "rank_two": 2}[family]
    return LowRankRNN.initialize(units, seeds, rank=rank, confidence=condition["confidence"])


def rates_of(condition: Mapping[str, Any]) -> NDArray[np.float64]:
    """The measurement's grid within the condition's limits, continued beyond its upper end where
    they ask for it.
    """
    step = float(np.log10(GRID[1] / GRID[0]))
    low, high = condition["log10_rates"]
    exponents = float(np.log10(GRID[0])) + step * np.arange(100)
    return 10.0 ** exponents[(exponents > low - step / 2) & (exponents < high + step / 2)]


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Measure every condition; then train once more at the critical rate, to the update that loses
    each network.
    """
    seeds, conditions = parameters["seeds"], parameters["conditions"]
    jobs = []
    for condition in conditions:
        total = len(seeds) * len(rates_of(condition)) * condition["epochs"]
        settings = {"condition": condition, "seeds": seeds}
        jobs.append(Job("condition", settings, total, partial(_measured, condition, seeds), _measured))
    ahead(progress, jobs)
    done = []
    for condition, job in zip(conditions, jobs, strict=True):
        count = len(rates_of(condition))
        label = f"{condition['sweep']}: T = {condition['delay_steps']}, N = {condition['units']}"
        progress.phase(f"{label}, {count} rates", job.total, len(seeds) * count)
        done.append(counted_part(progress, job))
    values = {name: np.stack([one[name].values for one in done]) for name in (*MEASURES, "at_lowest_rate")}
    dims = ("condition", "seed")
    coords: dict[str, Any] = {"seed": np.array(seeds)}
    for name in ("sweep", "family", "delay_steps", "units", "confidence"):
        coords[name] = ("condition", np.array([condition[name] for condition in conditions]))
    variables: dict[str, Any] = {name: (dims, value) for name, value in values.items()}
    exponents, low, high = np.transpose([_exponent_of(values, conditions, sweep) for sweep in SWEEPS])
    variables |= {"exponent": ("fit", exponents), "exponent_low": ("fit", low), "exponent_high": ("fit", high)}
    return xr.Dataset(variables, coords={**coords, "fit": list(SWEEPS)}, attrs={"toy_exponent": TOY_EXPONENT})


def _measured(condition: Mapping[str, Any], seeds: list[int], progress: Progress) -> xr.Dataset:
    """One condition, over seed."""
    task, models = DelayedActivation(5.0 * condition["delay_steps"]), models_of(condition, seeds)
    rates = rates_of(condition)
    probes = probe(models, task, rates, condition["epochs"], on_progress=progress.advance, engine="compiled")
    values = {name: np.full(len(seeds), np.nan) for name in MEASURES}
    values["critical_rate"], values["kept_rate"] = probes.critical, probes.kept
    lost = np.flatnonzero(np.isfinite(probes.critical))
    if len(lost):
        for name, measured in lethal_update(models[lost], task, probes, lost).items():
            values[name][lost] = measured
    return xr.Dataset({name: ("seed", value) for name, value in {**values, "at_lowest_rate": probes.kept == 0}.items()})


def lethal_update(
    models: Record, task: DelayedActivation, probes: Probes, networks: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """The network one update before it is lost at its critical rate, and the hazard of that update.

    The hazard of an update d is ``|grad t . d| / ((3/8) T)``, d being ``-rate grad L``.
    ``ghost_passage`` is the time ``pi / sqrt(r a)`` for all of the slowest ghost over the escape
    time, ``ghost_height`` its r.

    Parameters
    ----------
    models, task
        The networks that have a critical rate, before training.
    probes : Probes
        Of a larger stack; ``networks`` (R,) are the places of these in it.
    progress : Progress

    Returns
    -------
    dict
        Quantity to (R,), NaN where there is none.
    """
    # the last epoch above chance: the update from there is the lethal one
    rate = probes.critical[networks]
    last = probes.lost_at[probes.lost.argmax(axis=0)[networks], networks] - 1
    epochs = int(last.max()) + 1
    kept = np.unique(last)
    run = train(models, task, rate, epochs, record=[0], checkpoints=kept, engine="compiled")
    assert run.checkpoints is not None
    at = np.searchsorted(kept, last)
    rows = np.arange(len(models))
    parts = {part: run.checkpoints[part].values[at, rows].astype(float) for part in models.trainable}
    before = models.replace(**parts)
    escape, loss = escape_gradient(before, task), evaluate(before, task)
    assert escape.gradient is not None
    assert escape.norm is not None
    # grad t . grad L over all trainable parts
    along = np.zeros(len(models))
    for part, values in escape.gradient.items():
        along += (values[0] * loss.gradient[part]).reshape(len(models), -1).sum(axis=1)
    height, passage = np.full((2, len(models)), np.nan)
    form = before.tanh_form()
    if form is not None and form.n is not None and before.rank == 1:
        ghosts = flow_ghosts(before)
        some = ghosts.count > 0
        if some.any():
            # the ghost that takes longest to pass, which is the one that times the delay
            strength = np.where(np.isnan(ghosts.height), np.inf, ghosts.height * ghosts.curvature)
            slowest = strength.argmin(axis=1)
            height[some] = np.abs(ghosts.height[rows, slowest])[some]
            passage[some] = np.pi / np.sqrt(strength[rows, slowest][some]) / (escape.time[0] * task.alpha)[some]
    return {
        "hazard": rate * np.abs(along) / (0.375 * task.delay_steps),
        "gradient_norm": escape.norm[0],
        "loss_slope": along / escape.norm[0] ** 2 * task.delay_steps,
        "time": escape.time[0],
        "ghost_height": height,
        "ghost_passage": passage,
    }


def _exponent_of(values: Mapping[str, Any], conditions: Any, sweep: str) -> tuple[float, float, float]:
    rows = [row for row, condition in enumerate(conditions) if condition["sweep"] == sweep]
    x = np.array([conditions[row][SWEEPS[sweep]] for row in rows], float)
    return exponent(x, values["critical_rate"][rows])


def exponent(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Exponent of the power law of y (conditions, seeds) in x (conditions,), with a bootstrap
    interval.

    Least squares of log y on log x over all that are finite; 95 % of 1000 resamples of the seeds
    (whole columns, since a seed's networks are alike across conditions). NaN where fewer than two
    conditions have values.
    """
    rng = np.random.default_rng(0)

    def slope(values: NDArray[np.float64]) -> float:
        log_x, log_y = np.broadcast_to(np.log(x)[:, None], values.shape), np.log(values)
        ok = np.isfinite(log_y)
        spread = log_x[ok] - log_x[ok].mean() if ok.any() else np.zeros(0)
        total = float((spread**2).sum())
        return float((spread * log_y[ok]).sum() / total) if total > 0 else np.nan

    if len(x) < 2 or not np.isfinite(slope(y)):
        return np.nan, np.nan, np.nan
    seeds = y.shape[1]
    samples = [slope(y[:, rng.integers(0, seeds, seeds)]) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return slope(y), float(low), float(high)


def _in_words(dataset: xr.Dataset, sweep: str, name: str) -> str:
    """The exponent of a sweep with its interval, or that there is none in this run."""
    fit = dataset.sel(fit=sweep)
    low, middle, high = (float(fit[part]) for part in ("exponent_low", "exponent", "exponent_high"))
    return f"{name} {middle:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(middle) else f"{name}: no fit in this run"


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The exponent of the delay beside the toy's, why it is another, what the lethal update is, and
    the confidence.
    """

    def of(sweep: str) -> xr.Dataset:
        return dataset.isel(condition=np.flatnonzero(dataset["sweep"].values == sweep))

    delay, confidence = of("delay"), of("confidence")
    fit = dataset.sel(fit="delay")
    slope, low, high = (fit[name].item() for name in ("exponent", "exponent_low", "exponent_high"))
    steps = delay["delay_steps"].values
    wide = len(steps) > 0 and bool(steps.max() / steps.min() >= 6)
    sample = f"{len(steps)} delays, {dataset.sizes['seed']} seeds"
    if len(steps):
        sample = f"{len(steps)} delays from {steps.min()} to {steps.max()} steps, {dataset.sizes['seed']} seeds"
    g_slope, g_low, g_high = exponent(steps.astype(float), delay["gradient_norm"].values)
    r_slope, r_low, r_high = exponent(steps.astype(float), delay["ghost_height"].values)
    passage = delay["ghost_passage"].values[np.isfinite(delay["ghost_passage"].values)]
    crossed = f"{np.median(passage):.1f} times" if len(passage) else "(no ghost)"
    hazard = delay["hazard"].values[np.isfinite(delay["hazard"].values)]
    dangerous = int((hazard > 1).sum())
    order = np.argsort(confidence["confidence"].values)
    by_confidence = confidence["critical_rate"].median("seed").values[order]
    return [
        own_claim(
            "The critical rate falls with the delay as steeply as the toy model's.",
            source="Letter, eq. 15, with the loss divided by T, carried over to networks",
            published="exponent -4 for the toy model; not expected of networks (letter, end matter)",
            rule=f"The 95 % interval of the exponent over delays of a factor of 6 or more contains {TOY_EXPONENT:g}.",
            measured=f"exponent {slope:.2f}, 95 % interval {low:.2f} to {high:.2f} ({sample}); "
            f"{_in_words(dataset, 'rank_two', 'rank two')}; {_in_words(dataset, 'full_rank', 'full rank')}",
            verdict=judge(low <= TOY_EXPONENT <= high, testable=wide),
            note="The toy's bottleneck is an asymptote that networks of these delays are not in; see the next claim.",
        ),
        own_claim(
            "The exponent is that of T**2 / |grad t|**2, the toy's formula, one update before the loss.",
            source="Derived from eq. 15 for any escape time",
            rule="The two exponents differ by less than 0.4, over delays of a factor of 6 or more.",
            measured=f"|grad t| grows as T^{g_slope:.2f} ({g_low:.2f} to {g_high:.2f}; the toy's as T^3), "
            f"so {2 - 2 * g_slope:.2f}; the critical rate's is {slope:.2f}",
            verdict=judge(bool(abs(2 - 2 * g_slope - slope) < 0.4), testable=wide),
            note=f"All of the ghost would take {crossed} the escape time: the state crosses a part of it at nearly "
            f"constant speed r, for which t = y / r and |dt/dr| = t^2 / y. r goes as T^{r_slope:.2f} "
            f"({r_low:.2f} to {r_high:.2f}); a drift would have -1, the toy's bottleneck -2.",
        ),
        own_claim(
            "The update that loses a network lengthens its escape time by more than (3/8) T to first order.",
            source="Eq. 15, exact for the toy, to first order for networks",
            rule="The hazard is above 1 in at least 4 of 5 networks, of ten or more.",
            measured=f"{share(dangerous, len(hazard))} networks; median hazard {np.median(hazard):.2f}"
            if len(hazard)
            else "no network was lost",
            verdict=judge(
                len(hazard) > 0 and dangerous >= 0.8 * len(hazard), testable=len(hazard) >= 10 or not len(hazard)
            ),
        ),
        own_claim(
            "A lower confidence raises the critical rate.",
            source="Letter, Fig. 4, and article, Fig. 8, carried over to critical rates",
            rule="The median critical rate is higher at the lowest confidence than at the highest.",
            measured=", ".join(
                f"{rate:.3g} at c = {c:g}"
                for c, rate in zip(confidence["confidence"].values[order], by_confidence, strict=True)
            )
            or "not tried in this run",
            verdict=judge(
                len(by_confidence) > 1 and bool(by_confidence[0] > by_confidence[-1]),
                testable=len(by_confidence) > 1 and bool(np.isfinite(by_confidence).all()),
            ),
        ),
    ]


CRITICAL_RATE_SCALING = Experiment(
    id="critical_rate_scaling",
    title="The critical learning rate over delay, size and confidence",
    figure="after eq. 15",
    question="The toy model loses what it learned above a rate that falls as the fifth power of the delay (the fourth "
    "with the loss divided by the delay). Here the critical rate of networks is measured: the lowest rate of a grid at "
    "which a network learns and is then lost. One update before that, the sensitivity of the escape time says why.",
    parameters={"quick": QUICK, "paper": PAPER},
    run=run,
    claims=claims,
    origin="own",
)
