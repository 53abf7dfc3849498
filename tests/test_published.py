"""The published initial weights against PyTorch's own generator, and the setups of the figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.models.torch_generator import TorchGenerator

torch = pytest.importorskip("torch")
UNITS = 100
SEEDS = [0, 3, 40, 99, 2**32 - 1]


def uniform(*shape, within=1.0):
    return torch.empty(shape).uniform_(-within, within)


def xavier(*shape):
    return torch.nn.init.xavier_uniform_(torch.empty(shape))


def rank_one():
    return {"m": torch.randn(UNITS)[:, None] / UNITS**0.5, "n": torch.randn(UNITS)[:, None] / UNITS**0.5}


def rank_two():
    root = 2**0.5
    uniform(UNITS), uniform(UNITS), torch.randn(UNITS, 2), torch.randn(2, UNITS)
    weights = {"n": torch.randn(UNITS, 2) / UNITS**0.5, "m": torch.randn(2, UNITS).T}
    uniform(2)
    weights["b_out"] = uniform(1, within=1 / root)
    weights["w_in"] = xavier(1, UNITS).T
    weights["w_out"] = xavier(2, 1).T
    weights["b"] = 0.1 * torch.randn(UNITS)
    return weights


def rank_five():
    root = UNITS**0.5
    n, m = torch.randn(UNITS, 5) / root, torch.randn(5, UNITS).T / root
    return {"n": n, "m": m, "w_out": torch.randn(UNITS)[None] / root, "b_out": torch.randn(1) / root}


def full_rank():
    root = UNITS**0.5
    W = torch.randn(UNITS, UNITS).T / root
    return {"W": W, "w_out": torch.randn(UNITS)[None] / root, "b_out": torch.randn(1) / root, "b": torch.zeros(UNITS)}


def full_rank_biased():
    uniform(UNITS)
    weights = {"b": uniform(UNITS)}
    torch.randn(UNITS, UNITS), uniform(UNITS)
    weights["b_out"] = uniform(1, within=UNITS**-0.5)
    weights["w_in"] = xavier(1, UNITS).T
    weights["W"] = xavier(UNITS, UNITS).T
    weights["w_out"] = xavier(UNITS, 1).T
    return weights


FIGURES = {
    "3": (LowRankRNN, {}, rank_one),
    "6A rank one": (LowRankRNN, {"figure": "6A"}, rank_one),
    "8B": (LowRankRNN, {"figure": "8B"}, rank_one),
    "4": (LowRankRNN, {"figure": "4"}, rank_two),
    "4E": (LowRankRNN, {"figure": "4E"}, rank_two),
    "6B": (LowRankRNN, {"figure": "6B", "rank": 5}, rank_five),
    "5": (FullRankRNN, {}, full_rank_biased),
    "5D": (FullRankRNN, {"figure": "5D"}, full_rank_biased),
    "6A": (FullRankRNN, {"figure": "6A"}, full_rank),
    "7": (FullRankRNN, {"figure": "7"}, full_rank_biased),
    "8C": (FullRankRNN, {"figure": "8C"}, full_rank_biased),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_weights_are_pytorchs_to_one_unit_in_the_last_place(name):
    family, keywords, draws = FIGURES[name]
    models = family.published(SEEDS, **keywords)
    assert models.seed.tolist() == SEEDS
    for row, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        for part, drawn in draws().items():
            ours, theirs = getattr(models, part)[row].astype(np.float32), drawn.numpy()
            assert (np.abs(ours - theirs) <= np.spacing(np.abs(theirs))).all(), (seed, part)


operations = st.lists(st.tuples(st.sampled_from(["uniform", "normal"]), st.integers(1, 50)), max_size=8)


@given(st.integers(0, 2**32 - 1), operations)
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_draws_is_pytorchs(seed, sequence):
    torch.manual_seed(seed)
    generator = TorchGenerator(seed)
    for kind, count in sequence:
        if kind == "uniform":
            assert np.array_equal(generator.uniform((count,), -0.3, 0.7), torch.empty(count).uniform_(-0.3, 0.7))
        else:
            ours, theirs = generator.normal((count,)), torch.randn(count).numpy()
            assert (np.abs(ours - theirs) <= np.spacing(np.abs(theirs))).all()


@pytest.mark.parametrize(
    ("name", "activation", "initial_state", "channels"),
    [
        ("3", "sigmoid", -0.3, 0),
        ("4", "tanh", 0.0, 1),
        ("4E", "sigmoid", 0.0, 1),
        ("6B", "sigmoid", -0.3, 0),
        ("5", "tanh", 0.0, 1),
        ("5D", "sigmoid", 0.0, 1),
        ("6A", "sigmoid", -0.3, 0),
        ("8C", "tanh", 0.0, 1),
    ],
)
def test_output_and_initial_state_are_the_figures(name, activation, initial_state, channels):
    family, keywords, _ = FIGURES[name]
    models = family.published([0], **keywords)
    assert models.activation == activation
    assert (models.initial_state == initial_state).all()
    assert models.n_inputs == channels
    assert models.n_units == UNITS
    assert "b" in models.trainable


@pytest.mark.parametrize("rank", [1, 2, 50])
def test_distributions_of_other_draws_are_the_published_ones(rank):
    """Variances over many units of ``initialize``, beside those of ``published``."""
    for scheme, m, n in (("fixed_readout", 1, 1), ("state_readout", 1, 1), ("latent_readout", 2000, 1)):
        models = LowRankRNN.initialize(2000, [5], scheme, rank=rank, n_inputs=1 if scheme == "latent_readout" else 0)
        assert models.m.var() * 2000 == pytest.approx(m, rel=0.1)
        assert models.n.var() * 2000 == pytest.approx(n, rel=0.1)
    published = LowRankRNN.published(range(20), "4")
    assert published.m.var() == pytest.approx(1, rel=0.1)
    assert published.n.var() == pytest.approx(1 / UNITS, rel=0.1)
    for models in (
        FullRankRNN.initialize(100, range(20), "xavier_biased", n_inputs=1),
        FullRankRNN.published(range(20)),
    ):
        assert models.b.min() < -0.99
        assert models.b.max() > 0.99
        assert models.b.var() == pytest.approx(1 / 3, rel=0.1)
        assert models.W.var() == pytest.approx(1 / 100, rel=0.05)


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (LowRankRNN, {"figure": "7"}, "figure must be one of 3, .* got '7'"),
        (FullRankRNN, {"figure": "3"}, "figure must be one of 5, .* got '3'"),
        (LowRankRNN, {"figure": "6B"}, "rank must be given for figure 6B"),
        (LowRankRNN, {"figure": "4", "rank": 3}, "rank must be 2 or left out for figure 4, got 3"),
        (LowRankRNN, {"seeds": [2**32]}, "seed must be from 0"),
        (LowRankRNN, {"seeds": []}, "seeds must name at least one network"),
    ],
)
def test_wrong_arguments_are_named(family, arguments, message):
    with pytest.raises(ValueError, match=message):
        family.published(**{"seeds": [0], **arguments})
