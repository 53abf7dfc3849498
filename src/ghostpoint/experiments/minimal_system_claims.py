"""The claims of ``minimal_systems``: exponents, prefactors, numbers of ghosts, shares, abruptness,
and the complex ghost.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, judge, own_claim
from ghostpoint.experiments.shared.power_laws import power_law
from ghostpoint.experiments.shared.shares import share

#: exponent of n in the critical rate, for equal saddle-nodes on their own and sharing a parameter
COUNT_EXPONENTS = {"equal": 5.0, "shared": 4.0}
EXACT, LIMIT, PREFACTOR, COUNT, LATE_ERROR, GROWTH = 0.05, 0.15, 0.1, 0.02, 0.1, 0.05


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Exponents, prefactors, numbers of ghosts, shares, abruptness, and the complex ghost."""
    claim = partial(own_claim, source="docs/minimal_systems.md; letter, eq. 15, for one saddle-node")
    sample = f"{parameters['starts']} starts at each delay"
    return [
        *_exponent_claims(dataset, claim, sample),
        _prefactor_claim(dataset, claim, sample),
        _past_claim(dataset, parameters, claim),
        *_count_claims(dataset, parameters, claim),
        _share_claim(dataset, claim),
        _late_claim(dataset, claim),
        _rotation_claim(dataset, claim),
        *_complex_claims(dataset, parameters, claim),
    ]


def _exponent_claims(dataset: xr.Dataset, claim: Any, sample: str) -> list[Claim]:
    sentences = {
        True: (
            "The exponent of T is -(1 + 2 a) for a time of answering proportional to p^(-1/a): -5 for every "
            "arrangement of saddle-nodes, whatever its dimension, and not -5 for other flows.",
            EXACT,
        ),
        False: (
            "A slaved, a spiralling or a rotating plane, or a start before the ghost, leaves the exponent at -5 for "
            "long delays.",
            LIMIT,
        ),
    }
    made = []
    for exact, (sentence, tolerance) in sentences.items():
        chosen = dataset.isel(family=np.flatnonzero(dataset["exact"].values == exact))
        found, theory = chosen["exponent"].values, chosen["exponent_theory"].values
        error = np.abs(found[:, 0] - theory)
        lines = [
            f"{name} {value:.3f} ({low:.3f} to {high:.3f})"
            for name, (value, low, high) in zip(chosen["family"].values, found, strict=True)
        ]
        where = "over all delays" if exact else "over the longest delays"
        made.append(
            claim(
                sentence,
                rule=f"The measured exponent of every family, fitted {where}, is within {tolerance:g} of the theory.",
                measured=f"{'; '.join(lines)} (95 % intervals of the fit; {sample})",
                verdict=judge(bool((error <= tolerance).all())),
            )
        )
    return made


def _prefactor_claim(dataset: xr.Dataset, claim: Any, sample: str) -> Claim:
    theory = dataset["prefactor_theory"].values
    longest = (dataset["critical_rate"] / dataset["toy_rate"]).values
    last = np.array([row[np.isfinite(row)][-1] for row in longest])
    # what a rotation does depends on its phase: it has a claim of its own
    known = np.isfinite(theory) & (dataset["family"].values != "rotating plane")
    error = np.abs(last[known] / theory[known] - 1)
    lines = [
        f"{name} {value:.4g} ({wanted:.4g})"
        for name, value, wanted in zip(dataset["family"].values[known], last[known], theory[known], strict=True)
    ]
    return claim(
        "Where the exponent is -5 the prefactor is known: 16 times the toy model's for a passage from end to end, "
        "times the fourth power of the laps, over the square of the curvature.",
        rule=f"At the longest delay the measured critical rate of every such family is within {100 * PREFACTOR:g} % "
        "of the theory.",
        measured=f"in units of eq. 15, theory in brackets: {'; '.join(lines)} ({sample})",
        verdict=judge(bool((error <= PREFACTOR).all())),
    )


