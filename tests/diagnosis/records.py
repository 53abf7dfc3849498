"""Labelled records of trainings, made from formulas and noise and not from networks.

A kind is a formula in ``u = t / n`` with the verdicts that it allows by construction; lengths,
noise, optional columns and gaps are drawn. :func:`record_of` makes one record from (kind, seed);
seeds below :data:`HELD_OUT` were looked at while the rules were made, the others only scored.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HELD_OUT = 10_000
LENGTHS = (12, 20, 40, 100, 300, 1000, 3000, 10_000, 100_000)
G, A, S = "gradual learning", "abrupt learning", "staircase learning"
P, C, Q = "plateau at chance", "plateau at a constant answer", "oscillation near a minimum"
Z, R, D = "no-learning zone", "rise of the loss", "divergence"
V, W, X = "recovered", "restart of a schedule", "cannot tell"


@dataclass
class Draw:
    """What a kind is made with: random numbers, time ``t`` = 0 to n - 1, ``u = t / n``, and the
    standard deviation of the noise as a share of the kind's own scale."""

    rng: np.random.Generator
    n: int
    noise: float
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def t(self):
        return np.arange(self.n, dtype=float)

    @property
    def u(self):
        return self.t / self.n

    def r(self, scale=1.0):
        return scale * self.noise * self.rng.normal(size=self.n)

    def between(self, low, high):
        return float(self.rng.uniform(low, high))

    def floor(self):
        """A level of the end that is no loss of a constant answer."""
        return float(self.rng.choice([0.02, 0.05, 0.09, 0.13, 0.17]))

    def steps(self, least, share):
        """A width of at least so many epochs, else a share of the record."""
        return max(least, share * self.n)


@dataclass
class Kind:
    make: Callable
    allowed: tuple[str, ...]
    shortest: int
    noises: tuple[float, ...]
    learns: bool | None  # whether an accuracy can be made from the loss: it goes from chance to one as the loss falls


KINDS: dict[str, Kind] = {}


def kind(*allowed, shortest=12, noises=(0.0, 0.005, 0.03), learns=True):
    def keep(make):
        KINDS[make.__name__] = Kind(make, allowed, shortest, noises, learns)
        return make

    return keep


def fall(x):
    """From 1 to 0 as x passes 0."""
    return 0.5 * (1 - np.tanh(x / 2))


@kind(P, noises=(0.003, 0.01, 0.05), learns=False)
def flat(d):
    return 0.69 + d.r(0.69)


@kind(P, noises=(0.003, 0.01), learns=False)
def flat_of_ten_classes(d):
    d.options["chance_loss"] = float(np.log(10)) if d.rng.random() < 0.5 else None
    return np.log(10) + d.r(2.3)


@kind(P, noises=(0.0, 0.002), learns=False)
def flat_with_drift(d):
    return 1.0 - 0.01 * d.u + d.r()


@kind(P, shortest=100, noises=(0.02,), learns=False)
def flat_with_memory(d):
    """A running average of a noisy plateau."""
    raw = np.concatenate([[0.0], d.r()])
    out = np.empty(d.n)
    state = 0.0
    for i in range(d.n):
        state = 0.8 * state + 0.2 * raw[i]
        out[i] = state
    return 0.69 + out


@kind(P, C, shortest=20, noises=(0.0, 0.002, 0.01), learns=False)
def falls_to_constant(d):
    """Fast from a bad start to the loss of a constant answer, and stays."""
    return 0.6931 + d.between(2, 8) * np.exp(-d.t / d.steps(1, 0.01)) + d.r(0.7)


@kind(C, shortest=40, noises=(0.0, 0.001), learns=False)
def quarter(d):
    return 0.25 + d.between(0.3, 1.5) * np.exp(-d.u * 20) + d.r(0.25)


