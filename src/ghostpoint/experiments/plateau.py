"""How long the plateau lasts, from the initial weights alone: theory beside training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom

from ghostpoint.experiments.plateau_extensions import EXTENSIONS, extension_claims, over_extensions
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.networks import NETWORKS, models_of, task_of, trained
from ghostpoint.experiments.shared.shares import NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import LowRankRNN
from ghostpoint.tasks import DelayedActivation
from ghostpoint.theory import Plateau, plateau_length
from ghostpoint.theory.plateau import LEVEL

#: the methods that are compared; "linear" is "overlaps" without the saturation of the units
METHODS = ("overlaps", "linear", "stationary", "closed")
#: what a condition does not change: units, T in steps, alpha, and the weights' scales
USUAL: Mapping[str, float] = {
    "units": 100, "delay": 20, "alpha": 0.5, "confidence": 10.0, "threshold": 1.0, "initial_state": -0.3,
    "scale_m": 1.0, "scale_n": 1.0, "scale_b": 0.0,
}  # fmt: skip
CONDITIONS: list[dict[str, float]] = [
    {},
    *({"delay": steps} for steps in (4.0, 8.0, 12.0, 48.0, 96.0)),
    *({"confidence": c} for c in (3.0, 5.0, 7.0, 14.0)),
    *({"threshold": value} for value in (0.3, 0.5, 0.75, 1.25)),
    *({"units": units} for units in (10.0, 20.0, 50.0, 400.0)),
    *({"alpha": alpha} for alpha in (0.25, 1.0)),
    *({"initial_state": start} for start in (-1.0, 0.0, 1.0)),
    *({"scale_m": scale} for scale in (0.5, 2.0, 10.0)),
    *({"scale_n": scale} for scale in (0.5, 2.0)),
    *({"scale_b": scale} for scale in (0.3, 1.0)),
]
PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "rates": [0.02, 0.01, 0.005, 0.003, 0.002, 0.001],
    "named_seeds": list(range(100)),  # Fig. 8B
    "named_rate": 0.02,
    "named_epochs": 6000,
    "searched_seeds": list(range(10)),  # Fig. 6A
    "searched_epochs": 200_001,
    "searched_step": 0.01,
    "curve_seeds": list(range(40)),
    "curve_epochs": 20_000,  # from the start to the drop, by the theory
    "curve_points": 800,
    "conditions": CONDITIONS,
    "condition_seeds": list(range(100, 120)),
    "condition_epochs": 5000,
    "condition_dtype": "float64",
    "extensions": EXTENSIONS,
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "seeds": list(range(10)),
        "rates": [0.02, 0.01, 0.005],
        "searched_epochs": 20_001,
        "curve_seeds": list(range(10)),
        "condition_seeds": list(range(100, 106)),
        "condition_epochs": 2000,
        "extensions": [
            {**each, **({"rates": [1e-4]} if "rates" in each else {"epochs": each["epochs"][:2][-1:]})}
            for each in EXTENSIONS
        ],
        "condition_dtype": "float32",  # another kernel would take longer to compile than to run
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Predict from the initial weights, then train, in six parts."""
    parts = (_over_rates, _named, _searched, _curves, _over_conditions, _extended)
    return xr.merge([part(parameters, progress) for part in parts], join="exact")