def _past_claim(dataset: xr.Dataset, parameters: Mapping[str, Any], claim: Any) -> Claim:
    delay, rate, x0 = dataset["past_delay"].values, dataset["past_rate"].values, parameters["past_start"]
    slope = np.polyfit(delay, np.log(rate), 1)[0]
    powers = power_law(delay, rate)
    return claim(
        "From a start past the ghost the critical rate falls exponentially with the delay, not as a power.",
        rule="The slope of its logarithm over T is within 5 % of -4 x0.",
        measured=f"slope {slope:.4f}, theory {-4 * x0:.4f}, at {len(delay)} delays from {delay[0]:g} to {delay[-1]:g}; "
        f"a power law through them would have exponent {powers.slope:.1f}",
        verdict=judge(abs(slope / (-4 * x0) - 1) <= 0.05),
    )


def _count_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], claim: Any) -> list[Claim]:
    count, rate = dataset["count"].values, dataset["count_rate"]
    found = {way: power_law(count, rate.sel(way=way)) for way in COUNT_EXPONENTS}
    errors = [abs(fit.slope - COUNT_EXPONENTS[way]) for way, fit in found.items()]
    free = rate.sel(way=["drawn", "first", "last"]).values
    drawn, equal = (rate.sel(way=way).values for way in ("drawn", "equal"))
    tolerance = 2 * parameters["tolerance"]
    between = bool((free >= 1 - tolerance).all() and (drawn[count > 1] < equal[count > 1]).all())
    last = np.abs(rate.sel(way="last").values - 1).max()
    sample = f"{parameters['starts']} starts at T = {parameters['count_delay']:g}"
    return [
        claim(
            "n equal saddle-nodes in series have a critical rate n⁵ times that of one if they are trained on their "
            "own, and n⁴ times if they share one parameter.",
            rule=f"The exponents of n are within {COUNT:g} of 5 and 4.",
            measured=", ".join(f"{way} {fit.slope:.4f} ± {fit.stderr:.4f}" for way, fit in found.items())
            + f" over n = {count[0]} to {count[-1]} ({sample})",
            verdict=judge(max(errors) <= COUNT),
        ),
        claim(
            "More saddle-nodes never lower the critical rate below that of one; how far unequal ones in series raise "
            "it depends on the starts, and those in parallel of which the last answers leave it as it is.",
            rule="For every n no arrangement is lost below the rate of one saddle-node, drawn starts in series are "
            "lost at lower rates than equal ones, and the last of several answers within 1 % of the rate of one.",
            measured="; ".join(
                f"{way} {', '.join(f'{value:.4g}' for value in rate.sel(way=way).values)}"
                for way in ("drawn", "first", "last")
            )
            + f" times that of one at n = {', '.join(map(str, count))} ({sample})",
            verdict=judge(between and bool(last <= 0.01)),
        ),
    ]


def _share_claim(dataset: xr.Dataset, claim: Any) -> Claim:
    start, crossing, predicted = dataset["share"].values[..., -1]
    total = len(start)
    grew, right = int((crossing > start).sum()), int((np.abs(predicted / crossing - 1) <= 0.02).sum())
    return claim(
        "Of saddle-nodes in series training gives most of the delay to the one that was slowest: the differences of "
        "r^(5/2) are conserved.",
        rule="In nearly all starts (at least 90 %) the largest share of the delay grows from the start to the "
        "crossing, and gradient flow's conservation law predicts it within 2 %.",
        measured=f"grows in {share(grew, total)}, predicted in {share(right, total)}; mean largest share of three "
        f"{start.mean():.3f} at the start, {crossing.mean():.3f} at the crossing",
        verdict=judge(min(grew, right) >= 0.9 * total),
    )


