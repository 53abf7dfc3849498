"""Article, central sentence: do ghosts precede the abrupt drop of the loss? Six readings, five
families of networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments import full_rank_paths, latent_paths
from ghostpoint.experiments.precursor_runs import DROP_FROM, DROP_TO, SHARES, family_readings
from ghostpoint.experiments.precursors import READINGS
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, Verdict, judge
from ghostpoint.experiments.shared.networks import activation
from ghostpoint.experiments.shared.parts import part
from ghostpoint.experiments.shared.shares import interval, share

#: "precedes" holds when this share of the networks that learn have it before their drop ...
NEARLY_ALL = 0.9
#: ... with a 95 % interval (Wilson) whose lower end is above this ...
AT_LEAST = 0.75
#: ... and less than this share have it before training: what is always there announces nothing
NOT_AT_START = 0.1

#: what each family is called, and where the publication speaks of it
FAMILIES: Mapping[str, tuple[str, str]] = {
    "rank_one": ("rank one, delayed activation", "Fig. 3A; letter, text on Fig. 3A"),
    "latent_dcdt": ("rank two, delayed cue discrimination", "Fig. 4A-D"),
    "latent_dmts": ("rank two, delayed match to sample", "Fig. 4E-H"),
    "full_dcdt": ("full rank, delayed cue discrimination", "Fig. 5A-C"),
    "full_dmts": ("full rank, delayed match to sample", "Fig. 5D-F"),
}


def _as_in(paper: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: paper[name] for name in names}


def _first(seed: int, count: int) -> list[int]:
    """The seeds below ``count``, the published one before the others."""
    return [seed, *(other for other in range(count) if other != seed)]


LATENT_DCDT, LATENT_DMTS = latent_paths.PAPER_DCDT, latent_paths.PAPER_DMTS
FULL_DCDT, FULL_DMTS = full_rank_paths.PAPER_DCDT, full_rank_paths.PAPER_DMTS
# stride: epochs from one recorded loss to the next; kept: epochs with weights, over the whole run
# (0: a second run keeps those that are looked at); dense: epochs that are looked at around each
# drop
TRAINED: Mapping[str, Any] = {
    "rank_one": {
        "kind": "low", "figure": "3", "task": activation(), "seeds": _first(40, 100), "optimizer": "sgd",
        "rate": 0.003, "epochs": 200_000, "stride": 10, "kept": 0, "dense": 120,
    },
    # fewer copies of each trial than the published 500, so that enough networks can be trained
    "latent_dcdt": {
        "kind": "low", "figure": "4A", "task": {**LATENT_DCDT["task"], "copies": 10}, "seeds": list(range(40)),
        **_as_in(LATENT_DCDT, "optimizer", "rate"), "epochs": 20_000, "stride": 1, "kept": 600, "dense": 24,
    },
    "latent_dmts": {
        "kind": "low", "figure": "4E", "task": {**LATENT_DMTS["task"], "copies": 10}, "seeds": list(range(16)),
        **_as_in(LATENT_DMTS, "optimizer", "rate"), "epochs": 20_000, "stride": 5, "kept": 600, "dense": 24,
    },
    "full_dcdt": {
        "kind": "full", "figure": "5A", "seeds": _first(3, 20), "optimizer": "sgd",
        **_as_in(FULL_DCDT, "task", "rate", "epochs"), "stride": 1, "kept": 600, "dense": 24,
    },
    "full_dmts": {
        "kind": "full", "figure": "5D", "seeds": _first(3, 14), "optimizer": "sgd",
        **_as_in(FULL_DMTS, "task", "rate", "epochs"), "stride": 20, "kept": 500, "dense": 24,
    },
}  # fmt: skip
PAPER: Mapping[str, Any] = {
    "dtype": "float32",
    "families": TRAINED,
    "draws": 12,  # random moments of each network's plateau
    "seed_of_draws": 0,
    "starts": 64,  # of each search for ghosts
}


def _quick() -> dict[str, Any]:
    """Few networks; match to sample at higher rates and for fewer epochs."""
    changes: dict[str, dict[str, Any]] = {
        "rank_one": {"seeds": [40, *range(11)], "epochs": 50_000, "stride": 20, "dense": 30},
        "latent_dcdt": {"seeds": [0, 3, 13], "epochs": 18_000, "kept": 200, "dense": 10},
        "latent_dmts": {"seeds": [0, 2, 6], "rate": 1e-3, "epochs": 3000, "stride": 1, "kept": 200, "dense": 10},
        "full_dcdt": {"seeds": [3, 0, 1], "epochs": 1000, "kept": 300, "dense": 10},
        "full_dmts": {"seeds": [3, 2], "rate": 0.1, "epochs": 9000, "stride": 2, "kept": 300, "dense": 10},
    }
    families = {name: {**family, **changes[name]} for name, family in PAPER["families"].items()}
    for name in ("latent_dcdt", "latent_dmts"):
        families[name]["task"] = {**families[name]["task"], "copies": 5}
    return {**PAPER, "families": families, "draws": 5, "starts": 16}


PARAMETERS = {"quick": _quick(), "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every family through its drop, and find when each reading first holds for each network
    that learns.

    Returns
    -------
    Dataset over network (with ``family`` and ``seed``), reading and share
        ``learned``; ``drop_epoch``, the first recorded epoch at which the loss is below each share
        of the plateau, and ``chance_drop_epoch``, below each share of the chance loss; ``moments``,
        at how many epochs it was looked at; per reading ``first``, ``last_without``, ``since``,
        ``at_start`` and ``on_plateau`` (:func:`ghostpoint.experiments.precursor_runs.summary`),
        ``when`` (:func:`timing`), and how long after the drop began it first exists, in durations
        of the drop (``lag``), and when, in durations of the plateau (``first_over_plateau``); NaN
        for never.
    """
    whole = xr.concat(
        [_family(name, family, parameters, progress) for name, family in parameters["families"].items()],
        "network",
        combine_attrs="no_conflicts",
    )
    first, drop, learned = whole["first"], whole["drop_epoch"].values, whole["learned"].values
    begin, end = (xr.DataArray(drop[:, SHARES.index(level)], dims="network") for level in (DROP_FROM, DROP_TO))
    there = first.where(first >= 0)
    when = np.stack([timing(values, drop) for values in first.values.T], axis=1)
    return whole.assign(
        when=(("network", "reading"), np.where(learned[:, None], when, -1), {"missing": -1}),
        lag=(there - begin) / np.maximum(end - begin, 1),
        first_over_plateau=there / np.maximum(begin, 1),
    ).assign_attrs(
        readings=dict(READINGS),
        families={name: FAMILIES[name][0] for name in parameters["families"]},
        drop=[DROP_FROM, DROP_TO],
    )


