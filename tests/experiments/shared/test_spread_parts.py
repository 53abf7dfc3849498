"""Parts that other machines compute: the same bits, and nothing is left for this one."""

from __future__ import annotations

import pickle

import pytest
import xarray as xr

from ghostpoint.errors import InputError
from ghostpoint.experiments import Silent, critical_rate_scaling, get, remedies
from ghostpoint.experiments.shared import parts
from ghostpoint.experiments.shared.sweep_runs import changed
from tests.experiments import full_rank_samples, network_samples

SMALL = {
    "rates_rank_one": network_samples.parameters("rates_rank_one"),
    "rates_dcdt": {**full_rank_samples.parameters("rates_dcdt"), "rates": 3},
    "rates_full_rank": {**full_rank_samples.parameters("rates_full_rank"), "rates": 2, "epochs": 51,
                        "epochs_shown": [0, 50]},
    "ranks": {**get("ranks").parameters["quick"], "ranks": [1], "rates": 2, "epochs": 60, "epochs_shown": [0, 59],
              "low_rate_epochs": 60},
    "remedies": {"sweeps": {"dcdt": remedies.quick("remedies_full_rank", 20, 2, ["plain", "trust region"],
                                                   task=["DCDT"], learning_rate=[0.1])}},
    "critical_rate_scaling": {"sweeps": {"critical_rate_scaling_delay": changed(
        critical_rate_scaling.PAPER["sweeps"]["critical_rate_scaling_delay"],
        grid={"task": {"delay": [40.0, 60.0]}, "training": {"epochs": [800, 900]}, "models": {"seed": [100, 101]},
              "measurement": {"rates": [{"powers": [-0.9, 0.3, 9]}] * 2}, "zip": [["delay", "rates", "epochs"]]},
    )}},
}  # fmt: skip
COUNT = {"rates_rank_one": 2, "rates_dcdt": 3, "rates_full_rank": 4, "ranks": 3, "remedies": 2}


@pytest.mark.parametrize("id", SMALL)
def test_a_run_whose_parts_were_computed_elsewhere_has_the_same_bits(tmp_path, id):
    went = []

    def spread(compute, folder, jobs, ended):
        """Another machine: it gets bytes, and the jobs in another order."""
        went.extend(jobs)
        for job in reversed(jobs):
            other, there, same = pickle.loads(pickle.dumps((compute, folder, job)))
            other(there, same)
            ended(job)

    run, progress = get(id).run, network_samples.Counted()
    with parts.keeping_parts(tmp_path, spread):
        far = run(SMALL[id], progress)
    assert len(went) == COUNT.get(id, 2) == len(list(tmp_path.iterdir()))
    assert all(total == done for _, total, done in progress.phases)
    xr.testing.assert_identical(far, run(SMALL[id], Silent()))


def test_machines_that_see_another_folder_are_an_error(tmp_path):
    with (
        parts.keeping_parts(tmp_path, lambda compute, folder, jobs, ended: None),
        pytest.raises(InputError, match="all machines must see it and have the same ghostpoint"),
    ):
        get("rates_dcdt").run(SMALL["rates_dcdt"], Silent())
