"""Article, Fig. 3A: a rank-one network learns abruptly by making a ghost; the number of fixed
points never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.networks import NETWORKS, linear_grid, models_of, spread_epochs, task_of, trained
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_flow
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

#: the drop is the stretch in which the loss goes from the first to the second of these, in units of
#: chance
DROP_FROM, DROP_TO = 0.9, 0.1
#: an output from this to one minus this is uncertain
UNCERTAIN = 0.1
#: a drop is abrupt when it takes less than this share of the epochs before it
ABRUPT = 0.05


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train once to find the drop, once more with the weights kept around it, and take the latent
    flows apart.
    """
    epochs, rate = parameters["epochs"], parameters["learning_rate"]
    models = models_of(parameters, [parameters["seed"]])
    first = trained(progress, "training, to find the drop", models, parameters, rate, epochs, record=[0])
    drop = int(first.events["first_above_chance"].item())  # -1 for a network that does not learn
    half = parameters["window"] // 2
    around = np.arange(max(0, drop - half), min(epochs, drop + half)) if drop >= 0 else np.arange(0)
    recorded = np.union1d(spread_epochs(epochs, parameters["history_points"]), around)
    kept = np.union1d(spread_epochs(epochs, parameters["flow_epochs"]), around[::4])
    result = trained(
        progress, "training, with the weights kept", models, parameters, rate, epochs, record=recorded, checkpoints=kept
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
    # how long the output is neither a clear 0 nor a clear 1
    margin = np.log((1 - UNCERTAIN) / UNCERTAIN) / parameters["confidence"]
    lower, upper = (crossing_time(path, parameters["threshold"] + sign * margin) for sign in (-1, 1))
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
            "uncertain_time": ("flow_epoch", (upper - lower) * task.alpha, {"units": "tau"}),
            "start": ("flow_epoch", start, {"units": "kappa"}),
            "curve": (("shown", "kappa"), latent_flow(grid, *(part[rows] for part in weights))),
        },
        coords={"epoch": recorded, "flow_epoch": kept, "kappa": grid, "shown": shown},
        attrs={
            "drop_epoch": drop,
            "box": float(np.abs(weights[1].astype(np.float64)).sum(axis=1).max()),
            "delay_in_tau": task.delay / task.tau,
        },
    )


def crossing_time(path: Any, threshold: float) -> Any:
    """Steps until paths (steps + 1, R) first exceed the threshold, by linear interpolation; NaN for
    never.
    """
    above = path > threshold
    first = above.argmax(axis=0)
    rows = np.arange(path.shape[1])
    before, after = path[first - 1, rows], path[first, rows]
    return np.where(above.any(axis=0) & (first > 0), first - 1 + (threshold - before) / (after - before), np.nan)


