"""Full-rank networks over learning rates: one run for Figs. 6A, 7A-C and 7D-F, and the claims they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import fisher_exact, linregress

from ghostpoint.experiments.shared.base import Claim, Progress, judge
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, networks_of, task_of
from ghostpoint.experiments.shared.networks import digest, log_grid, trained
from ghostpoint.experiments.shared.parts import part
from ghostpoint.experiments.shared.shares import ENOUGH, NEARLY_ALL_OF, judge_share, nearly_all, share
from ghostpoint.models import Record
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import Task

__all__ = ["Fates", "collapse_claim", "fates", "longest_run", "sweep", "sweep_claims"]

#: a range of rates is at least so many neighbours of the grid
RANGE = 3
#: a gradient has vanished below this share of the initial one
VANISHED = 1e-3
#: an output is sure of itself when a wrong answer costs at least this squared error, by the number of levels of a task
SURE = {2: 0.9, 3: 1.2}
WHY_SURE = {
    2: "An output of 0 or 1 in place of the other costs 1, an undecided one 1/4.",
    3: "An output of 0 costs 1, one of +1 in place of -1 costs 4.",
}


def sweep(
    parameters: Mapping[str, Any],
    progress: Progress,
    models: Record | None = None,
    name: str = "networks",
    together: int = 1,
) -> xr.Dataset:
    """Train ``models`` (by default the parameters' networks) at every rate.

    The rates are trained ``together`` at a time, each time as one stack and as a part that is kept: one by one, so that
    no more than a rate is lost to an interruption, or several where a larger stack is the faster.

    Returns
    -------
    Dataset over (learning_rate, seed) and epoch
        ``loss`` (in units of chance), ``accuracy`` and ``gradient_norm`` at the epochs shown; ``first_learned``, the
        first epoch with a loss below :data:`LEARNED` of chance, -1 for never; ``best_loss_at_end`` and
        ``best_accuracy_at_end``, the best of the last epochs (as many as the no-learning zone is judged by);
        ``kept``, whether that loss is below the same share; ``frozen`` and ``diverged`` as in a training run.
    """
    task, seeds = task_of(parameters), parameters["seeds"]
    rates = log_grid(parameters["log10_rates"], parameters["rates"])
    stack = networks_of(parameters, seeds) if models is None else models
    work = len(seeds) * parameters["epochs"]
    progress.phase(f"{name}: {len(rates)} rates x {len(seeds)} seeds", len(rates) * work, len(rates) * len(seeds))
    done = []
    for first in range(0, len(rates), together):
        some, told = rates[first : first + together], _Told(progress)
        used = ("seeds", "epochs", "epochs_shown", "dtype")
        settings = {**{key: parameters[key] for key in used}, "task": task.to_dict(), "learning_rates": some.tolist()}
        done.append(
            part(
                name,
                settings,
                lambda some=some, told=told: _at(some, stack, task, parameters, told),  # type: ignore[misc]
                _at,
                digest(stack),
            )
        )
        progress.advance(len(some) * work - told.amount)  # all of it, where the part was there already
    whole = xr.concat(done, "learning_rate").assign_coords(learning_rate=rates)
    return whole.assign(kept=whole["best_loss_at_end"] < LEARNED)


class _Told:
    """A progress that also counts what it was told."""

    def __init__(self, progress: Progress):
        self.progress, self.amount = progress, 0

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        self.progress.phase(description, total, networks)

    def advance(self, amount: int) -> None:
        self.amount += amount
        self.progress.advance(amount)


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
    """What became of each network of a sweep, as (rate, seed) arrays of bool, and the rates that follow from them.

    ``learned``: below :data:`LEARNED` of chance at some epoch. ``kept``: at one of the last epochs. ``lost``: learned
    and not kept.
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
    """The indices of the longest stretch of neighbours that are chosen, the first of equals; empty for none."""
    places = np.flatnonzero(chosen)
    stretches = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return max(stretches, key=len)


def fates(dataset: xr.Dataset) -> Fates:
    """The :class:`Fates` of a sweep's dataset."""
    return Fates(dataset)


def sweep_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """A range that learns, a highest rate, above it no gradient and wrong outputs, and fewer epochs at higher rates."""
    f = fates(dataset)
    rates, seeds, top = f.rates, len(dataset["seed"]), f.highest
    grid = (
        f"grid of {len(rates)} rates a factor {rates[1] / rates[0]:.2f} apart, {seeds} seeds, "
        f"{parameters['epochs']:,} epochs"
    )
    run = longest_run(np.asarray(f.learned.all(axis=1)))
    above, held = (len(rates) - top - 1 if top >= 0 else 0), np.asarray(f.kept.all(axis=1))
    each = f"{int(held[run].sum())} of these with no network lost" if len(run) else ""
    return [
        Claim(
            "In a range of rates all networks learn.",
            origin="published",
            source=source,
            published="by eye, no number",
            rule=f"At {RANGE} neighbouring rates of the grid or more every network, of at least {ENOUGH}, falls below "
            f"{LEARNED:g} of chance at some epoch.",
            measured=f"{rates[run[0]]:.2g} to {rates[run[-1]]:.2g}, {len(run)} rates, {each} ({grid})"
            if len(run)
            else f"no such rate ({grid})",
            verdict=judge_share(len(run) >= RANGE, seeds),
        ),
        Claim(
            "There is a highest rate that learns: above it no network does.",
            origin="published",
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


def collapse_claim(dataset: xr.Dataset, source: str) -> Claim:
    """Whether networks that have learned are lost, at high rates."""
    f = fates(dataset)
    some = np.flatnonzero(f.learned.any(axis=1))
    middle = int(some[-1] + some[0] + 1) // 2 if len(some) else 0  # of the rates at which a network learns
    low, high = slice(0, middle), slice(middle, None)
    (few, least), (many, all_) = ((int(f.lost[part].sum()), int(f.learned[part].sum())) for part in (low, high))
    p = float(fisher_exact([[many, all_ - many], [few, least - few]], alternative="greater").pvalue)
    return Claim(
        "At high rates networks that had learned the task are lost.",
        origin="published",
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
    """Networks at rates above the highest that learns: their gradients, and their outputs."""
    dead = np.zeros(f.learned.shape, bool)
    if f.highest >= 0:
        dead[f.highest + 1 :] = True
    count = int(dead.sum())
    norm = dataset["gradient_norm"].values
    start, end = float(np.median(norm[:, :, 0])), norm[:, :, -1][dead]
    vanished = int((end < VANISHED * start).sum())
    # a loss of 1 and the chance accuracy are those of an output of 0, each of whose wrong answers costs 1
    loss, wrong = dataset["loss"].values[:, :, -1][dead], 1 - dataset["accuracy"].values[:, :, -1][dead]
    cost = loss * (1 - dataset.attrs["chance_accuracy"]) / np.where(wrong > 0, wrong, np.nan)
    levels = len(task_of(parameters).levels)
    sure = int((cost >= SURE[levels]).sum())
    none = "no network learns at any rate" if f.highest < 0 else "the highest rate tried still learns"
    return [
        Claim(
            "Above the highest rate gradients vanish.",
            origin="published",
            source=source,
            published="vanishing gradients (no number)",
            rule=f"In nearly all networks the gradient's norm at the last epoch is below {VANISHED:g} of the initial "
            f"one. {NEARLY_ALL_OF}",
            measured=f"{share(vanished, count)}; median {np.median(end):.1e}, initially {start:.2g}" if count else none,
            verdict=judge_share(nearly_all(vanished, count), count),
        ),
        Claim(
            "Above the highest rate outputs are confident and wrong.",
            origin="published",
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
    """How the epochs until a network learns depend on the rate, below the highest at which all keep the task."""
    last = int(f.fine[-1]) if len(f.fine) else -1
    low = f.kept & (np.arange(len(f.rates)) < last)[:, None]
    x, y = np.log(np.broadcast_to(f.rates[:, None], low.shape)[low]), np.log(np.maximum(f.first[low], 1))
    slope, error, text = np.nan, np.nan, "all networks learn at fewer than three rates"
    if len(np.unique(x)) > 2:
        fit = linregress(x, y)
        slope, error = float(fit.slope), float(fit.stderr)
        text = (
            f"epochs until a network learns scale as rate^({slope:.3f} ± {error:.3f}) over {len(x)} networks; median "
            f"{np.median(f.first[last]):,.0f} at rate {f.rates[last]:.2g}, the highest that loses none"
        )
    return Claim(
        "The epochs that learning takes fall as the rate rises towards the highest one.",
        origin="own",
        source=f"Letter, Fig. 2D and S1 (for the toy model and rank one), carried over to {source}",
        published="epochs fall as the rate rises (no number)",
        rule="The exponent of the epochs until a network learns, fitted over at least three rates, is below -0.7 by "
        "two standard errors.",
        measured=text,
        verdict=judge(bool(slope + 2 * error < -0.7)),
        note="Where gradient descent follows the gradient flow, the exponent is -1.",
    )
