"""Full-rank networks over learning rates: one run for Figs. 6A, 7A-C and 7D-F, and the claims they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import linregress

from ghostpoint.experiments.base import Claim, Progress, judge
from ghostpoint.experiments.full_rank_runs import LEARNED, networks_of, task_of
from ghostpoint.experiments.networks import digest, log_grid, share, trained
from ghostpoint.experiments.parts import part
from ghostpoint.models import Record
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import Task

__all__ = ["Fates", "fates", "sweep", "sweep_claims"]


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
        """Index of the highest rate at which some network keeps the task, -1 for none."""
        return int(np.flatnonzero(self.kept.any(axis=1)).max(initial=-1))

    @property
    def fine(self) -> NDArray[np.int64]:
        """Indices of the rates at which every network keeps the task."""
        return np.flatnonzero(self.kept.all(axis=1))


def fates(dataset: xr.Dataset) -> Fates:
    """The :class:`Fates` of a sweep's dataset."""
    return Fates(dataset)


def sweep_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """A range that learns, a highest rate, collapse above it, no gradient there, and fewer epochs at higher rates."""
    f = fates(dataset)
    rates, seeds, fine, top = f.rates, len(dataset["seed"]), f.fine, f.highest
    factor = rates[1] / rates[0]
    grid = f"grid of {len(rates)} rates a factor {factor:.2f} apart, {seeds} seeds, {parameters['epochs']:,} epochs"
    above = rates[top + 1 :]
    last = int(fine[-1]) if len(fine) else -1
    beyond_learned, beyond_lost = int(f.learned[last + 1 :].sum()), int(f.lost[last + 1 :].sum())
    within_learned, within_lost = int(f.learned[: last + 1].sum()), int(f.lost[: last + 1].sum())

    norm = dataset["gradient_norm"].values
    dead = ~f.kept & (np.arange(len(rates)) > top)[:, None]
    start, end = float(np.median(norm[:, :, 0])), norm[:, :, -1][dead]
    vanished = int((end < 1e-3 * start).sum())
    output_loss = dataset["loss"].values[:, :, -1][dead]

    low = f.kept & (np.arange(len(rates)) < last)[:, None]
    x, y = np.log(np.broadcast_to(rates[:, None], low.shape)[low]), np.log(np.maximum(f.first[low], 1))
    fitted = len(np.unique(x)) > 2
    slope, slope_error = np.nan, np.nan
    if fitted:
        fit = linregress(x, y)
        slope, slope_error = float(fit.slope), float(fit.stderr)
    rule = f"Learned: a loss below {LEARNED:g} of chance, at one of the last {NO_LEARNING_WINDOW} epochs to be kept."
    return [
        Claim(
            "In a range of rates every network learns and none is lost.",
            source,
            "by eye, no number",
            f"{rates[fine[0]]:.2g} to {rates[last]:.2g} ({grid})" if len(fine) else f"no such rate ({grid})",
            judge(len(fine) >= 3 and bool((np.diff(fine) == 1).all())),
            rule,
        ),
        Claim(
            "There is a highest rate that still learns: above it no network holds the task at the end.",
            source,
            "a critical rate (no number)",
            f"{share(int(f.kept[top].sum()), seeds)} at {rates[top]:.2g}; none of {len(above) * seeds} at the "
            f"{len(above)} rates above it"
            if top >= 0
            else f"no network learns at any rate ({grid})",
            judge(top >= 0 and len(above) > 0),
        ),
        Claim(
            "Beyond the rates that work, learning collapses: networks learn and are lost.",
            source + "; abstract of 2026",
            "collapse (no number)",
            f"{share(beyond_lost, beyond_learned)} that learned at higher rates are lost; "
            f"{within_lost} of {within_learned} at lower ones",
            judge(
                beyond_lost > 0 and beyond_lost > 0.25 * beyond_learned and within_lost <= 0.02 * within_learned,
            ),
            "Holds if more than a quarter are, and at most 2 % at lower rates.",
        ),
        Claim(
            "Above the highest rate networks are stuck: wrong, and practically without a gradient.",
            source + "; abstract of 2026",
            "vanishing gradients (no number)",
            f"{share(vanished, int(dead.sum()))} with a gradient norm below 1/1000 of the initial {start:.2g}; median "
            f"{np.median(end):.1e}, median loss {np.median(output_loss):.2g} of chance"
            if dead.any()
            else "no network there",
            judge(bool(dead.any()) and vanished >= 0.9 * dead.sum()),
            "Of all networks at the rates above the highest that still learns, at the last epoch shown.",
        ),
        Claim(
            "The epochs that learning takes fall as the rate rises towards the highest one.",
            "Letter, Fig. 2D and S1 (for the toy model and rank one)",
            "epochs fall as the rate rises (no number)",
            f"epochs until a network learns scale as rate^({slope:.3f} ± {slope_error:.3f}) over {len(x)} networks; "
            f"median {np.median(f.first[last]):,.0f} at rate {rates[last]:.2g}, the highest that loses none"
            if fitted
            else "too few networks learn",
            judge(bool(slope + 2 * slope_error < -0.7), testable=fitted),
            "Where gradient descent follows the gradient flow, the exponent is -1.",
        ),
    ]
