"""Families of networks trained through their drop, and the readings of "a ghost precedes it" on the
way.

A family is a task with the published networks that learn it. Each network is looked at at epochs of
its own, dense around its drop (:func:`looked_at`), because drops of different networks lie far
apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.precursors import (
    READINGS,
    crossings,
    full_rank_readings,
    latent_readings,
    rank_one_readings,
)
from ghostpoint.experiments.shared.base import Progress
from ghostpoint.experiments.shared.drops import running_median
from ghostpoint.experiments.shared.full_rank_runs import best_blind_loss, task_of
from ghostpoint.experiments.shared.networks import digest, spread_epochs, trained
from ghostpoint.experiments.shared.parts import part
from ghostpoint.models import FullRankRNN, LowRankRNN, Record

Ints = NDArray[np.int64]
#: the drop is followed where the loss is first below these shares of its plateau
SHARES = (0.99, 0.9, 0.5, 0.25, 0.1)
#: a network has learned below the second of these shares; the drop is the stretch from the first to
#: the second
DROP_FROM, DROP_TO = 0.9, 0.25
#: after the drop a network is looked at at these multiples of the epoch at which the drop is over
AFTER = (1.05, 1.2, 1.5, 2.0, 3.0)
#: epochs trained at a time in the second pass of the rank-one networks; bounds the memory of its
#: checkpoints
SEGMENT = 2000


def family_readings(name: str, family: Mapping[str, Any], common: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train the networks of a family and look at those that learn.

    A network learns when its loss falls below :data:`DROP_TO` of the plateau: the chance loss, or,
    where that is lower, the loss of the best answer that ignores the cues. For tasks with noise or
    random starts that is the running median of the loss.

    Returns
    -------
    Dataset over network, share and reading
        See :func:`summary`; ``family`` and ``seed`` are coordinates.
    """
    task = task_of(family)
    kind: Any = LowRankRNN if family["kind"] == "low" else FullRankRNN
    models = kind.published(family["seeds"], family["figure"])
    plateau = best_blind_loss(task) if task.n_inputs else 1.0
    settings = {"dtype": common["dtype"]}
    exact = not (task.noise or task.initial_scale)
    run = trained(
        progress, f"{name}: training {len(models)} networks", models, settings, family["rate"], family["epochs"], task,
        optimizer=family["optimizer"], record=np.arange(0, family["epochs"], family["stride"]), keep=name,
        checkpoints=() if exact else spread_epochs(family["epochs"], family["kept"]),
    )  # fmt: skip
    # epochs at which the loss falls below each share of the plateau, and of chance
    epoch, loss = run.history["epoch"].values, run.history["loss"].values / task.chance_loss
    loss = loss if exact else running_median(loss)
    drop, chance_drop = crossings(epoch, loss / plateau, SHARES), crossings(epoch, loss, SHARES)
    learned = np.flatnonzero(drop[:, SHARES.index(DROP_TO)] >= 0)
    kept = epoch if run.checkpoints is None else run.checkpoints["epoch"].values
    # the epochs to look at: dense around the drop, and drawn at random before it
    generator = np.random.default_rng(common["seed_of_draws"])
    wanted, drawn = [], []
    for network in learned:
        every, some = looked_at(kept, drop[network], family["dense"], common["draws"], generator)
        wanted.append(every)
        drawn.append(some)
    stacks = _stacks(name, family, settings, models, run, learned, wanted, progress)
    progress.phase(f"{name}: what exists at {sum(len(each) for each in wanted):,} moments", max(1, len(learned)))
    # at each of them every reading: is there a ghost, a slow passage, ...?
    rows = []
    for place, network in enumerate(learned):
        found = _readings(family, stacks[place], task, common["starts"])
        rows.append(summary(wanted[place], found, drop[network], drawn[place]))
        progress.advance(1)
    if not len(learned):
        progress.advance(1)
    coordinates = {
        "family": ("network", np.full(len(models), name)),
        "seed": ("network", np.array(family["seeds"], np.int64)),
        "reading": list(READINGS),
        "share": list(SHARES),
    }
    values: dict[str, Any] = {
        "learned": ("network", np.isin(np.arange(len(models)), learned)),
        "drop_epoch": (("network", "share"), drop, {"missing": -1}),
        "chance_drop_epoch": (("network", "share"), chance_drop, {"missing": -1}),
        "moments": ("network", _filled(len(models), learned, [len(each) for each in wanted], 0)),
    }
    for key, missing in (("first", -1), ("last_without", -1), ("since", -1), ("at_start", 0)):
        filled = _filled((len(models), len(READINGS)), learned, [row[key] for row in rows], missing)
        values[key] = (("network", "reading"), filled, {"missing": missing})
    shares = _filled((len(models), len(READINGS)), learned, [row["on_plateau"] for row in rows], np.nan)
    values["on_plateau"] = (("network", "reading"), shares)
    return xr.Dataset(values, coords=coordinates, attrs={f"plateau_{name}": plateau})


