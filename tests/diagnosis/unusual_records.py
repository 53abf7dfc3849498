"""Labelled records of trainings that differ from the usual ones: other losses, other units, other
noise, drops of other shapes, and very few or very many epochs.

Each kind says what a careful person would call it. The answers were written down before any of the
records was judged. :func:`unusual_record` makes one record from (kind, seed).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter

from tests.diagnosis.records import LabelledRecord

G, A, S = "gradual learning", "abrupt learning", "staircase learning"
P, C, Q = "plateau at chance", "plateau at a constant answer", "oscillation near a minimum"
Z, R, D = "no-learning zone", "rise of the loss", "divergence"
V, W, F, X = "recovered", "restart of a schedule", "converged", "cannot tell"


@dataclass
class UnusualKind:
    make: Callable[[Any], Any]
    allowed: tuple[str, ...]
    lengths: tuple[int, int]


@dataclass
class Epochs:
    """``n`` epochs, ``t`` = 0 to n - 1, ``u = t / n``, and random numbers."""

    rng: np.random.Generator
    n: int

    @property
    def t(self):
        return np.arange(self.n, dtype=float)

    @property
    def u(self):
        return self.t / self.n

    def between(self, low, high):
        return float(self.rng.uniform(low, high))

    def normal(self, scale=1.0):
        return scale * self.rng.normal(size=self.n)

    def jump(self, low=0.45, high=0.75, width=0.005):
        """From 0 to 1 at a share of the record between low and high."""
        return step((self.u - self.between(low, high)) / max(width, 0.3 / self.n))


UNUSUAL: dict[str, UnusualKind] = {}


def kind(*allowed, lengths=(100, 5000)):
    def keep(make):
        UNUSUAL[make.__name__] = UnusualKind(make, allowed, lengths)
        return make

    return keep


def step(x):
    return 0.5 * (1 + np.tanh(np.asarray(x) / 2))


def averaged(values, memory):
    """The running average ``a[i] = memory a[i - 1] + (1 - memory) y[i]`` that dashboards show."""
    start = [memory * values[0]]
    return lfilter([1 - memory], [1, -memory], values, zi=start)[0]


def unusual_record(name: str, seed: int) -> LabelledRecord:
    """The record of a kind and a seed: the same call gives the same record."""
    made = UNUSUAL[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    low, high = made.lengths
    d = Epochs(rng, int(np.rint(np.exp(rng.uniform(np.log(low), np.log(high))))))
    found = made.make(d)
    history = found if isinstance(found, dict) else {"loss": found}
    options = history.pop("options", {})
    return LabelledRecord(name, seed, made.allowed, history, options, f"n={d.n}")


# ---- drops of other shapes


@kind(A)
def sharp_onset_then_relaxation(d):
    """Nothing, and from one epoch on an exponential fall over 2 % of the record."""
    at = d.between(0.4, 0.7)
    return 0.7 - 0.6 * (1 - np.exp(-np.maximum(d.u - at, 0) / 0.02)) + d.normal(0.004)


@kind(A)
def slow_onset_then_cliff(d):
    """Progress that accelerates up to a cliff."""
    at = d.between(0.5, 0.8)
    before = 0.1 * np.exp(-np.maximum(at - d.u, 0) / 0.04) * (d.u < at)
    return 1.0 - np.where(d.u < at, before, 0.9) + d.normal(0.004)


@kind(A)
def ramp(d):
    """A straight fall within 5 % of the record."""
    at = d.between(0.4, 0.7)
    return 2.3 - 2.0 * np.clip((d.u - at) / 0.05, 0, 1) + d.normal(0.01)


@kind(A)
def drop_that_rings(d):
    """Over and under the new level some times, until it rests there."""
    at = d.between(0.35, 0.55)
    after = np.maximum(d.u - at, 0)
    ring = 0.15 * np.exp(-after / 0.02) * np.cos(2 * np.pi * after / 0.015)
    return np.where(d.u < at, 1.0, 0.2 + ring) + d.normal(0.004)


@kind(A)
def spike_before_the_drop(d):
    """A plateau, a burst of some epochs, the drop."""
    at = d.between(0.5, 0.7)
    spike = 0.8 * np.exp(-(((d.t - at * d.n) / max(1, 0.004 * d.n)) ** 2))
    return 0.7 - 0.62 * step((d.u - at - 0.015) / 0.002) + spike + d.normal(0.004)


@kind(A)
def plateau_that_sinks_then_drop(d):
    """A tenth to a sixth of the drop is gained on a plateau that sinks in a straight line."""
    return 1.0 - d.between(0.1, 0.16) * d.u - 0.75 * d.jump(0.5, 0.8) + d.normal(0.004)


@kind(A)
def plateau_that_rises_then_drop(d):
    up = d.jump(0.5, 0.8)
    return 0.7 + d.between(0.03, 0.08) * d.u * (1 - up) - 0.62 * up + d.normal(0.003)


@kind(A)
def plateau_that_waves_then_drop(d):
    """Slow waves of 3 % on the plateau, none after the drop."""
    up = d.jump(0.5, 0.8)
    wave = 0.02 * np.sin(2 * np.pi * d.u * d.between(5, 12))
    return 0.7 * (1 - 0.9 * up) + wave * (1 - up) + d.normal(0.002)


@kind(A, lengths=(300, 5000))
def drop_to_a_louder_floor(d):
    """Quiet before, noise of a fifth of the loss after: small batches of hard examples."""
    up = d.jump(0.4, 0.7)
    return (0.7 - 0.6 * up) * np.exp((0.003 + 0.17 * up) * d.normal())


@kind(A, lengths=(300, 5000))
def loud_plateau_to_a_quiet_floor(d):
    up = d.jump(0.4, 0.7)
    return 0.8 - 0.7 * up + (0.08 * (1 - up) + 0.002) * d.normal()


@kind(A, lengths=(300, 3000))
def stops_in_the_middle_of_the_drop(d):
    """The record ends when half of the loss has gone within its last 2 %."""
    return 0.69 - 0.35 * np.clip((d.u - 0.98) / 0.02, 0, 1) + d.normal(0.003)


@kind(A, S, lengths=(200, 5000))
def large_drop_and_small_drop(d):
    return 1.0 - 0.65 * d.jump(0.25, 0.4) - 0.25 * d.jump(0.65, 0.8) + d.normal(0.004)


@kind(A)
def hump_plateau_drop(d):
    """The loss doubles while the rate warms up, returns to chance, waits there and drops."""
    hump = 0.7 * np.exp(-(((d.u - 0.03) / 0.015) ** 2))
    return 0.69 + hump - 0.6 * d.jump(0.5, 0.8) + d.normal(0.004)


@kind(A)
def start_of_many_decades(d):
    """A start at a million times chance, the plateau, the drop."""
    return 0.69 * (1 + 1e6 * np.exp(-d.u / 0.002)) * (1 - 0.95 * d.jump(0.5, 0.8)) * np.exp(d.normal(0.005))


# ---- other losses


@kind(A)
def perplexity_drop(d):
    return np.exp(6.2 - 4.5 * d.jump() + d.normal(0.02))


@kind(G)
def perplexity_gradual(d):
    return np.exp(3.0 + 3.5 * np.exp(-d.u * d.between(3, 6)) + d.normal(0.02))


@kind(P)
def perplexity_of_chance(d):
    return np.exp(np.log(d.rng.choice([27, 100, 1000])) + d.normal(0.02))


@kind(G)
def density_below_zero(d):
    """Negative log-likelihood of a density: through zero, with no bound below."""
    return 1.4 - 4.5 * (1 - np.exp(-d.u * d.between(4, 8))) + d.normal(0.05)


@kind(A)
def density_below_zero_drop(d):
    return 1.42 - 3.5 * d.jump() + d.normal(0.03)


@kind(Z)
def density_below_zero_collapse(d):
    at, end = d.between(0.2, 0.3), d.between(0.55, 0.75)
    return 1.42 - 3.5 * ((d.u > at) & (d.u < end)) + d.normal(0.03)


@kind(A)
def logarithm_of_the_loss(d):
    """Somebody recorded log10(loss)."""
    return np.log10(0.7) - 1.5 * d.jump() + d.normal(0.02)


@kind(G)
def sum_over_a_large_batch(d):
    """A sum over 50,000 examples."""
    return 50_000 * (0.2 + 2.1 * np.exp(-d.u * d.between(4, 8))) * np.exp(d.normal(0.01))


@kind(A)
def return_that_jumps(d):
    """Minus the return of mountain car: -200 exactly, until it is found out."""
    up = d.rng.random(d.n) < d.jump(0.4, 0.7)
    return np.where(up, np.round(120 + d.normal(10)), 200.0)


@kind(G)
def return_that_grows(d):
    """Minus the return of cart-pole: integers, noise of a third, never below -500."""
    mean = 20 + 430 * (1 - np.exp(-d.u * d.between(3, 5)))
    return -np.clip(np.round(mean * (1 + d.normal(0.25))), 9, 500)


# ---- units, quantised values


@kind(A)
def two_decimals_drop(d):
    return np.round(0.69 - 0.6 * d.jump() + d.normal(0.004), 2)


@kind(P)
def two_decimals_flat(d):
    return np.round(0.693 + d.normal(0.004), 2)


@kind(G)
def two_decimals_gradual(d):
    return np.round(0.1 + 1.2 * np.exp(-d.u * d.between(4, 8)) + d.normal(0.01), 2)


@kind(G)
def half_precision(d):
    """Eight bits: steps of a 256th of the value."""
    loss = (0.1 + 2 * np.exp(-d.u * d.between(4, 8))) * np.exp(d.normal(0.01))
    power = 2.0 ** (np.floor(np.log2(loss)) - 7)
    return np.round(loss / power) * power


@kind(P)
def plateau_right_or_wrong_one_by_one(d):
    """The accuracy of batches of one: 0 or 1."""
    return {"loss": 0.693 + d.normal(0.02), "accuracy": (d.rng.random(d.n) < 0.5).astype(float)}


@kind(A, lengths=(300, 5000))
def drop_right_or_wrong_one_by_one(d):
    up = d.jump()
    return {"loss": 0.693 - 0.65 * up + d.normal(0.02), "accuracy": (d.rng.random(d.n) < 0.5 + 0.49 * up).astype(float)}


@kind(A)
def accuracy_counts_answers(d):
    """Right answers of 10,000, not a share."""
    up = d.jump()
    return {"loss": 2.303 - 2.2 * up + d.normal(0.01), "accuracy": np.round(1000 + 8800 * up + d.normal(30))}


@kind(P)
def percent_of_a_thousand_classes(d):
    """0.1 % right throughout, in percent: all values look like shares."""
    return {"loss": 6.908 + d.normal(0.01), "accuracy": np.round(0.1 + 0.02 * d.normal(), 2).clip(0)}


@kind(G)
def percent_from_a_thousand_classes(d):
    up = 1 - np.exp(-d.u * d.between(4, 8))
    return {"loss": 6.9 - 5.5 * up + d.normal(0.05), "accuracy": np.round(0.1 + 74 * up + 0.3 * d.normal(), 2).clip(0)}


@kind(G)
def accuracy_of_two_decimals(d):
    up = 1 - np.exp(-d.u * d.between(4, 8))
    return {"loss": 0.7 - 0.6 * up + d.normal(0.005), "accuracy": np.round(0.5 + 0.48 * up, 2)}


# ---- noise


@kind(P)
def plateau_with_rare_huge_batches(d):
    noise = 0.01 * d.rng.standard_t(1.5, size=d.n)
    return np.maximum(0.693 + noise, 0.01)


@kind(G)
def gradual_with_rare_huge_batches(d):
    noise = 0.01 * d.rng.standard_t(1.5, size=d.n)
    return 0.3 + 2 * np.exp(-d.u * d.between(4, 8)) + np.abs(noise)


@kind(A)
def drop_with_rare_huge_batches(d):
    return 0.1 + 0.6 * (1 - d.jump()) + np.abs(0.006 * d.rng.standard_t(1.5, size=d.n))


@kind(P, lengths=(200, 5000))
def plateau_of_single_examples(d):
    """The loss of one example at a time, of ten classes, untrained."""
    return np.maximum(2.303 + d.normal(0.5), 0.01)


@kind(A, lengths=(500, 5000))
def drop_of_single_examples(d):
    return (2.3 - 2.1 * d.jump()) * d.rng.gamma(2.0, 0.5, d.n)


@kind(P, lengths=(200, 5000))
def plateau_averaged(d):
    """A long running average of a plateau."""
    return averaged(0.693 + d.normal(0.02), 0.95)


@kind(A, lengths=(300, 5000))
def drop_averaged(d):
    return averaged(0.7 - 0.6 * d.jump() + d.normal(0.02), 0.9)


@kind(G, lengths=(200, 5000))
def gradual_averaged(d):
    return averaged(0.2 + 2 * np.exp(-d.u * d.between(4, 8)) + d.normal(0.05), 0.95)


@kind(G, lengths=(400, 4000))
def average_that_begins_again_each_epoch(d):
    """Progress bars show the mean of the epoch so far: a saw-tooth on the way down."""
    each = d.n // int(d.rng.integers(8, 20)) + 1
    raw = 0.2 + 2 * np.exp(-d.u * d.between(4, 6)) + d.normal(0.01)
    first = (np.arange(d.n) // each) * each
    total = np.concatenate([[0.0], np.cumsum(raw)])
    return (total[1:] - total[first]) / (np.arange(d.n) - first + 1)


@kind(A, lengths=(400, 5000))
def drop_with_wandering_noise(d):
    """Noise that remembers fifty epochs."""
    noise = lfilter([np.sqrt(1 - 0.98**2)], [1, -0.98], d.rng.normal(size=d.n + 300))[300:]
    return 0.7 - 0.6 * d.jump() + 0.008 * noise


# ---- very short and very long


@kind(G, lengths=(5, 9))
def few_epochs_gradual(d):
    return 0.1 + 0.6 * np.exp(-d.t * d.between(0.3, 0.6))


@kind(P, lengths=(6, 12))
def few_epochs_flat(d):
    return 0.693 + d.normal(0.001)


@kind(A, lengths=(8, 14))
def few_epochs_drop(d):
    at = int(0.6 * d.n)
    return np.where(d.t < at, 2.30, 0.35) + d.normal(0.005)


def smooth_law(d):
    """A course that slows down from 0.7 on: a line, an exponential, a power law, two rates, or the
    logarithm of time."""
    u, fast = d.u, d.between(1, 3)
    laws = (
        0.7 - 0.6 * u,
        0.05 + 0.65 * np.exp(-fast * 2 * u),
        0.65 * np.exp(-fast * u),
        0.7 * (1 + 50 * u) ** -0.4,
        0.05 + 0.65 / (1 + 5 * fast * u),
        0.4 * np.exp(-20 * u) + 0.3 * np.exp(-2 * u),
        0.7 - 0.15 * np.log1p(30 * u),
    )
    return laws[d.rng.integers(len(laws))]


@kind(G, lengths=(20, 400))
def noise_that_grows_with_a_smooth_loss(d):
    return smooth_law(d) * np.exp(d.normal(d.between(0.02, 0.2)))


@kind(G, lengths=(20, 400))
def even_noise_on_a_smooth_loss(d):
    return smooth_law(d) + d.normal(d.between(0.01, 0.05))


@kind(A, lengths=(20, 400))
def noise_that_grows_with_a_loss_that_drops(d):
    return (0.7 - 0.65 * d.jump(0.3, 0.7)) * np.exp(d.normal(d.between(0.02, 0.2)))


@kind(A, lengths=(20, 400))
def even_noise_on_a_loss_that_drops(d):
    return 0.7 - 0.65 * d.jump(0.3, 0.7) + d.normal(d.between(0.01, 0.05))


@kind(R, lengths=(6, 12))
def few_epochs_up(d):
    return 0.4 + 0.1 * d.t + d.normal(0.005)


@kind(D, lengths=(7, 14))
def few_epochs_then_nan(d):
    return np.where(d.t < d.n // 2, 1.2 - 0.05 * d.t, np.nan)


@kind(A, lengths=(150_000, 300_000))
def many_epochs_drop(d):
    return (0.7 - 0.6 * d.jump(width=0.002) + d.normal(0.02)).astype(np.float32)


@kind(P, lengths=(150_000, 300_000))
def many_epochs_flat(d):
    return (0.693 + d.normal(0.05)).astype(np.float32)


# ---- schedules


@kind(W, lengths=(150, 5000))
def equal_cycles_of_the_rate(d):
    cycle = (d.u * int(d.rng.integers(3, 7))) % 1.0
    rate = 0.05 * (1 + np.cos(np.pi * cycle)) + 1e-4
    return {
        "loss": 0.2 + 0.2 * np.exp(-d.u * 3) + 6 * rate * np.exp(-cycle * 3) + d.normal(0.004),
        "learning_rate": rate,
    }


@kind(G, lengths=(100, 5000))
def one_cycle_of_the_rate(d):
    """Up for a third, down to nothing; the loss falls faster at the end."""
    rate = np.where(d.u < 0.3, 0.04 + 0.96 * d.u / 0.3, 0.5 * (1 + np.cos(np.pi * (d.u - 0.3) / 0.7))) * 0.1
    return {"loss": 0.1 + 1.7 * np.exp(-d.u * 5) + 0.3 * (1 - d.u**2) + d.normal(0.01), "learning_rate": rate + 1e-6}


@kind(G, lengths=(100, 5000))
def rate_that_shrinks_each_epoch(d):
    return {"loss": 0.3 + 1.5 * np.exp(-d.u * 6) + d.normal(0.01), "learning_rate": 0.1 * 0.95 ** np.floor(d.u * 60)}


@kind(A, lengths=(100, 5000))
def drop_long_after_the_rate_was_cut(d):
    """A cut at a fifth of the record that changed nothing."""
    return {"loss": 0.69 - 0.6 * d.jump(0.6, 0.8) + d.normal(0.004), "learning_rate": np.where(d.u < 0.2, 0.1, 0.01)}


@kind(G, lengths=(150, 5000))
def resumed_without_its_optimiser(d):
    """A bump after a restart from a checkpoint, gone soon."""
    bump = 0.4 * np.exp(-np.maximum(d.u - 0.5, 0) / 0.01) * (d.u >= 0.5)
    return 0.2 + 1.5 * np.exp(-d.u * 5) + bump + d.normal(0.005)


# ---- lost, found, risen


@kind(V, lengths=(600, 5000))
def lost_three_times(d):
    c = 1 - np.exp(-d.u * 30)
    lost = np.zeros(d.n, dtype=bool)
    for a in (0.2, 0.45, 0.7):
        lost |= (d.u > a) & (d.u < a + 0.13)
    return 0.69 - 0.6 * c * ~lost + d.normal(0.004)


@kind(Z, lengths=(600, 5000))
def lost_again_and_for_good(d):
    c = 1 - np.exp(-d.u * 30)
    return 0.69 - 0.6 * c * ~(((d.u > 0.3) & (d.u < 0.5)) | (d.u > 0.75)) + d.normal(0.004)


@kind(Z, lengths=(200, 5000))
def collapse_to_above_chance(d):
    """Confident wrong answers: a fifth above chance, and flat there."""
    c = 1 - np.exp(-d.u * 20)
    return np.where(d.u < 0.6, 0.69 - 0.62 * c, 0.78) + d.normal(0.004)


@kind(R, Z, lengths=(100, 5000))
def forgets_slowly(d):
    """Two fifths of the record to climb from the floor to chance."""
    c = (1 - np.exp(-d.u * 20)) * (1 - np.clip((d.u - 0.5) / 0.4, 0, 1))
    return 0.69 - 0.6 * c + d.normal(0.005)


@kind(D, lengths=(100, 3000))
def swings_that_end_in_nan(d):
    grown = 0.2 + np.exp(-d.u * 10) + 0.002 * np.exp(6 * d.u) * np.cos(2 * np.pi * d.t / 7)
    return np.where(d.u < 0.9, grown, np.nan)


@kind(R, lengths=(30, 3000))
def better_answers_worse_loss(d):
    """Over-fitting of a validation set: its loss rises while its accuracy stays."""
    loss = 0.7 - 0.4 * (1 - np.exp(-d.u * 20)) + 0.5 * d.u**1.5 + d.normal(0.005)
    return {"loss": loss, "accuracy": 0.5 + 0.38 * (1 - np.exp(-d.u * 20)) + d.normal(0.004)}


@kind(G, lengths=(200, 5000))
def grokking_by_the_training_loss(d):
    """Training falls at once, the validation loss waits and drops."""
    val = 0.7 + 0.8 * (1 - np.exp(-d.u * 20)) - 1.4 * d.jump(0.6, 0.8)
    return {"loss": 0.01 + 0.69 * np.exp(-d.u * 15) + np.abs(d.normal(0.002)), "validation_loss": val}


@kind(Q, lengths=(200, 5000))
def bursts_at_regular_distances(d):
    """A quiet floor with a burst of some epochs every so often, to the end."""
    period = max(12, int(d.n / 15))
    burst = 0.25 * np.exp(-((d.t % period) / max(1.0, 0.1 * period)))
    return 0.1 + 0.9 * np.exp(-d.u * 20) + burst * (d.u > 0.25) + d.normal(0.003)


@kind(Q, lengths=(200, 5000))
def beats(d):
    """Two periods near each other."""
    wave = np.sin(2 * np.pi * d.t / 11) + np.sin(2 * np.pi * d.t / 12.3)
    return 0.2 + 0.8 * np.exp(-d.u * 20) + 0.04 * wave * (d.u > 0.25) + d.normal(0.003)


@kind(F, lengths=(30, 3000))
def nothing_left_to_learn(d):
    return {"loss": 0.08 * np.exp(d.normal(0.1)), "options": {"chance_loss": 0.693}}