def _family(name: str, family: Mapping[str, Any], parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """The readings of one family, kept as a part of the run."""
    common = {key: value for key, value in parameters.items() if key != "families"}
    make = partial(family_readings, name, family, common, progress)
    return part(f"{name}_readings", {"family": family, "common": common}, make, family_readings)


def timing(first: NDArray[Any], drop: NDArray[Any]) -> NDArray[np.int64]:
    """Where first epochs (R,) lie: 0 before the loss is below 0.99 (``drop`` is (R, share)), 1
    before 0.9, 2 before 0.1, 3 later, 4 never. A loss that never falls below a share has not passed
    it.
    """
    at = np.stack([drop[:, SHARES.index(level)] for level in (0.99, 0.9, 0.1)])
    places = ((at >= 0) & (first > at)).sum(axis=0)
    return np.where(first < 0, 4, places)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """One per family and reading."""
    return [
        _claim(dataset.isel(network=np.flatnonzero(dataset["family"].values == family)), family, reading)
        for family in parameters["families"]
        for reading in READINGS
    ]


def verdict(before: int, at_start: int, networks: int) -> Verdict:
    """The rule: nearly all before the drop, and hardly any before training; see
    :data:`NEARLY_ALL`.
    """
    if not networks:
        return judge(False)
    often, early = before >= NEARLY_ALL * networks, at_start >= NOT_AT_START * networks
    enough = interval(networks, networks)[0] > AT_LEAST  # else not even all of them would do
    return judge(often and not early and interval(before, networks)[0] > AT_LEAST, enough or not often or early)


def _claim(d: xr.Dataset, family: str, reading: str) -> Claim:
    """One reading in one family, of the networks ``d``."""
    title, source = FAMILIES[family]
    at = d.isel(network=np.flatnonzero(d["learned"].values)).sel(reading=reading)
    networks, every = at.sizes["network"], d.sizes["network"]
    where = np.bincount(at["when"].values, minlength=5)
    before, start = int(where[0] + where[1]), int(at["at_start"].sum())
    return Claim(
        f"Before the loss drops there is {READINGS[reading]} ({title}).",
        # the article says "ghost"; what else could be meant is for this project to answer for
        origin="published" if reading == "ghost" else "own",
        source=f"{source}; abstract of the article: ghost points precede abrupt transitions",
        published="precedes (no number)",
        rule=f"It first exists before the loss falls below {DROP_FROM:g} of its plateau in at least "
        f"{100 * NEARLY_ALL:.0f} % of the networks that learn, with an interval above {100 * AT_LEAST:.0f} %, and at "
        f"epoch 0 in under {100 * NOT_AT_START:.0f} %.",
        measured=_measured(at, where) if networks else f"none of {every} networks learned",
        verdict=verdict(before, start, networks),
        note=f"{networks} of {every} networks learn: their loss falls below {DROP_TO:g} of the plateau, which is "
        f"{d.attrs[f'plateau_{family}']:g} of chance.",
    )


def _measured(at: xr.Dataset, where: NDArray[np.int64]) -> str:
    """What was found of one reading in the networks of a family that learn, ``where`` as counts
    over `timing`.
    """
    networks, first = at.sizes["network"], at["first"].values
    text = (
        f"first before the loss is below {DROP_FROM:g} of its plateau: {share(int(where[0] + where[1]), networks)}. "
        f"Before 0.99: {where[0]}, 0.99 to 0.9: {where[1]}, 0.9 to 0.1: {where[2]}, later: {where[3]}, never: "
        f"{where[4]}. At epoch 0: {int(at['at_start'].sum())}; at random moments of the plateau: "
        f"{100 * float(at['on_plateau'].mean()):.0f} %; just before the loss is below 0.5: "
        f"{int((at['since'].values >= 0).sum())}"
    )
    if (first >= 0).any():
        lag, plateaus = float(at["lag"].median()), float(at["first_over_plateau"].median())
        text += (
            f". Median: {abs(lag):.2g} durations of the drop {'after' if lag > 0 else 'before'} it begins, at "
            f"{plateaus:.3g} of the plateau"
        )
    chance = at["chance_drop_epoch"].sel(share=DROP_FROM).values
    if not np.array_equal(chance, at["drop_epoch"].sel(share=DROP_FROM).values):
        text += f". Before the loss is below {DROP_FROM:g} of chance: {int(((first >= 0) & (first <= chance)).sum())}"
    return text


BEFORE_THE_DROP = Experiment(
    id="before_the_drop",
    title="Does a ghost precede the drop?",
    figure="Figs. 3A, 4, 5, text",
    question="Ghost points precede abrupt transitions, says the article. What that means depends on what one calls a "
    "ghost. Six readings are looked for in every network that learns, along its plateau and densely around its drop: "
    "when does each first exist, and is it not there all along?",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
