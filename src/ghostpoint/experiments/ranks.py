"""Article, Fig. 6B (letter: S2): networks of rank 1 to 100 over learning rates; do spare ranks
stabilise learning?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import linregress, mannwhitneyu, spearmanr

from ghostpoint.experiments.full_rank_sweeps import sweep, sweep_jobs
from ghostpoint.experiments.ghost_without_bifurcation import ABRUPT, DROP_FROM, DROP_TO
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, task_of
from ghostpoint.experiments.shared.networks import activation, trained, training
from ghostpoint.experiments.shared.parts import Job, ahead
from ghostpoint.experiments.shared.shares import MOST_OF, judge_share, most, share
from ghostpoint.models import LowRankRNN
from ghostpoint.results import NO_LEARNING_WINDOW

#: Fig. 6B: a network has learned when its final loss is below this share of its first
SCORE = 0.01
#: updates after a drop that are looked at for oscillations, and the share of rises that makes one
AFTERWARDS, OSCILLATES = 1000, 0.25
#: what is saved of the training at the low rate, and what stands for "never"
LOW_RATE = {"drop_begins": -1, "drop_ends": -1, "rises": "nan"}
#: a gradient is gone below this share of the initial one
VANISHED = 1e-3

PAPER: Mapping[str, Any] = {
    "task": activation(),
    "dtype": "float32",
    "ranks": [1, 2, 3, 4, 5, 10, 30, 50, 100],
    "seeds": list(range(10)),
    "log10_rates": [-3.0, 0.0],
    "rates": 10,
    "epochs": 500_000,
    "epochs_shown": [0, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 499_999],
    # one low rate at which every epoch is looked at, for the drop and the oscillation after it
    "low_rate": 10 ** (-7 / 3),
    "low_rate_epochs": 20_000,
    # networks of at most this rank are trained at all rates together: in large stacks they take
    # half the time
    "together_up_to": 3,
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "ranks": [1, 2, 5, 10, 30, 100],
        "seeds": list(range(4)),
        "rates": 7,
        "epochs": 6000,
        "epochs_shown": [0, 300, 1000, 3000, 5999],
        "low_rate_epochs": 6000,
        "together_up_to": 0,  # it would take longer to compile another kernel
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Sweep the rates with the networks of every rank, and score them.

    Returns
    -------
    Dataset over (rank, learning_rate, seed) and epoch
        What a sweep gives, and ``score``, final loss over first, the final one that of the last
        epoch, and ``best_score``, with the lowest loss of the last :data:`NO_LEARNING_WINDOW`
        epochs instead. Losses oscillate, so the two differ. At the low rate, per (rank, seed):
        ``drop_begins`` and ``drop_ends``, the first epochs below 0.9 and 0.1 of the first loss, and
        ``rises``, the share of the :data:`AFTERWARDS` updates after the drop in which the loss
        rises.
    """
    ranks, done, slow = parameters["ranks"], [], []
    ahead(progress, [job for rank in ranks for job in _jobs(parameters, rank)])
    for rank in ranks:
        done.append(sweep(progress=progress, **_sweep_of(parameters, rank)))
        slow.append(_at_low_rate(parameters, progress, rank))
    whole = xr.concat(done, "rank", combine_attrs="identical").assign_coords(rank=np.array(ranks))
    loss = whole["loss"]
    first = loss.isel(epoch=0, drop=True)
    whole = whole.assign(score=loss.isel(epoch=-1, drop=True) / first, best_score=whole["best_loss_at_end"] / first)
    return whole.assign(
        {
            name: (("rank", "seed"), np.stack(values), {"missing": missing})
            for (name, missing), values in zip(LOW_RATE.items(), zip(*slow, strict=True), strict=True)
        }
    )


