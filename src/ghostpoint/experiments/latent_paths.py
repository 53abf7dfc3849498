"""Rank-two networks over their training: losses, flow maps, trials in the latent plane, and every zero of the flow.

What latent_dcdt and latent_dmts share. The flow is that without input, ``f(kappa) = -kappa + n^T tanh(m kappa + b)``,
to which a network is left in the delay and the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ghostpoint.errors import InputError
from ghostpoint.experiments.base import Claim, Progress, judge
from ghostpoint.experiments.full_rank_paths import ABRUPT, DROP_FROM
from ghostpoint.experiments.full_rank_runs import LEARNED, best_blind_loss, task_of
from ghostpoint.experiments.networks import share, spread_epochs, trained
from ghostpoint.models import LowRankRNN
from ghostpoint.results import TrainingRun
from ghostpoint.slow_points import latent_ghosts, latent_zeros
from ghostpoint.tasks import Task

__all__ = ["drops", "latent_claims", "latent_paths", "latent_trials"]

#: a flow map reaches this far beyond the trials and zeros that are in it, as a share of their extent
MARGIN = 0.15
#: recorded losses in the running median by which a drop is judged
WINDOW = 15


def latent_paths(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed with its weights kept along the way; follow zeros and ghosts, and map one network's flow.

    Mapped is the first seed that learns: at the start, half way to its drop, where the drop begins and ends, and at the
    end, at the kept epochs next to these. The batches are random, so a drop is judged by a running median of the loss.

    Returns
    -------
    Dataset over seed, epoch (of losses), followed (seeds that learn), kept (epochs with weights), shown (with maps)
        ``first_learned``, ``drop_begins``: see :func:`drops`. Per followed seed and kept epoch the number of zeros of
        the latent flow (all there are, but where ``n_undecided`` is positive), how many of them are stable, and the
        ghosts that were found, minima of |f| that are no zeros, with the least |f|. Per shown epoch the flow, its speed
        and the level of the task that is read out, on a grid (y, x) of the latents; the zeros with their number of
        unstable directions; the ghosts; and the latents of some trials.

    Raises
    ------
    ValueError
        If no network learns.
    """
    task, seeds = task_of(parameters), np.array(parameters["seeds"])
    run = _train(parameters, progress)
    assert run.checkpoints is not None
    history, kept = run.history, run.checkpoints["epoch"].values
    loss = history["loss"].values / task.chance_loss
    begins, learned = drops(history["epoch"].values, loss)
    if (learned < 0).all():
        raise InputError(f"epochs must be enough for one of the seeds to learn; none had after {parameters['epochs']}")
    followed = np.flatnonzero(learned >= 0)[: parameters["followed"]]
    counts = _counted(parameters, progress, run, followed)
    first = int(followed[0])
    wanted = np.array([0, begins[first] // 2, begins[first], learned[first], parameters["epochs"] - 1])
    rows = np.unique(np.abs(kept[:, None] - wanted).argmin(axis=0))
    maps = _maps(parameters, progress, [run.models_at(row)[[first]] for row in rows], task)
    dataset = xr.Dataset(
        {
            "loss": (("seed", "epoch"), loss, {"units": "chance"}),
            "median_loss": (("seed", "epoch"), running_median(loss), {"units": "chance"}),
            "gradient_norm": (("seed", "epoch"), history["gradient_norm"].values),
            "accuracy": (("seed", "epoch"), history["accuracy"].values),
            "first_learned": ("seed", learned, {"missing": -1}),
            "drop_begins": ("seed", begins, {"missing": -1}),
        },
        coords={
            "seed": seeds,
            "followed": seeds[followed],
            "epoch": history["epoch"].values,
            "kept": kept,
            "shown": kept[rows],
        },
        attrs={
            "blind_loss": best_blind_loss(task),
            "chance_accuracy": task.chance_accuracy,
            "dt": task.dt,
            "levels": list(task.levels),
        },
    )
    return dataset.assign(counts).assign(maps)


def _train(parameters: Mapping[str, Any], progress: Progress) -> TrainingRun:
    """All seeds, with losses and weights at epochs spread evenly and logarithmically."""
    task, epochs = task_of(parameters), parameters["epochs"]
    models = LowRankRNN.published(parameters["seeds"], parameters["figure"])
    return trained(
        progress, f"training {len(models)} networks", models, parameters, parameters["rate"], epochs, task,
        optimizer=parameters["optimizer"], solved=LEARNED, keep="latent",
        record=spread_epochs(epochs, parameters["history_points"]),
        checkpoints=spread_epochs(epochs, parameters["kept_points"]),
    )  # fmt: skip


def running_median(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over :data:`WINDOW` recorded epochs around each, of losses (network, epoch); mirrored at the ends."""
    return np.asarray(median_filter(loss, size=(1, WINDOW), mode="reflect"))


def drops(epoch: NDArray[np.int64], loss: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the drop of each network begins and ends, by the running median of its loss in units of chance.

    It ends at the first of the recorded epochs below :data:`LEARNED`, -1 for never; it begins at the last one before
    that with at least :data:`DROP_FROM`, 0 if there is none, and -1 where it never ends.
    """
    middle = running_median(loss)
    low = middle < LEARNED
    end = np.where(low.any(axis=1), epoch[low.argmax(axis=1)], -1)
    high = (middle >= DROP_FROM) & (epoch < end[:, None])
    last = epoch[len(epoch) - 1 - high[:, ::-1].argmax(axis=1)]
    return np.where(end < 0, -1, np.where(high.any(axis=1), last, 0)), end


def _counted(
    parameters: Mapping[str, Any], progress: Progress, run: TrainingRun, followed: NDArray[Any]
) -> dict[str, Any]:
    """Zeros and ghosts of the networks followed at every kept epoch."""
    assert run.checkpoints is not None
    shape = (len(followed), run.checkpoints.sizes["checkpoint"])
    names = ("n_fixed", "n_stable", "n_undecided", "n_ghosts")
    counts = {name: np.zeros(shape, np.int64) for name in names}
    slowest = np.full(shape, np.nan)
    progress.phase("zeros and ghosts of the latent flow", shape[0] * shape[1])
    for row in range(shape[1]):
        models = run.models_at(row)[followed]
        for place in range(shape[0]):
            zeros = latent_zeros(models[place])
            ghosts = latent_ghosts(models[place], starts=parameters["ghost_starts"])
            values = (zeros.count, zeros.stable.sum(), zeros.n_undecided, ghosts.count)
            for name, value in zip(names, values, strict=True):
                counts[name][place, row] = value
            slowest[place, row] = ghosts.speed.min() if ghosts.count else np.nan
            progress.advance(1)
    dims = ("followed", "kept")
    return {
        **{name: (dims, values) for name, values in counts.items()},
        "slowest_ghost": (dims, slowest, {"units": "1 / tau"}),
    }


def latent_trials(model: LowRankRNN, task: Task, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The latents (trial, steps + 1, K) and outputs (trial, step) of one network in the trials of a task.

    Rates start at ``tanh(s z)`` with z drawn from ``seed``; noise is left out.
    """
    inputs = task.trial().inputs
    draws = np.random.default_rng(seed).normal(size=(len(inputs), 1, model.n_units))
    kappa = [model.latent(np.tanh(task.initial_scale * draws))]
    for step in range(task.steps):
        kappa.append(model.latent_step(kappa[-1], task.alpha, inputs[:, step]))
    shift = 1 if task.read_out == "after" else 0
    outputs = [model.output(latents)[:, 0] for latents in kappa[shift : shift + task.steps]]
    return np.stack(kappa, axis=1)[:, :, 0], np.stack(outputs, axis=1)


def _maps(parameters: Mapping[str, Any], progress: Progress, shown: list[LowRankRNN], task: Any) -> dict[str, Any]:
    """Flow, speed and levels on a grid around the trials and zeros of each network, and these themselves."""
    few = replace(task, copies=parameters["trials_shown"])
    progress.phase("flow maps", len(shown))
    zeros = [latent_zeros(model) for model in shown]
    ghosts = [latent_ghosts(model, starts=parameters["ghost_starts"]) for model in shown]
    paths, outputs, axes, flow, level = [], [], [], [], []
    for model, fixed in zip(shown, zeros, strict=True):
        path, output = latent_trials(model, few, seed=0)
        inside = np.concatenate([path.reshape(-1, 2), fixed.position])
        low, high = inside.min(axis=0), inside.max(axis=0)
        wider = MARGIN * (high - low).max()
        ticks = np.linspace(low - wider, high + wider, parameters["grid"])  # (point, latent)
        points = np.stack(np.meshgrid(*ticks.T), axis=-1)[:, :, None]  # (y, x, network, latent)
        paths.append(path)
        outputs.append(output)
        axes.append(ticks)
        flow.append(model.flow(points)[:, :, 0])
        level.append(task.level(model.output(points)[:, :, 0]))
        progress.advance(1)
    return {
        "path": (("shown", "trial", "state", "latent"), np.stack(paths)),
        "outputs": (("shown", "trial", "step"), np.stack(outputs)),
        "targets": (("trial", "step"), few.trial().targets[:, :, 0]),
        "grid": (("shown", "point", "latent"), np.stack(axes)),
        "flow": (("shown", "y", "x", "latent"), np.stack(flow), {"units": "1 / tau"}),
        "speed": (("shown", "y", "x"), np.linalg.norm(flow, axis=-1), {"units": "1 / tau"}),
        "level": (("shown", "y", "x"), np.stack(level)),
        "fixed_point": (("shown", "zero", "latent"), _padded([each.position for each in zeros], np.nan)),
        "unstable": (
            ("shown", "zero"),
            _padded([(each.eigenvalues.real > 0).sum(axis=1) for each in zeros], -1),
            {"missing": -1},
        ),
        "ghost": (("shown", "minimum", "latent"), _padded([each.position for each in ghosts], np.nan)),
        "ghost_speed": (("shown", "minimum"), _padded([each.speed for each in ghosts], np.nan), {"units": "1 / tau"}),
    }


def _padded(arrays: list[NDArray[Any]], missing: float) -> NDArray[Any]:
    """Arrays of different lengths as one, with at least one row."""
    most = max(1, *(len(array) for array in arrays))
    whole = np.full((len(arrays), most, *arrays[0].shape[1:]), missing, arrays[0].dtype)
    for row, array in enumerate(arrays):
        whole[row, : len(array)] = array
    return whole


def latent_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """Networks learn; how abrupt the drop is; whether zeros appear with it; whether ghosts come before it."""
    d, epoch, kept = dataset, dataset["epoch"].values, dataset["kept"].values
    learned, begins, blind = d["first_learned"].values, d["drop_begins"].values, d.attrs["blind_loss"]
    final = np.median(d["loss"].values[:, epoch >= 0.9 * epoch[-1]], axis=1)
    able = learned >= 0
    width, plateau = (learned - begins)[able], np.maximum(begins[able], 1)
    shares = width / plateau
    # of the networks followed, the last kept epoch before the drop begins and the first after it ends
    rows = np.searchsorted(d["seed"].values, d["followed"].values)
    before = np.searchsorted(kept, begins[rows], "right") - 1
    after = np.minimum(np.searchsorted(kept, learned[rows]), len(kept) - 1)
    others = f", and {np.median(final[~able]):.2g} for the others" if (~able).any() else ""
    return [
        Claim(
            "Networks of rank two learn the task.",
            source,
            "the one network shown",
            f"{share(int(able.sum()), len(able))} fall below {LEARNED:g} of chance, first at epoch "
            f"{learned[able].min():,} to {learned[able].max():,} of {parameters['epochs']:,}; their median loss over "
            f"the last tenth is {np.median(final[able]):.2g} of chance{others}",
            judge(bool(np.median(final[able]) < blind / 2)),
            f"Holds when those that learn end below half of the best answer that ignores cues, {blind:g} of chance. "
            f"{parameters['task']['copies']} copies of each trial.",
        ),
        Claim(
            "The loss stays on a plateau and then drops abruptly.",
            source,
            "a sharp drop (no number)",
            f"from {DROP_FROM:g} to {LEARNED:g} of chance in a median of {np.median(width):,.0f} epochs, after "
            f"{np.median(plateau):,.0f}: a ratio of {np.median(shares):.2g} ({shares.min():.2g} to {shares.max():.2g} "
            f"over {able.sum()} networks)",
            judge(bool(np.median(shares) < ABRUPT)),
            f"By a running median of {WINDOW} recorded losses. Abrupt means a ratio below {ABRUPT:g}, as for rank one.",
        ),
        _bifurcation_claim(d, after, source),
        _ghost_claim(d, before, source),
    ]


def _bifurcation_claim(d: xr.Dataset, after: NDArray[Any], source: str) -> Claim:
    """Whether number and stability of the zeros stay the same until after the drop, in each network followed."""
    unsure, kept = d["n_undecided"].values, d["kept"].values
    both = np.stack([d["n_fixed"].values, d["n_stable"].values], axis=-1)  # (followed, kept, 2)
    same, lines = [], []
    for seed, row, end in zip(d["followed"].values, both, after, strict=True):
        places = np.flatnonzero((np.diff(row, axis=0) != 0).any(axis=1))
        told = [f"{row[0, 0]} ({row[0, 1]} stable) at first"]
        told += [f"{row[k + 1, 0]} ({row[k + 1, 1]}) from epoch {kept[k + 1]:,}" for k in places[:3]]
        told += [f"{len(places) - 3} more changes"] if len(places) > 3 else []
        same.append(bool((row[: end + 1] == row[0]).all()))
        lines.append(f"seed {seed}: {', '.join(told)}")
    return Claim(
        "The loss drops without a bifurcation: no fixed point comes, goes or changes its stability before it ends.",
        f"Letter, text on Fig. 3A (for rank one); {source}",
        "no change (rank one)",
        f"no change until the drop is over in {sum(same)} of {len(same)} networks; {'; '.join(lines)}; drops begin at "
        f"epochs {_begin(d)}",
        judge(all(same), testable=not unsure.any()),
        "Without input; every zero of the latent flow at the kept epochs"
        + (f", {int((unsure > 0).sum())} of them undecided." if unsure.any() else ", proven to be all."),
    )


def _begin(d: xr.Dataset) -> str:
    """Where the drops of the networks followed begin."""
    return ", ".join(f"{int(epoch):,}" for epoch in d["drop_begins"].sel(seed=d["followed"].values))


def _ghost_claim(d: xr.Dataset, before: NDArray[Any], source: str) -> Claim:
    """Whether each network followed has a ghost at the last kept epoch before its drop, and since when."""
    ghosts, kept, every = d["n_ghosts"].values, d["kept"].values, np.arange(len(before))
    there = ghosts[every, before] > 0
    speeds = d["slowest_ghost"].values[every, before][there]
    since = ", ".join(f"{kept[row.argmax()]:,}" if row.any() else "never" for row in ghosts > 0)
    speed = f", with |f| from {speeds.min():.2g} to {speeds.max():.2g} per tau" if there.any() else ""
    return Claim(
        "Ghosts precede the drop of the loss.",
        f"{source}; abstract of 2026",
        "before the drop (no number)",
        f"{int(there.sum())} of {len(before)} networks have one at the last kept epoch before the drop{speed}; the "
        f"first kept epoch with one: {since}; the drops begin at {_begin(d)}",
        judge(bool(there.all())),
        "A ghost is any minimum of |f| of the flow without input that is no zero, however fast. They are found by "
        f"descents, so some may be missed. {int((ghosts[:, 0] > 0).sum())} of these networks have one before training.",
    )
