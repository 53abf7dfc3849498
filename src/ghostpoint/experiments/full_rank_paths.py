"""One full-rank network over its training: losses, answers and trajectories; what full_dcdt and full_dmts share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.experiments.base import Claim, Progress, judge
from ghostpoint.experiments.full_rank_runs import (
    LEARNED,
    answers,
    best_blind_loss,
    networks_of,
    principal_axes,
    slow_points_of,
    task_of,
)
from ghostpoint.experiments.networks import spread_epochs, trained

__all__ = ["path_claims", "paths"]

#: the drop of the loss begins below this share of the best loss that no cue is needed for
DROP_FROM = 0.9
#: a drop is abrupt when it takes less than this share of the epochs before it (as for Fig. 3A)
ABRUPT = 0.05


def paths(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed with its weights kept along the way, and look at the first of them.

    Shown are the kept epochs nearest to the start, half way to the drop of the loss, the drop, twice its epoch, and the
    end; slow points are searched at those nearest to multiples of the drop's epoch too. Trials are shown without noise,
    from the model's initial state, in the two principal axes of the states of all epochs shown together.
    """
    task, seeds, epochs, rate = task_of(parameters), parameters["seeds"], parameters["epochs"], parameters["rate"]
    models = networks_of(parameters, seeds)
    recorded = np.union1d(spread_epochs(epochs, parameters["history_points"]), np.arange(min(epochs, 300)))
    run = trained(
        progress, f"training {len(seeds)} networks", models, parameters, rate, epochs, task,
        record=recorded, checkpoints=spread_epochs(epochs, parameters["kept_points"]), solved=LEARNED, keep="training",
    )  # fmt: skip
    assert run.checkpoints is not None
    epochs_kept = run.checkpoints["epoch"].values
    first = run.events["first_solved"].values
    drop = int(first[0])
    if drop < 0:
        raise InputError(f"epochs must be enough for seed {seeds[0]} to learn; it had not after {epochs}")

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


def _slow_points(
    parameters: Mapping[str, Any],
    progress: Progress,
    kept: list[Any],
    states: list[NDArray[Any]],
    mean: NDArray[Any],
    axes: NDArray[Any],
) -> dict[str, Any]:
    """Slow points of the flow without input at every epoch searched, padded with NaN and an empty kind."""
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
    """Networks learn, whether the drop is abrupt, and what is slow in the trained network."""
    d, epoch, blind = dataset, dataset["epoch"].values, dataset.attrs["blind_loss"]
    seeds = len(d["seed"])
    loss, learned = d["loss"].values, d["first_learned"].values
    late = epoch >= 0.9 * epoch[-1]
    final = np.median(loss[:, late], axis=1)
    accuracy = np.median(d["accuracy"].values[:, late], axis=1)
    below = loss < DROP_FROM * blind
    begins = np.where(below.any(axis=1), epoch[below.argmax(axis=1)], -1)
    dropped = (learned > 0) & (begins > 0)
    width = learned[dropped] - begins[dropped]
    shares = width / begins[dropped]
    full = parameters["epochs"]
    claims = [
        Claim(
            "Full-rank networks learn the task, with noise.",
            source,
            "the one network shown",
            f"{int((learned >= 0).sum())} of {seeds} below {LEARNED:g} of chance, first at epoch "
            f"{int(learned[learned >= 0].min()):,} to {int(learned.max()):,}; over the last tenth of {full:,} epochs "
            f"loss {final.min():.3f} to {final.max():.3f} of chance, accuracy {accuracy.min():.2f} to "
            f"{accuracy.max():.2f} (chance {d.attrs['chance_accuracy']:.2f})",
            judge(bool((final < LEARNED).all())),
        ),
        Claim(
            "The loss stays on a plateau and then drops abruptly.",
            source,
            "a sharp drop (no number)",
            f"from {DROP_FROM * blind:.2g} to {LEARNED:g} of chance in a median of {np.median(width):,.0f} epochs, "
            f"after {np.median(begins[dropped]):,.0f}: a ratio of {np.median(shares):.2f} ({shares.min():.2f} to "
            f"{shares.max():.2f} over {dropped.sum()} networks)"
            if dropped.any()
            else "no network drops",
            judge(bool(dropped.any()) and bool(np.median(shares) < ABRUPT)),
            f"The plateau is {blind:g} of chance, the best that ignores the cues. Abrupt means a ratio below "
            f"{ABRUPT:g}, as for rank one. The letter calls the decrease of full-rank networks gradual (on Fig. S2).",
        ),
    ]
    start = float(begins[0]) if dropped[0] else np.nan
    return [*claims, _ghost_claim(d, source, start), _slow_claim(d, source)]


def _ghost_claim(d: xr.Dataset, source: str, start: float) -> Claim:
    """Whether the network shown has a ghost before its loss starts to drop at epoch ``start``."""
    searched, ghosts = d["searched"].values, d["n_ghosts"].values
    has = searched[ghosts > 0]
    first = int(has[0]) if len(has) else -1
    without = searched[searched < first]
    return Claim(
        "Ghosts precede the drop of the loss.",
        source + "; abstract of 2026",
        "before the drop (no number)",
        f"first ghost between epochs {without[-1] if len(without) else 0:,} and {first:,}; the drop starts at epoch "
        f"{start:,.0f} and is at {LEARNED:g} of chance at {int(d['first_learned'][0]):,}"
        if len(has)
        else f"no ghost at any of {len(searched)} epochs",
        judge(len(has) > 0 and bool(first <= start)),
        f"Seed {d.attrs['shown_seed']}, flow without input, at {len(searched)} epochs.",
    )


def _slow_claim(d: xr.Dataset, source: str) -> Claim:
    """What is slow in the network shown, at the first and the last epoch shown."""
    kind, growth = d["slow_point_kind"].values, d["slow_point_growth"].values
    count = {name: (kind == name).sum(axis=1) for name in ("fixed", "ghost", "undecided")}
    table = []
    for epoch in d["shown"].values:
        row = int(np.flatnonzero(d["searched"].values == epoch)[0])
        stable = growth[row][(kind[row] == "fixed") & (growth[row] < 0)]
        slowest = f" (slowest stable one: {-1 / stable.max():.3g} tau)" if len(stable) else ""
        unsure = f", {count['undecided'][row]} undecided" if count["undecided"][row] else ""
        table.append(f"epoch {epoch:,}: {count['fixed'][row]} fixed{slowest}, {count['ghost'][row]} ghosts{unsure}")
    return Claim(
        "Learning makes slow points: the trained network has fixed points or ghosts that the initial one has not.",
        source + "; abstract of 2026 (slow regions of state space)",
        "slow points (no number)",
        "; ".join(table),
        judge(int((kind[-1] != "").sum()) > int((kind[0] != "").sum())),
        f"Seed {d.attrs['shown_seed']}, without input; those that were found, as the search of a full-rank network "
        "is not complete. In brackets the longest time constant of the flow's Jacobian.",
    )