def _sweep_of(parameters: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Arguments of a sweep over the rates at one rank."""
    settings = {name: value for name, value in parameters.items() if name not in ("ranks", "together_up_to")}
    together = parameters["rates"] if rank <= parameters["together_up_to"] else 1
    return {
        "parameters": {**settings, "rank": rank}, "models": _models(parameters, rank), "name": f"rank_{rank}",
        "together": together,
    }  # fmt: skip


def _models(parameters: Mapping[str, Any], rank: int) -> LowRankRNN:
    return LowRankRNN.published(parameters["seeds"], "6B", rank=rank)


def _at_low_rate_of(parameters: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Arguments of the training at the low rate."""
    return {
        "models": _models(parameters, rank), "parameters": parameters, "learning_rate": parameters["low_rate"],
        "epochs": parameters["low_rate_epochs"], "task": task_of(parameters), "record": "all",
        "keep": f"low_rate_{rank}",
    }  # fmt: skip


def _jobs(parameters: Mapping[str, Any], rank: int) -> list[Job]:
    """All parts of a run at one rank."""
    return [*sweep_jobs(**_sweep_of(parameters, rank)), training(**_at_low_rate_of(parameters, rank))]


def _at_low_rate(parameters: Mapping[str, Any], progress: Progress, rank: int) -> tuple[NDArray[Any], ...]:
    """Where the drops of networks begin and end at the low rate, and how often the loss rises after
    them.
    """
    name = f"rank {rank} at rate {parameters['low_rate']:.2g}"
    run = trained(progress, name, **_at_low_rate_of(parameters, rank))
    loss = run.history["loss"].values / run.history["loss"].values[:, :1]  # of the first, which is that of the plateau
    begins, ends = (
        np.where(below.any(axis=1), below.argmax(axis=1), -1) for below in (loss < DROP_FROM, loss < DROP_TO)
    )
    rises = np.full(len(loss), np.nan)
    for row, end in enumerate(ends):
        after = loss[row, end : end + AFTERWARDS + 1]
        if end >= 0 and len(after) > 1:
            rises[row] = (np.diff(after) > 0).mean()
    return begins, ends, rises


def highest(learned: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Per rank the index of the highest rate at which some network learned, -1 for none, from
    (rank, rate, seed).
    """
    some: NDArray[np.bool_] = np.asarray(learned.any(axis=2))
    return np.where(some.any(axis=1), some.shape[1] - 1 - some[:, ::-1].argmax(axis=1), -1)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """More networks learn at more rates, at higher rates, and in fewer epochs, and what more ranks
    do not prevent.
    """
    ranks, rates, seeds = dataset["rank"].values, dataset["learning_rate"].values, len(dataset["seed"])
    score, best = dataset["score"].values, dataset["best_score"].values
    learned = score < SCORE
    at_all, at_most = learned.sum(axis=(1, 2)), learned[0].size
    full = parameters["epochs"] >= PAPER["epochs"]
    known = full or bool(learned.any())
    trend = _trend(ranks, at_all)
    mostly = np.array([[most(int(count), seeds) for count in row] for row in learned.sum(axis=2)])
    top = highest(mostly[:, :, None])
    rise = _trend(ranks, top)
    steps = f"{len(rates)} rates a factor {rates[1] / rates[0]:.2f} apart, {seeds} seeds"
    early = "" if full else " Fewer epochs than published: a slow network counts as one that does not learn."
    any_top = highest(learned)
    place = int(any_top.max())  # the highest rate at which any network learned, -1 for none
    winners = ranks[any_top == place] if place >= 0 else ranks[:0]
    there = [f"rank {rank}: {count}" for rank, count in zip(ranks, learned[:, place].sum(axis=1), strict=True)]
    many = ranks >= 50
    gone = _gone(dataset)[many]
    large = ", ".join(str(rank) for rank in ranks[many])
    rule = f"A network has learned when its final loss is below {SCORE:g} of its first."
    return [
        published_claim(
            "The more ranks can be trained, the more networks learn.",
            source="Fig. 6B; letter, Fig. S2; abstract of 2026",
            published="more ranks are more stable (no number)",
            rule=f"{rule} The rank correlation of their number with the rank is above 0.7, and more learn at the "
            "highest rank than at the lowest.",
            measured=f"of {at_most} networks each ({steps}, {parameters['epochs']:,} epochs): {_list(ranks, at_all)}; "
            f"rank correlation {trend:.2f}",
            verdict=judge(trend > 0.7 and bool(at_all[-1] > at_all[0]), testable=known),
            note=f"Losses oscillate; by the lowest of the last {NO_LEARNING_WINDOW} epochs: "
            f"{_list(ranks, (best < SCORE).sum(axis=(1, 2)))}.{early}",
        ),
        published_claim(
            "The highest rate at which most networks learn rises with the rank.",
            source="Fig. 6B; letter, Fig. S2; abstract of 2026",
            published="higher rates (no number)",
            rule=f"{rule} The highest rate at which most do has a rank correlation above 0.7 with the rank, and is "
            f"higher at the highest rank than at the lowest. {MOST_OF}",
            measured=f"highest such rate: {_list(ranks, [f'{rates[at]:.2g}' if at >= 0 else 'none' for at in top])}; "
            f"rank correlation {rise:.2f} ({seeds} seeds)",
            verdict=judge_share(
                rise > 0.7 and bool(top[-1] > top[0]), seeds, testable=known and bool((top < len(rates) - 1).any())
            ),
            note=f"The highest rate tried is {rates[-1]:.2g}.{early}",
        ),
        published_claim(
            "At the highest rates only networks of rank 50 or 100 learn.",
            source="Letter, Fig. S2 (right)",
            published="few networks, of rank 50 or 100",
            rule=f"{rule} At the highest rate at which any network learned, all that did have rank 50 or more.",
            measured=f"at {rates[place]:.2g}, the highest rate at which any learned, {'; '.join(there)}"
            if place >= 0
            else "no network learned",
            verdict=judge(bool(len(winners) and (winners >= 50).all()), testable=full),
            note=f"Of {seeds} networks each." + ("" if full else " Needs the full 500,000 epochs."),
        ),
        _epochs_claim(dataset, full),
        *_low_rate_claims(dataset, parameters),
        published_claim(
            "Even networks of rank 50 and 100 occasionally end in no-learning zones.",
            source="Letter, text on Fig. S2",
            published="occasionally (no number)",
            rule=f"Over all rates more than 5 % of them end without the task ({LEARNED:g} of the chance loss or more "
            "at "
            f"all of the last {NO_LEARNING_WINDOW} epochs) and with a gradient norm below {VANISHED:g} of the first.",
            measured=f"{share(int(gone.sum()), gone.size)} of the networks of rank {large}"
            if many.any()
            else "none were trained",
            verdict=judge(bool(gone.sum() > 0.05 * gone.size), testable=bool(many.any())),
        ),
    ]


def _trend(ranks: NDArray[Any], values: NDArray[Any]) -> float:
    """Spearman's correlation of a quantity with the rank, 0 where the quantity is the same for
    all.
    """
    return float(spearmanr(ranks, values).statistic) if len(np.unique(values)) > 1 else 0.0


def _list(ranks: NDArray[Any], values: Any) -> str:
    return ", ".join(f"{value} (rank {rank})" for rank, value in zip(ranks, values, strict=True))


def _gone(dataset: xr.Dataset) -> NDArray[np.bool_]:
    """(rank, rate, seed): neither the task nor a gradient at the end."""
    norm = dataset["gradient_norm"].values
    return ~dataset["kept"].values & ~(norm[..., -1] >= VANISHED * norm[..., 0])


def _low_rate_claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """At the low rate: how abrupt the drops of rank one are, how gradual those of high ranks, what
    follows them.
    """
    ranks = dataset["rank"].values
    begins, ends, rises = (dataset[name].values for name in LOW_RATE)
    dropped = (begins > 0) & (ends > 0)
    ratio = np.where(dropped, (ends - begins) / np.maximum(begins, 1), np.nan)
    low, high = ratio[ranks == 1], ratio[ranks >= 50]
    low, high = low[np.isfinite(low)], high[np.isfinite(high)]
    sharp, many = int((low < ABRUPT).sum()), dropped & (ranks >= 50)[:, None]
    waves, tried = int((rises[many] >= OSCILLATES).sum()), bool((ranks >= 50).any() and (ranks == 1).any())
    apart = bool(len(low) and len(high))
    p = float(mannwhitneyu(high, low, alternative="greater").pvalue) if apart else 1.0
    at = f"at rate {parameters['low_rate']:.2g}"
    full = parameters["low_rate_epochs"] >= PAPER["low_rate_epochs"]
    drop = f"from {DROP_FROM:g} to {DROP_TO:g} of the first"
    source, few = "Letter, Fig. S2 (left)", "The rate of the published panel is not stated."
    return [
        published_claim(
            "At a low rate the loss of rank-one networks drops abruptly.",
            source=source,
            published="an abrupt jump, as in Fig. 3A (no number)",
            rule=f"In most that drop, the loss falls {drop} in less than {ABRUPT:g} times the epochs before. {MOST_OF}",
            measured=f"{share(sharp, len(low))} {at}; median ratio {np.median(low):.3f}" if len(low) else "none drops",
            verdict=judge_share(most(sharp, len(low)), len(low), testable=tried and (full or len(low) > 0)),
            note=few,
        ),
        published_claim(
            "Networks of rank 50 and 100 lower their loss gradually, where those of rank one do so within few epochs.",
            source=f"{source} and text",
            published="milder and sustained decreases (no number)",
            rule=f"The epochs of the drop {drop} over those before it are larger at rank 50 and 100 than at rank one "
            "(Mann-Whitney test, p < 0.01).",
            measured=f"medians {np.median(high):.3f} ({len(high)} networks) and {np.median(low):.3f} ({len(low)}), p = "
            f"{p:.2g}; the drops begin at epochs {np.median(begins[many]):,.0f} and "
            f"{np.median(begins[(ranks == 1)[:, None] & dropped]):,.0f} {at}"
            if apart
            else "no network of one of them drops",
            verdict=judge(p < 0.01, testable=tried and (full or apart)),
            note=few,
        ),
        published_claim(
            "Networks of rank 50 and 100 still oscillate after the drop.",
            source=f"{source} and text",
            published="substantial oscillations (no number)",
            rule=f"In most, the loss rises in at least {OSCILLATES:g} of the {AFTERWARDS:,} updates after the drop. "
            f"{MOST_OF}",
            measured=f"{share(waves, int(many.sum()))} {at}; median share of rises {np.median(rises[many]):.2f}"
            if many.any()
            else "none drops",
            verdict=judge_share(
                most(waves, int(many.sum())), int(many.sum()), testable=tried and (full or bool(many.any()))
            ),
            note=few,
        ),
    ]


def _epochs_claim(dataset: xr.Dataset, full: bool) -> Claim:
    """How the epochs until a network learns depend on the rank, where every network of every rank
    learns.
    """
    ranks, rates, first = dataset["rank"].values, dataset["learning_rate"].values, dataset["first_learned"].values
    everywhere = np.flatnonzero((first > 0).all(axis=(0, 2)))
    fitted = len(everywhere) > 0 and len(ranks) > 2
    slope, error, text = np.nan, np.nan, "at no rate do all networks of all ranks learn"
    if fitted:
        epochs = np.log(first[:, everywhere])
        centred = epochs - epochs.mean(axis=(0, 2), keepdims=True)  # each rate has a level of its own
        fit = linregress(np.repeat(np.log(ranks), centred[0].size), centred.reshape(-1))
        slope, error = float(fit.slope), float(fit.stderr)
        place = everywhere[0]
        text = (
            f"epochs until a loss of {LEARNED:g} of chance scale as rank^({slope:.2f} ± {error:.2f}) at the "
            f"{len(everywhere)} rates at which all networks learn, {rates[everywhere[0]]:.2g} to "
            f"{rates[everywhere[-1]]:.2g}; medians at {rates[place]:.2g}: "
            + _list(ranks, [f"{value:,.0f}" for value in np.median(first[:, place], axis=1)])
        )
    return published_claim(
        "With more ranks learning takes fewer epochs.",
        source="Letter, text on Fig. S2",
        published="fewer epochs (no number)",
        rule="At the rates at which all networks learn, the exponent of the epochs over the rank is below 0 by two "
        "standard errors.",
        measured=text,
        verdict=judge(slope + 2 * error < 0, testable=fitted or full),
    )


RANKS = Experiment(
    id="ranks",
    title="Networks of rank 1 to 100 over learning rates",
    figure="Fig. 6B (letter: Fig. S2)",
    question="Delayed activation needs one rank. What do spare, trainable ranks do for learning: at how many rates, up "
    "to which rate, and after how many epochs do networks of each rank learn?",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
