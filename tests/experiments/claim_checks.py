"""What every experiment's claims must do: outlive the disk, and fail on data that do not show
them.
"""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ghostpoint.storage import read_dataset, write_dataset


def check_round_trip(experiment, parameters, sample, path):
    """The dataset of ``sample``, a run and its progress, comes back from ``path`` with its claims,
    and both scales have the parameters of the sample.
    """
    dataset, progress = sample
    again = read_dataset(write_dataset(dataset, path))
    xr.testing.assert_identical(again, dataset)
    assert experiment.claims(again, json.loads(json.dumps(parameters))) == experiment.claims(dataset, parameters)
    assert all(total == done for _, total, done in progress.phases)
    for scale in ("quick", "paper"):
        assert set(experiment.parameters[scale]) == set(parameters)
        json.dumps(dict(experiment.parameters[scale]))


def check_failure(experiment, parameters, dataset, index, name, change):
    """With a variable changed, a claim does not hold, and its sentence and rule stay."""
    changed = dataset.copy(deep=True)
    changed[name] = (changed[name].dims, np.asarray(change(changed[name].values)))
    claim, before = (experiment.claims(data, parameters)[index] for data in (changed, dataset))
    assert claim.verdict == "does not hold"
    assert (claim.sentence, claim.rule) == (before.sentence, before.rule)
