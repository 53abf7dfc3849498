"""Loss curves whose phase is plain to see, made from formulas and noise and not from networks."""

from __future__ import annotations

import numpy as np


def noise(seed, points, kind, level):
    z = np.random.default_rng(seed).normal(size=points)
    if kind == "heavy":
        z = np.random.default_rng(seed).standard_t(3, size=points)
    return level * z


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


def exponential(seed, n=2000):
    t = np.arange(n)
    return 2.3 * np.exp(-t / 300) + 0.2 + noise(seed, n, "normal", 0.02)


def power_law(seed, n=3000):
    return (1 + np.arange(n)) ** -0.4 * (1 + noise(seed, n, "normal", 0.03))


def step_decay(seed, n=3000):
    """A schedule that cuts the rate at two thirds: decay, floor, a second smaller fall."""
    t = np.arange(n)
    level = 2.0 * np.exp(-t / 150) + 0.6 - 0.25 * (1 - np.exp(-np.maximum(t - 2000, 0) / 30))
    return level * (1 + noise(seed, n, "normal", 0.03))


def noisy_plateau(seed, n=1500):
    return 0.693 + noise(seed, n, "normal", 0.04)


def noisy_jump(seed, n=2000):
    t = np.arange(n)
    level = 1 - 0.9 * sigmoid((t - 1400) / 15)
    return level + noise(seed, n, "normal", 0.03)


def double_drop(seed, n=4000):
    """Two plateaus and two jumps, as in grokking."""
    t = np.arange(n)
    level = 2 - 1.0 * sigmoid((t - 1000) / 12) - 0.9 * sigmoid((t - 3000) / 12)
    return level + noise(seed, n, "normal", 0.02)


def spikes(seed, n=2000):
    """Exponential decay with spikes of a few epochs that recover."""
    t = np.arange(n)
    curve = 2.0 * np.exp(-t / 300) + 0.1
    for at in (700, 1200, 1650):
        curve += 1.2 * np.exp(-np.abs(t - at) / 2.0)
    return curve * (1 + noise(seed, n, "normal", 0.02))


def collapse(seed, n=2000):
    t = np.arange(n)
    level = np.where(t < 1500, 1 - 0.9 * sigmoid((t - 700) / 10), 1.0)
    return level + noise(seed, n, "normal", 0.01)


def comes_back(seed, n=2000):
    """Jump, collapse for 400 epochs, jump again."""
    t = np.arange(n)
    level = 1 - 0.9 * sigmoid((t - 500) / 10)
    level = np.where((t >= 900) & (t < 1300), 1.0, level)
    return level + noise(seed, n, "normal", 0.01)


def overfitting(seed, n=2000):
    """A validation loss: falls, and rises slowly beyond where it started."""
    t = np.arange(n)
    return 0.7 * np.exp(-t / 100) + 0.4 + 0.9 * (t / n) ** 1.5 + noise(seed, n, "normal", 0.01)


def blow_up(seed, n=600):
    t = np.arange(n)
    return np.exp(-t / 100) + 0.05 * np.exp(np.maximum(t - 400, 0) / 15) + 0.01 * np.abs(noise(seed, n, "normal", 1))


def swings(seed, n=1500):
    """A jump from a quiet plateau and then a swing of period two."""
    t = np.arange(n)
    level = 1 - 0.9 * sigmoid((t - 700) / 10)
    return level + np.where(t > 760, 0.03 * (-1.0) ** t, 0.0) + noise(seed, n, "normal", 0.001)


def slow_swings(seed, n=1500):
    """A jump and then a swing of period nine."""
    t = np.arange(n)
    level = 1 - 0.85 * sigmoid((t - 600) / 10)
    return level + np.where(t > 660, 0.05 * np.sin(2 * np.pi * t / 9), 0.0) + noise(seed, n, "normal", 0.001)


def mini_batches(seed, n=3000):
    """Gradual learning under noise that is as large as the loss is."""
    t = np.arange(n)
    return (1.5 * np.exp(-t / 400) + 0.15) * np.exp(noise(seed, n, "normal", 0.15))


def heavy_tails(seed, n=3000):
    t = np.arange(n)
    return 1.5 * np.exp(-t / 400) + 0.3 + np.abs(noise(seed, n, "heavy", 0.05))


def tiny_fall(seed, n=1000):
    """Five per cent in all: too little to be called learning, too much to be called none."""
    return 1 - 0.05 * np.arange(n) / n + noise(seed, n, "normal", 1e-4)


def short(seed, n=12):
    return np.exp(-np.arange(n) / 3.0)


#: curve: what it may be called. The first is the plain answer; "cannot tell" is allowed where one
#: may differ
EXPECTED = {
    exponential: {"gradual learning"},
    power_law: {"gradual learning"},
    step_decay: {"gradual learning"},
    noisy_plateau: {"plateau at chance"},
    noisy_jump: {"abrupt learning"},
    double_drop: {"staircase learning"},
    spikes: {"gradual learning"},
    collapse: {"no-learning zone"},
    comes_back: {"recovered"},
    overfitting: {"rise of the loss"},
    blow_up: {"divergence"},
    swings: {"oscillation near a minimum"},
    slow_swings: {"oscillation near a minimum"},
    mini_batches: {"gradual learning"},
    heavy_tails: {"gradual learning"},
    tiny_fall: {"cannot tell"},
    short: {"gradual learning"},
}
