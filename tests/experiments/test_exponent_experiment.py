"""The experiment on the exponent of the critical rate, at a scale of seconds: claims that hold and
fail.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import exponent, get
from tests.experiments.claim_checks import check_failure, check_round_trip
from tests.experiments.network_samples import Counted

EXPERIMENT = get("exponent")
SMALL = {
    "seeds": [100, 101],
    "conditions": [exponent._condition(8, updates=400), exponent._condition(8, "full_rank", units=20, updates=200)],
    "from_start": {},
}
DELAYS = [8, 16, 32, 96]


@cache
def sample():
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return EXPERIMENT.run(SMALL, progress), progress


@cache
def ideal():
    """What a run at full size would give if every claim held: six networks of every family."""
    rng, rows = np.random.default_rng(0), []
    kinds = [("rank_one", 10.0), ("rank_two", 10.0), ("rank_one", 5.0), ("rank_one", 2.0), ("full_rank", 10.0)]
    for family, confidence in kinds:
        for delay in DELAYS:
            middle, _ = exponent.MIDDLE[family, confidence]
            power = {"full_rank": -0.8}.get(family, -1.3 if confidence == 2 else -2.0)
            rate = middle * (delay / 12) ** power * np.exp(0.05 * rng.normal(size=6))
            rows.append((family, confidence, delay, rate))
    dims, delays = ("condition", "seed"), np.array([row[2] for row in rows])
    rates, flat = np.array([row[3] for row in rows]), np.ones((len(rows), 6))
    values = {
        "measured": rates, "lowest": rates, "overlaps": 1.05 * rates, "linear": 0.9 * rates, "width": 4 * flat,
        "sensitivity": flat, "time": delays[:, None] * flat, "gradient_norm": delays[:, None] ** 2 / 4 * flat,
        "terms_norm": delays[:, None] ** 2 / 4.2 * flat,
    }  # fmt: skip
    toy = np.pi**2 / (2 * delays)
    return xr.Dataset(
        {
            **{name: (dims, value) for name, value in values.items()},
            "toy": ("condition", 0.375 * (toy / delays) ** 2),
            "toy_width": ("condition", toy),
            "from_start": (("start_delay", "seed"), rates[:1]),
        },
        coords={
            "seed": np.arange(6), "family": ("condition", [row[0] for row in rows]), "start_delay": DELAYS[:1],
            "delay_steps": ("condition", delays), "confidence": ("condition", [row[1] for row in rows]),
        },
    )  # fmt: skip


@cache
def ideal_claims():
    return EXPERIMENT.claims(ideal(), SMALL)


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    check_round_trip(EXPERIMENT, SMALL, sample(), tmp_path / "data.zarr.zip")


def test_a_small_run_measures_what_it_says():
    dataset = sample()[0]
    low_rank = dataset.isel(condition=0)
    rates = exponent.rates_of(SMALL["conditions"][0])
    for name in ("measured", "overlaps", "linear"):
        assert np.isfinite(low_rank[name]).all()
        assert ((low_rank[name] >= rates[0]) & (low_rank[name] <= rates[-1])).all()
    assert low_rank["terms_norm"].values == pytest.approx(low_rank["gradient_norm"].values, rel=0.35)
    assert np.isnan(dataset["overlaps"].isel(condition=1)).all()
    # two networks decide nothing about exponents
    verdicts = {claim.verdict for claim in EXPERIMENT.claims(dataset, SMALL)[1:4]}
    assert verdicts == {"not testable at this scale"}


def test_every_claim_holds_of_ideal_data():
    assert [claim.verdict for claim in ideal_claims()] == ["holds"] * 12


def cases():
    """For every claim, a variable and a change of it that must make the claim fail."""
    delay = np.array(DELAYS * 5)[:, None]
    block = np.repeat(np.arange(5), len(DELAYS))[:, None]
    yield 0, "terms_norm", lambda v: 1.4 * v
    yield 1, "width", lambda v: v * delay**-0.5
    yield 1, "sensitivity", lambda v: v * delay**0.4
    yield 1, "toy_width", lambda v: np.ones_like(v)
    yield 2, "measured", lambda v: v / delay
    yield 2, "measured", lambda v: v / delay**2
    yield 3, "linear", lambda v: v / np.sqrt(delay)
    yield 4, "overlaps", lambda v: np.where(block == 0, 1.4 * v, v)
    yield 4, "measured", lambda v: np.where(block == 0, np.nan, v)
    yield 5, "overlaps", lambda v: np.where(block == 1, 0.7 * v, v)
    yield 6, "overlaps", lambda v: np.where(block == 1, v * delay**0.5, v)
    yield 7, "overlaps", lambda v: np.where(block == 2, 1.4 * v, v)
    yield 8, "overlaps", lambda v: np.where(block == 3, 1.4 * v, v)
    yield 9, "overlaps", lambda v: np.where(block == 3, v * delay**0.5, v)
    yield 10, "from_start", lambda v: 1.2 * v
    yield 11, "measured", lambda v: np.where(block == 4, v / delay, v)


@pytest.mark.parametrize(("index", "name", "change"), list(cases()))
def test_every_claim_fails_on_data_that_does_not_show_it(index, name, change):
    check_failure(EXPERIMENT, SMALL, ideal(), index, name, change)


def test_the_figure_shows_every_network():
    figure = figures.draw("exponent", ideal())
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 4
    assert len(figure.axes[0].lines[0].get_xdata()) == 6 * len(DELAYS)
