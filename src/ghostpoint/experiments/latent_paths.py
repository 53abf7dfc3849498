"""Article, Fig. 4: rank-two networks learn delayed cue discrimination (A-D) and delayed match to
sample (E-H).

They are looked at in the plane of their latents: losses, flow maps, trials, and every zero of the
flow without input, ``f(kappa) = -kappa + n^T tanh(m kappa + b)``. To that flow a network is left in
the delay and the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim, published_claim
from ghostpoint.experiments.shared.drops import ABRUPT, DROP_FROM, WINDOW, drops, running_median
from ghostpoint.experiments.shared.full_rank_runs import LEARNED, best_blind_loss, task_of
from ghostpoint.experiments.shared.networks import cued, spread_epochs, trained
from ghostpoint.experiments.shared.shares import MOST_OF, judge_share, most, share
from ghostpoint.models import LowRankRNN
from ghostpoint.results import TrainingRun
from ghostpoint.slow_points.latents import latent_ghosts, latent_speed, latent_zeros
from ghostpoint.tasks import Task

#: a flow map reaches this far beyond the trials and zeros that are in it, as a share of their
#: extent
MARGIN = 0.15

TASK_DCDT = cued("DelayedCueDiscrimination", 10.0, 50.0, copies=500, initial_scale=0.3)
TASK_DMTS = cued("DelayedMatchToSample", 30.0, 80.0, copies=500, initial_scale=0.3, noise=0.01)
#: Fig. 4A-D and 4E-H
PAPER_DCDT: Mapping[str, Any] = {
    "figure": "4A",
    "dtype": "float32",
    "task": TASK_DCDT,
    "seeds": list(range(4)),  # published: one network
    "optimizer": "sgd",
    "rate": 0.001,
    "epochs": 100_000,
    "history_points": 2000,
    "kept_points": 200,
    "followed": 4,  # of the networks that learn, the first ones
    "ghost_starts": 200,
    "grid": 61,
    "trials_shown": 6,  # of each kind
}
PAPER_DMTS: Mapping[str, Any] = {
    **PAPER_DCDT,
    "figure": "4E",
    "task": TASK_DMTS,
    "optimizer": "adam",
    "rate": 1e-4,
    "epochs": 20_000,
    "trials_shown": 4,
}
FEW: Mapping[str, Any] = {"history_points": 800, "kept_points": 48, "followed": 2, "ghost_starts": 32, "grid": 41}
#: fewer copies of each trial; match to sample at ten times the published rate for a tenth of the
#: epochs
QUICK_DCDT = {**PAPER_DCDT, "seeds": list(range(20)), "task": {**TASK_DCDT, "copies": 5}, "epochs": 6000, **FEW}
QUICK_DMTS = {
    **PAPER_DMTS, "seeds": list(range(8)), "task": {**TASK_DMTS, "copies": 10}, "rate": 1e-3, "epochs": 2000, **FEW,
}  # fmt: skip


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed with its weights kept along the way; follow zeros and ghosts, and map one
    network's flow.

    Mapped is the first seed that learns: at the start, half way to its drop, where the drop begins
    and ends, and at the end, at the kept epochs next to these. The batches are random, so a drop is
    judged by a running median of the loss. If no network learns, the first seed is followed and
    mapped, at epochs spread over the training.

    Returns
    -------
    Dataset over seed, epoch (of losses), followed (seeds that learn), kept (epochs with weights),
    shown (with maps)
        ``first_learned``, ``drop_begins``: see `drops`. Per followed seed and kept epoch the number
        of zeros of the latent flow (all there are, but where ``n_undecided`` is positive), how many
        of them are stable, and the ghosts that were found, minima of the speed that are no zeros,
        with the least of their speeds. Per shown epoch the flow, its speed and the level of the
        task that is read out, on a grid (y, x) of the latents; the zeros with their number of
        unstable directions; the ghosts; and the latents of some trials. Speeds are those of the
        latents in an orthonormal basis of the span of n (`latent_speed`), places and the flow those
        of ``kappa = n^T x``.
    """
    task, seeds = task_of(parameters), np.array(parameters["seeds"])
    run = _train(parameters, progress)
    assert run.checkpoints is not None
    history, kept = run.history, run.checkpoints["epoch"].values
    loss = history["loss"].values / task.chance_loss
    blind = best_blind_loss(task)
    begins, learned = drops(history["epoch"].values, loss, blind)
    able = np.flatnonzero(learned >= 0)[: parameters["followed"]]
    followed = able if len(able) else np.arange(1)  # if none learns, the first seed is looked at all the same
    counts = _counted(parameters, progress, run, followed)
    first = int(followed[0])
    last = parameters["epochs"] - 1
    drop = (begins[first], learned[first]) if len(able) else (last // 2, last)
    wanted = np.array([0, drop[0] // 2, *drop, last])
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
            "blind_loss": blind,
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
    """The latents (trial, steps + 1, K) and outputs (trial, step) of one network in the trials of a
    task.

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
    """Flow, speed and levels on a grid around the trials and zeros of each network, and these
    themselves.
    """
    few = replace(task, copies=parameters["trials_shown"])
    progress.phase("flow maps", len(shown))
    zeros = [latent_zeros(model) for model in shown]
    ghosts = [latent_ghosts(model, starts=parameters["ghost_starts"]) for model in shown]
    paths, outputs, axes, flow, speed, level = [], [], [], [], [], []
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
        speed.append(latent_speed(model, points[:, :, 0]))
        level.append(task.level(model.output(points)[:, :, 0]))
        progress.advance(1)
    return {
        "path": (("shown", "trial", "state", "latent"), np.stack(paths)),
        "outputs": (("shown", "trial", "step"), np.stack(outputs)),
        "targets": (("trial", "step"), few.trial().targets[:, :, 0]),
        "grid": (("shown", "point", "latent"), np.stack(axes)),
        "flow": (("shown", "y", "x", "latent"), np.stack(flow), {"units": "1 / tau"}),
        "speed": (("shown", "y", "x"), np.stack(speed), {"units": "1 / tau"}),
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
    """Claims: the published network and others learn; how abrupt their drops are; whether zeros or
    ghosts appear before these end.

    Parameters
    ----------
    dataset, parameters
        Of a run of the experiment.
    source : str
        Figure of the article that the claims are from.
    """
    d, epoch, blind = dataset, dataset["epoch"].values, dataset.attrs["blind_loss"]
    learned, begins = d["first_learned"].values, d["drop_begins"].values
    final = np.median(d["loss"].values[:, epoch >= 0.9 * epoch[-1]], axis=1)
    able = learned >= 0
    count, seeds = int(able.sum()), len(able)
    low = int((able & (final < blind / 2)).sum())
    shares = np.where(able, (learned - begins) / np.maximum(begins, 1), np.nan)
    ratios = shares[able]
    sharp = int((ratios < ABRUPT).sum())
    shown = f"seed {d['seed'].values[0]}"
    copies = f"{parameters['task']['copies']} copies of each trial, {parameters['epochs']:,} epochs."
    learns = (
        f"its running median of {WINDOW} recorded losses falls below {LEARNED:g} of chance, and its median loss over "
        f"the last tenth of the epochs is below {blind / 2:g} of chance, half of what the best answer that ignores the "
        "cues has"
    )
    abrupt = (
        f"The running median falls from {DROP_FROM:g} of the plateau, {blind:g} of chance and the best that ignores "
        f"the cues, to {LEARNED:g} of chance in less than {ABRUPT:g} times the epochs before, as for rank one"
    )
    return [
        published_claim(
            "A network of rank two learns the task.",
            source=source,
            published="the one network shown",
            rule=f"The published network, the first seed, learns: {learns}.",
            measured=f"{shown}: "
            + (f"below {LEARNED:g} of chance from epoch {learned[0]:,} on" if able[0] else f"not below {LEARNED:g}")
            + f"; median loss over the last tenth {final[0]:.2g} of chance",
            verdict=judge(bool(able[0] and final[0] < blind / 2)),
            note=copies,
        ),
        own_claim(
            "Most networks of rank two learn the task.",
            source=f"Other seeds of {source}",
            rule=f"Most networks learn: {learns}. {MOST_OF}",
            measured=f"{share(low, seeds)}; {count} fall below {LEARNED:g} of chance"
            + (f", first at epoch {learned[able].min():,} to {learned[able].max():,}" if count else "")
            + (f"; median loss at the end {np.median(final[~able]):.2g} for the others" if count < seeds else ""),
            verdict=judge_share(most(low, seeds), seeds),
            note=copies,
        ),
        published_claim(
            "The loss stays on a plateau and then drops abruptly.",
            source=f"{source}; abstract of 2026",
            published="a sharp drop (no number)",
            rule=abrupt + ", in the published network.",
            measured=f"{shown}: from epoch {begins[0]:,} to {learned[0]:,}, a ratio of {shares[0]:.2g}"
            if able[0]
            else f"{shown} does not learn",
            verdict=judge(bool(able[0] and shares[0] < ABRUPT)),
        ),
        own_claim(
            "Most drops are abrupt.",
            source=f"Other seeds of {source}",
            rule=f"{abrupt}, in most networks that learn. {MOST_OF}",
            measured=f"{share(sharp, count)} that learn; median ratio {np.median(ratios):.2g} ({ratios.min():.2g} to "
            f"{ratios.max():.2g})"
            if count
            else "no network learns",
            verdict=judge_share(most(sharp, count), count),
        ),
        _bifurcation_claim(d, source),
        _ghost_claim(d, source),
    ]


def _followed(d: xr.Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of the networks followed that learn: their places among them, and where their drops begin and
    end.
    """
    of_seed = d[["drop_begins", "first_learned"]].sel(seed=d["followed"].values)
    places = np.flatnonzero(of_seed["first_learned"].values >= 0)
    return places, of_seed["drop_begins"].values[places], of_seed["first_learned"].values[places]


def _bifurcation_claim(d: xr.Dataset, source: str) -> Claim:
    """Whether number and stability of the zeros stay the same until after the drop, in each network
    followed.
    """
    places, begins, ends = _followed(d)
    unsure, kept = d["n_undecided"].values[places], d["kept"].values
    both = np.stack([d["n_fixed"].values, d["n_stable"].values], axis=-1)[places]  # (network, kept, 2)
    same, lines = 0, []
    for seed, row, end in zip(d["followed"].values[places], both, ends, strict=True):
        changes = np.flatnonzero((np.diff(row, axis=0) != 0).any(axis=1))
        told = [f"{row[0, 0]} ({row[0, 1]} stable) at first"]
        told += [f"{row[k + 1, 0]} ({row[k + 1, 1]}) from epoch {kept[k + 1]:,}" for k in changes[:3]]
        told += [f"{len(changes) - 3} more changes"] if len(changes) > 3 else []
        # up to the first kept epoch after the drop
        same += bool((row[: np.searchsorted(kept, end) + 1] == row[0]).all())
        lines.append(f"seed {seed}: {', '.join(told)}")
    drops = ", ".join(f"{epoch:,}" for epoch in begins)
    return own_claim(
        "Most losses drop without a bifurcation: no fixed point comes, goes or changes its stability before.",
        source=f"Letter, text on Fig. 3A (for rank one), carried over to {source}",
        published="no change (rank one)",
        rule="In most networks number and stability of the zeros at all kept epochs until the drop has ended are "
        f"those of the first. {MOST_OF}",
        measured=f"no change in {share(same, len(places))} networks; {'; '.join(lines)}; drops begin at epochs {drops}"
        if len(places)
        else "no network learns",
        verdict=judge_share(most(same, len(places)), len(places), testable=not unsure.any()),
        note="Without input; every zero of the latent flow at the kept epochs"
        + (f", {int((unsure > 0).sum())} of them undecided." if unsure.any() else ", proven to be all."),
    )


def _ghost_claim(d: xr.Dataset, source: str) -> Claim:
    """Whether the published network has a ghost at the last kept epoch before its drop, and the
    others followed.
    """
    places, begins, _ = _followed(d)
    ghosts, kept = d["n_ghosts"].values[places], d["kept"].values
    last = np.searchsorted(kept, begins, "right") - 1  # the last kept epoch before the drop begins
    there = ghosts[np.arange(len(places)), last] > 0
    first = np.flatnonzero(d["followed"].values[places] == d["seed"].values[0])
    since = ", ".join(f"{kept[row.argmax()]:,}" if row.any() else "never" for row in ghosts > 0)
    has = bool(len(first) and there[first[0]])
    return published_claim(
        "Ghosts precede the drop of the loss.",
        source=f"{source}; abstract of 2026",
        published="before the drop (no number)",
        rule="The published network has a ghost, a minimum of the speed that is not zero, at the last kept epoch "
        f"before its drop begins, the last with a running median of at least {DROP_FROM:g} of the plateau.",
        measured=f"{'there is one' if has else 'there is none'}; of all followed "
        f"{share(int(there.sum()), len(places))}; "
        f"first kept epoch with one: {since}; the drops begin at {', '.join(f'{epoch:,}' for epoch in begins)}"
        if len(first)
        else "the published network does not learn",
        verdict=judge(has),
        note=f"Of the flow without input, however fast. {int((ghosts[:, 0] > 0).sum())} of the networks followed have "
        "one before training.",
    )


def _experiment(id: str, task: str, figure: str, quick: Mapping[str, Any], paper: Mapping[str, Any]) -> Experiment:
    return Experiment(
        id=id,
        title=f"A rank-two network learns {task}",
        figure=figure,
        question="With rank two the whole computation is a flow in a plane. How does that flow change when the loss "
        "drops: do fixed points appear, and are there ghosts before they do?",
        parameters={"quick": quick, "paper": paper},
        run=run,
        claims=partial(latent_claims, source=figure),
    )


DCDT = _experiment("latent_dcdt", "delayed cue discrimination", "Fig. 4A-D", QUICK_DCDT, PAPER_DCDT)
DMTS = _experiment("latent_dmts", "delayed match to sample", "Fig. 4E-H", QUICK_DMTS, PAPER_DMTS)