@kind(C, shortest=40, noises=(0.0, 0.01), learns=False)
def one_answer(d):
    gap = 0.5 * np.exp(-d.u * 25)
    d.columns["out_a"], d.columns["out_b"] = 0.4 + d.r(0.01), 0.4 + gap + d.r(0.01)
    return 0.31 + 0.6 * np.exp(-d.u * 20) + d.r(0.3)


@kind(G)
def exponential(d):
    return d.between(1, 3) * np.exp(-d.u * d.between(4, 10)) + d.floor() + d.r()


@kind(G)
def exponential_fast(d):
    return 2.3 * np.exp(-d.t / d.steps(2, 0.03)) + d.floor() + d.r(0.5)


@kind(G, noises=(0.0, 0.01, 0.03))
def power_law(d):
    return 2 * (1 + d.t / d.steps(0.5, 0.002)) ** -d.between(0.3, 0.8) * (1 + d.r())


@kind(G, noises=(0.0, 0.01, 0.05))
def straight(d):
    return 1.0 - 0.9 * d.u + d.r()


@kind(G, noises=(0.0, 0.01))
def two_rates(d):
    return np.exp(-d.u * 30) + np.exp(-d.u * 3) + 0.1 + d.r()


@kind(G, noises=(0.0, 0.01))
def to_zero(d):
    return np.exp(-d.u * 12) * (1 + d.r())


