"""What the comparison of remedies trains: networks by description, treatments by name, and one row
a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint import remedies
from ghostpoint.experiments.shared.base import Progress
from ghostpoint.experiments.shared.networks import NETWORKS
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.results import NO_LEARNING_WINDOW, TrainingRun
from ghostpoint.tasks import Task
from ghostpoint.training import Computing, train

#: share of the chance loss below which a network has solved its task
SOLVED = 0.05
#: remedies that are trained by the reference engine, in float64: the compiled one does not know
#: them, and PyTorch need not be there
_UNCOMPILED = (remedies.ConfidenceSchedule, remedies.ReduceRate, remedies.Guard)


def remedies_of(treatment: Mapping[str, Any]) -> tuple[remedies.Remedy, ...]:
    """The remedies of ``treatment["remedies"]``, each as its ``to_dict`` gives it; "inf" stands for
    infinity.
    """
    return tuple(
        remedies.from_dict({name: float(value) if value == "inf" else value for name, value in given.items()})
        for given in treatment.get("remedies", ())
    )


def models_of(problem: Mapping[str, Any], treatment: Mapping[str, Any], seeds: Sequence[int]) -> Record:
    """The initial networks of a problem, as a treatment wants them.

    Parameters
    ----------
    problem : mapping
        ``task`` and ``networks``: "published" (rank one, with ``confidence``), or the figure whose
        published networks are meant: "6B" with a ``rank``, "6A", "7A" and "7D" of full rank.
    treatment : mapping
        ``confidence`` and ``spare_ranks`` change published networks, before the first epoch.
    """
    kind = problem["networks"]
    if kind == "published":
        readout = {"threshold": NETWORKS["threshold"], "initial_state": NETWORKS["initial_state"]}
        confidence = treatment.get("confidence", problem["confidence"])
        models = LowRankRNN.published(seeds, confidence=confidence, **readout)
        return with_spare_ranks(models, treatment.get("spare_ranks", 0))
    if "rank" in problem:
        return LowRankRNN.published(seeds, kind, rank=problem["rank"])
    return FullRankRNN.published(seeds, kind)


def with_spare_ranks(models: LowRankRNN, spare: int) -> LowRankRNN:
    """Rank-one networks with ``spare`` more columns of m and n, normal with variance 1/N, that
    their readout ignores.

    Readout, confidence, and what is there of W stay, so that only the number of trainable ranks
    differs.
    """
    if not spare:
        return models
    units = models.n_units
    columns = np.stack(
        [np.random.default_rng(seed).normal(size=(2, units, spare)) / np.sqrt(units) for seed in models.seed]
    )
    more = {name: np.concatenate([getattr(models, name), columns[:, at]], 2) for at, name in enumerate(("m", "n"))}
    return models.replace(**more)


def sweeps(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """All sweeps of the parameters, as :func:`sweep` gives them, one after the other."""
    ahead(progress, [job for one in parameters["sweeps"] for job in sweep_jobs(parameters, one)])
    return xr.concat(
        [sweep(parameters, one, progress) for one in parameters["sweeps"]], "case", join="outer", fill_value=FILL
    )


#: what stands in the columns of networks that a case does not have
FILL: Mapping[str, Any] = {
    **dict.fromkeys(("above_chance", "learned", "lost", "diverged"), False),
    "first_solved": -1,
    **dict.fromkeys(("final_loss", "acted"), np.nan),
}


def sweep(parameters: Mapping[str, Any], settings: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train one problem with one optimiser at several rates, once with each treatment; each
    treatment is a part.

    Parameters
    ----------
    settings : mapping
        ``problem``, ``optimizer``, ``rates``, ``epochs``, ``seeds`` (how many) and ``treatments``
        (their names).

    Returns
    -------
    Dataset over (case, network)
        A case is a treatment at a rate. ``above_chance``: the accuracy exceeded the task's chance
        at some epoch;
        ``learned``: it exceeded the middle between chance and 1 (0.75 for delayed activation);
        ``lost``: learned, and at none of the last :data:`NO_LEARNING_WINDOW` epochs above chance;
        ``first_solved``: first epoch with a loss below :data:`SOLVED` of chance, -1 for never;
        ``final_loss``: median over the last :data:`NO_LEARNING_WINDOW` epochs, as losses oscillate;
        ``acted``: share of the epochs in which a remedy changed the update (clipping is part of the
        optimiser and not counted).
    """
    done = []
    for job in sweep_jobs(parameters, settings):
        given, networks = job.settings, len(job.settings["rates"]) * job.settings["seeds"]
        progress.phase(f"{given['problem']}, {given['optimizer']}, {given['treatment']}", job.total, networks)
        done.append(counted_part(progress, job))
    return xr.concat(done, "case")


def sweep_jobs(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Job]:
    """The parts of :func:`sweep`, one a treatment."""
    jobs = []
    for name in settings["treatments"]:
        given = {
            **{key: settings[key] for key in ("problem", "optimizer", "rates", "epochs", "seeds")},
            "described": parameters["problems"][settings["problem"]],
            "treatment": name,
            **parameters["treatments"][name],
            "dtype": parameters["dtype"],
        }
        total = len(given["rates"]) * given["seeds"] * given["epochs"]
        jobs.append(Job("remedy", given, total, partial(_trained, given), _trained))
    return jobs


def _trained(given: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """One treatment at all rates, as one stack."""
    task, asked = Task.from_dict(given["described"]["task"]), remedies_of(given)
    seeds, rates = list(range(given["seeds"])), np.asarray(given["rates"], np.float64)
    slow = any(isinstance(one, _UNCOMPILED) for one in asked)
    run = train(
        models_of(given["described"], given, seeds).repeat(len(rates)),
        task,
        np.repeat(rates, len(seeds)),
        given["epochs"],
        optimizer=given["optimizer"],
        remedy=asked,
        record="all",
        solved=SOLVED,
        engine=Computing(
            "reference" if slow else "compiled",
            "float64" if slow else given["dtype"],
            on_progress=progress.advance,
        ),
    )
    rows = {
        name: ("case", np.full(len(rates), given[name])) for name in ("problem", "optimizer", "treatment", "epochs")
    }
    return xr.Dataset(
        {
            name: (("case", "network"), values.reshape(len(rates), len(seeds)))
            for name, values in _fates(run, task).items()
        },
        coords={
            **rows,
            "learning_rate": ("case", rates),
            "networks": ("case", np.full(len(rates), len(seeds))),
            "network": np.array(seeds),
        },
    )


def _fates(run: TrainingRun, task: Task) -> dict[str, Any]:
    """Per network, what became of it; see :func:`sweep`."""
    events, loss = run.events, run.history["loss"].values / task.chance_loss
    most = run.history["accuracy"].values.max(axis=1)
    learned = most > (1 + task.chance_accuracy) / 2
    epochs = run.config["epochs"]
    acted = events["remedy_epochs"].values if "remedy_epochs" in events else np.zeros(len(most))
    return {
        "above_chance": events["first_above_chance"].values >= 0,
        "learned": learned,
        "lost": learned & (events["no_learning_zone_entry"].values >= 0),
        "first_solved": events["first_solved"].values,
        "final_loss": np.median(loss[:, -NO_LEARNING_WINDOW:], axis=1),
        "acted": acted / epochs,
        "diverged": events["diverged"].values >= 0,
    }
