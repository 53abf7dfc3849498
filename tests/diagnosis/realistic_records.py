"""Labelled records that look like training: a clean curve, a family of losses, noise, columns and
gaps.

A kind gives the clean curve as ``level(c) = chance - (chance - floor) c`` of the competence ``c``
(0 where the answer is constant, 1 at the floor), or the loss itself, and the verdicts that are
right by construction. All else is drawn: family (cross-entropy of 2 to 100 classes, balanced or
not; squared error), length from 12 to 100,000 on a logarithmic scale, noise, optional columns, true
chance levels, and gaps. These kinds were written from the description of what a diagnosis should
know, without the rules that judge them. :func:`realistic_record` makes one record from (kind,
seed).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.signal import lfilter

from tests.diagnosis.records import LabelledRecord

G, A, S = "gradual learning", "abrupt learning", "staircase learning"
P, C, Q = "plateau at chance", "plateau at a constant answer", "oscillation near a minimum"
Z, R, D = "no-learning zone", "rise of the loss", "divergence"
V, W, F, X = "recovered", "restart of a schedule", "converged", "cannot tell"

#: of the noise: standard deviation as a share of the feature that decides the label
NOISE = (0.0, 0.002, 0.01, 0.03, 0.06)
SHAPES = ("white", "white", "multiplicative", "heavy tails", "memory", "shrinking", "quiet start")


@dataclass
class Training:
    """What a kind may use: ``n`` epochs, ``t`` = 0 to n - 1, ``u = t / (n - 1)``, levels of the
    loss, random numbers.

    Attributes
    ----------
    family : str
        "binary", "classes", "imbalanced" or "squared".
    chance, floor : float
        Loss of the best constant answer, and the lowest loss.
    feature : float
        Size of what decides the label, in units of the loss; the noise is a share of it.
    competence : array, optional
        What the accuracy follows; None for kinds in which it is not defined by the loss.
    columns, options : dict
        What the kind itself adds to the record and to the call.
    """

    rng: np.random.Generator
    n: int
    family: str
    classes: int
    frequency: float
    chance: float
    floor: float
    feature: float
    competence: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def t(self):
        return np.arange(self.n, dtype=float)

    @property
    def u(self):
        return self.t / (self.n - 1)

    def between(self, low, high):
        return float(self.rng.uniform(low, high))

    def width(self, low, high):
        """A duration of a share of the record, at least half an epoch."""
        return max(0.5, self.between(low, high) * self.n)

    def loss(self, competence):
        self.competence = np.clip(competence, 0, 1)
        return self.chance - (self.chance - self.floor) * competence

    def constant(self):
        self.competence = np.zeros(self.n)
        return np.full(self.n, self.chance)


@dataclass
class RealisticKind:
    make: Callable
    allowed: tuple[str, ...]
    shortest: int
    noises: tuple[float, ...]
    shapes: tuple[str, ...]
    families: tuple[str, ...]
    hidden: tuple[str, ...]  # gaps that would hide what decides the label


REALISTIC: dict[str, RealisticKind] = {}
FAMILIES = ("binary", "classes", "imbalanced", "squared")


def kind(*allowed, shortest=20, noises=NOISE, shapes=SHAPES, families=FAMILIES, hidden=()):
    def keep(make):
        REALISTIC[make.__name__] = RealisticKind(make, allowed, shortest, noises, shapes, families, hidden)
        return make

    return keep


def step(x):
    """From 0 to 1 as x passes 0; 10 to 90 % take 4.4."""
    return 0.5 * (1 + np.tanh(x / 2))


def saturating(x):
    return 1 - np.exp(-np.maximum(x, 0))


def one_jump(d, low, high, narrow=0.001, wide=0.008):
    """Competence that jumps at a share of the record between low and high; the middle 80 % take 4.4
    widths.
    """
    at = d.between(low, high) * d.n
    return step((d.t - at) / max(0.2, d.between(narrow, wide) * at)), at


# ---- plateaus


@kind(P, C, shortest=12, noises=(0.0, 0.002, 0.01, 0.03))
def nothing_learned(d):
    """A constant answer from the first epoch to the last."""
    d.feature = d.chance
    return d.constant()


@kind(P, C, shortest=20, noises=(0.002, 0.01), shapes=("memory",))
def nothing_learned_smoothed(d):
    """Running averages, as progress bars show them."""
    d.feature = d.chance
    return d.constant()


@kind(P, C, shortest=20, noises=(0.0, 0.002, 0.01))
def head_start(d):
    """From a bad initialisation to a constant answer within some per cent of the record.

    The loss alone shows that only at log K of a common K: else chance or the accuracy is
    recorded."""
    d.feature = d.chance
    if d.family in ("imbalanced", "squared") or d.classes not in (2, 3, 4, 10):
        if d.rng.random() < 0.5 or d.n < 100 or (d.family != "classes" and d.frequency > 0.8):
            d.options["chance_loss"] = d.chance
        else:
            share = d.frequency if d.family != "classes" else 1 / d.classes
            d.columns["accuracy"] = d.rng.binomial(1000, share, d.n) / 1000
    return d.constant() + d.between(0.2, 4) * d.chance * np.exp(-d.t / d.width(0.005, 0.03))


@kind(P, C, shortest=40, noises=(0.0, 0.002, 0.01))
def slow_head_start(d):
    """The constant answer is found in a fifth of the record, and chance is given."""
    d.feature = d.chance
    d.options["chance_loss"] = d.chance
    return d.constant() + d.between(0.3, 2) * d.chance * np.exp(-d.u * d.between(20, 30))


@kind(P, C, shortest=40, noises=(0.0, 0.002, 0.01), families=("imbalanced", "squared"))
def constant_answer_to_targets(d):
    """The loss falls to that of the best constant answer to the targets that are given."""
    d.feature = d.chance
    ones = np.arange(1000) < round(1000 * d.frequency)
    if d.family == "squared":
        d.options["targets"] = np.where(ones, 1.0, -1.0)
        d.chance = float(4 * d.frequency * (1 - d.frequency))
        d.feature = d.chance
    else:
        d.options["targets"] = ones.astype(int)
    return d.constant() + d.between(0.5, 2) * d.chance * np.exp(-d.u * d.between(15, 60))


@kind(P, C, shortest=30, noises=(0.002, 0.01, 0.03), families=("classes",))
def constant_answer_to_classes(d):
    """The number of classes is given."""
    d.feature = d.chance
    d.options["classes"] = d.classes
    return d.constant() + d.between(0.1, 1) * d.chance * np.exp(-d.u * d.between(15, 60))


@kind(P, C, shortest=100, noises=(0.0,))
def plateau_with_spikes(d):
    """Bad batches, one epoch each."""
    y = d.constant()
    y[d.rng.integers(0, d.n, max(2, min(8, d.n // 50)))] *= d.between(1.1, 2)
    d.feature = 0.01 * d.chance
    return y + 0.003 * d.chance * d.rng.normal(size=d.n)


@kind(F, shortest=12, noises=(0.0, 0.01, 0.06), families=("binary", "classes", "squared"))
def trained_before(d):
    d.options["chance_loss"] = d.chance
    d.feature = d.floor
    return d.loss(np.ones(d.n))


# ---- gradual


@kind(G, shortest=12, noises=(0.0, 0.002, 0.01, 0.03))
def decay_from_chance(d):
    return d.loss(saturating(d.u * d.between(3, 10)))


@kind(G, shortest=20, noises=(0.0, 0.002, 0.01, 0.03))
def decay_unfinished(d):
    """The run was stopped while the loss still fell."""
    return d.loss(d.between(0.5, 0.9) * saturating(d.u * d.between(0.7, 2)))


@kind(G, shortest=40, noises=(0.0, 0.002, 0.01, 0.03))
def decay_long_done(d):
    """The loss was down after some per cent of the record."""
    return d.loss(saturating(d.t / max(3, d.between(0.02, 0.06) * d.n)))


@kind(G, shortest=20, noises=(0.0, 0.002, 0.01, 0.03))
def decay_above_chance_first(d):
    """A bad start and then one smooth fall through chance."""
    return d.loss(1 - (1 + d.between(0.2, 1.5)) * np.exp(-d.u * d.between(4, 9)))


@kind(G, shortest=20, noises=(0.0, 0.01, 0.03), shapes=("multiplicative", "shrinking"))
def power_law_decay(d):
    return d.loss(1 - (1 + d.t / max(1, 0.01 * d.n)) ** -d.between(0.3, 1))


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def stretched_decay(d):
    return d.loss(saturating((d.u * d.between(4, 20)) ** d.between(0.5, 0.9)))


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def fast_and_slow(d):
    share = d.between(0.3, 0.7)
    return d.loss(share * saturating(d.u * 40) + (1 - share) * saturating(d.u * d.between(2, 4)))


@kind(G, shortest=20, noises=(0.0, 0.01, 0.03))
def log_linear(d):
    """As much per factor of time: straight over log t."""
    return d.loss(np.log1p(d.t / 2) / np.log1p(d.n / 2) * d.between(0.6, 1))


@kind(G, shortest=20, noises=(0.0, 0.01, 0.03))
def straight_down(d):
    return d.loss(d.between(0.5, 1) * d.u)


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def wide_sigmoid(d):
    """The middle 80 % take a third of the time before them and more."""
    at = d.between(0.4, 0.6)
    return d.loss(step((d.u - at) / (at * d.between(0.1, 0.16))))


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def warm_up_then_decay(d):
    """The rate warms up over some per cent of the record, the loss waits for it."""
    warm = d.between(0.02, 0.06)
    d.columns["learning_rate"] = 1e-3 * np.minimum(1, (d.u + 1e-3) / warm)
    return d.loss(saturating((d.u - 0.5 * warm) * d.between(5, 9)))


@kind(G, shortest=40, noises=(0.0, 0.01))
def cosine_schedule(d):
    d.columns["learning_rate"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * d.u)) + 1e-6
    return d.loss(0.85 * saturating(d.u * 5) + 0.14 * d.u**2)


@kind(G, shortest=100, noises=(0.0, 0.01))
def step_schedule(d):
    """Two cuts of the rate, each with its fall; the rate is recorded."""
    first, second = d.between(0.35, 0.5), d.between(0.65, 0.8)
    d.columns["learning_rate"] = 0.1 * np.where(d.u < first, 1, np.where(d.u < second, 0.1, 0.01))
    fall = saturating((d.u - first) * 60) * 0.22 + saturating((d.u - second) * 60) * 0.06
    return d.loss(0.7 * saturating(d.u * 15) + fall)


@kind(G, shortest=100, noises=(0.0, 0.01, 0.03))
def recovered_spikes(d):
    """Instabilities of a few epochs on the way down."""
    c = saturating(d.u * d.between(4, 8))
    for at in d.rng.uniform(0.2, 0.85, 3) * d.n:
        c = c * (1 - 0.7 * (d.t >= at) * np.exp(-np.maximum(d.t - at, 0) / 2.0))
    return d.loss(c)


@kind(G, shortest=40, noises=(0.06, 0.12), shapes=("white", "multiplicative", "heavy tails"))
def small_batches(d):
    return d.loss(saturating(d.u * d.between(4, 8)))


@kind(G, shortest=40, noises=(0.0, 0.01))
def validation_beside(d):
    """The validation loss falls as well, higher and noisier."""
    y = d.loss(saturating(d.u * d.between(4, 8)))
    d.columns["validation_loss"] = y + 0.08 * d.feature + 0.02 * d.feature * d.rng.normal(size=d.n)
    return y


@kind(G, shortest=40, noises=(0.0, 0.01), families=("classes", "squared"))
def fine_tuning(d):
    """Good at the beginning, better at the end; chance is known."""
    d.options["chance_loss"] = d.chance
    y = d.loss(1 - 0.35 * np.exp(-d.u * d.between(4, 8)))
    d.feature = 0.35 * (d.chance - d.floor)
    return y


@kind(G, shortest=20, noises=(0.0, 0.01, 0.03), families=("squared",))
def likelihood_below_zero(d):
    """A negative log density: no bound from below."""
    d.competence = None
    d.feature = 5 * d.chance
    return d.chance * (2 - 5 * saturating(d.u * d.between(3, 8)))


@kind(G, shortest=40, noises=(0.0,))
def many_decades(d):
    """A loss that falls by the same factor each epoch, down to rounding."""
    d.competence = saturating(d.u * 25)
    d.feature = d.chance
    return d.chance * 10 ** (-d.u * d.between(4, 10)) * np.exp(0.05 * d.rng.normal(size=d.n))


@kind(G, shortest=40, noises=(0.0, 0.01, 0.03))
def partial_then_flat(d):
    """Half is learned, smoothly, and nothing after that."""
    return d.loss(d.between(0.3, 0.6) * saturating(d.u * d.between(8, 20)))


@kind(G, shortest=300, noises=(0.0, 0.002))
def swings_that_settle(d):
    """An oscillation in the middle of the record that is over before its last third."""
    begin, end = d.between(0.25, 0.35), d.between(0.5, 0.6)
    period = d.between(6, min(60, d.n / 20))
    swing = 0.12 * np.sin(2 * np.pi * d.t / period) * ((d.u > begin) & (d.u < end))
    return d.loss(0.85 * saturating(d.u * d.between(8, 15)) + swing)


# ---- abrupt and staircase


@kind(A, shortest=20)
def plateau_and_jump(d):
    return d.loss(one_jump(d, 0.4, 0.8)[0])


@kind(A, shortest=100)
def jump_near_the_end(d):
    return d.loss(one_jump(d, 0.9, 0.96, wide=0.004)[0])


@kind(A, shortest=100)
def jump_near_the_start(d):
    return d.loss(one_jump(d, 0.1, 0.2)[0])


@kind(A, shortest=40, noises=(0.0, 0.002, 0.01, 0.03))
def ghost_escape(d):
    """Time past a saddle-node ghost: the latent follows a tangent, the loss waits and then
    falls.
    """
    wait = d.between(0.5, 0.8) * d.n
    phase = np.pi * (np.minimum(d.t / wait, 1) - 0.5)
    latent = np.where(d.t < wait, np.tan(np.minimum(phase, 1.5707)), 1e9)
    return d.loss(step((latent - d.between(6, 12)) / 1.5))


@kind(A, shortest=40, noises=(0.0, 0.01, 0.03))
def jump_to_a_higher_plateau(d):
    """Half of the task is learned at once; the rest never."""
    return d.loss(d.between(0.4, 0.7) * one_jump(d, 0.3, 0.6)[0])


@kind(A, shortest=40, noises=(0.0, 0.01, 0.03))
def jump_then_tuning(d):
    jump, at = one_jump(d, 0.3, 0.6)
    share = d.between(0.7, 0.85)
    return d.loss(share * jump + (1 - share) * saturating((d.t - at) / (0.2 * d.n)))


@kind(A, shortest=100, noises=(0.0, 0.002, 0.01))
def bad_start_plateau_jump(d):
    y = d.loss(one_jump(d, 0.4, 0.8)[0])
    return y + d.between(0.5, 5) * d.chance * np.exp(-d.t / d.width(0.004, 0.015))


@kind(A, shortest=100, noises=(0.0, 0.01, 0.02))
def small_gain_plateau_jump(d):
    """A fifth is learned early, the rest in one drop after a long plateau."""
    early = d.between(0.1, 0.2)
    return d.loss(early * saturating(d.u * 40) + (1 - early) * one_jump(d, 0.5, 0.8, wide=0.005)[0])


@kind(A, shortest=100, noises=(0.0, 0.01, 0.03))
def memorised_then_generalised(d):
    """Validation loss of grokking: rises at first, waits, falls."""
    d.competence = None
    jump, _ = one_jump(d, 0.5, 0.8)
    rise = 0.3 * saturating(d.u * 30)
    d.feature = d.chance
    return d.chance * ((1 + rise) * (1 - jump) + 0.05 * jump)


@kind(A, shortest=100, noises=(0.0,), families=("squared",))
def jump_of_decades(d):
    """A gradual fall to a per cent of chance, a plateau there, and a drop by two decades or
    more.
    """
    jump, _ = one_jump(d, 0.5, 0.8, wide=0.003)
    low = 0.01 * (1 + 99 * np.exp(-d.u * 40))
    d.competence = None
    return d.chance * low * 10 ** (-d.between(2.2, 4) * jump) * np.exp(0.05 * d.rng.normal(size=d.n))


@kind(A, shortest=100, noises=(0.0, 0.01), families=("binary", "classes"))
def jump_with_a_schedule(d):
    """The rate falls smoothly and has nothing to do with the drop."""
    d.columns["learning_rate"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * d.u)) + 1e-6
    return d.loss(one_jump(d, 0.4, 0.7)[0])


def stairs(d, count, scale=0.003):
    """Competence that rises in so many jumps of different heights at random distances."""
    height = d.rng.uniform(0.7, 1.3, count)
    gap = d.rng.uniform(0.7, 1.3, count + 1)
    at = np.cumsum(gap)[:-1] / gap.sum() * d.n
    height = height / height.sum()
    return sum(h * step((d.t - a) / max(0.2, scale * d.n / count)) for h, a in zip(height, at, strict=True))


@kind(S, shortest=100, noises=(0.0, 0.002, 0.01))
def two_to_five_stairs(d):
    return d.loss(stairs(d, int(d.rng.integers(2, 6))))


@kind(S, shortest=300, noises=(0.0,), families=("squared",))
def stairs_of_decades(d):
    """Equal drops on a logarithmic scale."""
    d.competence = None
    count = int(d.rng.integers(2, 5))
    return d.chance * 10 ** (-0.8 * count * stairs(d, count)) * np.exp(0.03 * d.rng.normal(size=d.n))


@kind(S, shortest=100, noises=(0.0, 0.002, 0.01), families=("binary", "classes"))
def stairs_after_a_bad_start(d):
    y = d.loss(stairs(d, int(d.rng.integers(2, 4))))
    return y + d.between(0.5, 2) * d.chance * np.exp(-d.t / d.width(0.004, 0.01))


# ---- oscillation


def swinging(d, swing, begin, size):
    """Learned smoothly, then swings around a level near the floor."""
    d.feature = 2 * size * (d.chance - d.floor)
    grown = saturating((d.u - begin) * 40) * (d.u > begin)
    return d.loss(1.0 - size - np.exp(-d.u * d.between(12, 20)) * (1 - size) - size * swing * grown)


@kind(Q, shortest=60, noises=(0.0, 0.01, 0.03, 0.06), hidden=("geometric", "thinned", "held"))
def short_period(d):
    period = d.between(2, 6)
    swing = np.sin(2 * np.pi * d.t / period + 0.7)
    return swinging(d, swing, d.between(0.3, 0.5), d.between(0.05, 0.2))


@kind(Q, shortest=40, noises=(0.0, 0.01, 0.03, 0.06), hidden=("geometric", "thinned", "held"))
def every_second_epoch(d):
    """Over and under the minimum by turns, as at too high a rate."""
    return swinging(d, (-1.0) ** d.t, d.between(0.3, 0.6), d.between(0.05, 0.2))


@kind(Q, shortest=100, noises=(0.0, 0.01, 0.03, 0.06), hidden=("geometric",))
def middle_period(d):
    period = d.between(0.02, 0.1) * d.n
    swing = np.sin(2 * np.pi * d.t / max(period, 4))
    return swinging(d, swing, d.between(0.25, 0.4), d.between(0.05, 0.2))


@kind(Q, shortest=100, noises=(0.0, 0.01, 0.03), hidden=("geometric",))
def long_period(d):
    """Three to five swings in what is left of the record."""
    begin = d.between(0.15, 0.25)
    swing = np.sin(2 * np.pi * (d.u - begin) / (1 - begin) * d.between(3.2, 5))
    return swinging(d, swing, begin, d.between(0.08, 0.2))


@kind(Q, shortest=100, noises=(0.0, 0.01, 0.03), hidden=("geometric",))
def relaxation_swings(d):
    """Slow on one side and fast on the other."""
    period = d.between(10, max(12, 0.08 * d.n))
    x = np.sin(2 * np.pi * d.t / period)
    return swinging(d, np.tanh(4 * (x - 0.5)), d.between(0.3, 0.5), d.between(0.08, 0.2))


@kind(Q, shortest=200, noises=(0.0, 0.005), hidden=("geometric",))
def growing_swings(d):
    """From nothing to its largest at the end."""
    period = d.between(4, min(50, d.n / 30))
    begin = d.between(0.3, 0.5)
    grow = np.exp(3 * (d.u - 1)) * (d.u > begin)
    return swinging(d, np.sin(2 * np.pi * d.t / period) * grow, begin, d.between(0.1, 0.2))


@kind(Q, shortest=200, noises=(0.0, 0.01), hidden=("geometric",))
def shrinking_swings(d):
    """Down to a third of its first size, and still there."""
    period = d.between(4, min(50, d.n / 30))
    begin = d.between(0.2, 0.4)
    left = np.exp(-1.1 * (d.u - begin) / (1 - begin))
    return swinging(d, np.sin(2 * np.pi * d.t / period) * left, begin, d.between(0.1, 0.2))


@kind(Q, shortest=300, noises=(0.0, 0.01), hidden=("geometric",))
def wandering_period(d):
    """The period changes by a third on the way."""
    period = d.between(6, 40)
    phase = np.cumsum(2 * np.pi / (period * (1 + 0.3 * np.sin(2 * np.pi * d.u * 1.5))))
    return swinging(d, np.sin(phase), d.between(0.3, 0.5), d.between(0.08, 0.2))


@kind(Q, shortest=300, noises=(0.0,), families=("squared",), hidden=("geometric",))
def swings_of_a_decade(d):
    """On a logarithmic scale, far below chance."""
    period = d.between(6, 60)
    d.competence = saturating(d.u * 20)
    level = 10 ** (-2 + 0.5 * np.sin(2 * np.pi * d.t / period) * (d.u > 0.35))
    return d.chance * (np.exp(-d.u * 30) + level)


@kind(Q, shortest=1000, noises=(0.0,), hidden=("geometric",))
def swings_in_noise(d):
    """Noise as large as the swing, over many periods."""
    period = d.between(8, 50)
    y = swinging(d, np.sin(2 * np.pi * d.t / period), 0.3, 0.1)
    return y + 0.05 * (d.chance - d.floor) * d.rng.normal(size=d.n)


@kind(Q, shortest=100, noises=(0.0, 0.01), hidden=("geometric",))
def jump_then_swings(d):
    """An abrupt drop, and an oscillation from there to the end."""
    jump, at = one_jump(d, 0.3, 0.5)
    period = d.between(3, max(4, min(60, d.n / 15)))
    size = d.between(0.06, 0.15)
    d.feature = 2 * size * (d.chance - d.floor)
    return d.loss(jump * (1 - size - size * np.sin(2 * np.pi * d.t / period) * (d.t > at * 1.1)))


# ---- loss of what was learned, rises, divergence, restarts


@kind(Z, shortest=40, noises=(0.0, 0.002, 0.01, 0.03))
def sudden_collapse(d):
    c = one_jump(d, 0.2, 0.4)[0]
    return d.loss(c * (d.u < d.between(0.55, 0.8)))


@kind(Z, shortest=100, noises=(0.0, 0.002, 0.01, 0.03))
def collapse_after_gradual_learning(d):
    c = saturating(d.u * d.between(8, 14))
    return d.loss(c * (d.u < d.between(0.5, 0.8)))


@kind(Z, shortest=400, noises=(0.0, 0.002, 0.01, 0.03), hidden=("geometric",))
def collapse_just_before_the_end(d):
    c = saturating(d.u * d.between(8, 14))
    return d.loss(c * (d.t < d.n - max(55, d.between(0.03, 0.06) * d.n)))


@kind(Z, shortest=100, noises=(0.0, 0.01))
def slow_collapse(d):
    """Forgotten over a tenth of the record, and at chance from there."""
    c = saturating(d.u * d.between(10, 16))
    return d.loss(c * (1 - step((d.u - 0.6) / 0.015)))


@kind(Z, shortest=300, noises=(0.0, 0.01))
def learned_for_a_moment(d):
    """A tenth of the record learned, the rest at chance."""
    at = d.between(0.2, 0.4)
    return d.loss(0.9 * ((d.u > at) & (d.u < at + 0.1)))


@kind(V, shortest=300, noises=(0.0, 0.01, 0.03))
def lost_and_found(d):
    c = one_jump(d, 0.15, 0.25)[0]
    begin, end = d.between(0.35, 0.45), d.between(0.65, 0.8)
    return d.loss(c * ((d.u < begin) | (d.u > end)))


@kind(V, shortest=400, noises=(0.0, 0.01))
def lost_and_found_twice(d):
    c = saturating(d.u * 20)
    lost = ((d.u > 0.3) & (d.u < 0.5)) | ((d.u > 0.62) & (d.u < 0.8))
    return d.loss(c * ~lost)


@kind(R, shortest=20, noises=(0.0, 0.01, 0.03))
def validation_u(d):
    """Only the validation loss is recorded: down, and up again by more than half of it."""
    d.competence = None
    y = saturating(d.u * d.between(10, 20)) * 0.6 - d.between(0.4, 0.9) * d.u**1.3
    d.feature = 0.4 * d.chance
    return d.chance * (1 - y)


@kind(R, shortest=20, noises=(0.0, 0.01))
def over_fitting_seen(d):
    y = d.loss(saturating(d.u * d.between(4, 8)))
    up = 1 - 0.6 * saturating(d.u * d.between(10, 20)) + d.between(0.4, 0.9) * d.u**1.3
    d.columns["validation_loss"] = d.chance * (up + 0.02 * d.rng.normal(size=d.n))
    return y


@kind(R, shortest=40, noises=(0.0, 0.01, 0.02))
def drifts_up_after_learning(d):
    c = saturating(d.u * d.between(10, 20)) - d.between(0.35, 0.6) * np.maximum(d.u - 0.3, 0) / 0.7
    y = d.loss(c)
    d.competence = None
    return y


@kind(R, shortest=40, noises=(0.0, 0.01, 0.03))
def worse_data(d):
    """A step up to a level between floor and chance."""
    y = d.loss(saturating(d.u * d.between(10, 20)) * np.where(d.u < 0.65, 1, d.between(0.4, 0.6)))
    d.options["chance_loss"] = d.chance
    return y


@kind(R, shortest=12, noises=(0.0, 0.01, 0.03))
def wrong_sign(d):
    """The loss rises from the first epoch."""
    d.competence = None
    d.feature = 0.5 * d.chance
    return d.chance * (1 + d.between(0.5, 1.2) * d.u)


@kind(D, shortest=40, noises=(0.0, 0.01))
def blow_up(d):
    """Grows by a factor each epoch, to a thousand times the first loss."""
    y = d.loss(saturating(d.u * d.between(5, 10)))
    d.competence = None
    grow = np.maximum(d.u - d.between(0.7, 0.85), 0)
    return y * np.exp(grow / grow[-1] * np.log(1000 * d.chance / d.floor))


@kind(D, shortest=20, noises=(0.0, 0.01))
def not_a_number(d):
    y = d.loss(saturating(d.u * d.between(3, 8)))
    y[int(d.between(0.5, 0.9) * d.n) :] = np.nan
    d.competence = None
    return y


@kind(D, shortest=40, noises=(0.0, 0.01))
def grows_to_infinity(d):
    y = d.loss(saturating(d.u * d.between(5, 10)))
    d.competence = None
    at = int(0.8 * d.n)
    y[at:] = d.chance * 1e3 * 10 ** np.minimum(np.arange(d.n - at) / 2, 300)
    y[min(at + 6, d.n - 3) :] = np.inf
    return y


@kind(D, R, shortest=40, noises=(0.0, 0.01, 0.03))
def thrown_far_away(d):
    """One bad step to a hundred times chance, and no way back."""
    y = d.loss(saturating(d.u * d.between(5, 10)))
    d.competence = None
    return np.where(d.u < 0.7, y, d.chance * d.between(80, 200))


@kind(W, shortest=100, noises=(0.0, 0.01))
def warm_restarts(d):
    """Cosine cycles, each twice as long as the one before; the rate is recorded."""
    edges = np.array([0, 1, 3, 7]) / 7
    which = np.clip(np.searchsorted(edges, d.u, side="right") - 1, 0, 2)
    phase = (d.u - edges[which]) / (edges[which + 1] - edges[which])
    d.columns["learning_rate"] = 0.05 * (1 + np.cos(np.pi * np.clip(phase, 0, 1))) + 1e-5
    best = np.array([0.5, 0.75, 0.95])[which]
    again = np.array([0.0, 0.35, 0.55])[which]
    return d.loss(again + (best - again) * saturating(phase * 6))


@kind(X, shortest=1, noises=(0.0, 0.01))
def too_short(d):
    d.competence = None
    d.n = int(d.rng.integers(1, 5))
    return d.chance * (1 - 0.03 * d.t)


# ---- noise, columns and gaps


def noisy(loss, d, level, shape):
    """The clean loss with noise of standard deviation ``level`` times the feature."""
    n, rng = len(loss), d.rng
    z = rng.normal(size=n)
    scale = level * d.feature
    if shape == "multiplicative":
        return loss * np.exp(min(scale / np.nanmedian(np.abs(loss)), 0.3) * z) if np.isfinite(loss).all() else loss
    if shape == "heavy tails":
        z = rng.standard_t(3, size=n) / np.sqrt(3)
    elif shape == "memory":
        rho = d.between(0.5, 0.9)
        z = lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.normal(size=n + 100))[100:]
    elif shape == "shrinking":
        z = z * (1.5 - 1.2 * np.arange(n) / n)
    elif shape == "quiet start":
        z = z * (0.3 + np.arange(n) / n)
    return loss + scale * z


def accuracy_of(d):
    """Share of right answers of a test set, from chance to nearly all as the competence goes from 0
    to 1.
    """
    low = {"binary": 0.5, "classes": 1 / d.classes, "imbalanced": d.frequency, "squared": 0.5}[d.family]
    share = low + (1 - low) * d.between(0.85, 1.0) * np.nan_to_num(d.competence)
    size = int(d.rng.choice([100, 1000, 10_000]))
    return d.rng.binomial(size, np.clip(share, 0, 1)) / size


COLUMNS = (
    "none", "none", "accuracy", "sparse accuracy", "percent", "accuracy from zero", "constant accuracy", "gradient",
    "noisy gradient", "constant rate", "chance loss", "chance levels", "chance levels and accuracy",
)  # fmt: skip
GAPS = ("none", "none", "none", "missing", "block", "thinned", "few digits", "held", "geometric", "far start")


def realistic_record(name: str, seed: int, column: str | None = None, gap: str | None = None) -> LabelledRecord:
    """The record of a kind and a seed: the same call gives the same record.

    ``column`` and ``gap``, of COLUMNS and GAPS, replace those that are drawn; the loss stays the
    same."""
    made = REALISTIC[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    longest = 100_000 if rng.random() < 0.15 else 10_000
    n = int(np.rint(np.exp(rng.uniform(np.log(made.shortest), np.log(longest)))))
    family = str(rng.choice(made.families))
    classes = int(rng.choice([3, 4, 5, 8, 10, 20, 100])) if family == "classes" else 2
    p = float(rng.choice([0.6, 0.7, 0.8, 0.9, 0.95]))
    chance = {
        "binary": np.log(2),
        "classes": np.log(classes),
        "imbalanced": -p * np.log(p) - (1 - p) * np.log(1 - p),
        "squared": float(10 ** rng.uniform(-2, 1)),
    }[family]
    floor = float(rng.uniform(0.01, 0.3)) * chance
    d = Training(rng, n, family, classes, p, float(chance), floor, float(chance) - floor)
    clean = np.asarray(made.make(d), dtype=float)
    level = float(rng.choice(made.noises))
    shape = str(rng.choice(made.shapes)) if d.n >= 100 or made.shapes == ("memory",) else "white"
    loss = noisy(clean, d, level, shape)
    if clean[np.isfinite(clean)].min() > 0:
        loss = np.where(loss > 0, loss, 0.5 * np.abs(clean))  # a loss of this family is not negative
    columns, gaps = str(rng.choice(COLUMNS)), str(rng.choice(GAPS)) if d.n >= 200 else "none"
    columns, gaps = column or columns, gap or gaps
    gaps = "none" if gaps in made.hidden else gaps
    history = {"loss": loss} | d.columns
    add_columns(history, d.options, columns, d)
    history = with_gaps(history, gaps, rng)
    setting = f"n={d.n} {family} {classes} noise={level} {shape}, {columns}, {gaps}"
    return LabelledRecord(name, seed, made.allowed, history, d.options, setting)


def add_columns(history, options, columns, d):
    """Put one drawn column into ``history``, or true chance levels into ``options``."""
    n = d.n
    known = options or d.family == "squared"
    if "chance" in columns and not known:
        options["chance_loss"] = d.chance
        if "levels" in columns:
            options["chance_accuracy"] = {"binary": 0.5, "imbalanced": d.frequency}.get(d.family, 1 / d.classes)
    if "accuracy" in history:
        return
    if "accuracy" in columns and d.competence is not None:
        values = accuracy_of(d)
        if columns == "sparse accuracy":
            values[np.arange(n) % int(d.rng.choice([2, 5, 10])) != 0] = np.nan
        elif columns == "accuracy from zero":
            values[: max(1, n // 30)] = 0
        elif columns == "constant accuracy":
            values = np.full(n, values[0])
        history["accuracy"] = values
    elif columns == "percent" and d.competence is not None:
        history["accuracy"] = 100 * accuracy_of(d)
    elif columns == "gradient":
        slope = np.abs(np.gradient(np.nan_to_num(history["loss"], posinf=0))) if n > 1 else np.ones(n)
        history["gradient_norm"] = np.sqrt(slope + 1e-12) * np.exp(0.3 * d.rng.normal(size=n))
    elif columns == "noisy gradient":
        history["gradient_norm"] = np.exp(0.7 * d.rng.normal(size=n))
    elif columns == "constant rate" and "learning_rate" not in history:
        history["learning_rate"] = np.full(n, 10.0 ** d.rng.integers(-5, 0))


def with_gaps(history, gaps, rng):
    """The record as tools keep it: epochs left out, rounded, or held between evaluations."""
    n = len(history["loss"])
    epoch = np.arange(n)
    history = {key: values.copy() for key, values in history.items()}
    if gaps == "missing":
        history["loss"][rng.choice(np.arange(1, n - 1), n // 10, replace=False)] = np.nan
    elif gaps == "block":
        begin = int(rng.uniform(0.1, 0.6) * n)
        keep = (epoch < begin) | (epoch >= begin + n // 20)
        epoch, history = epoch[keep], {key: values[keep] for key, values in history.items()}
    elif gaps == "thinned" and n >= 1000:
        epoch = epoch[:: int(rng.integers(2, 4))]
        history = {key: values[epoch] for key, values in history.items()}
    elif gaps == "few digits":
        history["loss"] = np.array([float(f"{value:.4g}") for value in history["loss"]])
    elif gaps == "held" and n >= 1000:
        history = {key: np.repeat(values[::4], 4)[:n] for key, values in history.items()}
    elif gaps == "geometric" and n >= 3000:
        kept = np.unique(np.geomspace(1, n, 600).astype(int)) - 1
        epoch, history = kept, {key: values[kept] for key, values in history.items()}
    elif gaps == "far start":
        epoch = 50 * (epoch + 1)
    return history | {"epoch": epoch}
