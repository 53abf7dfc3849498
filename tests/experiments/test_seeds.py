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


def test_the_seeds_of_sweeps_in_a_list_are_found():
    seeds = dict(_seeds(experiments.get("remedies").parameters["quick"]))
    assert seeds["sweeps.0.seeds"] == 20
    assert len(seeds) == len(experiments.get("remedies").parameters["quick"]["sweeps"])
