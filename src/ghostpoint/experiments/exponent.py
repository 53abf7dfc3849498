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

from ghostpoint.critical_rate import before_crossing, escape_gradient, probe
from ghostpoint.experiments.critical_rate_scaling import TOY_EXPONENT, exponent
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.experiments.shared.shares import NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.tasks import DelayedActivation
from ghostpoint.theory import OverlapDescent, SlowRegion, critical_rate
from ghostpoint.training import train

#: the rates of a condition reach from its middle to these powers of ten
BELOW, ABOVE = -0.33, 0.46
#: where the terms are read: share of the median critical rate, and learning rate times epochs from
#: the brink on
FRACTION, PLATEAU_TIME = 0.25, 8.0
#: what is measured of a network
MEASURES = (
    "measured", "lowest", "overlaps", "linear", "gradient_norm", "terms_norm", "width", "sensitivity", "time",
)  # fmt: skip
#: rough critical rates, which only choose the rates that are trained: at 12 steps, and exponent
MIDDLE = {
    ("rank_one", 10.0): (0.045, -1.97), ("rank_one", 5.0): (0.08, -1.9), ("rank_one", 2.0): (0.17, -1.45),
    ("rank_two", 10.0): (0.05, -1.9), ("full_rank", 10.0): (1.9, -1.2),
}  # fmt: skip


def _condition(delay: int, family: str = "rank_one", confidence: float = 10.0, **changes: Any) -> dict[str, Any]:
    """A row of the experiment."""
    full = family == "full_rank"
    standard = {"units": 50 if full else 100, "updates": 2000 if full else 3000, "step": 1.2 if full else 1.1}
    standard["starts"] = 3
    return {"family": family, "delay_steps": delay, "confidence": confidence, **standard, **changes}


PAPER: Mapping[str, Any] = {
    "seeds": list(range(100, 120)),
    "conditions": [
        # a finer grid, as the place of a network in it is partly chance
        *(_condition(delay, step=1.05) for delay in (8, 12, 16, 24, 32, 48)),
        # long delays have a second plateau, at half the chance loss, and take long: one start
        _condition(64, updates=6000, step=1.05, starts=1),
        _condition(96, updates=16_000, starts=1),
        *(_condition(delay, "rank_two") for delay in (8, 16, 32)),
        *(_condition(delay, confidence=5.0) for delay in (12, 48)),
        *(_condition(delay, confidence=2.0) for delay in (12, 24, 48)),
        *(_condition(delay, "full_rank") for delay in (8, 16, 32, 64)),
    ],
    # delays at which training starts from the initial weights too, with updates until the drop
    "from_start": {"8": 4000, "16": 13_000},
}
QUICK: Mapping[str, Any] = {
    "seeds": list(range(100, 106)),
    "conditions": [
        *(_condition(delay, updates=1500, step=1.05, starts=2) for delay in (8, 16, 48)),
        *(_condition(delay, "rank_two", updates=1500, starts=1) for delay in (8, 16)),
    ],
    "from_start": {},
}


def rates_of(condition: Mapping[str, Any]) -> NDArray[np.float64]:
    """The rates of a condition, a factor ``step`` apart; over twice the range for full rank."""
    middle, power = MIDDLE[condition["family"], condition["confidence"]]
    reach = 2 if condition["family"] == "full_rank" else 1
    unit = np.log10(condition["step"])
    steps = np.arange(round(reach * BELOW / unit), round(reach * ABOVE / unit) + 1)
    return middle * (condition["delay_steps"] / 12) ** power * condition["step"] ** steps.astype(float)


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
    condition = _condition(delay, step=1.05)
    rates, last = rates_of(condition), epochs + condition["updates"]
    progress.phase(f"from the initial weights, T = {delay}", len(seeds) * len(rates) * last)
    probes = probe(
        models_of(condition, seeds), DelayedActivation(5.0 * delay), rates, last, on_progress=progress.advance,
        engine="compiled",
    )  # fmt: skip
    return critical_rate(rates, probes.learned, probes.lost)