def _shown_epochs(kept: Any, drop: int, epochs: int) -> Any:
    """The checkpoints nearest to: the start, just before and after the drop, the oscillation, the
    end.

    Without a drop: the start, the middle, the end.
    """
    wanted = [0, epochs // 2, epochs - 1]
    if drop >= 0:
        wanted = [0, drop - 500, drop + 500, min(3 * drop, epochs - 1), epochs - 1]
    return np.unique(kept[np.abs(kept[None, :] - np.array(wanted)[:, None]).argmin(axis=1)])


in_text_claim = partial(published_claim, source="Letter, text on Fig. 3A")


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Abrupt loss, rising gradient, one fixed point, a ghost near the drop, and what follows the
    drop.
    """
    d, drop = dataset, dataset.attrs["drop_epoch"]
    epoch, loss, norm = d["epoch"].values, d["loss"].values, d["gradient_norm"].values
    half = parameters["window"] // 2
    begins, ends = (
        int(epoch[np.argmax(loss < level)]) if (loss < level).any() else -1 for level in (DROP_FROM, DROP_TO)
    )
    dropped = drop >= 0 and begins >= 0 and ends >= 0
    before, near = norm[epoch < drop - half], norm[(epoch >= drop - half) & (epoch < drop + half)]
    plateau, peak = (float(np.median(before)), float(near.max())) if len(before) and len(near) else (np.nan, np.nan)

    counts, undecided = d["n_fixed_points"].values, int(d["n_undecided"].sum())
    flow_epoch, ghosts = d["flow_epoch"].values, d["n_ghosts"].values
    first = int(flow_epoch[np.argmax(ghosts > 0)]) if (ghosts > 0).any() else -1
    without = flow_epoch[flow_epoch < first]
    bracket = "no ghost at any epoch"
    if first >= 0:
        bracket = f"first ghost between {without[-1]} and {first}" if len(without) else f"first ghost at {first}"
    falls = f"the loss falls between epochs {begins} and {ends}" if dropped else "the loss does not fall"
    return [
        published_claim(
            "The loss stays on a plateau and then drops abruptly.",
            source="Fig. 3A; letter, Fig. 3A",
            published="a sharp drop (no number)",
            rule=f"The loss falls from {DROP_FROM:g} to {DROP_TO:g} of chance in less than {ABRUPT:g} times the epochs "
            "before.",
            measured=f"from {DROP_FROM:g} to {DROP_TO:g} of chance between epochs {begins} and {ends}: "
            f"{ends - begins} epochs after a plateau of {begins}"
            if dropped
            else f"no drop in {parameters['epochs']} epochs; lowest recorded loss {loss.min():.3g} of chance",
            verdict=judge(dropped and ends - begins < ABRUPT * begins),
        ),
        in_text_claim(
            "The norm of the gradient rises abruptly with the drop.",
            published="an abrupt increase (no number)",
            rule=f"Its largest value within {half} epochs of the drop is over 10 times its median before.",
            measured=f"median {plateau:.2g} on the plateau, {peak:.2g} at most within {half} epochs of the drop"
            if dropped
            else "no drop",
            verdict=judge(dropped and peak > 10 * plateau),
        ),
        published_claim(
            "The latent flow keeps exactly one fixed point: no bifurcation accompanies learning.",
            source="Fig. 3A; letter, text on Fig. 3A",
            published="1 at every epoch",
            rule="The network learns, and at every epoch looked at there is exactly one zero and none undecided.",
            measured=f"{counts.min()} to {counts.max()} at {len(counts)} epochs, {undecided} undecided, "
            f"proven on the whole line (all zeros lie within {d.attrs['box']:.1f} of 0); {falls}",
            verdict=judge(dropped and bool((counts == 1).all()) and undecided == 0),
            note="fixed_point_count looks at every epoch.",
        ),
        published_claim(
            "A ghost emerges with the drop of the loss.",
            source="Fig. 3A; letter, text on Fig. 3A; abstract of 2026",
            published="a ghost emerges (no number)",
            rule="The first epoch with a ghost, a local minimum of the speed |f| that is not zero, is within 5 % of "
            "the epoch of the drop.",
            measured=f"{bracket}; {falls}",
            verdict=judge(dropped and first >= 0 and abs(first - drop) < 0.05 * drop),
        ),
        published_claim(
            "The ghost precedes the drop.",
            source="Letter, text on Fig. 3A; abstract of 2026",
            published="it precedes the sharp transitions (no number)",
            rule="A ghost in the strict sense, a local minimum of |f| that is not zero, exists by the first epoch "
            "above chance.",
            measured=f"{bracket}; the accuracy is first above chance at epoch {drop}; {falls}",
            verdict=judge(dropped and 0 <= first <= drop),
            note="Other senses of the sentence are tested by an experiment of their own.",
        ),
        *_timing_claims(d, parameters),
        *_settling_claims(d, parameters, ends if dropped else -1),
    ]


def _timing_claims(d: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The ghost at the end: how near it is to a fixed point, and whether its passage times the
    delay.
    """
    full = parameters["epochs"] >= PAPER["epochs"]
    delay = d.attrs["delay_in_tau"]
    predicted, simulated = float(d["escape_time"][-1]), float(d["crossing_time"][-1])
    height = float(d["ghost_height"][-1])
    mean = (parameters["threshold"] - float(d["start"][-1])) / delay
    return [
        published_claim(
            "The trained network has a ghost at a small distance from zero.",
            source="Letter, Fig. 3A (caption)",
            published="a small, but non-zero, distance (no number)",
            rule="At the last epoch there is a ghost with a height above 0 and below the mean speed from the start to "
            "the threshold within the delay.",
            measured=f"height {height:.3g}, mean speed {mean:.3g} kappa per tau"
            if height > 0
            else "no ghost at the end",
            verdict=judge(0 < height < mean, testable=full),
        ),
        in_text_claim(
            "The network times its delay by the passage of the ghost.",
            published="passage through the ghost lasts the delay (no number)",
            rule="At the last epoch the network crosses the threshold within 10 % of the delay, and the normal form of "
            "its ghost predicts that time within 30 %.",
            measured=f"at the end, from the start to the threshold: normal form {predicted:.2f} tau, network "
            f"{simulated:.2f} tau, delay {delay:g} tau",
            verdict=judge(abs(simulated / delay - 1) < 0.1 and abs(predicted / simulated - 1) < 0.3, testable=full),
            note="The normal form is exact for a slow passage only, and the network moves in steps of dt.",
        ),
    ]


def _settling_claims(d: xr.Dataset, parameters: Mapping[str, Any], ends: int) -> list[Claim]:
    """What happens after the drop has ended at epoch ``ends`` (-1: it never does)."""
    full = parameters["epochs"] >= PAPER["epochs"]
    epoch, loss, flow_epoch = d["epoch"].values, d["loss"].values, d["flow_epoch"].values
    half, drop = parameters["window"] // 2, d.attrs["drop_epoch"]
    dense = loss[(epoch >= ends) & (epoch < drop + half)] if ends >= 0 else loss[:0]
    rises = float((np.diff(dense) > 0).mean()) if len(dense) > 1 else 0.0
    settled = loss[(epoch > ends) & (epoch < ends + 20_000)] if ends >= 0 else loss[:0]
    middle = float(np.median(settled)) if len(settled) else np.nan
    after = np.flatnonzero((flow_epoch > ends) & (d["n_ghosts"].values > 0)) if ends >= 0 else np.arange(0)
    early, late = (after[0], after[-1]) if len(after) else (-1, -1)
    curvature, unsure = d["ghost_curvature"].values, d["uncertain_time"].values
    none = "no ghost after a drop"
    return [
        published_claim(
            "After the drop the loss oscillates.",
            source="Letter, Fig. 3A, between (ii) and (iii)",
            published="oscillatory behaviour (no number)",
            rule=f"From the end of the drop to {half} epochs after its beginning, the loss rises in at least a quarter "
            "of the updates.",
            measured=f"it rises in {rises:.2f} of {max(len(dense) - 1, 0)} updates",
            verdict=judge(rises >= 0.25),
        ),
        in_text_claim(
            "The network leaves the oscillation and lowers the loss further.",
            published="a lower loss at the end (no number)",
            rule="The last loss is below a fifth of the median in the 20,000 epochs after the drop.",
            measured=f"median loss {middle:.2g} in the 20,000 epochs after the drop, {loss[-1]:.2g} at the end",
            verdict=judge(ends >= 0 and bool(loss[-1] < middle / 5), testable=full),
        ),
        in_text_claim(
            "The escape from the oscillation comes with a sharper curvature around the ghost.",
            published="larger curvature at the end (no number)",
            rule="The curvature f″/2 at the last ghost is at least twice that at the first one after the drop.",
            measured=f"from {curvature[early]:.2g} (epoch {flow_epoch[early]:,}) to {curvature[late]:.2g} per kappa tau"
            if len(after)
            else none,
            verdict=judge(len(after) > 0 and bool(curvature[late] >= 2 * curvature[early]), testable=full),
        ),
        in_text_claim(
            "With the larger curvature the latent spends less time where the output is uncertain.",
            published="less time around the threshold (no number)",
            rule=f"The time with an output from {UNCERTAIN:g} to {1 - UNCERTAIN:g} is at most half as long at the last "
            "ghost as at the first one after the drop.",
            measured=f"from {unsure[early]:.2f} to {unsure[late]:.2f} tau at these epochs" if len(after) else none,
            verdict=judge(len(after) > 0 and bool(unsure[late] <= unsure[early] / 2), testable=full),
        ),
    ]


GHOST_WITHOUT_BIFURCATION = Experiment(
    id="ghost_without_bifurcation",
    title="Abrupt learning by a ghost, without a bifurcation",
    figure="Fig. 3A (letter: Fig. 3A)",
    question="A rank-one network (seed 40) learns delayed activation at a low rate. Does the number of fixed points of "
    "its latent flow change when the loss drops? All zeros and ghosts are found, with proof that none is missed, at "
    "thousands of epochs and densely around the drop.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
