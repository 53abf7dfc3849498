"""Statements on abrupt learning, judged for each architecture: "carries over" or "does not carry
over".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.architecture_runs import (
    ACTIVATION,
    ARCHITECTURES,
    CONFIDENT,
    CUE,
    LEARNED,
    LOST,
    MATCH,
    MEMORY,
    SIGN,
)
from ghostpoint.experiments.critical_rate_scaling import exponent
from ghostpoint.experiments.shared.base import Claim, judge, own_claim
from ghostpoint.experiments.shared.shares import (
    ENOUGH,
    HARDLY_ANY_OF,
    MOST_OF,
    NEARLY_ALL_OF,
    hardly_any,
    most,
    nearly_all,
    share,
)

SHORT = {ACTIVATION: "activation", CUE: "cue", MATCH: "match", SIGN: "sign"}
#: rates up to this share of the critical rate are those at which the drop is looked at, and rates
#: from this multiple on those at which nothing should be learned
BELOW, ABOVE = 0.5, 2.0
#: a gradient has vanished below this share of the initial one
VANISHED = 1e-3
#: a lost network is confident from this multiple of the logits at which it had learned
SHARPER = 2.0
#: how near the exponent of the delay must be to that of networks of rank one, and the least ratio
#: of the delays
RANK_ONE, NEAR, SPAN = -2.0, 0.5, 3.0
#: remedies are judged at rates up to this multiple of the critical one
REACH = 10.0
#: a ghost accounts for a delay from this share of it
STAY = 0.25


@dataclass(frozen=True)
class Finding:
    """Whether a statement carries over to an architecture (None: not tested), and the numbers."""

    carries: bool | None
    words: str


Values = NDArray[np.float64]
Statement = Callable[[xr.Dataset, str], Finding]


def part(data: xr.Dataset, architecture: str, task: str, treatment: str = "plain") -> xr.Dataset:
    """The cases of an architecture on a task that were trained, by delay."""
    names = {"architecture": architecture, "task": task, "treatment": treatment}
    chosen = np.all([data[name].values == value for name, value in names.items()], axis=0)
    rows = np.flatnonzero(chosen & tried(data).any(axis=(1, 2)))
    return data.isel(case=rows[np.argsort(data["delay"].values[rows], kind="stable")])


def base(data: xr.Dataset, architecture: str, task: str, treatment: str = "plain") -> xr.Dataset | None:
    """The case with the shortest delay; None where there is none."""
    found = part(data, architecture, task, treatment)
    return found.isel(case=0) if found.sizes["case"] else None


def longest(data: xr.Dataset, architecture: str, task: str) -> xr.Dataset | None:
    """The case with the longest delay; None where there is none."""
    found = part(data, architecture, task)
    return found.isel(case=-1) if found.sizes["case"] else None


def tried(one: xr.Dataset) -> NDArray[np.bool_]:
    """(..., rate, seed) which networks were trained."""
    return np.asarray(~np.isnan(one["final"].values))


def kept(one: xr.Dataset) -> NDArray[np.bool_]:
    """(rate, seed) which networks end with a loss below :data:`LEARNED` of the plateau's."""
    return np.asarray(one["final"].values < LEARNED)


def lost(one: xr.Dataset) -> NDArray[np.bool_]:
    """(rate, seed) which networks had learned and end above :data:`LOST` of the plateau's loss."""
    return np.asarray(np.isfinite(one["first_learned"].values) & (one["final"].values >= LOST))


def critical(one: xr.Dataset) -> Values:
    """(seed,) the highest rate that is kept, times half a step of the grid; NaN where none is."""
    rates = one["rate"].values
    half = np.sqrt(rates[1] / rates[0])
    good = kept(one)
    highest = len(rates) - 1 - good[::-1].argmax(axis=0)
    return np.asarray(np.where(good.any(axis=0), rates[highest] * half, np.nan))