def _late_claim(dataset: xr.Dataset, claim: Any) -> Claim:
    late, theory = dataset["late"].values, dataset["late_theory"].values
    lines = [
        f"{name} {value:.4f} ({wanted:.4f})"
        for name, value, wanted in zip(dataset["late_family"].values, late, theory, strict=True)
    ]
    ordered = bool((np.diff(late) > 0).all())
    return claim(
        "Training jumps in all families, and the more so the steeper the critical rate falls with T.",
        rule=f"The share of epochs in which the second half of the loss is learned is within {100 * LATE_ERROR:g} % of "
        "the theory, below a tenth everywhere, and rises as the exponent does.",
        measured=f"theory in brackets: {'; '.join(lines)}",
        verdict=judge(ordered and bool((np.abs(late / theory - 1) <= LATE_ERROR).all() and (late < 0.1).all())),
    )


def _rotation_claim(dataset: xr.Dataset, claim: Any) -> Claim:
    long = dataset["delay"].values >= 32
    found, theory = (dataset[name].values[long] for name in ("rotating_minimum", "rotating_theory"))
    shift, modulation = dataset.attrs["averaged_shift"], dataset.attrs["modulation"]
    rate = (dataset["critical_rate"].sel(family="rotating plane") / dataset["toy_rate"]).values[long]
    off = np.abs(found - theory).max(initial=0) / shift
    return claim(
        "A fast rotation moves the whole loss to lower r, below 0 even, and changes the critical rate by a bounded "
        "factor only.",
        rule="From T = 32 on the r that answers at T is within 2 % of the shift of that by averaging, it is negative "
        "at the longest delay, and the critical rate is within 2.5 f / w² of the toy model's.",
        measured=f"largest error {100 * off:.2f} % of the shift {shift:g}; r = {found[-1]:.5f} at the longest delay; "
        f"critical rate {rate.min():.3f} to {rate.max():.3f} times eq. 15 (f / w² = {modulation:g})"
        if long.any()
        else "no delay is that long",
        verdict=judge(
            bool(long.any() and off <= 0.02 and found[-1] < 0 and (np.abs(rate - 1) <= 2.5 * modulation).all())
        ),
    )


def _complex_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], claim: Any) -> list[Claim]:
    value, low, high = dataset["edge_exponent"].values
    inside = np.abs(dataset["held_r2"].values) < dataset["edge"].values[:, None]
    learned = dataset["held_learned"].values
    right, total = int((inside == learned).sum()), learned.size
    loss = dataset["trained_loss"].values
    close, grown, wanted = int((loss < 0.1).sum()), float(dataset["grown"]), float(dataset["grown_theory"])
    return [
        claim(
            "A ghost with two slow directions that rotate into each other has a second no-learning zone: at r2 other "
            "than 0 only delays up to a longest one, which falls as the cube root of r2 grows, can be learned.",
            rule="The half width of the zone in which T can be learned falls with an exponent within 0.05 of -3, and "
            "says in at least 95 % of all runs with r2 held who learns, of whom there are both kinds.",
            measured=f"exponent {value:.3f} (95 % interval {low:.3f} to {high:.3f}); right in {share(right, total)}; "
            f"{int(learned.sum())} learn, at {learned.shape[0]} delays",
            verdict=judge(
                abs(value + 3) <= 0.05 and right >= 0.95 * total and bool(learned.any() and not learned.all())
            ),
        ),
        claim(
            "If both parameters of that ghost are trained, gradient descent itself drives it into the zone, at low "
            "learning rates too: there is no critical rate.",
            rule="From an r2 of a thousandth of the edge no start comes within a tenth of T of the delay, at any rate "
            f"up to a tenth of eq. 15, and a small r2 grows by the derived logarithm within {100 * GROWTH:g} %.",
            measured=f"{share(close, loss.size)} come near; lowest loss {loss.min():.3f} T; growth {grown:.3f}, "
            f"theory {wanted:.3f}",
            verdict=judge(close == 0 and abs(grown / wanted - 1) <= GROWTH),
        ),
    ]
