"""The initial weights of every published network, drawn as the publication drew them.

Dinc et al., Phys. Rev. X 16, 021058 (2026) (*article*), and arXiv:2501.02378 (*letter*, its figures
in brackets below). All networks have N = 100 units. Each function gives the float32 weights of one
seed by the constructor's names.

The published code multiplies row vectors, ``x <- (1 - alpha) x + alpha tanh(x W_pub + ...)``. Our W
is therefore the transpose of W_pub; of a published product ``S_l S_r`` the left factor is our n and
the right one the transpose of our m. Draws that the publication overwrote later are made and
dropped here, because they advance the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.models.torch_generator import TorchGenerator

UNITS = 100
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Setup:
    """How the networks of some panels start: ``draw(generator, rank)`` and the constructor's other
    ``settings``.
    """

    panels: tuple[str, ...]
    draw: Callable[[TorchGenerator, int], Weights]
    settings: Mapping[str, Any]
    #: None where the caller says the rank
    rank: int | None


def _xavier(generator: TorchGenerator, rows: int, columns: int) -> NDArray[np.float32]:
    """Uniform within ``sqrt(6 / (rows + columns))`` (Glorot and Bengio, AISTATS 2010)."""
    limit = np.sqrt(6.0 / (rows + columns))
    return generator.uniform((rows, columns), -limit, limit)


def _rank_one(generator: TorchGenerator, rank: int) -> Weights:
    """m, then n, normal with variance 1/N; b = 0."""
    root = np.float32(np.sqrt(UNITS))
    return {"m": generator.normal((UNITS, 1)) / root, "n": generator.normal((UNITS, 1)) / root}


def _rank_two(generator: TorchGenerator, rank: int) -> Weights:
    """n normal with variance 1/N, m standard normal, b normal with standard deviation 0.1, the rest
    uniform.
    """
    within = 1 / np.sqrt(rank)
    generator.uniform((UNITS,))
    generator.uniform((UNITS,))
    generator.normal((UNITS, rank))
    generator.normal((rank, UNITS))
    n = generator.normal((UNITS, rank)) / np.float32(np.sqrt(UNITS))
    m = generator.normal((rank, UNITS)).T
    generator.uniform((rank,))
    b_out = generator.uniform((1,), -within, within)
    w_in = _xavier(generator, UNITS, 1)
    w_out = _xavier(generator, 1, rank)
    b = np.float32(0.1) * generator.normal((UNITS,))
    return {"m": m, "n": n, "b": b, "w_in": w_in, "w_out": w_out, "b_out": b_out}


def _rank_k(generator: TorchGenerator, rank: int) -> Weights:
    """n, m, w_out and b_out normal with variance 1/N, in this order; b = 0."""
    root = np.float32(np.sqrt(UNITS))
    n = generator.normal((UNITS, rank)) / root
    m = generator.normal((rank, UNITS)).T / root
    return {"m": m, "n": n, **_normal_readout(generator)}


def _full_rank(generator: TorchGenerator, rank: int) -> Weights:
    """W, w_out and b_out normal with variance 1/N; b = 0."""
    W = generator.normal((UNITS, UNITS)).T / np.float32(np.sqrt(UNITS))
    return {"W": W, "b": np.zeros(UNITS, np.float32), **_normal_readout(generator)}


def _full_rank_biased(generator: TorchGenerator, rank: int) -> Weights:
    """W, w_in and w_out Xavier uniform, b uniform within 1, b_out within ``1 / sqrt(N)``."""
    within = 1 / np.sqrt(UNITS)
    generator.uniform((UNITS,))
    b = generator.uniform((UNITS,), -1.0, 1.0)
    generator.normal((UNITS, UNITS))
    generator.uniform((UNITS,))
    b_out = generator.uniform((1,), -within, within)
    w_in = _xavier(generator, UNITS, 1)
    W = _xavier(generator, UNITS, UNITS).T
    w_out = _xavier(generator, 1, UNITS)
    return {"W": W, "b": b, "w_in": w_in, "w_out": w_out, "b_out": b_out}


def _normal_readout(generator: TorchGenerator) -> Weights:
    root = np.float32(np.sqrt(UNITS))
    return {"w_out": generator.normal((1, UNITS)) / root, "b_out": generator.normal((1,)) / root}


_FIXED = {"confidence": 10.0, "threshold": 1.0, "activation": "sigmoid", "initial_state": -0.3}
_STATE = {"activation": "sigmoid", "initial_state": -0.3}
_CUE = {"activation": "tanh", "initial_state": 0.0}
_MATCH = {"activation": "sigmoid", "initial_state": 0.0}
_LATENT = {"readout": "latent"}

#: the low-rank networks, by the panels that show them
LOW_RANK = (
    Setup(("3", "3A", "3B", "6A", "8B"), _rank_one, _FIXED, 1),
    Setup(("4", "4A", "4B", "4C", "4D"), _rank_two, {**_CUE, **_LATENT}, 2),
    Setup(("4E", "4F", "4G", "4H"), _rank_two, {**_MATCH, **_LATENT}, 2),
    Setup(("6B",), _rank_k, _STATE, None),
)
#: the full-rank networks, by the panels that show them
FULL_RANK = (
    Setup(("5", "5A", "5B", "5C", "7", "7A", "7B", "7C", "8C"), _full_rank_biased, _CUE, UNITS),
    Setup(("5D", "5E", "5F", "7D", "7E", "7F"), _full_rank_biased, _MATCH, UNITS),
    Setup(("6A",), _full_rank, _STATE, UNITS),
)


def setup_of(figure: str, setups: Sequence[Setup]) -> Setup:
    """The setup of a figure or panel of the article.

    Raises
    ------
    ValueError
        If none of ``setups`` is shown there; the message lists those that are.
    """
    for setup in setups:
        if figure in setup.panels:
            return setup
    known = ", ".join(panel for setup in setups for panel in setup.panels)
    raise InputError(f"figure must be one of {known}, got {figure!r}")


def draw(setup: Setup, rank: int, seeds: Sequence[int]) -> Weights:
    """The initial weights of one published network per seed, (R, ...) by name of the part.

    ``setup`` says how the publication drew them, ``rank`` is K of low-rank networks; each seed is
    that of PyTorch's generator.
    """
    drawn = [setup.draw(TorchGenerator(seed), rank) for seed in seeds]
    return {name: np.stack([weights[name] for weights in drawn]) for name in drawn[0]}