def middle(values: Values) -> float:
    """The median of the numbers among the values; NaN for none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def drop_ratio(one: xr.Dataset) -> Values:
    """(seed,) epochs of the drop over epochs of the plateau, the median over the rates up to
    :data:`BELOW` of the median critical rate; NaN for networks that do not drop there.
    """
    low = one["rate"].values <= BELOW * middle(critical(one))
    start, end = (one[name].values[low] for name in ("drop_from", "drop_to"))
    ratio = (end - start) / np.maximum(start, 1)
    return np.array([middle(column) for column in ratio.T])


def summaries(data: xr.Dataset) -> xr.Dataset:
    """What the figure shows of every case: the share of networks that are kept, over rate; the
    critical rate and the ratio of drop and plateau, over seed; and one loss curve, at the highest
    rate up to :data:`BELOW` of the median critical rate.
    """
    shape = (data.sizes["case"], data.sizes["rate"], data.sizes["seed"])
    share_kept = np.full(shape[:2], np.nan)
    limits, ratios = np.full((2, shape[0], shape[2]), np.nan)
    curve = np.full((shape[0], data.sizes["point"]), np.nan)
    for row in range(shape[0]):
        one = data.isel(case=row)
        if not tried(one).any():
            continue
        here = tried(one).any(axis=1)
        share_kept[row, here] = kept(one)[here].mean(axis=1)
        limits[row], ratios[row] = critical(one), drop_ratio(one)
        low = np.flatnonzero(here & (data["rate"].values <= BELOW * middle(limits[row])))
        if len(low):
            curve[row] = one["curve"].values[low[-1]]
    return xr.Dataset(
        {
            "share_kept": (("case", "rate"), share_kept),
            "critical": (("case", "seed"), limits),
            "drop_ratio": (("case", "seed"), ratios),
            "shown_curve": (("case", "point"), curve),
        }
    )


def _together(parts: list[tuple[bool | None, str]]) -> Finding:
    """A finding over several tasks: it carries over where it does in all that could be judged."""
    judged = [carries for carries, _ in parts if carries is not None]
    return Finding(all(judged) if judged else None, "; ".join(words for _, words in parts) or "not in this run")


def plateau_and_drop(data: xr.Dataset, architecture: str) -> Finding:
    """The drop takes fewer epochs than the plateau, in each task with memory, at its longest
    delay."""
    found: list[tuple[bool | None, str]] = []
    for task in MEMORY:
        one = longest(data, architecture, task)
        if one is None:
            continue
        ratio = drop_ratio(one)
        ratio = ratio[np.isfinite(ratio)]
        count = int((ratio < 1).sum())
        verdict = most(count, len(ratio)) if len(ratio) >= ENOUGH else None
        found.append((verdict, f"{SHORT[task]} {_number(middle(ratio))} ({count} of {len(ratio)})"))
    return _together(found)


def no_plateau_without_memory(data: xr.Dataset, architecture: str) -> Finding:
    """The drop takes as many epochs as the plateau, or more."""
    one = base(data, architecture, SIGN)
    if one is None:
        return Finding(None, "not in this run")
    ratio = drop_ratio(one)
    ratio = ratio[np.isfinite(ratio)]
    count = int((ratio >= 1).sum())
    return Finding(
        most(count, len(ratio)) if len(ratio) >= ENOUGH else None,
        f"{_number(middle(ratio))} ({count} of {len(ratio)})",
    )


def highest_rate(data: xr.Dataset, architecture: str) -> Finding:
    """Above the critical rate hardly any network learns, in each task with memory."""
    found: list[tuple[bool | None, str]] = []
    for task in MEMORY:
        one = base(data, architecture, task)
        if one is None:
            continue
        limit = middle(critical(one))
        high = tried(one) & (one["rate"].values > ABOVE * limit)[:, None]
        count, total = int((kept(one) & high).sum()), int(high.sum())
        verdict = hardly_any(count, total) if total >= ENOUGH else None
        found.append((verdict, f"{SHORT[task]} {_number(limit)}, above it {count} of {total}"))
    return _together(found)


def vanishing_gradient(data: xr.Dataset, architecture: str) -> Finding:
    """Networks that fail above the critical rate end with a vanished gradient."""
    count = total = 0
    for task in MEMORY:
        one = base(data, architecture, task)
        if one is None:
            continue
        high = tried(one) & (one["rate"].values > ABOVE * middle(critical(one)))[:, None] & ~kept(one)
        flat = one["gradient_end"].values < VANISHED * one["gradient_start"].values
        count, total = count + int((flat & high).sum()), total + int(high.sum())
    return Finding(nearly_all(count, total) if total >= ENOUGH else None, share(count, total))


def collapse(data: xr.Dataset, architecture: str) -> Finding:
    """Most networks are lost after learning delayed activation, at some rate."""
    words, verdict = [], None
    for task in MEMORY:
        one = longest(data, architecture, task)
        if one is None:
            continue
        count, total = int(lost(one).any(axis=0).sum()), one.sizes["seed"]
        words.append(f"{SHORT[task]} {count} of {total}")
        if task == ACTIVATION and total >= ENOUGH:
            verdict = most(count, total)
    return Finding(verdict, "; ".join(words) or "not in this run")


def confident_when_lost(data: xr.Dataset, architecture: str) -> Finding:
    """Lost networks end with larger logits than those with which they had learned."""
    learned, at_loss, end = [], [], []
    for task in MEMORY:
        one = part(data, architecture, task)
        gone = lost(one)
        learned.append(one["logit_learned"].values[gone])
        at_loss.append(one["logit_collapse"].values[gone])
        end.append(one["logit_end"].values[gone])
    before, then, after = (np.concatenate(each) for each in (learned, at_loss, end))
    known = np.isfinite(before) & ~np.isnan(after)
    count, total = int((after[known] >= SHARPER * before[known]).sum()), int(known.sum())
    return Finding(
        most(count, total) if total >= ENOUGH else None,
        f"{share(count, total)}; median size of the logits {_number(middle(before))} when learned, "
        f"{_number(middle(then))} at the collapse, {_number(middle(after))} at the end"
        if total
        else "no network lost",
    )


def rates_and_delays(data: xr.Dataset, architecture: str) -> tuple[tuple[float, float, float], str, bool]:
    """The exponent of the delay in the critical rate with its interval, the medians in words, and
    whether the delays reach far enough.
    """
    found = part(data, architecture, ACTIVATION)
    delays = found["delay"].values.astype(float)
    cases = [found.isel(case=row) for row in range(found.sizes["case"])]
    if len(cases) < 2:
        return (np.nan, np.nan, np.nan), "not in this run", False
    rates = np.array([critical(one) for one in cases])
    # a network that is kept at the highest rate that was tried has a bound, no critical rate
    bound = np.array([kept(one)[int(np.flatnonzero(tried(one).any(axis=1))[-1])] for one in cases])
    fit = exponent(delays, rates)
    words = ", ".join(
        f"{_number(middle(row))} at T = {delay:g}{f' ({above.sum()} above the grid)' if above.any() else ''}"
        for row, above, delay in zip(rates, bound, delays, strict=True)
    )
    words = "exponent {} ({} to {}); {}".format(*map(_exponent, fit), words)
    measured = delays[np.isfinite(rates).sum(axis=1) >= ENOUGH]
    enough = len(measured) > 1 and bool(measured.max() / measured.min() >= SPAN) and np.isfinite(fit[0])
    return fit, words, bool(enough and (bound.mean(axis=1) <= 0.5).all())


def falls_with_delay(data: xr.Dataset, architecture: str) -> Finding:
    """The critical rate falls with the delay, by more than one step of the grid of rates."""
    fit, words, enough = rates_and_delays(data, architecture)
    if not enough:
        return Finding(None, words)
    delays, rates = part(data, architecture, ACTIVATION)["delay"].values, data["rate"].values
    step = math.log(rates[1] / rates[0]) / math.log(delays[-1] / delays[0])
    return Finding(bool(fit[2] < -step), words)


def as_rank_one(data: xr.Dataset, architecture: str) -> Finding:
    """It falls as T^-2, as in networks of rank one."""
    fit, _, enough = rates_and_delays(data, architecture)
    return Finding(bool(abs(fit[0] - RANK_ONE) <= NEAR) if enough else None, _exponent(fit[0]) if enough else "-")


def recovery(data: xr.Dataset, architecture: str) -> Finding:
    """Confident failed networks learn once their confidence is lowered, and not when left alone."""
    recovered, alone = [], []
    for task in MEMORY:
        one = base(data, architecture, task)
        if one is not None:
            recovered.append(one["recovered"].values.ravel())
            alone.append(one["alone"].values.ravel())
    again = np.concatenate(recovered) if recovered else np.zeros(0)
    same = np.concatenate(alone) if alone else np.zeros(0)
    known = np.isfinite(again)
    total, count, left = int(known.sum()), int((again[known] > 0).sum()), int((same[known] > 0).sum())
    verdict = most(count, total) and hardly_any(left, total) if total >= ENOUGH else None
    return Finding(verdict, f"{share(count, total)}; left alone {left}" if total else "not in this run")


def _remedy(treatment: str, data: xr.Dataset, architecture: str) -> Finding:
    """Networks that fail without the remedy learn with it, above the critical rate."""
    found: list[tuple[bool | None, str]] = []
    for task in MEMORY:
        plain, other = base(data, architecture, task), base(data, architecture, task, treatment)
        if plain is None or other is None:
            continue
        limit, rates = middle(critical(plain)), plain["rate"].values
        high = ((rates > limit) & (rates <= REACH * limit))[:, None] & tried(plain) & tried(other) & ~kept(plain)
        count, total = int((kept(other) & high).sum()), int(high.sum())
        found.append((most(count, total) if total >= ENOUGH else None, f"{SHORT[task]} {count} of {total}"))
    return _together(found)


def ghost_passed(data: xr.Dataset, architecture: str) -> Finding:
    """In the drop the trajectory passes a ghost that holds it for a part of the delay."""
    if (found := _searched(data, architecture)) is None:
        return Finding(None, _no_search(architecture))
    longest_stay = found["ghost_dwell"].values.max(axis=0, initial=0)
    count, total = int((longest_stay >= STAY).sum()), found.sizes["searched"]
    any_ghost = int((found["ghost_ghosts"].values.max(axis=0, initial=0) > 0).sum())
    return Finding(
        most(count, total) if total >= ENOUGH else None, f"{share(count, total)}; {any_ghost} have a ghost anywhere"
    )


def no_bifurcation(data: xr.Dataset, architecture: str) -> Finding:
    """As many fixed points after the drop as before it."""
    if (found := _searched(data, architecture)) is None:
        return Finding(None, _no_search(architecture))
    counts = found["ghost_fixed"].values
    count, total = int((counts[0] == counts[-1]).sum()), found.sizes["searched"]
    return Finding(
        most(count, total) if total >= ENOUGH else None,
        f"{share(count, total)}; medians {middle(counts[0]):g} and {middle(counts[-1]):g}",
    )


def _searched(data: xr.Dataset, architecture: str) -> xr.Dataset | None:
    """The slow points (moment, network) of those networks that dropped; None where none were
    looked for.
    """
    if architecture not in data["cell"].values:
        return None
    one = data.sel(cell=architecture)
    (axis,) = one["ghost_drop_to"].dims
    return one.isel({axis: np.isfinite(one["ghost_drop_to"].values)}).rename({axis: "searched"})


def _no_search(architecture: str) -> str:
    return "no state" if ARCHITECTURES[architecture].label in ("convolution", "transformer") else "not searched"


def _number(value: float) -> str:
    """Two digits, never as a power of ten."""
    return f"{float(f'{value:.2g}'):g}" if np.isfinite(value) else "-"


def _exponent(value: float) -> str:
    """Two decimals; no zero is negative."""
    return f"{round(value, 2) + 0.0:.2f}"


#: sentence, rule, and how it is judged for one architecture, in the order of the claims
STATEMENTS: Mapping[str, tuple[str, str, Statement]] = {
    "plateau": (
        "On tasks with memory the loss stays on a plateau and drops abruptly.",
        "In every task with memory, at its longest delay, in most networks that drop at rates up to half of the median "
        "critical rate, the drop from 0.9 to 0.1 of the plateau's loss takes fewer epochs than the plateau before it. "
        f"{MOST_OF}",
        plateau_and_drop,
    ),
    "no memory": (
        "Without memory there is no such plateau: reporting the sign of the present input is learned from the start.",
        f"In most networks the drop, as above, takes at least as many epochs as the plateau. {MOST_OF}",
        no_plateau_without_memory,
    ),
    "highest rate": (
        "There is a highest learning rate, above which networks do not end with the task solved.",
        f"At rates above {ABOVE:g} times the median critical rate hardly any network is kept, in every task with "
        f"memory. {HARDLY_ANY_OF}",
        highest_rate,
    ),
    "vanishing": (
        "Above it the gradient vanishes.",
        f"Nearly all networks that fail there end with a gradient below {VANISHED:g} of the initial one. "
        f"{NEARLY_ALL_OF}",
        vanishing_gradient,
    ),
    "collapse": (
        "At high rates networks learn delayed activation and lose it again.",
        f"At the longest delay most networks, at some rate, come below {LEARNED:g} of the plateau's loss and end above "
        f"{LOST:g} of it. {MOST_OF}",
        collapse,
    ),
    "confident": (
        "Networks that lost what they learned are confident.",
        f"Most of them end with a mean |logit| of at least {SHARPER:g} times that with which they had learned. "
        f"{MOST_OF}",
        confident_when_lost,
    ),
    "delay": (
        "The critical rate falls with the delay.",
        f"Over delays of a factor of {SPAN:g} or more the 95 % interval of the exponent lies below 0, by more than one "
        "step of the grid of rates between the shortest and the longest delay would make.",
        falls_with_delay,
    ),
    "exponent": (
        "It falls as T^-2, as in networks of rank one.",
        f"The exponent is within {NEAR:g} of {RANK_ONE:g}.",
        as_rank_one,
    ),
    "recovery": (
        "Networks that failed learn once their confidence is lowered, and not when left alone.",
        f"Of networks that end above {LOST:g} of the plateau's loss with a mean |logit| of {CONFIDENT:g} or more, most "
        f"learn at the same rate with the logits divided by that mean, and hardly any without. {MOST_OF} "
        f"{HARDLY_ANY_OF}",
        recovery,
    ),
    "confidence 0.2": (
        "A lower confidence from the start lets networks learn above the critical rate.",
        f"Of networks that fail at rates from 1 to {REACH:g} times the median critical rate, most are kept with logits "
        f"multiplied by 0.2, in every task that is tried. {MOST_OF}",
        partial(_remedy, "confidence 0.2"),
    ),
    "clip 0.1": (
        "Clipping the gradient lets networks learn above the critical rate.",
        f"As above, with gradients clipped at 0.1. {MOST_OF}",
        partial(_remedy, "clip 0.1"),
    ),
    "ghost": (
        "At the drop of recurrent networks the trajectory passes a ghost.",
        "In most networks, at the beginning, in the middle or at the end of the drop of delayed activation, it passes "
        f"one and stays for at least {STAY:g} of the delay. {MOST_OF}",
        ghost_passed,
    ),
    "bifurcation": (
        "The drop needs no change of the number of fixed points.",
        f"In most recurrent networks it is the same at the beginning and at the end of the drop. {MOST_OF}",
        no_bifurcation,
    ),
}


def findings(data: xr.Dataset) -> dict[str, dict[str, Finding]]:
    """Every statement for every architecture."""
    untried = "needs PyTorch" if not data.attrs["torch"] else "not in this run"
    present = {name: bool((data["architecture"].values == name).any()) for name in ARCHITECTURES}
    trained = {name: any(part(data, name, task).sizes["case"] for task in SHORT) for name in ARCHITECTURES}
    found: dict[str, dict[str, Finding]] = {}
    for key, (_, _, judged) in STATEMENTS.items():
        found[key] = {
            name: judged(data, name)
            if trained[name] or name in data["cell"].values
            else Finding(None, untried if present[name] else "not in this run")
            for name in ARCHITECTURES
        }
    return found


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """One claim a statement: that it carries over to every architecture for which it is judged."""
    claim = partial(own_claim, source="docs/architectures.md")
    made = []
    for key, each in findings(dataset).items():
        sentence, rule, _ = STATEMENTS[key]
        judged = {name: one for name, one in each.items() if one.carries is not None}
        words = [
            f"{ARCHITECTURES[name].label} {'carries over' if one.carries else 'does not carry over'} ({one.words})"
            for name, one in judged.items()
        ]
        others = [ARCHITECTURES[name].label for name, one in each.items() if one.carries is None]
        note = f"Not tested: {', '.join(others)}." if others else ""
        if others and not dataset.attrs["torch"]:
            note += " Some of them need PyTorch, which is not installed."
        made.append(
            claim(
                sentence,
                rule=f"For every architecture: {rule}",
                measured=f"{dataset.sizes['seed']} seeds. " + (". ".join(words) if words else "no architecture tested"),
                verdict=judge(all(bool(one.carries) for one in judged.values()), testable=bool(judged)),
                note=note,
            )
        )
    return made