@kind(G, shortest=100, noises=(0.005, 0.02))
def spikes(d):
    y = 2.0 * np.exp(-d.u * 6) + 0.1
    for at in d.rng.integers(d.n // 3, d.n - d.n // 8, 3):
        y = y + 1.2 * np.exp(-np.abs(d.t - at) / 1.0)
    return y * (1 + d.r())


@kind(G, shortest=40, noises=(0.1, 0.2))
def mini_batches(d):
    return (1.5 * np.exp(-d.u * 7) + 0.15) * np.exp(d.r())


@kind(G, shortest=100, noises=(0.03,))
def heavy_tails(d):
    return 1.5 * np.exp(-d.u * 7) + 0.3 + np.abs(0.04 * d.rng.standard_t(3, size=d.n))


@kind(G, shortest=40, noises=(0.0, 0.01))
def rate_cut(d):
    cut = 0.66
    d.columns["learning_rate"] = np.where(d.u < cut, 0.1, 0.01)
    after = np.maximum(d.t - cut * d.n, 0)
    return 1.4 * np.exp(-d.u * 15) + 0.6 - 0.25 * (1 - np.exp(-after / d.steps(1, 0.02))) + d.r()


@kind(G, shortest=20, noises=(0.0, 0.01))
def cosine_rate(d):
    d.columns["learning_rate"] = 0.05 * (1 + np.cos(np.pi * d.u)) + 1e-6
    return 1.8 * np.exp(-d.u * 5) + 0.1 + d.r()


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def slow_sigmoid(d):
    return 1 - 0.9 * fall(-(d.u - 0.55) / 0.09) + d.r()


@kind(G, shortest=20, noises=(0.0, 0.01))
def negative_loss(d):
    return -2.0 + 5.0 * np.exp(-d.u * 6) + d.r()


@kind(A, shortest=20, noises=(0.0, 0.01, 0.05))
def jump(d):
    at = d.between(0.45, 0.75) * d.n
    return 1 - 0.9 * fall(-(d.t - at) / d.steps(0.25, 0.008)) + d.r()


@kind(A, shortest=20, noises=(0.0, 0.01, 0.03))
def late_jump(d):
    return 0.69 - 0.63 * fall(-(d.t - 0.88 * d.n) / d.steps(0.2, 0.003)) + d.r(0.69)


@kind(A, shortest=100, noises=(0.0, 0.01, 0.03))
def early_jump(d):
    return 1 - 0.9 * fall(-(d.t - 0.2 * d.n) / d.steps(0.2, 0.002)) + d.r()


@kind(A, shortest=40, noises=(0.0, 0.01))
def jump_then_slow(d):
    after = np.maximum(d.u - 0.5, 0)
    return np.where(d.u < 0.5, 1.0, 0.2 * np.exp(-after * 3)) + d.r()


@kind(A, shortest=100, noises=(0.0, 0.003))
def start_plateau_jump(d):
    """A bad start, a plateau at the constant answer, a drop."""
    at = 0.6 * d.n
    return 8 * np.exp(-d.t / d.steps(1, 0.006)) + 0.69 * fall((d.t - at) / d.steps(0.3, 0.008)) + 0.01 + np.abs(d.r())


@kind(A, shortest=20, noises=(0.0, 0.005))
def halves_then_jump(d):
    """The constant answer is found first, the rest at once later."""
    at = round(0.6 * d.n) - 0.5
    return 0.7 * np.exp(-d.t / d.steps(0.5, 0.01)) + 0.28 * fall((d.t - at) / d.steps(0.15, 0.006)) + 0.025 + d.r(0.3)


@kind(A, shortest=40, noises=(0.003, 0.01))
def validation_first_low(d):
    rise = 0.09 * (1 - np.exp(-d.u * 25))
    return 0.6 + rise - 0.55 * fall(-(d.t - 0.6 * d.n) / d.steps(0.25, 0.006)) + d.r()


@kind(S, A, shortest=100, noises=(0.0, 0.01, 0.02))
def two_stairs(d):
    width = d.steps(0.3, 0.004)
    return 2 - 1.0 * fall(-(d.t - 0.25 * d.n) / width) - 0.9 * fall(-(d.t - 0.75 * d.n) / width) + d.r()


@kind(S, A, shortest=100, noises=(0.0, 0.01))
def three_stairs(d):
    width = d.steps(0.3, 0.003)
    return 1.6 - 0.5 * sum(fall(-(d.t - a * d.n) / width) for a in (0.25, 0.5, 0.75)) + d.r()


@kind(Z, shortest=20, noises=(0.0, 0.01, 0.03))
def collapse(d):
    down = 1 - 0.9 * fall(-(d.t - 0.35 * d.n) / d.steps(0.3, 0.01))
    return np.where(d.u < 0.7, down, 1.0) + d.r()


@kind(Z, shortest=300, noises=(0.0, 0.01))
def collapse_at_the_end(d):
    down = 1 - 0.9 * fall(-(d.t - 0.35 * d.n) / d.steps(0.3, 0.01))
    return np.where(d.t < d.n - max(20, 0.03 * d.n), down, 1.0) + d.r()


@kind(V, shortest=100, noises=(0.0, 0.01))
def comes_back(d):
    level = 1 - 0.9 * fall(-(d.t - 0.25 * d.n) / d.steps(0.3, 0.005))
    return np.where((d.u >= 0.4) & (d.u < 0.75), 1.0, level) + d.r()


@kind(Q, shortest=40, noises=(0.0, 0.002))
def alternating(d):
    level = 1 - 0.9 * fall(-(d.t - 0.4 * d.n) / d.steps(0.3, 0.006))
    return level + np.where(d.u > 0.5, 0.03 * (-1.0) ** d.t, 0.0) + d.r()


@kind(Q, shortest=100, noises=(0.0, 0.002, 0.01))
def sine(d):
    period = d.between(5, min(40, d.n / 12))
    level = 0.1 + 0.5 * np.exp(-d.u * 20)
    return level + 0.08 * np.sin(2 * np.pi * d.t / period) * (d.u > 0.3) + d.r()


@kind(Q, shortest=100, noises=(0.0, 0.005))
def long_sine(d):
    period = d.n * d.between(0.05, 0.16)
    return 0.2 + 0.8 * np.exp(-d.u * 25) + 0.1 * np.sin(2 * np.pi * d.t / period) * (d.u > 0.3) + d.r()


@kind(Q, shortest=100, noises=(0.0, 0.003))
def growing_sine(d):
    period = d.between(4, min(60, d.n / 15))
    size = 0.02 + 0.15 * np.maximum(d.u - 0.3, 0)
    return 0.2 + 0.6 * np.exp(-d.u * 20) + size * np.sin(2 * np.pi * d.t / period) * (d.u > 0.25) + d.r()


@kind(Q, shortest=100, noises=(0.0, 0.002))
def shrinking_sine(d):
    period = d.between(4, min(60, d.n / 15))
    size = 0.12 - 0.08 * d.u
    return 0.2 + 0.6 * np.exp(-d.u * 20) + size * np.sin(2 * np.pi * d.t / period) * (d.u > 0.2) + d.r()


@kind(Q, shortest=300, noises=(0.0, 0.001))
def chaos(d):
    x, y = 0.3, np.empty(d.n)
    for i in range(d.n):
        x = 3.8 * x * (1 - x)
        y[i] = x
    level = 1 - 0.9 * fall(-(d.t - 0.4 * d.n) / d.steps(0.3, 0.006))
    return level + np.where(d.u > 0.45, 0.1 * (y - 0.6), 0.0) + d.r()


@kind(R, noises=(0.0, 0.005, 0.02), learns=False)
def straight_up(d):
    return 0.5 + d.between(0.3, 0.9) * d.u + d.r(0.5)


@kind(R, noises=(0.0, 0.01, 0.05), learns=False)
def step_up(d):
    return 0.6 + d.between(0.8, 2.9) * (d.u > 0.5) + d.r()


@kind(R, shortest=20, noises=(0.0, 0.005, 0.01), learns=None)
def over_fitting(d):
    return 0.7 * np.exp(-d.u * 20) + 0.4 + d.between(0.3, 0.9) * d.u**1.5 + d.r()


@kind(R, shortest=20, noises=(0.0, 0.005), learns=True)
def over_fitting_beside(d):
    d.columns["validation_loss"] = 0.7 * np.exp(-d.u * 20) + 0.4 + d.between(0.3, 0.9) * d.u**1.5 + d.r()
    return 1.1 * np.exp(-d.u * 8) + 0.05 + d.r()


@kind(R, shortest=40, noises=(0.0, 0.01), learns=None)
def falls_and_drifts_up(d):
    return np.where(d.u < 0.4, 1 - 2.2 * d.u, 0.12 + 0.6 * (d.u - 0.4)) + d.r()


@kind(D, shortest=20, noises=(0.0, 0.01), learns=None)
def explodes(d):
    return np.exp(-d.u * 6) + 0.05 * np.exp(np.maximum(d.u - 0.7, 0) * 30) + np.abs(d.r())


@kind(D, noises=(0.0, 0.01), learns=None)
def ends_in_nan(d):
    y = np.exp(-d.u * 3) + 0.1 + np.abs(d.r())
    y[int(0.7 * d.n) :] = np.nan
    return y


@kind(D, noises=(0.0, 0.01), learns=None)
def ends_in_infinity(d):
    y = np.exp(-d.u * 3) + 0.1 + np.abs(d.r())
    y[int(0.8 * d.n) :] = np.inf
    return y


@kind(W, shortest=100, noises=(0.0, 0.005))
def restarts(d):
    cycle = (d.u * 3) % 1.0
    d.columns["learning_rate"] = 0.05 * (1 + np.cos(np.pi * cycle)) + 1e-5
    return (1.0 / (1 + np.floor(d.u * 3))) * (0.25 + 0.75 * np.exp(-cycle * 6)) + d.r()


@kind("converged", noises=(0.0, 0.05), learns=None)
def trained_before(d):
    d.options["chance_loss"] = 1.0
    return 0.05 * (1 + d.r())


@dataclass
class LabelledRecord:
    kind: str
    seed: int
    allowed: tuple[str, ...]
    history: dict[str, np.ndarray]
    options: dict[str, Any]
    setting: str


COLUMNS = (
    "none",
    "none",
    "accuracy",
    "sparse accuracy",
    "percent",
    "constant",
    "gradient",
    "rate",
    "from zero",
    "chance",
)
GAPS = ("none", "none", "none", "missing", "thinned", "quantised", "repeated")


def record_of(name: str, seed: int) -> LabelledRecord:
    """The record of a kind and a seed: the same call gives the same record."""
    made = KINDS[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    lengths = [n for n in LENGTHS if n >= made.shortest]
    weights = np.array([1.0 if n < 100_000 else 0.25 for n in lengths])
    n = int(rng.choice(lengths, p=weights / weights.sum()))
    draw = Draw(rng, n, float(rng.choice(made.noises)))
    loss = np.asarray(made.make(draw), dtype=float)
    columns, gaps = str(rng.choice(COLUMNS)), str(rng.choice(GAPS))
    history = {"loss": loss} | draw.columns
    options = {key: value for key, value in draw.options.items() if value is not None}
    _add_columns(history, columns, made, draw)
    if columns == "chance" and made.learns is not None and "chance_loss" not in options and name in _KNOWN:
        options["chance_loss"] = _KNOWN[name]
    if name == "alternating" and gaps == "thinned":
        gaps = "none"  # at every second epoch nothing is seen of a swing of period two
    if n >= 100:
        history = _with_gaps(history, gaps, rng)
    else:
        gaps = "none"
    answers = [history.pop(key) for key in ("out_a", "out_b") if key in history]
    if answers:
        history["answer_spread"] = np.abs(answers[0] - answers[1])
    return LabelledRecord(name, seed, made.allowed, history, options, f"n={n} noise={draw.noise} {columns} {gaps}")


#: true losses of a constant answer
_KNOWN = {
    "flat": 0.69, "jump": 1.0, "late_jump": 0.69, "early_jump": 1.0, "jump_then_slow": 1.0, "collapse": 1.0,
    "start_plateau_jump": 0.7, "comes_back": 1.0, "falls_to_constant": 0.6931, "collapse_at_the_end": 1.0,
}  # fmt: skip


def _add_columns(history, columns, made, draw):
    loss, rng, n = history["loss"], draw.rng, draw.n
    if columns in ("accuracy", "sparse accuracy", "percent", "from zero") and made.learns is not None:
        clean = np.zeros(n)
        if made.learns:
            top, low = np.nanmedian(loss[: max(3, n // 50)]), np.nanquantile(loss, 0.02)
            clean = np.clip((top - loss) / max(top - low, 1e-12), 0, 1)
        accuracy = np.clip(0.5 + 0.48 * clean + 0.01 * rng.normal(size=n), 0, 1)
        if columns == "sparse accuracy":
            accuracy[np.arange(n) % 10 != 0] = np.nan
        if columns == "percent":
            accuracy = 100 * accuracy
        if columns == "from zero":
            accuracy[: max(1, n // 20)] = 0.0
        history["accuracy"] = accuracy
    elif columns == "constant":
        history["accuracy"] = np.zeros(n)
    elif columns == "gradient":
        history["gradient_norm"] = np.exp(0.5 * rng.normal(size=n))
    elif columns == "rate" and "learning_rate" not in history:
        history["learning_rate"] = np.full(n, 0.01)


def _with_gaps(history, gaps, rng):
    n = len(history["loss"])
    epoch = np.arange(n)
    if gaps == "missing":
        holes = rng.choice(np.arange(1, n - 1), n // 20, replace=False)
        history = {key: values.copy() for key, values in history.items()}
        history["loss"][holes] = np.nan
    elif gaps == "thinned" and n >= 1000:
        epoch = epoch[:: int(rng.integers(2, 8))]
        history = {key: values[epoch] for key, values in history.items()}
    elif gaps == "quantised":
        history = history | {"loss": np.round(history["loss"], 3)}
    elif gaps == "repeated" and n >= 1000:
        history = history | {"loss": np.repeat(history["loss"][::5], 5)[:n]}
    return history | {"epoch": epoch}