def _compared(condition: Mapping[str, Any], seeds: list[int], progress: Progress) -> xr.Dataset:
    """One condition: measured, predicted, and the terms of the first-order formula, over seed."""
    task, models = DelayedActivation(5.0 * condition["delay_steps"]), models_of(condition, seeds)
    rates, updates = rates_of(condition), condition["updates"]
    values = {name: np.full(len(seeds), np.nan) for name in MEASURES}
    # measured: from just before the first crossing, at every rate
    brink, _ = before_crossing(models, task)
    probes = probe(brink, task, rates, updates, on_progress=progress.advance, engine="compiled")
    values["measured"] = critical_rate(rates, probes.learned, probes.lost)
    values["lowest"] = probes.critical
    # predicted: from the overlaps of the initial weights alone
    if condition["family"] != "full_rank":
        for name, starts in (("overlaps", condition["starts"]), ("linear", 1)):
            found = OverlapDescent.of(models, task, rates, updates=updates, starts=starts, linear=name == "linear")
            values[name] = found.critical_rate
    # the terms of the first-order formula, after training at a fraction of the critical rate
    rate = FRACTION * np.nanmedian(values["measured"])
    if np.isfinite(rate):
        epochs = int(max(PLATEAU_TIME / rate, updates))
        run = train(brink, task, float(rate), epochs, record=[0], engine="compiled")
        escape = escape_gradient(run.models, task)
        assert escape.norm is not None
        values["gradient_norm"], values["time"] = escape.norm[0], escape.time[0]
        if condition["family"] == "rank_one":
            region = SlowRegion.of(run.models, task)
            values["width"], values["sensitivity"] = region.width, region.sensitivity
            values["terms_norm"] = region.gradient_norm
    return xr.Dataset({name: ("seed", value) for name, value in values.items()})


