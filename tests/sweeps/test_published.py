"""A published experiment, run as such on a cluster and as a sweep, at quick scale: the same
bits.
"""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint import experiments
from ghostpoint.command.cli import run
from ghostpoint.command.reproduction_folder import Folder
from ghostpoint.sweeps.sweep_file import FILES


def test_reproduce_on_a_cluster_is_the_sweep(tmp_path, capsys):
    pytest.importorskip("distributed", reason="pip install 'ghostpoint[cluster]'")
    quick = experiments.get("rates_rank_one").parameters["quick"]
    out = tmp_path / "report"
    asked = ["reproduce", "--only", "rates_rank_one", "--out", str(out), "--cluster", "local", "--threads", "2"]
    assert run(asked) == 0, capsys.readouterr()
    far = Folder.open(out).dataset("rates_rank_one")
    given = tomllib.loads((FILES / "rates_rank_one.toml").read_text(encoding="utf-8"))
    given["training"]["epochs"] = quick["epochs"]
    given["recording"]["history"] = quick["epochs_shown"]
    swept = gp.sweep(given, tmp_path / "swept")
    assert far.sizes == {"learning_rate": 30, "seed": 10, "epoch": 4}
    assert bool((far["no_learning_zone_entry"] >= 0).any())
    for name, values in far.data_vars.items():
        np.testing.assert_array_equal(swept[name].values, values.values, err_msg=str(name))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--threads", "2"], "--threads must be left out without a cluster"),
        (["--option", "queue=short"], "--option must be left out without a cluster"),
        (["--cluster", "local", "--scheduler", "tcp://127.0.0.1:1"], "cluster must be left out where scheduler"),
        (["--cluster", "slrum"], "cluster must be one of local, ssh"),
    ],
)
def test_wrong_clusters_are_refused_before_anything_is_written(tmp_path, capsys, options, says):
    pytest.importorskip("distributed", reason="pip install 'ghostpoint[cluster]'")
    assert run(["reproduce", "--only", "toy_loss", "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