def _filled(shape: Any, rows: Ints, values: list[Any], missing: float) -> NDArray[Any]:
    whole = np.full(shape, missing, float if isinstance(missing, float) else np.int64)
    for row, value in zip(rows, values, strict=True):
        whole[row] = value
    return whole


def looked_at(kept: Ints, drop: Ints, dense: int, draws: int, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Kept epochs at which one network is looked at, ascending, and those among them that were
    drawn at random.

    Drawn are ``draws`` moments of the plateau, uniform from epoch 0 to the first below 0.9 of it,
    moved to the nearest kept one before that. The others are epoch 0, ``draws`` epochs evenly
    spread over the plateau, the last kept epoch before each crossing in ``drop``, at most ``dense``
    evenly chosen of the kept ones around the drop (from a tenth of its duration before the first
    crossing to half of it after the last), and some later ones.
    """
    begin, end = int(drop[SHARES.index(DROP_FROM)]), int(drop[SHARES.index(DROP_TO)])
    before = kept[kept <= begin]
    at = generator.uniform(0, begin, draws)
    drawn = np.unique(before[np.abs(before[:, None] - at).argmin(axis=0)])
    last_crossing = int(drop.max())
    near = kept[(kept >= 1.1 * drop[0] - 0.1 * end) & (kept <= 1.5 * last_crossing - 0.5 * begin)]
    chosen = near[np.unique(np.linspace(0, len(near) - 1, min(dense, len(near))).round().astype(int))]
    last = kept[np.searchsorted(kept, drop[drop >= 0], "right") - 1]
    even = before[np.unique(np.linspace(0, len(before) - 1, draws).round().astype(int))]
    later = np.array([share * end for share in AFTER])
    after = kept[np.searchsorted(kept, later[later <= kept[-1]])]
    return np.unique(np.concatenate([kept[:1], even, drawn, chosen, last, after])), drawn


def _stacks(
    name: str,
    family: Mapping[str, Any],
    settings: Mapping[str, Any],
    models: Any,
    run: Any,
    learned: Ints,
    wanted: list[Ints],
    progress: Progress,
) -> list[Any]:
    """Per network that learned, a stack of it at the wanted epochs."""
    if run.checkpoints is not None:
        kept = run.checkpoints
        rows = [np.searchsorted(kept["epoch"].values, every) for every in wanted]
        weights = [
            {str(part): values.values[row, network] for part, values in kept.data_vars.items()}
            for row, network in zip(rows, learned, strict=True)
        ]
    else:
        # without noise the run can be repeated in segments that keep what is wanted of each network
        what = {
            "rate": family["rate"], "optimizer": family["optimizer"], "task": family["task"], **settings,
            "wanted": [every.tolist() for every in wanted],
        }  # fmt: skip
        again = models[learned] if len(learned) else models[:0]
        make = partial(weights_at, again, family, settings, wanted, name, progress)
        flat = part(f"{name}_weights", what, make, weights_at, digest(again)) if len(learned) else xr.Dataset()
        cuts = np.cumsum([len(every) for every in wanted])[:-1]
        split = {str(part): np.split(values.values, cuts) for part, values in flat.data_vars.items()}
        weights = [{part: values[place] for part, values in split.items()} for place in range(len(learned))]
    return [
        models[np.full(len(every), network)].replace(**each)
        for network, every, each in zip(learned, wanted, weights, strict=True)
    ]


def weights_at(
    models: Record,
    family: Mapping[str, Any],
    settings: Mapping[str, Any],
    wanted: list[Ints],
    name: str,
    progress: Progress,
) -> xr.Dataset:
    """Trainable parts of each network at the epochs wanted of it: (row, ...), network after
    network.

    Trained by plain gradient descent without noise, which has no memory, in segments; networks that
    are not wanted any more are left out.
    """
    task, last = task_of(family), np.array([every[-1] for every in wanted])
    starts = range(0, int(last.max()) + 1, SEGMENT)
    work = sum(int((last >= start).sum()) * SEGMENT for start in starts)
    progress.phase(f"{name}: training again, with the weights around each drop kept", work, len(models))
    pieces: list[dict[str, list[Any]]] = [{} for _ in wanted]
    active = np.arange(len(models))
    for start in starts:
        going = last[active] >= start
        models, active = models[going], active[going]
        # epochs of this segment that some network wants, counted from its start
        inside = [wanted[k][(wanted[k] >= start) & (wanted[k] < start + SEGMENT)] - start for k in active]
        kept = np.unique(np.concatenate(inside))
        run = trained(
            progress, "", models, settings, family["rate"], SEGMENT, task,
            optimizer=family["optimizer"], record=[0], checkpoints=kept,
        )  # fmt: skip
        # the next segment goes on from where this one ended
        models = run.models
        if run.checkpoints is None:
            continue
        for place, network in enumerate(active):
            rows = np.searchsorted(kept, inside[place])
            for key, values in run.checkpoints.data_vars.items():
                pieces[network].setdefault(str(key), []).append(values.values[rows, place])
    return xr.Dataset(
        {
            key: (("row", *models.dims[key]), np.concatenate([piece for each in pieces for piece in each[key]]))
            for key in pieces[0]
        }
    )


def _readings(family: Mapping[str, Any], models: Any, task: Any, starts: int) -> dict[str, NDArray[np.bool_]]:
    if models.rank == models.n_units:
        return full_rank_readings(models, task, starts)
    return rank_one_readings(models, task) if models.rank == 1 else latent_readings(models, task, starts)


def summary(epoch: Ints, found: Mapping[str, NDArray[np.bool_]], drop: Ints, drawn: Ints) -> dict[str, NDArray[Any]]:
    """When each reading of one network first holds, from what was found at epochs that ascend;
    arrays over readings.

    ``first``: the first epoch at which it holds, -1 for never; ``last_without``: the one looked at
    before that; ``since``: the first epoch of the unbroken run in which it holds at the last epoch
    before the loss is below half of its plateau, -1 where it does not hold then; ``at_start``:
    whether it holds at epoch 0; ``on_plateau``: the share of the ``drawn`` epochs at which it
    holds.
    """
    half = int(np.searchsorted(epoch, drop[SHARES.index(0.5)], "right")) - 1
    random = np.searchsorted(epoch, drawn)
    result: dict[str, list[Any]] = {name: [] for name in ("first", "last_without", "since", "at_start", "on_plateau")}
    for name in READINGS:
        there = found[name]
        place = int(there.argmax()) if there.any() else -1
        result["first"].append(epoch[place] if place >= 0 else -1)
        result["last_without"].append(epoch[place - 1] if place > 0 else -1)
        gaps = np.flatnonzero(~there[: half + 1])
        begin = int(gaps[-1]) + 1 if len(gaps) else 0
        result["since"].append(epoch[begin] if there[half] else -1)
        result["at_start"].append(there[0])
        result["on_plateau"].append(there[random].mean())
    return {name: np.array(values) for name, values in result.items()}