#: how near a prediction must be, and by how much exponents may differ
WITHIN, NEAR, FLAT = 0.25, 0.2, 0.3
#: fewest networks of a condition, and least ratio of the delays of an exponent
FEWEST, SPAN = 6, 5.0


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The terms of the formula, the predictions from overlaps, and their exponents."""
    claim = partial(own_claim, source="docs/exponent.md")
    rank_one = part_of(dataset, "rank_one", 10.0)
    delays, wide = rank_one["delay_steps"].values.astype(float), _wide(rank_one)
    seeds = dataset.sizes["seed"]
    width, toy_width = (fitted(delays, rank_one[name].values) for name in ("width", "toy_width"))
    sensitivity = fitted(delays, rank_one["sensitivity"].values)
    both = fitted(delays, (rank_one["width"] / rank_one["sensitivity"]).values)
    measured, linear = (fitted(delays, rank_one[name].values) for name in ("measured", "linear"))
    terms = (rank_one["terms_norm"] / rank_one["gradient_norm"]).values
    near = np.isfinite(terms) & (np.abs(terms - 1) <= WITHIN)
    crossing = int(np.isfinite(rank_one["gradient_norm"].values).sum())
    return [
        claim(
            "The gradient of the escape time is A t^2 / l: two terms of the flow give the sensitivity of a network.",
            rule="In nearly all trained networks of rank one that cross the threshold it is within "
            f"{100 * WITHIN:g} % of the exact gradient's norm. {NEARLY_ALL_OF}",
            measured=f"{share(int(near.sum()), crossing)}; median ratio {_median(terms):.2f} "
            f"({len(delays)} delays, {seeds} seeds)",
            verdict=judge_share(nearly_all(int(near.sum()), crossing), crossing),
        ),
        claim(
            "The slow region of networks keeps its width over delays; the toy model's narrows as 1/T.",
            rule=f"Over delays of a factor of {SPAN:g} or more the exponents of l and of l / A are within {FLAT:g} "
            "of 0, and the toy's of l is below -0.9.",
            measured=f"l: {words(width)}, from {_median(rank_one['width'].values[0]):.2f} to "
            f"{_median(rank_one['width'].values[-1]):.2f}; A: {words(sensitivity)}; l / A: {words(both)}; the toy's l: "
            f"{toy_width[0]:.2f}",
            verdict=judge(
                bool(abs(width[0]) < FLAT and abs(both[0]) < FLAT and toy_width[0] < -0.9), testable=wide
            ),
        ),
        claim(
            "Critical rates of networks fall as T^-2, not as the toy model's T^-4.",
            rule=f"Over delays of a factor of {SPAN:g} or more the exponent of the measured rates is within {NEAR:g} "
            f"of -2, and its 95 % interval does not contain {TOY_EXPONENT:g}.",
            measured=f"{words(measured)} ({len(delays)} delays, {seeds} seeds)",
            verdict=judge(
                bool(abs(measured[0] + 2) <= NEAR and not measured[1] <= TOY_EXPONENT <= measured[2]), testable=wide
            ),
        ),
        claim(
            "Networks with linear units, which have no ghost, lose what they learned by the same power of the delay.",
            rule=f"Over delays of a factor of {SPAN:g} or more the exponent of the overlaps without saturation differs "
            f"from that of the measured rates by less than {NEAR:g}.",
            measured=f"linear units {words(linear)}; measured {words(measured)}",
            verdict=judge(bool(abs(linear[0] - measured[0]) < NEAR), testable=wide),
        ),
        _within_claim(rank_one, claim, "Overlaps of the initial weights predict the critical rate of a network of rank "
                      "one, without training it."),
        _within_claim(part_of(dataset, "rank_two", 10.0), claim, "Overlaps predict critical rates at rank two."),
        _exponent_claim(part_of(dataset, "rank_two", 10.0), claim, "The exponent of rank two is that of its overlaps.",
                        least=2.0),
        _within_claim(part_of(dataset, "rank_one", 5.0), claim, "Overlaps predict critical rates at confidence 5."),
        _within_claim(part_of(dataset, "rank_one", 2.0), claim, "Overlaps predict critical rates at confidence 2."),
        _exponent_claim(part_of(dataset, "rank_one", 2.0), claim,
                        "The exponent at confidence 2 is that of its overlaps.", least=2.0),
        _start_claim(dataset, rank_one, claim),
        _full_rank_claim(part_of(dataset, "full_rank", 10.0), claim),
    ]  # fmt: skip


def part_of(dataset: xr.Dataset, family: str, confidence: float) -> xr.Dataset:
    """The conditions of a family and confidence, by delay."""
    here = (dataset["family"].values == family) & (dataset["confidence"].values == confidence)
    rows = np.flatnonzero(here)
    return dataset.isel(condition=rows[np.argsort(dataset["delay_steps"].values[rows])])


def fitted(delays: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Exponent of the delay and its 95 % interval; values (conditions,) are those of one system."""
    return exponent(delays, values if values.ndim == 2 else values[:, None])


def words(found: tuple[float, float, float]) -> str:
    """An exponent with its interval."""
    return f"exponent {found[0]:.2f} (95 % interval {found[1]:.2f} to {found[2]:.2f})"


def _median(values: NDArray[Any]) -> float:
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) else np.nan


def _wide(part: xr.Dataset, least: float = SPAN) -> bool:
    """Whether the delays reach far enough for an exponent."""
    delays = part["delay_steps"].values
    return len(delays) > 1 and bool(delays.max() / delays.min() >= least) and part.sizes["seed"] >= FEWEST


