"""What prevents the collapse, compared: the remedies over learning rates, optimisers, delays,
networks and tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.remedy_claims import claims_of
from ghostpoint.experiments.remedy_runs import sweeps
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress
from ghostpoint.experiments.shared.networks import NETWORKS, activation, cued
from ghostpoint.remedies.registry import AUTO_OF_SOME

#: the critical rate of plain gradient descent on the published networks: half of those that learn
#: are lost (Fig. 8B)
CRITICAL_RATE = 0.02


def _published(confidence: float = NETWORKS["confidence"], **task: Any) -> dict[str, Any]:
    return {"networks": "published", "confidence": confidence, "task": activation(**task)}


#: initial networks and tasks; the first is the one that every treatment is tried on
PROBLEMS: Mapping[str, Any] = {
    "rank one": _published(),
    "T = 48": _published(delay=240.0),
    "T = 96": _published(delay=480.0),
    "c = 2": _published(2.0),
    "c = 50": _published(50.0),
    "rank two": {"networks": "6B", "rank": 2, "task": activation()},
    "rank ten": {"networks": "6B", "rank": 10, "task": activation()},
    "full rank": {"networks": "6A", "task": activation()},
    "DCDT": {"networks": "7A", "task": cued("DelayedCueDiscrimination", 30.0, 80.0)},
    "DMTS": {"networks": "7D", "task": cued("DelayedMatchToSample", 30.0, 80.0)},
}

_REGION, _CLIP = {"remedy": "TrustRegion"}, {"remedy": "ClipGradient"}
#: "auto" where some channel of a trial wants no crossing
_GUARDED = {**_REGION, "tilt": AUTO_OF_SOME.tilt, "polyak": AUTO_OF_SOME.polyak}
#: one factor for the whole update
_UNDIVIDED = {**_REGION, "split": False, "tilt": 0.5, "growth": 1.0}
CLIPS = {
    f"clip {norm:g}": {"remedies": [{**_CLIP, "norm": norm}]} for norm in (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
}
#: what is done, by name: remedies, or networks that are other from the start
TREATMENTS: Mapping[str, Any] = {
    "plain": {},
    **CLIPS,
    "hazard limit": {"remedies": [{"remedy": "HazardLimit"}]},
    "trust region": {"remedies": [_REGION]},
    "trust region, guarded": {"remedies": [_GUARDED]},
    "trust region, growth 1": {"remedies": [{**_REGION, "growth": 1.0}]},
    "trust region, growth inf": {"remedies": [{**_REGION, "growth": "inf"}]},
    "trust region, undivided": {"remedies": [_UNDIVIDED]},
    "trust region, undivided, growth 10": {"remedies": [{**_UNDIVIDED, "growth": 10.0}]},
    "trust region + clip 0.1": {"remedies": [_REGION, {**_CLIP, "norm": 0.1}]},
    "trust region + hazard limit": {"remedies": [_REGION, {"remedy": "HazardLimit"}]},
    "guard": {"remedies": [{"remedy": "Guard"}]},
    "confidence 1": {"confidence": 1.0},
    "rising confidence": {"remedies": [{"remedy": "ConfidenceSchedule", "start": 0.1, "epochs": 1000}]},
    "nine spare ranks": {"spare_ranks": 9},
    "rewind": {"remedies": [{"remedy": "Rewind"}]},
    "reduced rate": {"remedies": [{"remedy": "ReduceRate"}]},
}

SGD_RATES = [CRITICAL_RATE * times for times in (2, 5, 10, 25, 100, 5000)]
ADAM_RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
REGIONS = ["trust region", "trust region, guarded", "trust region, undivided"]
VARIANTS = ["trust region, growth 1", "trust region, growth inf", "trust region, undivided, growth 10"]
COMBINED = ["hazard limit", "trust region + clip 0.1", "trust region + hazard limit"]
ELSE = ["confidence 1", "nine spare ranks"]
IN_FLOAT64 = ["rising confidence", "rewind", "reduced rate"]


def _sweep(
    problem: str, optimizer: str, rates: list[float], epochs: int, seeds: int, treatments: list[str]
) -> dict[str, Any]:
    return {
        "problem": problem, "optimizer": optimizer, "rates": rates, "epochs": epochs, "seeds": seeds,
        "treatments": treatments,
    }  # fmt: skip


#: the guard, which is not compiled: few networks, for fewer epochs than the others need to solve
#: the task; benchmarks/guard_remedy.py has more
GUARDED = [
    _sweep("rank one", "sgd", [0.5, 100.0], 200, 10, ["guard"]),
    _sweep("rank one", "adam", [0.1], 200, 10, ["guard"]),
]


def _other(problem: str, epochs: int, seeds: int) -> list[dict[str, Any]]:
    treatments = ["plain", "clip 0.01", "clip 0.1", *REGIONS]
    return [
        _sweep(problem, "sgd", [0.02, 0.2, 2.0, 100.0], epochs, seeds, treatments),
        _sweep(problem, "adam", [0.001, 0.01, 0.1], epochs, seeds, treatments),
    ]


PAPER: Mapping[str, Any] = {
    "dtype": NETWORKS["dtype"],
    "problems": PROBLEMS,
    "treatments": TREATMENTS,
    "sweeps": [
        _sweep("rank one", "sgd", [CRITICAL_RATE / 2, CRITICAL_RATE], 12_000, 100, ["plain", *REGIONS]),
        _sweep("rank one", "sgd", SGD_RATES, 3000, 100, ["plain", *REGIONS, *VARIANTS]),
        _sweep("rank one", "adam", ADAM_RATES, 3000, 100, ["plain", *REGIONS, *VARIANTS]),
        _sweep("rank one", "sgd", SGD_RATES, 3000, 100, [*CLIPS, *COMBINED]),
        _sweep("rank one", "sgd", [CRITICAL_RATE], 12_000, 100, list(CLIPS)[3:]),
        _sweep("rank one", "adam", ADAM_RATES, 3000, 100, [*list(CLIPS)[1::2], *COMBINED]),
        _sweep("rank one", "sgd", [0.1, 0.5, 2.0], 3000, 100, ELSE),
        _sweep("rank one", "adam", [0.01, 0.03, 0.1], 3000, 100, ELSE),
        _sweep("rank one", "sgd", [0.1, 0.5, 2.0], 3000, 20, IN_FLOAT64),
        _sweep("rank one", "adam", [0.01, 0.03, 0.1], 3000, 20, IN_FLOAT64),
        *(one for problem in list(PROBLEMS)[1:7] for one in _other(problem, 3000, 100)),
        *(one for problem in ("full rank", "DCDT") for one in _other(problem, 2000, 40)),
        *_other("DMTS", 3000, 20),
    ],
}
QUICK_TREATMENTS = ["plain", "clip 0.01", "clip 0.1", "hazard limit", "trust region", "trust region, undivided"]
PARAMETERS = {
    "quick": {
        **PAPER,
        "sweeps": [
            _sweep("rank one", "sgd", [0.1, 0.5, 100.0], 3000, 20, QUICK_TREATMENTS),
            _sweep("rank one", "adam", [0.01, 0.1], 1000, 20, QUICK_TREATMENTS),
            _sweep("T = 48", "adam", [0.01, 0.1], 1000, 6, ["plain", "trust region"]),
            _sweep("full rank", "sgd", [2.0], 400, 4, ["plain", "trust region"]),
            _sweep("DCDT", "adam", [0.1], 400, 4, ["plain", "trust region"]),
            *GUARDED,
        ],
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Every sweep of the parameters; see :func:`ghostpoint.experiments.remedy_runs.sweep` for what
    is kept.
    """
    return sweeps(parameters, progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """What each remedy does to the networks that learn, how fast and how well, and where it does
    not help.
    """
    return claims_of(dataset)


REMEDIES = Experiment(
    id="remedies",
    title="What prevents the collapse: remedies compared",
    figure="this project (after Fig. 8)",
    question="Above a critical rate networks learn and are lost. Which of the remedies keeps them, with one setting "
    "for all rates, and at what cost in epochs and final loss? Gradient clipping, a lowered or rising confidence, "
    "spare ranks, a rewind, and limits to how far one update may move the escape time are tried from half to 5000 "
    "times the critical rate, with plain gradient descent and Adam, and then on other delays, networks and tasks.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
    origin="own",
)
