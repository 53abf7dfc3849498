"""The catalogue: every id leads to an experiment of that id and to its figure, each entry to one
id.
"""

from __future__ import annotations

from importlib import import_module

import pytest

from ghostpoint import experiments, figures
from ghostpoint.catalogue import CATALOGUE
from ghostpoint.figures.style import Drawing
from ghostpoint.fingerprint import fingerprint


@pytest.mark.parametrize("id", CATALOGUE)
def test_an_id_leads_to_its_experiment_and_its_figure(id):
    file, entry = CATALOGUE[id]
    assert experiments.get(id).id == id
    assert isinstance(getattr(import_module(f"ghostpoint.figures.{file}"), entry), Drawing)
    assert figures.caption(id)


def test_every_entry_has_one_id():
    assert len(set(CATALOGUE.values())) == len(CATALOGUE)


def test_a_renamed_function_keeps_its_fingerprint():
    run = experiments.get("rates_dcdt").run
    assert fingerprint(run, called=run.__name__) == fingerprint(run)
    assert fingerprint(run, called="run") != fingerprint(run)
