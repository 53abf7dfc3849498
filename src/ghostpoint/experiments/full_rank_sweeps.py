"""Article, Figs. 6A and 7: full-rank networks over learning rates, on three tasks.

Delayed activation (Fig. 6A, beside rank-one networks at the same rates), delayed cue discrimination
(Fig. 7A-C) and delayed match to sample (Fig. 7D-F).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim, published_claim
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, networks_of, task_of
from ghostpoint.experiments.shared.networks import NETWORKS, activation, cued, digest, log_grid, models_of, trained
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.experiments.shared.power_laws import epochs_claim
from ghostpoint.experiments.shared.shares import ENOUGH, NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import Record
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import Task

#: a range of rates is at least so many neighbours of the grid
RANGE = 3
#: a gradient has vanished below this share of the initial one
VANISHED = 1e-3
#: an output is sure of itself when a wrong answer costs at least this squared error, by the number
#: of levels of a task
SURE = {2: 0.9, 3: 1.2}
WHY_SURE = {
    2: "An output of 0 or 1 in place of the other costs 1, an undecided one 1/4.",
    3: "An output of 0 costs 1, one of +1 in place of -1 costs 4.",
}

PAPER_ACTIVATION: Mapping[str, Any] = {
    **NETWORKS,
    "task": activation(),
    "figure": "6A",
    "seeds": list(range(10)),
    "log10_rates": [-4.0, 1.0],
    "rates": 30,
    "epochs": 200_001,
    "epochs_shown": [0, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
    "rank_one_epochs": 200_001,
    "rank_one_shown": [0, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
}
QUICK_ACTIVATION: Mapping[str, Any] = {
    **PAPER_ACTIVATION,
    "seeds": list(range(4)),
    "rates": 16,
    "epochs": 3001,
    "epochs_shown": [0, 30, 100, 300, 1000, 3000],
    "rank_one_epochs": 20_001,
    "rank_one_shown": [0, 1000, 3000, 10_000, 20_000],
}
PAPER_DCDT: Mapping[str, Any] = {
    "figure": "7A",
    "dtype": "float32",
    "task": cued("DelayedCueDiscrimination", 30.0, 80.0),
    "seeds": list(range(20)),
    "log10_rates": [-3.0, 1.0],
    "rates": 20,
    "epochs": 20_000,
    "epochs_shown": [0, 100, 300, 1000, 3000, 10_000, 19_999],
}
PAPER_DMTS: Mapping[str, Any] = {**PAPER_DCDT, "figure": "7D", "task": cued("DelayedMatchToSample", 30.0, 80.0)}
FEW: Mapping[str, Any] = {"seeds": list(range(4)), "rates": 13}
QUICK_DCDT = {**PAPER_DCDT, **FEW, "epochs": 1001, "epochs_shown": [0, 100, 300, 1000]}
QUICK_DMTS = {**PAPER_DMTS, **FEW, "epochs": 3001, "epochs_shown": [0, 100, 300, 1000, 3000]}


def run_beside_rank_one(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Sweep the full-rank networks, and the rank-one ones of Fig. 3A at the same rates."""
    settings = {**parameters, "epochs": parameters["rank_one_epochs"], "epochs_shown": parameters["rank_one_shown"]}
    beside = (models_of(parameters, parameters["seeds"]), "rank_one")
    ahead(progress, [*sweep_jobs(parameters, name="full_rank"), *sweep_jobs(settings, *beside)])
    full = sweep(parameters, progress, name="full_rank")
    one = sweep(settings, progress, *beside)
    own_epochs = one.rename({"epoch": "rank_one_epoch"})
    return full.assign({f"rank_one_{name}": values for name, values in own_epochs.data_vars.items()})


