"""The n-bit flip-flop: memories that pulses set, with random trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.tasks.base import Seed, Task, Trial, generator


@dataclass(frozen=True)
class NBitFlipFlop(Task):
    """Hold the sign of the last pulse of each of n channels (Sussillo and Barak, Neural Computation
    25:626, 2013).

    Time is cut into slots as long as a pulse. Each bit has a pulse of +1 or -1, equally likely, in
    the first slot and, with probability ``pulse / interval``, in each later one; the last slot and
    what is left after it stay quiet. The target is the sign of the latest pulse. Answers count
    while no pulse is on in their own channel, so the last ones always do. An output above 0 counts
    as +1, any other as -1; it is read after each update.

    Chance is the output 0: loss 1, and right for half of the answers (on average over trials).

    Parameters
    ----------
    n_bits : int
        Input channels, and output channels.
    duration : float
        Of a trial, in ms; at least two pulses.
    pulse : float
        Length of a pulse in ms.
    interval : float
        Mean time from the start of one pulse of a bit to the next, in ms; at least ``pulse``.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    n_trials : int
        Trials in a batch.
    initial_scale, noise : float
        As in :class:`~ghostpoint.tasks.base.Task`.

    Raises
    ------
    ValueError
        For numbers out of these ranges, with the name and the value.
    """

    n_bits: int = 3
    duration: float = 500.0
    pulse: float = 10.0
    interval: float = 100.0
    dt: float = 5.0
    tau: float = 10.0
    n_trials: int = 64
    initial_scale: float = 0.0
    noise: float = 0.0

    read_out = "after"
    random = True
    levels = (-1.0, 1.0)
    thresholds = (0.0,)
    chance_loss = 1.0
    chance_accuracy = 0.5
    _periods = ("duration", "pulse", "interval")

    def __post_init__(self) -> None:
        self._check_times()
        for name in ("n_bits", "n_trials"):
            object.__setattr__(self, name, integer(name, getattr(self, name), at_least=1))
        if self.interval < self.pulse:
            raise InputError(f"interval must be at least pulse = {self.pulse:g} ms, got {self.interval:g} ms")
        if self.steps < 2 * self.pulse_steps:
            raise InputError(f"duration must be at least two pulses of {self.pulse:g} ms, got {self.duration:g} ms")

    @property
    def steps(self) -> int:
        """Steps in a trial."""
        return self._steps_in("duration")

    @property
    def pulse_steps(self) -> int:
        """Steps of a pulse."""
        return self._steps_in("pulse")

    @property
    def n_inputs(self) -> int:
        """Input channels, one per bit."""
        return self.n_bits

    @property
    def n_outputs(self) -> int:
        """Output channels, one per bit."""
        return self.n_bits

    def trial(self, seed: Seed | None = None) -> Trial:
        """Pulses drawn from the seed, and what the bits are."""
        rng = generator(seed)
        slots = self.steps // self.pulse_steps
        size = (self.n_trials, slots, self.n_bits)
        shown = rng.random(size) < self.pulse / self.interval
        shown[:, 0], shown[:, -1] = True, False
        signs = np.where(rng.random(size) < 0.5, 1.0, -1.0)
        latest = np.maximum.accumulate(np.where(shown, np.arange(slots)[:, None], 0), axis=1)
        targets = np.take_along_axis(signs, latest, axis=1)
        slot = np.minimum(np.arange(self.steps) // self.pulse_steps, slots - 1)
        return Trial(np.where(shown, signs, 0.0)[:, slot], targets[:, slot], ~shown[:, slot])
