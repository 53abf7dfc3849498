"""What the comparison of remedies keeps of a training, and its sweeps as rows, one for each remedy
and rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Progress
from ghostpoint.experiments.shared.sweep_runs import computed, run_sweeps
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.sweeps.configuration import Configuration
from ghostpoint.sweeps.shard_work import Labelled, Networks, Settings
from ghostpoint.sweeps.stacks import task_of
from ghostpoint.sweeps.sweep_file import read_sweep
from ghostpoint.tasks import Task

#: share of the chance loss below which a network has solved its task, which is the default of
#: sweeps
SOLVED = 0.05
#: what stands in the columns of networks that a case does not have
FILL: Mapping[str, Any] = {
    **dict.fromkeys(("above_chance", "learned", "lost", "diverged"), False),
    "first_solved": -1,
    **dict.fromkeys(("final_loss", "acted"), np.nan),
}


def run_cases(sweeps: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Run sweeps that record every epoch, given as TOML files have them.

    Returns
    -------
    Dataset over (case, network)
        A case is a treatment of a problem by an optimiser at a rate. ``treatment`` is the label of
        the remedies, ``problem`` that of the task, or the sweep's name. ``above_chance``: the
        accuracy exceeded the task's chance at some epoch;
        ``learned``: it exceeded the middle between chance and 1 (0.75 for delayed activation);
        ``lost``: learned, and at none of the last :data:`NO_LEARNING_WINDOW` epochs above chance;
        ``first_solved``: first epoch with a loss below :data:`SOLVED` of chance, -1 for never;
        ``final_loss``: median over the last :data:`NO_LEARNING_WINDOW` epochs, as losses oscillate;
        ``acted``: share of the epochs in which a remedy changed the update (clipping is part of the
        optimiser and not counted).
    """
    found = run_sweeps(progress, sweeps, _trained)
    cases = [
        _cases(one.get("sweep", {}).get("name", name), read_sweep(one), found[name]) for name, one in sweeps.items()
    ]
    return xr.concat(cases, "case", join="outer", fill_value=FILL)


def _trained(settings: Settings, networks: Networks, progress: Progress) -> xr.Dataset:
    """The networks of a shard."""
    arrays = computed(settings, networks, progress)
    found = fates(arrays, task_of(settings), settings["training"]["epochs"])
    return xr.Dataset({name: ("network", values) for name, values in found.items()})


def fates(arrays: Mapping[str, Labelled], task: Task, epochs: int) -> dict[str, Any]:
    """Per network, what became of it in a training of which every epoch is recorded; see
    :func:`run_cases`.
    """
    loss, accuracy = arrays["loss"][1] / task.chance_loss, arrays["accuracy"][1]
    most = accuracy.max(axis=1)
    learned = most > (1 + task.chance_accuracy) / 2
    acted = arrays["remedy_epochs"][1] if "remedy_epochs" in arrays else np.zeros(len(most))
    return {
        "above_chance": arrays["first_above_chance"][1] >= 0,
        "learned": learned,
        "lost": learned & (arrays["no_learning_zone_entry"][1] >= 0),
        "first_solved": arrays["first_solved"][1],
        "final_loss": np.median(loss[:, -NO_LEARNING_WINDOW:], axis=1),
        "acted": acted / epochs,
        "diverged": arrays["diverged"][1] >= 0,
    }


def _cases(name: str, sweep: Configuration, found: xr.Dataset) -> xr.Dataset:
    """A sweep as cases, its axes but the seed one after the other in their order."""
    dims = [dim for dim in sweep.sizes if dim != "seed"]
    seeds = found.sizes["seed"]

    def column(axis: str, fixed: Any) -> Any:
        if axis not in found.coords:
            return np.full(found["lost"].size // seeds, fixed)
        return found[axis].broadcast_like(found["lost"]).transpose(*dims, "seed").values.reshape(-1, seeds)[:, 0]

    training = sweep.settings["training"]
    rows = {
        "problem": column("task", name),
        "optimizer": column("optimizer", training["optimizer"]),
        "treatment": column("remedies", "plain"),
        "epochs": column("epochs", training["epochs"]),
        "learning_rate": column("learning_rate", training["learning_rate"]),
    }
    rows["networks"] = np.full(len(rows["problem"]), seeds)
    values = {
        str(key): (("case", "network"), one.transpose(*dims, "seed").values.reshape(-1, seeds))
        for key, one in found.data_vars.items()
    }
    columns = {key: ("case", one) for key, one in rows.items()}
    return xr.Dataset(values, {**columns, "network": found["seed"].values})
