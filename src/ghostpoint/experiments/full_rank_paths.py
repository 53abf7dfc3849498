"""Article, Fig. 5: full-rank networks learn delayed cue discrimination (A-C) and delayed match to
sample (D-F).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim, published_claim
from ghostpoint.experiments.shared.drops import ABRUPT, DROP_FROM, drops
from ghostpoint.experiments.shared.full_rank_runs import (
    LEARNED,
    answers,
    best_blind_loss,
    networks_of,
    principal_axes,
    slow_points_of,
    task_of,
)
from ghostpoint.experiments.shared.networks import cued, spread_epochs, trained
from ghostpoint.experiments.shared.shares import MOST_OF, judge_share, most, share

#: Fig. 5A-C and 5D-F
PAPER_DCDT: Mapping[str, Any] = {
    "figure": "5A",
    "dtype": "float32",
    "task": cued("DelayedCueDiscrimination", 10.0, 50.0, initial_scale=0.1, noise=0.01),
    "seeds": [3, 0, 1, 2, 4, 5, 6, 7, 8, 9],  # the published one, then others
    "rate": 0.01,
    "epochs": 3001,
    "draws": 10,  # of the noise and the initial rates, for the network shown
    "history_points": 600,
    "kept_points": 300,
    # slow points are searched at these multiples of the epoch of the drop
    "searched": [0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0],
    "slow_point_starts": 64,
}
PAPER_DMTS: Mapping[str, Any] = {
    **PAPER_DCDT,
    "figure": "5D",
    "task": cued("DelayedMatchToSample", 10.0, 150.0, initial_scale=0.1, noise=0.01),
    "epochs": 100_001,
    "kept_points": 500,
}
FEW: Mapping[str, Any] = {"draws": 1, "searched": [0.5, 0.8, 0.9], "slow_point_starts": 32}
QUICK_DMTS = {**PAPER_DMTS, "seeds": [3, 2], "epochs": 70_001, "kept_points": 200, **FEW}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed with its weights kept along the way, and look at the first of them.

    Shown are the kept epochs nearest to the start, half way to the drop of the loss, the drop,
    twice its epoch, and the end; slow points are searched at those nearest to multiples of the
    drop's epoch too. If the network does not learn, the last epoch stands in for the drop. Trials
    are shown without noise, from the model's initial state, in the two principal axes of the states
    of all epochs shown together.
    """
    task, seeds, epochs, rate = task_of(parameters), parameters["seeds"], parameters["epochs"], parameters["rate"]
    models = networks_of(parameters, seeds)
    recorded = np.union1d(spread_epochs(epochs, parameters["history_points"]), np.arange(min(epochs, 300)))
    run = trained(
        progress, f"training {len(seeds)} networks", models, parameters, rate, epochs, task,
        record=recorded, checkpoints=spread_epochs(epochs, parameters["kept_points"]), solved=LEARNED, keep="training",
    )  # fmt: skip
    draws = [run, *_other_draws(parameters, progress, models[[0]])]
    assert run.checkpoints is not None
    epochs_kept = run.checkpoints["epoch"].values
    first = run.events["first_solved"].values
    drop = int(first[0]) if first[0] >= 0 else epochs - 1

    def nearest(wanted: Any) -> NDArray[np.int64]:
        return np.unique(np.abs(epochs_kept[:, None] - np.asarray(wanted)).argmin(axis=0))

    shown = epochs_kept[nearest([0, drop // 2, drop, min(2 * drop, epochs - 1), epochs - 1])]
    around = np.minimum(np.round(drop * np.array(parameters["searched"])), epochs - 1)
    searched = np.union1d(shown, epochs_kept[nearest(around)])
    kept = [run.models_at(place)[[0]] for place in np.searchsorted(epochs_kept, searched)]
    every = [answers(network, task) for network in kept]
    seen = [every[place] for place in np.searchsorted(searched, shown)]
    states = np.concatenate([each.rates for each in seen])  # (shown, trial, steps + 1, unit)
    mean, axes, explained = principal_axes(states, 2)
    trial = task.trial()
    history = run.history
    dataset = xr.Dataset(
        {
            "loss": (("seed", "epoch"), history["loss"].values / task.chance_loss, {"units": "chance"}),
            "gradient_norm": (("seed", "epoch"), history["gradient_norm"].values),
            "accuracy": (("seed", "epoch"), history["accuracy"].values),
            "first_learned": ("seed", first, {"missing": -1}),
            "draw_learned": ("draw", [int(each.events["first_solved"][0]) for each in draws], {"missing": -1}),
            "draw_loss": (
                "draw",
                [_final_loss(each, task, epochs) for each in draws],
                {"units": "chance"},
            ),
            "outputs": (("shown", "trial", "step"), np.concatenate([each.outputs for each in seen])),
            "targets": (("trial", "step"), trial.targets[:, :, 0]),
            "inputs": (("trial", "step"), trial.inputs[:, :, 0]),
            "path": (("shown", "trial", "state", "axis"), (states - mean) @ axes.T),
            "explained": ("axis", explained),
        },
        coords={"seed": np.array(seeds), "epoch": recorded, "shown": shown},
        attrs={
            "blind_loss": best_blind_loss(task),
            "chance_accuracy": task.chance_accuracy,
            "dt": task.dt,
            "shown_seed": seeds[0],
        },
    )
    around_them = [each.rates[0] for each in every]
    found = _slow_points(parameters, progress, kept, around_them, mean, axes)
    return dataset.assign(found).assign_coords(searched=searched)


def _other_draws(parameters: Mapping[str, Any], progress: Progress, shown: Any) -> list[Any]:
    """The runs of the network shown with other draws of the noise and of the initial rates."""
    task, epochs = task_of(parameters), parameters["epochs"]
    recorded = spread_epochs(epochs, parameters["history_points"])
    return [
        trained(
            progress, f"draw {draw + 1} of the noise", shown, parameters, parameters["rate"], epochs, task,
            record=recorded, solved=LEARNED, seed=draw, keep=f"draw_{draw}",
        )
        for draw in range(1, parameters["draws"])
    ]  # fmt: skip


def _final_loss(run: Any, task: Any, epochs: int) -> float:
    """Median loss of the first network over the last tenth of the epochs, in units of chance."""
    loss = run.history["loss"].isel(network=0)
    return float(np.median(loss.values[loss["epoch"].values >= 0.9 * (epochs - 1)])) / float(task.chance_loss)


def _slow_points(
    parameters: Mapping[str, Any],
    progress: Progress,
    kept: list[Any],
    states: list[NDArray[Any]],
    mean: NDArray[Any],
    axes: NDArray[Any],
) -> dict[str, Any]:
    """Slow points of the flow without input at every epoch searched, padded with NaN and an empty
    kind.
    """
    progress.phase("slow points without input", len(kept))
    found = []
    for network, around in zip(kept, states, strict=True):
        found.append(slow_points_of(network, around, parameters["slow_point_starts"]))
        progress.advance(1)
    most = max(1, *(len(points) for points in found))
    position = np.full((len(found), most, len(axes)), np.nan)
    speed, kind = np.full((len(found), most), np.nan), np.full((len(found), most), "", dtype="<U9")
    unstable, growth = np.full((len(found), most), -1), np.full((len(found), most), np.nan)
    for row, points in enumerate(found):
        count = len(points)
        position[row, :count] = (points.position - mean) @ axes.T
        speed[row, :count], kind[row, :count], unstable[row, :count] = points.speed, points.kind, points.n_unstable
        growth[row, :count] = points.eigenvalues[:, 0].real
    return {
        "slow_point": (("searched", "point", "axis"), position),
        "slow_point_speed": (("searched", "point"), speed, {"units": "1 / tau"}),
        "slow_point_kind": (("searched", "point"), kind),
        "slow_point_unstable": (("searched", "point"), unstable, {"missing": -1}),
        "n_fixed": ("searched", (kind == "fixed").sum(axis=1)),
        "n_ghosts": ("searched", (kind == "ghost").sum(axis=1)),
        "slow_point_growth": (("searched", "point"), growth, {"units": "1 / tau"}),
    }


def path_claims(dataset: xr.Dataset, parameters: Mapping[str, Any], source: str) -> list[Claim]:
    """Claims: the network shown and most others learn; whether their drops are abrupt; what is slow
    in the one shown.

    Parameters
    ----------
    dataset, parameters
        Of a run of the experiment.
    source : str
        Figure of the article that the claims are from.
    """
    d, epoch, blind = dataset, dataset["epoch"].values, dataset.attrs["blind_loss"]
    seeds, shown = len(d["seed"]), f"seed {d.attrs['shown_seed']}"
    loss, learned = d["loss"].values, d["first_learned"].values
    late = epoch >= 0.9 * epoch[-1]
    final = np.median(loss[:, late], axis=1)
    accuracy = np.median(d["accuracy"].values[:, late], axis=1)
    begins, lows = drops(epoch, loss, blind)
    dropped = lows >= 0
    shares = (lows - begins)[dropped] / np.maximum(begins[dropped], 1)
    sharp, many = int((shares < ABRUPT).sum()), int(dropped.sum())
    keep = int((final < LEARNED).sum())
    draws, ends = d["draw_learned"].values, d["draw_loss"].values
    kept_draws = int(((draws >= 0) & (ends < LEARNED)).sum())
    full = f"over the last tenth of {parameters['epochs']:,} epochs"
    rule = (
        f"The running median of the loss falls from {DROP_FROM:g} of the plateau, {blind:g} of chance and the best "
        "that ignores the cues, to "
        f"{LEARNED:g} of chance in less than {ABRUPT:g} times the epochs before, as for rank one"
    )
    gradual = "The letter calls the decrease of full-rank networks gradual (text on Fig. S2)."
    return [
        published_claim(
            "A full-rank network learns the task, with noise.",
            source=source,
            published="the one network shown",
            rule=f"The network shown falls below {LEARNED:g} of chance, and is below it in the median over the last "
            "tenth of the epochs, with more than half of the draws of the noise.",
            measured=f"{shown}: {share(kept_draws, len(draws))} draws; {full} loss {ends.min():.3f} to "
            f"{ends.max():.3f} of chance; in the one shown {_first(draws[0])}, loss {ends[0]:.3f} at the end, accuracy "
            f"{accuracy[0]:.2f} (chance {d.attrs['chance_accuracy']:.2f})",
            verdict=judge(2 * kept_draws > len(draws)),
        ),
        own_claim(
            "Most full-rank networks learn and keep the task, with noise.",
            source=f"Other seeds of {source}",
            rule=f"Most networks are below {LEARNED:g} of chance in the median over the last tenth of the epochs. "
            f"{MOST_OF}",
            measured=f"{share(keep, seeds)}; {int((learned >= 0).sum())} at some epoch; {full} loss {final.min():.3f} "
            f"to {final.max():.3f} of chance, accuracy {accuracy.min():.2f} to {accuracy.max():.2f}",
            verdict=judge_share(most(keep, seeds), seeds),
        ),
        published_claim(
            "The loss stays on a plateau and then drops abruptly.",
            source=f"{source}; abstract of 2026",
            published="a sharp drop (no number)",
            rule=rule + ", in the network shown.",
            measured=f"{shown}: from epoch {begins[0]:,} to {lows[0]:,}, a ratio of {shares[0]:.3f}"
            if dropped[0]
            else f"{shown} has no plateau and drop",
            verdict=judge(bool(dropped[0]) and bool(shares[0] < ABRUPT)),
            note=gradual,
        ),
        own_claim(
            "Most drops are abrupt.",
            source=f"Other seeds of {source}",
            rule=f"{rule}, in most networks that drop. {MOST_OF}",
            measured=f"{share(sharp, many)}; median ratio {np.median(shares):.2f} ({shares.min():.2f} to "
            f"{shares.max():.2f}), drops begin at epochs {begins[dropped].min():,} to {begins[dropped].max():,}"
            if many
            else "no network has a plateau and drop",
            verdict=judge_share(most(sharp, many), many),
            note=gradual,
        ),
        _ghost_claim(d, source, int(begins[0]) if dropped[0] else -1),
        _slow_claim(d, source),
    ]


def _first(epoch: int) -> str:
    return (
        f"below {LEARNED:g} of chance from epoch {epoch:,} on" if epoch >= 0 else f"never below {LEARNED:g} of chance"
    )


def _ghost_claim(d: xr.Dataset, source: str, start: int) -> Claim:
    """Whether the network shown has a ghost when its loss starts to drop at epoch ``start`` (-1: it
    does not).
    """
    searched, ghosts = d["searched"].values, d["n_ghosts"].values
    has = searched[ghosts > 0]
    first = int(has[0]) if len(has) else -1
    without = searched[searched < first]
    drop = f"the drop starts at epoch {start:,}" if start >= 0 else "there is no drop"
    return published_claim(
        "Ghosts precede the drop of the loss.",
        source=f"{source}; abstract of 2026",
        published="before the drop (no number)",
        rule="In the network shown a ghost, a local minimum of the speed that is not zero, is found at an epoch before "
        f"the running median of its loss is last at {DROP_FROM:g} of the plateau.",
        measured=f"first ghost between epochs {without[-1] if len(without) else 0:,} and {first:,}; {drop}"
        if len(has)
        else f"no ghost at any of {len(searched)} epochs; {drop}",
        verdict=judge(len(has) > 0 and start >= 0 and first <= start),
        note=f"Seed {d.attrs['shown_seed']}, flow without input, at {len(searched)} epochs.",
    )


def _slow_claim(d: xr.Dataset, source: str) -> Claim:
    """Does the network shown have more slow points at the last epoch than at the first?"""
    kind, growth = d["slow_point_kind"].values, d["slow_point_growth"].values
    count = {name: (kind == name).sum(axis=1) for name in ("fixed", "ghost", "undecided")}
    table = []
    for epoch in d["shown"].values:
        row = int(np.flatnonzero(d["searched"].values == epoch)[0])
        stable = growth[row][(kind[row] == "fixed") & (growth[row] < 0)]
        slowest = f" (slowest stable one: {-1 / stable.max():.3g} tau)" if len(stable) else ""
        unsure = f", {count['undecided'][row]} undecided" if count["undecided"][row] else ""
        table.append(f"epoch {epoch:,}: {count['fixed'][row]} fixed{slowest}, {count['ghost'][row]} ghosts{unsure}")
    slow = count["fixed"] + count["ghost"]  # undecided points are neither
    return published_claim(
        "Learning makes slow points: the trained network has fixed points or ghosts that the initial one has not.",
        source=f"{source}; abstract of 2026 (slow regions of state space)",
        published="slow points (no number)",
        rule="In the network shown more fixed points and ghosts are found at the last epoch than at the first; "
        "undecided points do not count.",
        measured="; ".join(table),
        verdict=judge(bool(slow[-1] > slow[0])),
        note=f"Seed {d.attrs['shown_seed']}, without input; those that were found, as the search of a full-rank "
        "network is not complete. In brackets the longest time constant of the flow's Jacobian.",
    )


def _experiment(id: str, task: str, figure: str, quick: Mapping[str, Any], paper: Mapping[str, Any]) -> Experiment:
    return Experiment(
        id=id,
        title=f"A full-rank network learns {task}",
        figure=figure,
        question=f"A full-rank network is trained with noise on {task}. How does its loss fall, what do its answers "
        "and trajectories look like on the way, and where is it slow?",
        parameters={"quick": quick, "paper": paper},
        run=run,
        claims=partial(path_claims, source=figure),
    )


DCDT = _experiment("full_dcdt", "delayed cue discrimination", "Fig. 5A-C", {**PAPER_DCDT, **FEW}, PAPER_DCDT)
DMTS = _experiment("full_dmts", "delayed match to sample", "Fig. 5D-F", QUICK_DMTS, PAPER_DMTS)
