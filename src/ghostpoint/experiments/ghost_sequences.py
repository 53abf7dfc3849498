"""Which ghosts trajectories pass, in what order and for how long: systems where that is known, and
trained networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, own_claim
from ghostpoint.experiments.shared.full_rank_runs import task_of as cued_task_of
from ghostpoint.experiments.shared.ghost_systems import SYSTEMS, score, trajectory
from ghostpoint.experiments.shared.networks import NETWORKS, cued, models_of, task_of, trained
from ghostpoint.experiments.shared.shares import (
    HARDLY_ANY_OF,
    MOST_OF,
    NEARLY_ALL_OF,
    hardly_any,
    judge_share,
    most,
    nearly_all,
    share,
)
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import GhostSequence, UserField, ghost_sequence
from ghostpoint.slow_points.fields import network_field

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "mu": [10.0**-k for k in range(1, 13)],  # and minus these
    "samples": 10_001,
    "shown_mu": 1e-2,
    "seeds": list(range(100)),
    "rate": 0.009,  # all learn, and none is lost
    "epochs": 60_001,
    "cue_task": cued("DelayedCueDiscrimination", 10.0, 50.0, copies=5, initial_scale=0.3),
    "cue_seeds": list(range(60)),
    "cue_rate": 0.001,  # Fig. 4A
    "cue_epochs": 20_000,
    "cue_trials": 6,  # of each cue
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "mu": [1e-1, 1e-4, 1e-12],
        "samples": 2001,
        "seeds": list(range(10)),
        "epochs": 30_001,
        "cue_task": {**PAPER["cue_task"], "copies": 3},
        "cue_seeds": list(range(12)),
        "cue_epochs": 12_000,
    },
    "paper": PAPER,
}
#: loss, in units of chance, below which a rank-two network has learned
LEARNED = 0.5


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Systems with known ghosts, rank-one networks before and after learning, rank-two networks
    after it.
    """
    parts = (_systems, _rank_one, _rank_two)
    return xr.merge([part(parameters, progress) for part in parts], join="exact", combine_attrs="no_conflicts")


