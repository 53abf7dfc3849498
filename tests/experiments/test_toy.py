"""The toy experiments: deterministic, labelled, and their claims follow from the data."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import Silent, get
from ghostpoint.experiments.toy_rates import measured_critical_rate
from ghostpoint.theory import SaddleNodeToy

TOYS = ("toy_loss", "toy_descent", "toy_rates")


@pytest.fixture(scope="module")
def results():
    return {id: get(id).run(get(id).parameters["quick"], Silent()) for id in TOYS}


def verdicts(id, dataset):
    return [claim.verdict for claim in get(id).claims(dataset, get(id).parameters["quick"])]


@pytest.mark.parametrize("id", TOYS)
def test_parameters_and_attributes_are_json_and_variables_have_units(id, results):
    experiment = get(id)
    assert experiment.id == id
    assert set(experiment.parameters) == {"quick", "paper"}
    json.dumps([dict(experiment.parameters["quick"]), results[id].attrs])
    for name, variable in results[id].data_vars.items():
        assert variable.dtype.kind in "fib", name
        if variable.dtype.kind == "f" and name not in ("lost_share", "predicted_crossing"):
            assert "units" in variable.attrs, name


@pytest.mark.parametrize("id", TOYS)
def test_a_second_run_gives_the_same_bits(id, results):
    again = get(id).run(json.loads(json.dumps(dict(get(id).parameters["quick"]))), Silent())
    xr.testing.assert_identical(again, results[id])


def test_the_published_statements_come_out_as_measured(results):
    assert verdicts("toy_loss", results["toy_loss"]) == ["holds"] * 8
    assert verdicts("toy_descent", results["toy_descent"]) == ["holds"] * 5
    # Between 1 and 1.029 times eq. 15 an orbit of period three keeps some starts from being lost.
    assert verdicts("toy_rates", results["toy_rates"]) == [
        "holds",
        "holds",
        "does not hold",
        *["holds"] * 4,
    ]


def test_claims_about_the_loss_fail_on_a_loss_without_these_features(results):
    d = results["toy_loss"].copy(deep=True)
    d["gradient_limit"][:] = 1.0 + np.arange(d.sizes["r_fine"])
    d["gradient_limit"][:5] = 0
    d["loss_limit"][:] = d.u_fine.values**2
    d["loss"][:] = d["loss"].isel(confidence=0)
    d["gradient_fine"][:] = 0
    d["loss_difference"][:] = 50.0
    d["loss_far"][:] = 50.0
    assert verdicts("toy_loss", d) == ["does not hold"] * 8


def test_claims_about_the_descent_fail_on_other_runs():
    # The rates the other way round: the first is lost, the second learns.
    experiment = get("toy_descent")
    parameters = {**experiment.parameters["quick"], "learning_rates": [1e-9, 1e-10]}
    dataset = experiment.run(parameters, Silent())
    assert [claim.verdict for claim in experiment.claims(dataset, parameters)] == [
        "does not hold",
        "holds",
        *["does not hold"] * 3,
    ]


def test_claims_about_the_descent_fail_where_r_crosses_zero_or_the_minimum_is_attained(results):
    d = results["toy_descent"].copy(deep=True)
    d["r"][0, 7] = -1e-9
    assert verdicts("toy_descent", d)[1] == "does not hold"
    d["loss"][0, int(d.crossing_epoch[0]) :] = 0.0
    assert verdicts("toy_descent", d)[3] == "does not hold"


@pytest.mark.parametrize(
    ("id", "few"),
    [
        ("toy_descent", {"epochs": 3}),
        ("toy_rates", {"epochs_shown": [2, 4], "settled_epochs": 2, "share_epochs": 5, "share_starts": 20}),
    ],
)
def test_too_few_epochs_give_claims_that_do_not_hold_and_a_figure(id, few):
    chosen = {**get(id).parameters["quick"], **few}
    dataset = get(id).run(chosen, Silent())
    claims = get(id).claims(dataset, chosen)
    assert sum(claim.verdict == "does not hold" for claim in claims) >= 4
    FigureCanvasAgg(figures.draw(id, dataset)).draw()


def test_claims_about_the_rates_fail_on_another_law(results):
    d = results["toy_rates"].copy(deep=True)
    d["critical_rate"] *= 1.02 * (d.delay / d.delay[0]) ** 0.02
    d["settled_loss"] *= (d.learning_rate / d.learning_rate[0]) ** -2
    d["crossing_epoch"][:] = np.arange(1, d.sizes["learning_rate"] + 1)[:, None]
    d["lost"][:] = False
    d["lost_share"][:] = d.near_ratio > 1
    # now the first hundred rates reach r* within 100 epochs, the lowest far below eq. 15
    assert verdicts("toy_rates", d) == [
        "does not hold",
        "does not hold",
        "holds",
        *["does not hold"] * 4,
    ]


@pytest.mark.parametrize("T", [20.0, 300.0])
def test_the_measured_critical_rate_does_not_lie_below_eq_15_and_comes_closer_with_more_starts(T):
    toy = SaddleNodeToy(T)
    starts = np.random.default_rng(5).normal(10, 0.1, 400) * toy.r_star
    few, many = (measured_critical_rate(toy, starts[:n], 2000, 1e-5) for n in (5, 400))
    assert toy.critical_learning_rate * (1 - 1e-5) <= many <= few * (1 + 1e-5)
    assert many == pytest.approx(toy.critical_learning_rate, rel=0.002)
