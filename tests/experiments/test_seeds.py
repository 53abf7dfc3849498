"""Every experiment's record says its seeds, however its parameters are nested."""

from __future__ import annotations

import pytest

from ghostpoint import experiments
from ghostpoint.command.reproduction_folder import _seeds

#: closed forms without any random number
WITHOUT = {"toy_loss", "toy_descent", "toy_rates"}


@pytest.mark.parametrize("id", experiments.IDS)
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_the_seeds_of_a_record_are_those_of_the_parameters(id, scale):
    parameters = experiments.get(id).parameters[scale]
    seeds = dict(_seeds(parameters))
    assert bool(seeds) == ("seed" in str(parameters).lower())
    for name, value in seeds.items():
        found = parameters
        for step in name.split("."):
            found = found[int(step) if isinstance(found, list | tuple) else step]
        assert found == value


def test_the_seeds_of_every_sweep_of_an_experiment_are_found():
    parameters = experiments.get("remedies").parameters["quick"]
    seeds = dict(_seeds(parameters))
    assert seeds["sweeps.sgd.grid.models.seed"] == list(range(20))
    assert len(seeds) == len(parameters["sweeps"])


def test_the_seeds_in_a_list_are_found():
    assert dict(_seeds({"sweeps": [{"seeds": 20}, {"rate": 1.0, "first_seed": 3}]})) == {
        "sweeps.0.seeds": 20,
        "sweeps.1.first_seed": 3,
    }
