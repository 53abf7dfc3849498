"""Fig. 3A: a rank-one network learns abruptly by making a ghost; the number of fixed points never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.errors import InputError
from ghostpoint.experiments.base import Claim, Experiment, Progress, judge
from ghostpoint.experiments.networks import NETWORKS, linear_grid, models_of, spread_epochs, task_of, trained
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import flow_ghosts, flow_zeros, latent_flow
from ghostpoint.theory import NormalForm

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seed": 40,
    "learning_rate": 0.003,
    "epochs": 500_000,
    "history_points": 4000,
    "flow_epochs": 3000,  # spread over the run, for zeros and ghosts
    "window": 2000,  # epochs around the drop, every one recorded
    "curve_limits": [-6.0, 4.0],
    "curve_points": 501,
}
PARAMETERS = {"quick": {**PAPER, "flow_epochs": 1000}, "paper": PAPER}

#: the drop is the stretch in which the loss goes from the first to the second of these, in units of chance
DROP_FROM, DROP_TO = 0.9, 0.1


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train once to find the drop, once more with the weights kept around it, and take the latent flows apart."""
    epochs, rate = parameters["epochs"], parameters["learning_rate"]
    models = models_of(parameters, [parameters["seed"]])
    first = trained(progress, "training, to find the drop", models, parameters, rate, epochs, record=[0])
    drop = int(first.events["first_above_chance"].item())
    if drop < 0:
        raise InputError(f"epochs must be enough for the network to learn; it had not after {epochs}")
    around = np.arange(max(0, drop - parameters["window"] // 2), min(epochs, drop + parameters["window"] // 2))
    recorded = np.union1d(spread_epochs(epochs, parameters["history_points"]), around)
    kept = np.union1d(spread_epochs(epochs, parameters["flow_epochs"]), around[::4])
    result = trained(
        progress,
        "training, with the weights kept",
        models,
        parameters,
        rate,
        epochs,
        record=recorded,
        checkpoints=kept,
    )
    assert result.checkpoints is not None
    weights = [result.checkpoints[name].values[:, 0].reshape(len(kept), -1) for name in ("m", "n", "b")]
    progress.phase("fixed points and ghosts of the latent flow", len(kept))
    zeros, ghosts = flow_zeros(*weights), flow_ghosts(*weights)
    progress.advance(len(kept))
    # the ghost that a trajectory meets: the slowest, i.e. with the longest passage
    escape = np.where(np.isnan(ghosts.escape_time), -np.inf, ghosts.escape_time)
    slowest = escape.argmax(axis=1, keepdims=True) if escape.shape[1] else None

    def of_slowest(values: Any) -> Any:
        if slowest is None:
            return np.full(len(kept), np.nan)
        return np.where(ghosts.count > 0, np.take_along_axis(values, slowest, axis=1)[:, 0], np.nan)

    start = weights[1].astype(np.float64).sum(axis=1) * parameters["initial_state"]
    task = task_of(parameters)
    ghost, height, curvature = (of_slowest(values) for values in (ghosts.position, ghosts.height, ghosts.curvature))
    predicted = [
        # the passage of the ghost, where the way from the start to the threshold leads through it
        NormalForm(r, a).escape_time(x - g, parameters["threshold"] - g)
        if x < parameters["threshold"] and g < parameters["threshold"] and r > 0
        else np.nan
        for r, a, g, x in zip(height, curvature, ghost, start, strict=True)
    ]
    path = LowRankRNN(*weights, initial_state=parameters["initial_state"]).latent_path(task.steps, task.alpha)[..., 0]
    shown = _shown_epochs(kept, drop, epochs)
    grid = linear_grid(parameters["curve_limits"], parameters["curve_points"])
    rows = np.searchsorted(kept, shown)
    history = result.history.isel(network=0)
    return xr.Dataset(
        {
            "loss": ("epoch", history["loss"].values, {"units": "chance"}),
            "gradient_norm": ("epoch", history["gradient_norm"].values),
            "accuracy": ("epoch", history["accuracy"].values),
            "n_fixed_points": ("flow_epoch", zeros.count),
            "n_undecided": ("flow_epoch", zeros.n_undecided),
            "fixed_point": (("flow_epoch", "zero"), zeros.position, {"units": "kappa"}),
            "n_ghosts": ("flow_epoch", ghosts.count),
            "ghost": ("flow_epoch", ghost, {"units": "kappa"}),
            "ghost_height": ("flow_epoch", height, {"units": "kappa / tau"}),
            "ghost_curvature": ("flow_epoch", curvature, {"units": "1 / (kappa tau)"}),
            "escape_time": ("flow_epoch", np.array(predicted), {"units": "tau"}),
            "crossing_time": (
                "flow_epoch",
                crossing_time(path, parameters["threshold"]) * task.alpha,
                {"units": "tau"},
            ),
            "start": ("flow_epoch", start, {"units": "kappa"}),
            "curve": (("shown", "kappa"), latent_flow(grid, *(part[rows] for part in weights))),
        },
        coords={
            "epoch": recorded,
            "flow_epoch": kept,
            "kappa": grid,
            "shown": shown,
        },
        attrs={
            "drop_epoch": drop,
            "box": float(np.abs(weights[1].astype(np.float64)).sum(axis=1).max()),
            "delay_in_tau": task.delay / task.tau,
        },
    )


def crossing_time(path: Any, threshold: float) -> Any:
    """Steps until paths (steps + 1, R) first exceed the threshold, by linear interpolation; NaN for never."""
    above = path > threshold
    first = above.argmax(axis=0)
    rows = np.arange(path.shape[1])
    before, after = path[first - 1, rows], path[first, rows]
    return np.where(above.any(axis=0) & (first > 0), first - 1 + (threshold - before) / (after - before), np.nan)


def _shown_epochs(kept: Any, drop: int, epochs: int) -> Any:
    """The checkpoints nearest to: the start, just before and after the drop, the oscillation, the end."""
    wanted = [0, drop - 500, drop + 500, min(3 * drop, epochs - 1), epochs - 1]
    return np.unique(kept[np.abs(kept[None, :] - np.array(wanted)[:, None]).argmin(axis=1)])


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Abrupt loss, rising gradient, one fixed point, a ghost near the drop, and a sharpened ghost at the end."""
    d, drop = dataset, dataset.attrs["drop_epoch"]
    epoch, loss, norm = d["epoch"].values, d["loss"].values, d["gradient_norm"].values
    begins = int(epoch[np.flatnonzero(loss < DROP_FROM)[0]]) if (loss < DROP_FROM).any() else -1
    ends = int(epoch[np.flatnonzero(loss < DROP_TO)[0]]) if (loss < DROP_TO).any() else -1
    dropped = begins >= 0 and ends >= 0
    width = ends - begins
    before = float(np.median(norm[epoch < drop - parameters["window"] // 2]))
    near = (epoch >= drop - parameters["window"] // 2) & (epoch < drop + parameters["window"] // 2)
    peak = float(norm[near].max())

    counts, undecided = d["n_fixed_points"].values, int(d["n_undecided"].sum())
    flow_epoch, ghosts = d["flow_epoch"].values, d["n_ghosts"].values
    first_ghost = int(flow_epoch[np.flatnonzero(ghosts > 0)[0]]) if (ghosts > 0).any() else -1
    last_without = flow_epoch[flow_epoch < first_ghost] if first_ghost >= 0 else np.array([])
    bracket = f"between {last_without[-1]} and {first_ghost}" if len(last_without) else f"at {first_ghost}"

    predicted, simulated = float(d["escape_time"][-1]), float(d["crossing_time"][-1])

    after = (flow_epoch > ends) & (ghosts > 0) if dropped else np.zeros(len(flow_epoch), bool)
    curvature = d["ghost_curvature"].values[after]
    early, late = (curvature[:1], curvature[-1:]) if after.any() else (np.array([np.nan]),) * 2
    late_loss = float(loss[-1])
    settled = loss[(epoch > ends) & (epoch < ends + 20_000)] if dropped else np.array([np.nan])
    return [
        Claim(
            "The loss stays on a plateau and then drops abruptly.",
            "Fig. 3A; letter, Fig. 3A",
            "a sharp drop (no number)",
            f"from {DROP_FROM:g} to {DROP_TO:g} of chance between epochs {begins} and {ends}: "
            f"{width} epochs after a plateau of {begins}",
            judge(dropped and width < 0.05 * begins),
            "Abrupt here means that the drop takes less than a twentieth of the plateau.",
        ),
        Claim(
            "The norm of the gradient rises abruptly with the drop.",
            "Letter, Fig. 3A",
            "an abrupt increase (no number)",
            f"median {before:.2g} on the plateau, {peak:.2g} at most within {parameters['window'] // 2} epochs of "
            f"the drop",
            judge(peak > 10 * before),
        ),
        Claim(
            "The latent flow keeps exactly one fixed point: no bifurcation accompanies learning.",
            "Fig. 3A",
            "1 at every epoch",
            f"{counts.min()} to {counts.max()} at {len(counts)} epochs, {undecided} undecided, "
            f"proven on the whole line (all zeros lie within {d.attrs['box']:.1f} of 0)",
            judge(bool((counts == 1).all()) and undecided == 0),
            "fixed_point_count looks at every epoch.",
        ),
        Claim(
            "A ghost emerges with the drop of the loss.",
            "Fig. 3A; abstract of the article",
            "a ghost emerges (no number)",
            f"first ghost {bracket}; the loss falls between epochs {begins} and {ends}",
            judge(first_ghost >= 0 and abs(first_ghost - drop) < 0.05 * drop),
            "A ghost is a local minimum of the speed |f| that is not zero.",
        ),
        Claim(
            "The ghost precedes the drop.",
            "Letter, text on Fig. 3A; abstract of the article",
            "it precedes the sharp transitions (no number)",
            f"first ghost {bracket}; the accuracy is first above chance at epoch {drop}, the loss below {DROP_TO:g} of "
            f"chance at {ends}",
            judge(0 <= first_ghost <= drop),
            "In the strict sense. Before the drop the flow only flattens: its slope between the start and the "
            "threshold "
            "comes close to zero, and the local minimum forms once the delay is nearly right.",
        ),
        Claim(
            "The network times its delay by the passage of the ghost.",
            "Letter, text on Fig. 3A",
            "passage through the ghost lasts the delay (no number)",
            f"at the end, from the start to the threshold: normal form {predicted:.2f} tau, network "
            f"{simulated:.2f} tau, delay {d.attrs['delay_in_tau']:g} tau",
            judge(
                abs(simulated / d.attrs["delay_in_tau"] - 1) < 0.1 and abs(predicted / simulated - 1) < 0.3,
                testable=parameters["epochs"] >= PAPER["epochs"],
            ),
            "The normal form is exact for a slow passage only, and the network moves in steps of dt.",
        ),
        Claim(
            "The network leaves the oscillation and lowers the loss further, with a sharper ghost.",
            "Letter, Fig. 3A",
            "lower loss and larger curvature at the end (no number)",
            f"median loss {np.median(settled):.2g} in the 20,000 epochs after the drop, {late_loss:.2g} at the end; "
            f"curvature f″/2 from {early[0]:.2g} to {late[0]:.2g} per kappa tau",
            judge(
                late_loss < np.median(settled) / 5 and late[0] > early[0],
                testable=parameters["epochs"] >= PAPER["epochs"],
            ),
        ),
    ]


EXPERIMENT = Experiment(
    id="ghost_without_bifurcation",
    title="Abrupt learning by a ghost, without a bifurcation",
    figure="Fig. 3A (letter: Fig. 3A)",
    question=(
        "A rank-one network (seed 40) learns delayed activation at a low rate. Does the number of fixed points of its "
        "latent flow change when the loss drops? All zeros and ghosts are found, with proof that none is missed, at "
        "thousands "
        "of epochs and densely around the drop."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