def _over_rates(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """The published networks at every rate: predicted and measured epochs of the drop."""
    models, task, rates = models_of(parameters, parameters["seeds"]), task_of(parameters), parameters["rates"]
    predicted = np.array([[_length(models, task, rate, method) for rate in rates] for method in METHODS])
    measured = []
    for rate, longest in zip(rates, predicted.max(axis=(0, 2)), strict=True):
        result = trained(
            progress, f"training {len(models)} networks at rate {rate:g}", models, parameters, rate,
            int(1.03 * longest) + 20, record=[0], solved=LEVEL,
        )  # fmt: skip
        measured.append(result.events["first_solved"].values)
    return xr.Dataset(
        {
            "predicted": (("prediction", "rate", "network"), predicted, {"units": "epochs"}),
            "measured": (("rate", "network"), np.array(measured), {"missing": -1}),
        },
        coords={
            "prediction": list(METHODS),
            "rate": np.array(rates),
            "seed": ("network", np.array(parameters["seeds"])),
        },
    )


def _length(models: LowRankRNN, task: DelayedActivation, rate: Any, method: str) -> Any:
    if method == "linear":
        return Plateau.of(models, task, linear=True).length(rate)
    return plateau_length(models, task, rate, method=method)


def _named(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Fig. 8B: which networks learn within its epochs."""
    models = models_of(parameters, parameters["named_seeds"])
    rate, epochs = parameters["named_rate"], parameters["named_epochs"]
    result = trained(progress, "the networks of Fig. 8B", models, parameters, rate, epochs, record=[0])
    return xr.Dataset(
        {
            "named": ("named_seed", Plateau.of(models, task_of(parameters)).learns_by(rate, epochs)),
            "learned": ("named_seed", result.events["first_above_chance"].values >= 0),
        },
        coords={"named_seed": parameters["named_seeds"]},
    )


def _searched(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Fig. 6A: training a little below and above the lowest rate that is predicted to learn."""
    models, epochs, step = (parameters[name] for name in ("searched_seeds", "searched_epochs", "searched_step"))
    models = models_of(parameters, models)
    lowest = Plateau.of(models, task_of(parameters)).lowest_rate(epochs)
    rates = np.concatenate([lowest * (1 - step), lowest * (1 + step)])
    result = trained(
        progress, "just below and above the lowest rate", models.repeat(2), parameters, rates, epochs, record=[0]
    )
    learned = result.events["first_above_chance"].values.reshape(2, -1) >= 0
    return xr.Dataset(
        {"lowest_rate": ("searched", lowest), "learned_beside": (("side", "searched"), learned)},
        coords={"searched": parameters["searched_seeds"], "side": ["below", "above"]},
    )


def _curves(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Loss curves at rates that should bring every network to its drop at the same epoch."""
    models, task, drop = (
        models_of(parameters, parameters["curve_seeds"]),
        task_of(parameters),
        parameters["curve_epochs"],
    )
    rate = Plateau.of(models, task).drop[:, 0] / drop
    last, points = int(1.5 * drop), parameters["curve_points"]
    near = np.linspace(0.98 * drop, 1.1 * drop, points - 2 * (points // 8))
    epoch = np.unique(np.concatenate([np.linspace(0, drop, points // 8), near, np.linspace(drop, last, points // 8)]))
    epoch = np.unique(epoch.astype(int))
    flow = Plateau.of(models, task, longest=1.05 * last * float(rate.max()))
    result = trained(progress, "loss curves", models, parameters, rate, last + 1, record=epoch)
    return xr.Dataset(
        {
            "loss": (("curve", "epoch"), result.history["loss"].values, {"units": "chance"}),
            "reduced_loss": (("curve", "epoch"), flow.loss(rate, epoch), {"units": "chance"}),
            "curve_rate": ("curve", rate),
        },
        coords={"curve": parameters["curve_seeds"], "epoch": epoch},
    )


def _over_conditions(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """One thing changed at a time; rates for which the theory has the drop at one epoch."""
    conditions, epochs, seeds = (parameters[f"condition{name}"] for name in ("s", "_epochs", "_seeds"))
    last = int(1.05 * epochs)
    progress.phase(f"training in {len(conditions)} conditions", len(conditions) * len(seeds) * last)
    ratios, valid = [], []
    for changes in conditions:
        models, task = _condition(changes, seeds)
        plateau = Plateau.of(models, task)
        rate, near = plateau.rate_of(epochs), plateau.drop[:, 0] / epochs
        rate = np.where(np.isfinite(rate), rate, near)  # beyond the range, which `valid` says
        rate = np.where(np.isfinite(rate) & (rate > 0), rate, 1e-6)  # no plateau, or no end
        result = trained(
            progress, "", models, {**parameters, "dtype": parameters["condition_dtype"]}, rate, last, task,
            record=[0], solved=LEVEL,
        )  # fmt: skip
        first = result.events["first_solved"].values
        with np.errstate(divide="ignore", invalid="ignore"):
            of_methods = [_length(models, task, rate, method) / first for method in METHODS]
        ratios.append(np.where(first > 0, of_methods, np.nan))
        valid.append(plateau.valid(rate))
    return xr.Dataset(
        {
            "ratio": (("condition", "prediction", "condition_seed"), np.array(ratios)),
            "valid": (("condition", "condition_seed"), np.array(valid)),
        },
        coords={"condition": [label(each) for each in conditions], "condition_seed": seeds},
    )


def _extended(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Momentum, Adam, rank, a readout of the state, and the second plateau."""
    return over_extensions(parameters, progress, METHODS)


def label(changes: Mapping[str, float]) -> str:
    """What a condition changes, in words."""
    return ", ".join(f"{name} {value:g}" for name, value in changes.items()) or "as published"


def _condition(changes: Mapping[str, float], seeds: list[int]) -> tuple[LowRankRNN, DelayedActivation]:
    """Networks and task of a condition."""
    have = {**USUAL, **changes}
    drawn = LowRankRNN.initialize(int(have["units"]), seeds)
    noise = [np.random.default_rng([seed, 1]).normal(size=int(have["units"])) for seed in seeds]
    models = LowRankRNN(
        drawn.m * have["scale_m"],
        drawn.n * have["scale_n"],
        have["scale_b"] * np.array(noise) / np.sqrt(have["units"]),
        confidence=have["confidence"],
        threshold=have["threshold"],
        initial_state=have["initial_state"],
        seed=seeds,
    )
    dt = NETWORKS["tau_ms"] * have["alpha"]
    return models, DelayedActivation(have["delay"] * dt, dt, NETWORKS["tau_ms"])


def interval_of_median(values: NDArray[Any]) -> tuple[float, float, float]:
    """The median and its 95 % interval, from the order statistics."""
    ordered = np.sort(values)
    outside = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    return float(np.median(ordered)), float(ordered[outside]), float(ordered[-1 - outside])


CLOSED, OVERLAPS, CONDITION, CURVE, CONSTANT = 0.01, 0.005, 0.03, 0.01, 0.01
#: fewest networks of a condition in which it is judged
FEWEST = 4


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Plateau lengths, who learns, the lowest rates, the loss curve, and other conditions."""
    claim = partial(own_claim, source="docs/plateau.md; the plateaus of Figs. 3A, 6A and 8B")
    networks, rates = dataset.sizes["network"], dataset.sizes["rate"]
    sample = f"{networks} networks at {rates} rates"
    measured = dataset["measured"].values
    errors = {
        method: np.where(
            measured > 0, np.abs(dataset["predicted"].sel(prediction=method).values / measured - 1), np.inf
        )
        for method in ("closed", "overlaps")
    }

    def within(method: str, limit: float, sentence: str) -> Claim:
        each = errors[method].max(axis=0)
        good = int((each <= limit).sum())
        return claim(
            sentence,
            rule=f"In every network the predicted epoch of loss {LEVEL:g} is within {100 * limit:g} % of the measured "
            "one at every rate.",
            measured=f"{share(good, networks)} within it at every rate; worst {100 * each.max():.2f} %, median "
            f"{100 * np.median(errors[method]):.2f} % ({sample})",
            verdict=judge_share(good == networks, networks),
        )

    times = measured * dataset["rate"].values[:, None]
    spread = np.where((measured > 0).all(axis=0), times.max(axis=0) / times.min(axis=0) - 1, np.inf)
    steady = int((spread <= CONSTANT).sum())
    return [
        within(
            "closed", CLOSED,
            "One integral of the initial weights gives the length of the plateau, without any constant fitted.",
        ),
        within("overlaps", OVERLAPS, "Nine overlaps of the initial weights give the length of the plateau."),
        claim(
            "On the plateau training is gradient flow: the epochs it takes are a time divided by the learning rate.",
            rule=f"Over the rates, rate times epoch of the drop differs by at most {100 * CONSTANT:g} % in nearly all "
            f"networks. {NEARLY_ALL_OF}",
            measured=f"{share(steady, networks)}; largest difference {100 * spread.max():.2f} % "
            f"({rates} rates from {dataset['rate'].values.min():g} to {dataset['rate'].values.max():g})",
            verdict=judge_share(nearly_all(steady, networks), networks),
        ),
        _named_claim(dataset, parameters, claim),
        _lowest_claim(dataset, parameters, claim),
        _curve_claim(dataset, claim),
        *_condition_claims(dataset, claim),
        *extension_claims(dataset, claim),
    ]  # fmt: skip


def _named_claim(dataset: xr.Dataset, parameters: Mapping[str, Any], claim: Any) -> Claim:
    named, learned = dataset["named"].values, dataset["learned"].values
    right, total = int((named == learned).sum()), len(named)
    wrong = ", ".join(map(str, dataset["named_seed"].values[named != learned][:10]))
    return claim(
        "Networks that never learn in Fig. 8B are only too slow: the theory names those that learn, one by one.",
        rule=f"It is right about every network whether it exceeds chance within {parameters['named_epochs']} epochs at "
        f"rate {parameters['named_rate']:g}, and there are networks of both kinds.",
        measured=f"{learned.sum()} learn, {named.sum()} are named; {share(right, total)} right"
        + (f"; wrong about seeds {wrong}" if wrong else ""),
        verdict=judge_share(right == total and bool(learned.any() and not learned.all()), total),
    )


def _lowest_claim(dataset: xr.Dataset, parameters: Mapping[str, Any], claim: Any) -> Claim:
    below, above = dataset["learned_beside"].values
    right, total, step = int((above & ~below).sum()), len(above), 100 * parameters["searched_step"]
    rates = dataset["lowest_rate"].values
    return claim(
        "The lowest rate at which a network learns within a number of epochs follows from its initial weights.",
        rule=f"Within {parameters['searched_epochs']} epochs every network learns at a rate {step:g} % above the "
        f"predicted one and not at a rate {step:g} % below it.",
        measured=f"{share(right, total)}; predicted rates {rates.min():.3g} to {rates.max():.3g}",
        verdict=judge_share(right == total, total),
    )


def first_below(loss: NDArray[Any], epoch: NDArray[Any], level: float) -> NDArray[Any]:
    """First of the epochs at which each curve is below a level; NaN for never."""
    below = loss < level
    return np.where(below.any(axis=1), epoch[below.argmax(axis=1)], np.nan)


def _curve_claim(dataset: xr.Dataset, claim: Any) -> Claim:
    epoch, levels = dataset["epoch"].values, (0.75, 0.5, 0.25)
    worst = np.zeros(dataset.sizes["curve"])
    for level in levels:
        network, reduced = (first_below(dataset[name].values, epoch, level) for name in ("loss", "reduced_loss"))
        error = np.abs(reduced / np.maximum(network, 1) - 1)
        worst = np.maximum(worst, np.where(np.isnan(error), np.inf, error))
    good, total = int((worst <= CURVE).sum()), len(worst)
    return claim(
        "The reduced model has the drop too, not only its beginning.",
        rule=f"In nearly all networks its loss passes {', '.join(f'{level:g}' for level in levels)} within "
        f"{100 * CURVE:g} % of the network's epoch. {NEARLY_ALL_OF}",
        measured=f"{share(good, total)}; worst {100 * worst.max():.2f} %, median {100 * np.median(worst):.2f} %",
        verdict=judge_share(nearly_all(good, total), total),
    )


def _condition_claims(dataset: xr.Dataset, claim: Any) -> list[Claim]:
    ratio = dataset["ratio"].sel(prediction="overlaps").values
    judged = [
        (str(name), interval_of_median(np.where(np.isnan(row[good]), np.inf, row[good])))
        for name, row, good in zip(dataset["condition"].values, ratio, dataset["valid"].values, strict=True)
        if good.sum() >= FEWEST
    ]
    errors = [abs(median - 1) for _, (median, _, _) in judged]
    at = int(np.argmax(errors)) if errors else 0
    worst = (
        f"largest deviation of a median: {judged[at][1][0]:.4f} (95 % interval {judged[at][1][1]:.4f} to "
        f"{judged[at][1][2]:.4f}) at {judged[at][0]}"
        if errors
        else "no condition is within the range of validity"
    )
    left_out = dataset.sizes["condition"] - len(judged)
    delays = [index for index, name in enumerate(dataset["condition"].values) if str(name).startswith("delay")]
    closed = dataset["ratio"].sel(prediction="closed").values
    long = [index for index in delays if int(str(dataset["condition"].values[index]).split()[1]) >= 8]
    medians = [float(np.median(np.where(np.isnan(closed[index]), np.inf, closed[index]))) for index in long]
    return [
        claim(
            "The overlaps give the length for other delays, confidences, thresholds, sizes, steps and starts.",
            rule="In every condition within the stated range of validity (in at least "
            f"{FEWEST} networks) the median of predicted over measured epochs is within {100 * CONDITION:g} % of 1.",
            measured=f"{len(judged)} conditions within the range, {left_out} outside, "
            f"{dataset.sizes['condition_seed']} seeds each; {worst}",
            verdict=judge(bool(errors) and max(errors) <= CONDITION, testable=len(judged) > 3),
        ),
        claim(
            "The delay has no part in the length of the plateau.",
            rule="For every delay of 8 steps and more the integral, which does not contain the delay, is within "
            f"{100 * CONDITION:g} % in the median.",
            measured=f"medians {', '.join(f'{value:.4f}' for value in medians)} at {len(long)} delays, "
            f"{dataset.sizes['condition_seed']} seeds each",
            verdict=judge(bool(medians) and bool(np.abs(np.array(medians) - 1).max() <= CONDITION), len(medians) > 2),
        ),
    ]


PLATEAU = Experiment(
    id="plateau",
    title="How long the plateau lasts, from the initial weights alone",
    figure="the plateaus of Figs. 3A, 6A and 8B",
    question="On the plateau a network's units hardly saturate, and gradient descent moves its weights within the span "
    "of their initial values. Nine scalar products of them then hold all that matters. Does the theory built on them, "
    "which fits no constant, give the epoch of the drop, the networks that learn in time, and the lowest rate?",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
    origin="own",
)