def rank_one(dataset: xr.Dataset) -> xr.Dataset:
    """The rank-one sweep in a dataset of :func:`run_beside_rank_one`, with the names of a sweep."""
    names = {str(name): str(name).removeprefix("rank_one_") for name in dataset.variables}
    return dataset[[name for name in dataset.data_vars if str(name).startswith("rank_one_")]].rename(
        {name: short for name, short in names.items() if short != name}
    )


def sweep(
    parameters: Mapping[str, Any],
    progress: Progress,
    models: Record | None = None,
    name: str = "networks",
    together: int = 1,
) -> xr.Dataset:
    """Train ``models`` (by default the parameters' networks) at every rate.

    The rates are trained ``together`` at a time, each time as one stack and as a part that is kept:
    one by one, so that no more than a rate is lost to an interruption, or several where a larger
    stack is the faster.

    Returns
    -------
    Dataset over (learning_rate, seed) and epoch
        ``loss`` (in units of chance), ``accuracy`` and ``gradient_norm`` at the epochs shown;
        ``first_learned``, the first epoch with a loss below :data:`LEARNED` of chance, -1 for
        never; ``best_loss_at_end`` and ``best_accuracy_at_end``, the best of the last epochs (as
        many as the no-learning zone is judged by); ``kept``, whether that loss is below the same
        share; ``frozen`` and ``diverged`` as in a training run.
    """
    seeds, rates = parameters["seeds"], log_grid(parameters["log10_rates"], parameters["rates"])
    jobs = sweep_jobs(parameters, models, name, together)
    work = sum(job.total for job in jobs)
    ahead(progress, jobs)
    progress.phase(f"{name}: {len(rates)} rates x {len(seeds)} seeds", work, len(rates) * len(seeds))
    whole = xr.concat([counted_part(progress, job) for job in jobs], "learning_rate").assign_coords(learning_rate=rates)
    return whole.assign(kept=whole["best_loss_at_end"] < LEARNED)


def sweep_jobs(
    parameters: Mapping[str, Any], models: Record | None = None, name: str = "networks", together: int = 1
) -> list[Job]:
    """The parts of :func:`sweep`, in the order of the rates."""
    task, seeds = task_of(parameters), parameters["seeds"]
    rates = log_grid(parameters["log10_rates"], parameters["rates"])
    stack = networks_of(parameters, seeds) if models is None else models
    used, drawn = ("seeds", "epochs", "epochs_shown", "dtype"), digest(stack)
    jobs = []
    for first in range(0, len(rates), together):
        some = rates[first : first + together]
        settings = {**{key: parameters[key] for key in used}, "task": task.to_dict(), "learning_rates": some.tolist()}
        total = len(some) * len(seeds) * parameters["epochs"]
        jobs.append(Job(name, settings, total, partial(_at, some, stack, task, parameters), _at, drawn))
    return jobs


def _at(
    rates: NDArray[Any], models: Record, task: Task, parameters: Mapping[str, Any], progress: Progress
) -> xr.Dataset:
    """All seeds at some rates, over (learning_rate, seed)."""
    epochs, shown = parameters["epochs"], np.array(parameters["epochs_shown"])
    window = np.arange(max(0, epochs - NO_LEARNING_WINDOW), epochs)
    seeds = len(models)
    stack, each = models.repeat(len(rates)), np.repeat(rates, seeds)
    run = trained(progress, "", stack, parameters, each, epochs, task, record=np.union1d(shown, window), solved=LEARNED)
    loss = run.history["loss"] / task.chance_loss

    def by_rate(values: Any) -> NDArray[Any]:
        array = np.asarray(values)
        return array.reshape(len(rates), seeds, *array.shape[1:])

    curves, network = ("learning_rate", "seed", "epoch"), ("learning_rate", "seed")
    kept = {
        "loss": (curves, by_rate(loss.sel(epoch=shown)), {"units": "chance"}),
        "accuracy": (curves, by_rate(run.history["accuracy"].sel(epoch=shown))),
        "gradient_norm": (curves, by_rate(run.history["gradient_norm"].sel(epoch=shown))),
        "first_learned": (network, by_rate(run.events["first_solved"]), {"missing": -1}),
        "frozen": (network, by_rate(run.events["frozen"]), {"missing": -1}),
        "diverged": (network, by_rate(run.events["diverged"]), {"missing": -1}),
        "best_loss_at_end": (network, by_rate(loss.sel(epoch=window).min("epoch")), {"units": "chance"}),
        "best_accuracy_at_end": (network, by_rate(run.history["accuracy"].sel(epoch=window).max("epoch"))),
    }
    attributes = {"epochs": epochs, "chance_accuracy": task.chance_accuracy}
    coordinates = {"learning_rate": rates, "seed": np.array(parameters["seeds"]), "epoch": shown}
    return xr.Dataset(kept, coordinates, attributes)