def _within_claim(part: xr.Dataset, claim: Any, sentence: str) -> Claim:
    ratio, linear = ((part[name] / part["measured"]).values for name in ("overlaps", "linear"))
    have = np.isfinite(part["measured"].values)
    good, total = int((np.abs(ratio[have] - 1) <= WITHIN).sum()), int(have.sum())
    plain = int((np.abs(linear[have] - 1) <= WITHIN).sum())
    # one number for all networks of a condition, the median of what was measured
    same = sum(int((np.abs(_median(row) / row - 1) <= WITHIN).sum()) for row in part["measured"].values)
    medians = ", ".join(
        f"{_median(row):.2f} at T = {t}" for t, row in zip(part["delay_steps"].values, ratio, strict=True)
    )
    return claim(
        sentence,
        rule=f"In nearly all networks the predicted rate is within {100 * WITHIN:g} % of the measured one. "
        f"{NEARLY_ALL_OF}",
        measured=f"{share(good, total)}; linear units {plain} of {total}; median ratio {medians or '-'}",
        verdict=judge_share(nearly_all(good, total), total, testable=bool(part.sizes["condition"])),
        note=f"The measured median of each condition is within {100 * WITHIN:g} % of {same} of {total}: "
        "networks of a condition differ little, and most of that is chaos.",
    )  # fmt: skip


def _exponent_claim(part: xr.Dataset, claim: Any, sentence: str, least: float) -> Claim:
    delays = part["delay_steps"].values.astype(float)
    measured, overlaps = (fitted(delays, part[name].values) for name in ("measured", "overlaps"))
    return claim(
        sentence,
        rule=f"Over delays of a factor of {least:g} or more the two exponents differ by less than {NEAR:g}.",
        measured=f"overlaps {words(overlaps)}; measured {words(measured)}",
        verdict=judge(bool(abs(overlaps[0] - measured[0]) < NEAR), testable=_wide(part, least)),
    )


def _start_claim(dataset: xr.Dataset, rank_one: xr.Dataset, claim: Any) -> Claim:
    ratios, near = [], []
    for row, delay in enumerate(dataset["start_delay"].values):
        same = rank_one.isel(condition=np.flatnonzero(rank_one["delay_steps"].values == delay))
        if same.sizes["condition"]:
            both = same["measured"].values[0] / dataset["from_start"].values[row]
            ratios.append(_median(both))
            near += [abs(ratio - 1) <= WITHIN for ratio in both[np.isfinite(both)]]
    return claim(
        "The way along the plateau has no part in the critical rate: it is that from the brink.",
        rule="At every delay that is tried, the rate measured from the brink over the rate measured from the initial "
        "weights is within 10 % of 1 in the median.",
        measured=", ".join(f"{ratio:.2f}" for ratio in ratios) + f" ({dataset.sizes['seed']} seeds)"
        if ratios
        else "not tried in this run",
        verdict=judge(
            bool(ratios) and bool((np.abs(np.array(ratios) - 1) <= 0.1).all()),
            testable=bool(ratios) and dataset.sizes["seed"] >= FEWEST,
        ),
        note=f"The two measurements of one network agree within {100 * WITHIN:g} % in {share(sum(near), len(near))}: "
        "no prediction can do better than that.",
    )


def _full_rank_claim(part: xr.Dataset, claim: Any) -> Claim:
    delays = part["delay_steps"].values.astype(float)
    found, steep = (fitted(delays, part[name].values) for name in ("measured", "gradient_norm"))
    return claim(
        "At full rank, with a trained readout, critical rates fall less steeply.",
        rule=f"Over delays of a factor of {SPAN:g} or more the 95 % interval of the exponent lies above -1.5.",
        measured=words(found),
        verdict=judge(bool(found[1] > -1.5), testable=_wide(part)),
        note=f"Not explained: T^2 / |grad t|^2 has the exponent {2 - 2 * steep[0]:.2f}.",
    )


EXPONENT = Experiment(
    id="exponent",
    title="Why critical rates of networks fall as T^-2 and not as T^-4",
    figure="after eq. 15",
    question="The toy model's critical rate falls as the fourth power of the delay (loss divided by the delay), that "
    "of networks as the second. The first-order formula has two terms, the width of the slow region and the "
    "sensitivity of the speed. Which of them differs? And does gradient descent of a few overlaps of the initial "
    "weights, in which no network is trained, lose what it learned at the same rates?",
    parameters={"quick": QUICK, "paper": PAPER},
    run=run,
    claims=claims,
    origin="own",
)