def _systems(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Every system on both sides of its bifurcation."""
    sizes, samples = parameters["mu"], parameters["samples"]
    names = ("found", "missed", "wrong", "right_dimension")
    counts = np.zeros((len(names), len(SYSTEMS), 2, len(sizes)), np.int64)
    numbers = {name: np.full((len(SYSTEMS), len(sizes)), np.nan) for name in ("dwell", "passage", "error")}
    progress.phase("systems with known ghosts", 2 * len(SYSTEMS) * len(sizes))
    for i, system in enumerate(SYSTEMS.values()):
        for side, sign in enumerate((1, -1)):
            for k, size in enumerate(sizes):
                told, rows, sequence = _reported(system, sign * size, samples)
                counts[:, i, side, k] = told
                if rows.size:
                    ratio = sequence.dwell[rows] / sequence.predicted[rows]
                    numbers["dwell"][i, k] = np.median(sequence.dwell[rows])
                    numbers["passage"][i, k] = np.median(sequence.passage_time[sequence.point[rows]])
                    numbers["error"][i, k] = np.abs(ratio - 1).max()
                progress.advance(1)
    shown = SYSTEMS["cycle of three"]
    x, dt = trajectory(shown, parameters["shown_mu"], 1001)
    field = UserField(lambda y: shown.velocity(np, y, parameters["shown_mu"]), None, x.shape[1])
    sequence = ghost_sequence(field, x, dt)
    stays = np.flatnonzero(sequence.way != "grazes")
    return xr.Dataset(
        {
            **{
                name: (("system", "side", "mu"), values) for name, values in zip(names, counts, strict=True)
            },
            "dwell": (("system", "mu"), numbers["dwell"], {"units": "tau"}),
            "passage": (("system", "mu"), numbers["passage"], {"units": "tau"}),
            "error": (("system", "mu"), numbers["error"]),
            "expected": (
                ("system", "mu"), np.array([[system.passage(mu) for mu in sizes] for system in SYSTEMS.values()]),
                {"units": "tau"},
            ),
            "shown_state": (("shown_time", "axis"), x),
            "shown_speed": ("shown_time", np.linalg.norm(field.flow(x), axis=1), {"units": "1 / tau"}),
            "shown_enter": ("shown_visit", sequence.enter[stays]),
            "shown_leave": ("shown_visit", sequence.leave[stays]),
            "shown_point": ("shown_visit", sequence.point[stays]),
        },
        coords={"system": list(SYSTEMS), "side": ["above", "below"], "mu": sizes, "shown_time": dt * np.arange(len(x))},
    )  # fmt: skip


def _reported(system: Any, mu: float, samples: int) -> tuple[Any, NDArray[np.int64], GhostSequence]:
    """The score of one trajectory, the visits that are found, and the record."""
    x, dt = trajectory(system, mu, samples)
    field = UserField(lambda y: system.velocity(np, y, mu), None, x.shape[1])
    sequence = ghost_sequence(field, x, dt)
    passes = np.flatnonzero((sequence.kind == "ghost") & (sequence.way == "passes"))
    points = sequence.point[passes]
    told, rows = score(system, mu, sequence.points.position[points], sequence.dimension[points])
    return told, passes[rows], sequence


def _rank_one(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """The published networks on delayed activation: the trial of each, untrained and trained."""
    task, epochs, seeds = task_of(parameters), parameters["epochs"], parameters["seeds"]
    result = trained(
        progress, f"training {len(seeds)} networks of rank one", models_of(parameters, seeds), parameters,
        parameters["rate"], epochs, record=[0], checkpoints=[0, epochs - 1],
    )  # fmt: skip
    names = ("dwell", "predicted", "share")
    values = {name: np.full((2, len(seeds)), np.nan) for name in names}
    passes = np.zeros((2, len(seeds)), np.int64)
    progress.phase("their trials", 2 * len(seeds))
    for row in range(2):
        models = result.models_at(row)
        for k in range(len(seeds)):
            model = models[k]
            path = states(model, np.array(model.initial_state, dtype=np.float64), task.steps, task.alpha)
            sequence = ghost_sequence(model, path[0], task.alpha)
            chosen = np.flatnonzero((sequence.kind == "ghost") & (sequence.way == "passes"))
            passes[row, k] = len(chosen)
            if len(chosen):
                longest = chosen[sequence.dwell[chosen].argmax()]
                for name in names:
                    values[name][row, k] = getattr(sequence, name)[longest]
            progress.advance(1)
    return xr.Dataset(
        {
            "learned": ("network", result.events["first_above_chance"].values >= 0),
            "passages": (("trained", "network"), passes),
            **{f"ghost_{name}": (("trained", "network"), each) for name, each in values.items()},
        },
        coords={"trained": ["before", "after"], "seed": ("network", np.array(seeds))},
        attrs={"delay_in_tau": task.delay / task.tau},
    )


def states(
    model: LowRankRNN, x: NDArray[np.float64], steps: int, alpha: float, inputs: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """States (B, steps + 1, N) of the Euler map of one network from x (B, N), under constant inputs
    (I,).
    """
    field = network_field(model, inputs)
    path = [x]
    for _ in range(steps):
        path.append(path[-1] + alpha * field.state_flow(path[-1]))
    return np.stack(path, axis=1)


def _rank_two(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Networks of Fig. 4A: trials of both cues, from the end of the cue on, where learned."""
    task: Any = cued_task_of({"task": parameters["cue_task"]})
    seeds, epochs = parameters["cue_seeds"], parameters["cue_epochs"]
    result = trained(
        progress, f"training {len(seeds)} networks of rank two", LowRankRNN.published(seeds, "4A"), parameters,
        parameters["cue_rate"], epochs, task, record=[0, epochs - 1],
    )  # fmt: skip
    trials = parameters["cue_trials"]
    ends = np.full((len(seeds), 2, trials), -1)
    held = np.zeros((len(seeds), 3), np.int64)
    passes = np.zeros((len(seeds), 2), np.int64)
    on = round(task.cue / task.dt)
    loss = result.history["loss"].values[:, -1] / task.chance_loss
    able = np.flatnonzero(loss < LEARNED)
    progress.phase("trials of those that have learned", len(able))
    for k in able:
        model = result.models[int(k)]
        x = np.tanh(task.initial_scale * np.random.default_rng(0).normal(size=(trials, model.n_units)))
        cued_states = [states(model, x, on, task.alpha, np.array([cue]))[:, -1] for cue in (1.0, -1.0)]
        path = states(model, np.concatenate(cued_states), task.steps - on, task.alpha)
        sequence = ghost_sequence(model, path, task.alpha)
        of_ghost, passing = sequence.kind == "ghost", sequence.way == "passes"
        for trial in range(2 * trials):
            here = np.flatnonzero((sequence.trial == trial) & (sequence.way != "grazes"))
            if len(here):
                last = here[-1]
                ends[k, trial // trials, trial % trials] = sequence.point[last]
                # a fixed point that it rests at or leaves, or a ghost
                held[k, int(of_ghost[last])] += 1
            else:
                held[k, 2] += 1
        passes[k] = [int((passing & chosen).sum()) for chosen in (of_ghost, ~of_ghost)]
        progress.advance(1)
    return xr.Dataset(
        {
            "cue_loss": ("cue_network", loss, {"units": "chance"}),
            "cue_end": (("cue_network", "cue", "cue_trial"), ends, {"missing": -1}),
            "cue_held": (("cue_network", "last"), held),
            "cue_passages": (("cue_network", "passed"), passes),
        },
        coords={
            "cue_seed": ("cue_network", np.array(seeds)),
            "last": ["fixed point", "ghost", "neither"],
            "passed": ["ghosts", "fixed points"],
        },
    )


ROUNDED, SMALL, ORDER, DELAY, TRIAL = 1e-3, 1e-2, 0.02, 0.25, 0.1


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Found in order, dimensions, times; and what trials of trained networks pass."""
    claim = partial(own_claim, source="docs/ghost_sequences.md")
    d, small = dataset, dataset["mu"].values <= SMALL
    above, below = d.sel(side="above"), d.sel(side="below")
    there = int((above["found"] + above["missed"]).sum())
    found, wrong = int(above["found"].sum()), int(above["wrong"].sum() + below["wrong"].sum())
    error = np.nan_to_num(d["error"].values, nan=np.inf)
    worst = float((error / np.maximum(np.sqrt(d["mu"].values), ROUNDED)).max(initial=0.0))
    off = np.abs(d["passage"].values / d["expected"].values - 1)[:, small]
    known = np.nan_to_num(off, nan=np.inf).max(initial=0.0)
    trajectories = f"{d.sizes['system']} systems, mu from {d['mu'].values.max():g} to {d['mu'].values.min():g}"
    learned = d["learned"].values
    passes, total = d["passages"].values, int(learned.sum())
    one = int((passes[1] == 1)[learned].sum())
    before = int((passes[0] > 0).sum())
    delay = d.attrs["delay_in_tau"]
    dwell, predicted = (d[f"ghost_{name}"].values[1][learned] for name in ("dwell", "predicted"))
    with np.errstate(invalid="ignore"):
        whole = int((np.abs(dwell / delay - 1) <= DELAY).sum())
        agree = int((np.abs(predicted / dwell - 1) <= TRIAL).sum())
    return [
        claim(
            "The ghosts that a trajectory passes are found in their order, however near the bifurcation, and none "
            "where there is none.",
            rule="In every system and at every mu > 0 all passages are found, in their order; none is reported that is "
            "not there, at -mu neither.",
            measured=f"{found} of {there} passages found, {wrong} wrong ({trajectories}, both signs)",
            verdict=judge(found == there and not wrong, testable=there > 0),
        ),
        claim(
            "The number of a ghost's slow directions is told.",
            rule="It is right for every passage that is found, and some passages are.",
            measured=f"{int(above['right_dimension'].sum())} of {found}",
            verdict=judge(int(above["right_dimension"].sum()) == found > 0),
        ),
        claim(
            "How long a trajectory stays at a ghost follows from the ghost's form.",
            rule="Every dwell time differs from what the form says between the first and the last state by a share of "
            f"at most sqrt(mu), or {ROUNDED:g}.",
            measured=f"differences up to {100 * error.max():.2g} %, at most {worst:.2g} of that limit",
            verdict=judge(bool(worst <= 1)),
            note="What the form leaves out takes a time of order one, of a passage of pi / sqrt(mu a). Near 1e-12 the "
            "places of ghosts and trajectories are rounded.",
        ),
        claim(
            "A ghost with two slow directions has a passage time too.",
            rule=f"At mu <= {SMALL:g} the passage time of every system is within {100 * ORDER:g} % of pi / sqrt(mu a).",
            measured=f"largest difference {100 * known:.2g} %",
            verdict=judge(bool(known <= ORDER), testable=bool(small.any())),
        ),
        claim(
            "The trial of a rank-one network that has learned to wait passes one ghost; untrained it passes none.",
            rule=f"The trial of nearly all networks that learn passes exactly one ghost at the end of training, and "
            f"hardly any network's before it passes one. {NEARLY_ALL_OF} {HARDLY_ANY_OF}",
            measured=f"after: {share(one, total)}; before: {share(before, len(learned))}",
            verdict=judge_share(nearly_all(one, total) and hardly_any(before, len(learned)), total),
        ),
        claim(
            "The ghost holds the network for about the delay.",
            rule=f"The dwell time is within {100 * DELAY:g} % of the delay in nearly all networks that learn. "
            f"{NEARLY_ALL_OF}",
            measured=f"{share(whole, total)}; {_range(dwell)} tau, delay {delay:g} tau",
            verdict=judge_share(nearly_all(whole, total), total),
        ),
        claim(
            "The normal form of that ghost says how long.",
            rule=f"What it says for the trial's way is within {100 * TRIAL:g} % of the dwell time in nearly all "
            f"networks that learn. {NEARLY_ALL_OF}",
            measured=f"{share(agree, total)}; ratio {_range(predicted / dwell)}",
            verdict=judge_share(nearly_all(agree, total), total),
            note="The trial makes a part of the passage only, "
            f"{_range(d['ghost_share'].values[1][learned])} of it: it starts near the ghost.",
        ),
        _cue_claim(d, claim),
    ]


def _cue_claim(d: xr.Dataset, claim: Any) -> Claim:
    able = np.flatnonzero(d["cue_loss"].values < LEARNED)
    apart = [_apart(*d["cue_end"].values[k]) for k in able]
    held, passed = d["cue_held"].values[able].sum(axis=0), d["cue_passages"].values[able].sum(axis=0)
    return claim(
        "Most rank-two networks that discriminate two cues keep them at different slow points.",
        rule=f"In most networks with a loss below {LEARNED:g} of chance no two trials of different cues end at the "
        f"same slow point, nor any at none. {MOST_OF}",
        measured=f"{share(sum(apart), len(able))}; their trials end at fixed points {held[0]} times, at ghosts "
        f"{held[1]}, elsewhere {held[2]}; on the way they pass {passed[0]} ghosts and {passed[1]} fixed points",
        verdict=judge_share(most(sum(apart), len(able)), len(able)),
    )


def _apart(first: NDArray[np.int64], second: NDArray[np.int64]) -> bool:
    """Whether the trials of two cues end at different points, and all at some."""
    return bool((first >= 0).all() and (second >= 0).all()) and not set(first) & set(second)


def _range(values: NDArray[Any]) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.min():.3g} to {finite.max():.3g}" if len(finite) else "none"


GHOST_SEQUENCES = Experiment(
    id="ghost_sequences",
    title="Which ghosts trajectories pass, in what order, and for how long",
    figure="own",
    question="A ghost delays a trajectory that passes it. Which ones does a trajectory pass? Asked of systems whose "
    "ghosts are known (a saddle-node, a series, a cycle, ghosts with two slow directions), and of the trials of "
    "published networks.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
    origin="own",
)
