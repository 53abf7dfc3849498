"""The networks: the latent reduction, the Jacobian, stacks, initial weights, and what is
refused.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ghostpoint import LowRankRNN
from ghostpoint.models import logistic
from tests.training.problems import networks

RANKS = pytest.mark.parametrize("rank", [1, 2, 3])
FIELDS = ("m", "n", "b", "confidence", "threshold", "initial_state", "seed")


def equal(one, other):
    assert one.trainable == other.trainable
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    return True


@RANKS
@given(data=st.data(), alpha=st.floats(0, 1))
def test_the_latents_close_on_themselves(rank, data, alpha):
    models = data.draw(networks(rank=rank))
    x = models.initial_state
    size = np.einsum("rnk,rn->rk", np.abs(models.n), 1 + np.abs(x))  # what the rounding is relative to
    error = models.latent_step(models.latent(x), alpha) - models.latent(models.step(x, alpha))
    assert (np.abs(error) <= 1e-14 * size).all()


@RANKS
@given(data=st.data())
def test_a_trial_is_the_state_stepped(rank, data):
    models = data.draw(networks(rank=rank))
    x = models.initial_state
    path = models.latent_path(6, 0.5)
    assert path.shape == (7, len(models), rank)
    for kappa in path:
        assert kappa == pytest.approx(models.latent(x), abs=1e-12)
        x = models.step(x, 0.5)


@RANKS
@given(data=st.data())
def test_the_step_is_the_equation_with_the_full_matrix(rank, data):
    models = data.draw(networks(rank=rank))
    x = models.initial_state
    W = models.m @ models.n.transpose(0, 2, 1)
    expected = 0.7 * x + 0.3 * np.tanh(np.einsum("rij,rj->ri", W, x) + models.b)
    assert models.step(x, 0.3) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@RANKS
@given(data=st.data())
def test_the_jacobian_is_the_derivative_of_the_flow(rank, data):
    models = data.draw(networks(rank=rank))
    kappa, h = models.latent(models.initial_state), 1e-5
    jacobian = models.flow_jacobian(kappa)
    assert jacobian.shape == (len(models), rank, rank)
    # the third derivative of tanh is at most 2, so the error of a central difference is at most
    # this
    bound = h**2 / 3 * np.einsum("rnk,rnl->rkl", np.abs(models.n), np.abs(models.m) ** 3)
    # and rounding, to the last place of what is summed, is divided by h: of each unit's argument
    # and term, and of kappa
    argument = 1 + np.einsum("rnk,rk->rn", np.abs(models.m), np.abs(kappa)) + np.abs(models.b)
    summed = np.einsum("rnk,rn->rk", np.abs(models.n), argument) + np.abs(kappa) + 1
    bound = bound + (models.n_units + 4) * np.finfo(float).eps * summed[:, :, None] / h
    for k in range(rank):
        dk = h * np.eye(rank)[k]
        slope = (models.flow(kappa + dk) - models.flow(kappa - dk)) / (2 * h)
        assert (np.abs(slope - jacobian[:, :, k]) <= bound[:, :, k]).all()


@given(hnp.arrays(np.float64, 20, elements=st.floats(-800, 800)))
def test_the_logistic_function_is_complementary_and_does_not_overflow(z):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert logistic(z) + logistic(-z) == pytest.approx(1, rel=1e-15)
        # as a ratio both tails count; beyond +-700 its exponential overflows
        z = z[np.abs(z) < 700]
        assert logistic(z) / logistic(-z) == pytest.approx(np.exp(z), rel=1e-13)


@given(networks(), st.data())
def test_picking_and_repeating_is_what_arrays_do(models, data):
    rows = np.arange(len(models))
    for index in (data.draw(st.integers(-len(models), len(models) - 1)), slice(None, None, 2), rows[::-1], rows < 2):
        picked = models[index]
        for name in FIELDS:
            assert np.array_equal(getattr(picked, name), getattr(models, name)[np.atleast_1d(rows[index])])
    thrice = models.repeat(3)
    assert len(thrice) == 3 * len(models)
    for copy in range(3):
        assert equal(thrice[copy * len(models) : (copy + 1) * len(models)], models)
    changed = models.replace(confidence=3.5, trainable="b")
    assert (changed.confidence == 3.5).all()
    assert changed.trainable == ("b",)
    assert equal(changed.replace(confidence=models.confidence, trainable=models.trainable), models)


def test_short_forms_of_the_arguments():
    m, n, b = np.random.default_rng(0).normal(size=(3, 7))
    full = LowRankRNN(m.reshape(1, 7, 1), n.reshape(1, 7, 1), b[None])
    assert equal(LowRankRNN(m, n, b), full)
    assert equal(LowRankRNN(m[None], n[None], b[None], seed=[-1]), full)
    assert (full.n_units, full.rank, len(full)) == (7, 1, 1)
    assert (full.confidence, full.threshold, full.trainable) == (10, 1, ("m", "n", "b"))
    assert (full.initial_state == -0.3).all()
    assert (LowRankRNN(m, n).b == 0).all()
    assert LowRankRNN(m, n, trainable=("confidence", "m")).trainable == ("m", "confidence")


def test_initial_weights_are_normal_with_variance_1_over_n():
    n_units, seeds = 400, range(50)
    models = LowRankRNN.initialize(n_units, seeds, rank=2, confidence=4.0)
    weights = np.stack([models.m, models.n])
    count = weights.size
    # five standard errors; of mean, variance, fourth moment and the correlations between m, n and
    # latents
    scaled = weights * np.sqrt(n_units)
    assert abs(scaled.mean()) < 5 / np.sqrt(count)
    assert abs((scaled**2).mean() - 1) < 5 * np.sqrt(2 / count)
    assert abs((scaled**4).mean() - 3) < 5 * np.sqrt(96 / count)
    columns = scaled.transpose(0, 3, 1, 2).reshape(4, -1)
    assert (np.abs(np.corrcoef(columns) - np.eye(4)) < 5 / np.sqrt(columns.shape[1])).all()
    assert (models.b == 0).all()
    assert (models.confidence == 4).all()
    assert np.array_equal(models.seed, seeds)


def test_a_seed_names_a_network():
    models = LowRankRNN.initialize(10, [4, 7], rank=3)
    assert equal(LowRankRNN.initialize(10, [7], rank=3), models[1])
    assert not np.array_equal(models.m[0], models.m[1])
    assert not np.array_equal(models.m, models.n)


def test_published_networks_are_picked_and_changed():
    everything = LowRankRNN.published()
    assert everything.m.shape == (100, 100, 1)
    # m and n of seed 0, first unit: torch.randn(100) / 10, twice, after torch.manual_seed(0)
    assert everything.m[0, 0, 0] == pytest.approx(-0.11258398, abs=1e-8)
    assert everything.n[0, 0, 0] == pytest.approx(0.09625183, abs=1e-8)
    picked = LowRankRNN.published([40, 3], threshold=0.5)
    assert np.array_equal(picked.m, everything.m[[40, 3]])
    assert np.array_equal(picked.seed, [40, 3])
    assert (picked.threshold == 0.5).all()
    assert (picked.b == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"m": np.zeros((2, 3, 1, 1))}, r"m must have shape \(R, N, K\), got \(2, 3, 1, 1\)"),
        ({"n": np.zeros((2, 4))}, r"n must have shape \(2, 3, 1\), got \(2, 4, 1\)"),
        ({"m": [[0, 0, np.nan]] * 2}, r"m must be finite, got nan at index \(0, 2\)"),
        ({"b": np.zeros((3, 2))}, r"b must have shape \(2, 3\), got \(3, 2\)"),
        ({"b": np.full((2, 3), np.inf)}, "b must be finite, got inf at index"),
        ({"confidence": [1, 2, 3]}, r"confidence must be one value or one per network \(2\), got shape \(3,\)"),
        ({"confidence": np.nan}, "confidence must be finite, got nan"),
        ({"threshold": np.zeros((2, 1))}, r"threshold must be one value or one per network \(2\)"),
        ({"initial_state": np.zeros(2)}, r"initial_state must be a number or have shape \(3,\) or \(2, 3\), got"),
        ({"initial_state": -np.inf}, "initial_state must be finite, got -inf"),
        ({"trainable": ("m", "w")}, "trainable must be one of m, n, b, confidence; got 'w'"),
        ({"seed": [1, 2, 3]}, r"seed must be one value or one per network \(2\), got shape \(3,\)"),
        ({"seed": 1.5}, "seed must be a whole number per network, got 1.5"),
        ({"m": np.zeros((2, 0)), "n": np.zeros((2, 0))}, r"m must have at least one unit and .* \(2, 0, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowRankRNN(**{"m": np.zeros((2, 3)), "n": np.zeros((2, 3)), **arguments})


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([-1], "seeds must be at least 0, got -1"),
        ([0, 2.5], "seeds must be a whole number, got 2.5"),
        ([], "seeds must name at least one network"),
        (5, "seeds must be a list of whole numbers, one per network, got 5"),
    ],
)
def test_published_seeds_are_whole_numbers(seeds, message):
    with pytest.raises(ValueError, match=message):
        LowRankRNN.published(seeds)


def test_a_record_says_in_a_line_what_it_holds():
    line = repr(LowRankRNN.published([0, 1], trainable="m"))
    assert line == "LowRankRNN(2 networks, 100 units, rank 1, trainable: m)"


def test_initialize_refuses_what_makes_no_network():
    for arguments, message in (
        ({"n_units": 0}, "n_units must be at least 1, got 0"),
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"seeds": []}, "seeds must name at least one network"),
        ({"seeds": [-1]}, "seeds must be at least 0, got -1"),
        ({"seeds": 2}, "seeds must be a list of whole numbers"),  # the rank, where it stood before
    ):
        with pytest.raises(ValueError, match=message):
            LowRankRNN.initialize(**{"n_units": 5, "seeds": [0], **arguments})
    with pytest.raises(ValueError, match="times must be at least 1, got 0"):
        LowRankRNN.initialize(5, [0]).repeat(0)


@pytest.mark.parametrize(
    ("scheme", "channels", "message"),
    [
        ("fixed_readout", {"n_inputs": 1}, "n_inputs must be 0 for this scheme, which draws no w_in, got 1"),
        ("state_readout", {"n_inputs": 2}, "n_inputs must be 0 for this scheme, which draws no w_in, got 2"),
        ("fixed_readout", {"n_outputs": 2}, "n_outputs must be 1 for this scheme, which draws no w_out, got 2"),
    ],
)
def test_channels_without_weights_are_refused(scheme, channels, message):
    with pytest.raises(ValueError, match=message):
        LowRankRNN.initialize(5, [0], scheme, **channels)
    weights = np.ones((1, 5, 2))
    assert LowRankRNN.initialize(5, [0], "state_readout", n_inputs=2, w_in=weights).n_inputs == 2