class Fates:
    """What became of each network of a sweep, as (rate, seed) arrays of bool, and the rates that
    follow from them.

    ``learned``: below :data:`LEARNED` of chance at some epoch. ``kept``: at one of the last epochs.
    ``lost``: learned and not kept.
    """

    def __init__(self, dataset: xr.Dataset):
        self.rates: NDArray[np.float64] = dataset["learning_rate"].values
        self.first: NDArray[np.int64] = dataset["first_learned"].values
        self.learned: NDArray[np.bool_] = self.first >= 0
        self.kept: NDArray[np.bool_] = dataset["kept"].values
        self.lost = self.learned & ~self.kept

    @property
    def highest(self) -> int:
        """Index of the highest rate at which some network learns, -1 for none."""
        return int(np.flatnonzero(self.learned.any(axis=1)).max(initial=-1))

    @property
    def fine(self) -> NDArray[np.int64]:
        """Indices of the rates at which every network keeps the task."""
        return np.flatnonzero(self.kept.all(axis=1))


def longest_run(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The indices of the longest stretch of neighbours that are chosen, the first of equals; empty
    for none.
    """
    places = np.flatnonzero(chosen)
    stretches = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return max(stretches, key=len)


def sweep_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """Claims: a range of rates that learns, a highest one, above it no gradient and wrong outputs,
    and fewer epochs at higher rates.

    Parameters
    ----------
    dataset, parameters
        Of a run of the experiment.
    source : str
        Figure of the article that the claims are from.
    """
    f = Fates(dataset)
    rates, seeds, top = f.rates, len(dataset["seed"]), f.highest
    grid = (
        f"grid of {len(rates)} rates a factor {rates[1] / rates[0]:.2f} apart, {seeds} seeds, "
        f"{parameters['epochs']:,} epochs"
    )
    run = longest_run(np.asarray(f.learned.all(axis=1)))
    above, held = (len(rates) - top - 1 if top >= 0 else 0), np.asarray(f.kept.all(axis=1))
    each = f"{int(held[run].sum())} of these with no network lost" if len(run) else ""
    return [
        published_claim(
            "In a range of rates all networks learn.",
            source=source,
            published="by eye, no number",
            rule=f"At {RANGE} neighbouring rates of the grid or more every network, of at least {ENOUGH}, falls below "
            f"{LEARNED:g} of chance at some epoch.",
            measured=f"{rates[run[0]]:.2g} to {rates[run[-1]]:.2g}, {len(run)} rates, {each} ({grid})"
            if len(run)
            else f"no such rate ({grid})",
            verdict=judge_share(len(run) >= RANGE, seeds),
        ),
        published_claim(
            "There is a highest rate that learns: above it no network does.",
            source=source + "; abstract of 2026",
            published="a critical rate (no number)",
            rule=f"Some network learns, and none of at least {ENOUGH} does at the two highest rates of the grid or "
            "more.",
            measured=f"{share(int(f.learned[top].sum()), seeds)} at {rates[top]:.2g}, and "
            f"{share(0, above * seeds)} at the {above} rates above it"
            if top >= 0
            else f"no network learns at any rate ({grid})",
            verdict=judge_share(top >= 0 and above >= 2, seeds),
        ),
        *_stuck_claims(dataset, parameters, f, source + "; abstract of 2026"),
        _speed_claim(f, source),
    ]


def collapse_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """:func:`sweep_claims`, and that networks which have learned are lost at high rates; same
    arguments.
    """
    return [*sweep_claims(dataset, parameters, source), _collapse_claim(dataset, source)]


def _collapse_claim(dataset: xr.Dataset, source: str) -> Claim:
    """Whether networks that have learned are lost, at high rates."""
    f = Fates(dataset)
    some = np.flatnonzero(f.learned.any(axis=1))
    middle = int(some[-1] + some[0] + 1) // 2 if len(some) else 0  # of the rates at which a network learns
    low, high = slice(0, middle), slice(middle, None)
    (few, least), (many, all_) = ((int(f.lost[part].sum()), int(f.learned[part].sum())) for part in (low, high))
    p = float(fisher_exact([[many, all_ - many], [few, least - few]], alternative="greater").pvalue)
    return published_claim(
        "At high rates networks that had learned the task are lost.",
        source=source + "; abstract of 2026",
        published="learning collapses (no number)",
        rule="In the upper half of the rates at which a network learns a larger share is lost than in the lower half "
        "(Fisher's exact test, p < 0.01).",
        measured=f"lost are {share(many, all_)} that learned from rate {f.rates[middle]:.2g} on, and "
        f"{share(few, least)} below; p = {p:.2g}"
        if len(some)
        else "no network learns",
        verdict=judge(p < 0.01),
        note=f"Lost: below {LEARNED:g} of chance at some epoch, and at none of the last {NO_LEARNING_WINDOW}.",
    )


def _stuck_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], f: Fates, source: str) -> list[Claim]:
    """Gradients and outputs of the networks at rates above the highest rate that learns."""
    dead = np.zeros(f.learned.shape, bool)
    if f.highest >= 0:
        dead[f.highest + 1 :] = True
    count = int(dead.sum())
    norm = dataset["gradient_norm"].values
    start, end = float(np.median(norm[:, :, 0])), norm[:, :, -1][dead]
    vanished = int((end < VANISHED * start).sum())
    # a loss of 1 and the chance accuracy are those of an output of 0, each of whose wrong answers
    # costs 1
    loss, wrong = dataset["loss"].values[:, :, -1][dead], 1 - dataset["accuracy"].values[:, :, -1][dead]
    cost = loss * (1 - dataset.attrs["chance_accuracy"]) / np.where(wrong > 0, wrong, np.nan)
    levels = len(task_of(parameters).levels)
    sure = int((cost >= SURE[levels]).sum())
    none = "no network learns at any rate" if f.highest < 0 else "the highest rate tried still learns"
    return [
        published_claim(
            "Above the highest rate gradients vanish.",
            source=source,
            published="vanishing gradients (no number)",
            rule=f"In nearly all networks the gradient's norm at the last epoch is below {VANISHED:g} of the initial "
            f"one. {NEARLY_ALL_OF}",
            measured=f"{share(vanished, count)}; median {np.median(end):.1e}, initially {start:.2g}" if count else none,
            verdict=judge_share(nearly_all(vanished, count), count),
        ),
        published_claim(
            "Above the highest rate outputs are confident and wrong.",
            source=source,
            published="high-confidence but incorrect predictions (no number)",
            rule=f"In nearly all networks the squared error per wrong answer at the last epoch is at least "
            f"{SURE[levels]:g}. {WHY_SURE[levels]} {NEARLY_ALL_OF}",
            measured=f"{share(sure, count)}; medians: error {np.median(cost):.2g}, loss {np.median(loss):.2g} of "
            f"chance, {100 * np.median(wrong):.0f} % wrong answers"
            if count
            else none,
            verdict=judge_share(nearly_all(sure, count), count),
        ),
    ]


def _speed_claim(f: Fates, source: str) -> Claim:
    """How the epochs until a network learns depend on the rate, below the highest at which all keep
    the task.
    """
    last = int(f.fine[-1]) if len(f.fine) else -1
    claim = partial(
        own_claim,
        "The epochs that learning takes fall as the rate rises towards the highest one.",
        source=f"Letter, Fig. 2D and S1 (for the toy model and rank one), carried over to {source}",
        published="epochs fall as the rate rises (no number)",
        note="Where gradient descent follows the gradient flow, the exponent is -1.",
    )

    def median() -> str:
        return f"; median {np.median(f.first[last]):,.0f} at rate {f.rates[last]:.2g}, the highest that loses none"

    low, none = f.kept & (np.arange(len(f.rates)) < last)[:, None], "all networks learn at fewer than three rates"
    return epochs_claim(claim, f.rates, f.first, low, until="learns", detail=median, none=none)


def activation_claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The claims of all sweeps, the loss of what was learned, and the comparison with rank one."""
    full, one = Fates(dataset), Fates(rank_one(dataset))
    seeds = len(dataset["seed"])
    known = len(full.fine) > 0 and len(one.fine) > 0
    names = "no such rate"
    factor = 0.0
    if known:
        highest, below = full.rates[full.fine[-1]], one.rates[one.fine[-1]]
        factor = highest / below
        names = (
            f"all learn and keep it up to {highest:.2g} (full rank) and {below:.2g} (rank one), a factor "
            f"{factor:.0f}; some learn up to {full.rates[full.highest]:.2g} and {one.rates[one.highest]:.2g}"
        )
    return [
        *collapse_claims(dataset, parameters, "Fig. 6A"),
        published_claim(
            "Full-rank networks learn at rates at which rank-one networks are lost.",
            source="Fig. 6A; letter, Fig. S2; abstract of 2026 (more trainable ranks are more stable)",
            published="higher rates (no number)",
            rule="The highest rate at which all networks, at least four, learn and keep the task is more than a step "
            "of the grid higher for full rank.",
            measured=f"{names}; {seeds} seeds each",
            verdict=judge_share(known and factor > 1.01 * full.rates[1] / full.rates[0], seeds),
            note=f"The same rule for both, after {parameters['epochs']:,} and {parameters['rank_one_epochs']:,} "
            "epochs. "
            "Their readouts differ as published: fixed, with confidence 10, for rank one; trained for full rank.",
        ),
    ]


DELAYED_ACTIVATION = Experiment(
    id="rates_full_rank",
    title="Full-rank networks over learning rates",
    figure="Fig. 6A",
    question="Delayed activation again, with a full matrix and a trained readout. Is there still a rate above which no "
    "network learns, and do the extra parameters move it? Rank-one networks are trained at the same rates beside them.",
    parameters={"quick": QUICK_ACTIVATION, "paper": PAPER_ACTIVATION},
    run=run_beside_rank_one,
    claims=activation_claims,
)
DCDT = Experiment(
    id="rates_dcdt",
    title="Delayed cue discrimination over learning rates",
    figure="Fig. 7A-C",
    question="Full-rank networks learn to remember the sign of a cue for 80 ms. Is there a highest rate that still "
    "learns, and what becomes of networks above it?",
    parameters={"quick": QUICK_DCDT, "paper": PAPER_DCDT},
    run=sweep,
    claims=partial(sweep_claims, source="Fig. 7A-C"),
)
DMTS = Experiment(
    id="rates_dmts",
    title="Delayed match to sample over learning rates",
    figure="Fig. 7D-F",
    question="Full-rank networks learn to say whether two cues 80 ms apart were the same. Is there a highest rate that "
    "still learns, and what becomes of networks above it?",
    parameters={"quick": QUICK_DMTS, "paper": PAPER_DMTS},
    run=sweep,
    claims=partial(collapse_claims, source="Fig. 7D-F"),
)
