"""A random stream, a delay, and a report on the whole of the stream: the adding problem and
integrated evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import finite_array, integer, number, shape
from ghostpoint.errors import InputError
from ghostpoint.tasks.base import Seed, Task, Trial, generator


@dataclass(frozen=True)
class DelayedAddition(Task):
    """Add the two marked numbers of a stream, and say the sum after a delay: the adding problem,
    with a delay.

    Channel 0 shows ``items`` numbers uniform on [0, 1), each for ``item`` ms; channel 1 is 1 during
    one number of the first half (the shorter one) and one of the second, else 0. Both are 0 in the
    ``delay`` and the ``response``. The target in the response is the sum of the two marked numbers,
    and only the response counts. The problem is that of Hochreiter and Schmidhuber (Neural
    Computation 9:1735, 1997, experiment 4), who call an error below 0.04 right; the numbers on [0,
    1) and a mark in each half are as in Arjovsky, Shah and Bengio (ICML 2016, sec. 4.2). Numbers
    that last for ``item`` ms and the delay are our additions. The output is read after each update.

    Chance is the best constant, 1: expected loss 1/6, the variance of the sum, and accuracy
    ``1 - max(0, 1 - tolerance)**2``, the part of its triangular density within the tolerance.

    Parameters
    ----------
    items : int
        Numbers in the stream, at least 2.
    item, delay, response : float
        Periods in ms.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    n_trials : int
        Trials in a batch.
    tolerance : float
        An answer less than this far from the sum is right.
    initial_scale, noise : float
        As in :class:`~ghostpoint.tasks.base.Task`.

    Raises
    ------
    ValueError
        For numbers out of these ranges, with the name and the value.
    """

    items: int = 10
    item: float = 20.0
    delay: float = 100.0
    response: float = 50.0
    dt: float = 5.0
    tau: float = 10.0
    n_trials: int = 64
    tolerance: float = 0.04
    initial_scale: float = 0.0
    noise: float = 0.0

    read_out = "after"
    random = True
    levels = ()
    thresholds = ()
    inclusive = ()
    n_inputs = 2
    n_outputs = 1
    chance_loss = 1 / 6
    _periods = ("item", "delay", "response")

    def __post_init__(self) -> None:
        self._check_times()
        object.__setattr__(self, "items", integer("items", self.items, at_least=2))
        object.__setattr__(self, "n_trials", integer("n_trials", self.n_trials, at_least=1))
        object.__setattr__(self, "tolerance", number("tolerance", self.tolerance, above=0))

    @property
    def steps(self) -> int:
        """Steps in a trial."""
        return self.items * self._steps_in("item") + self._steps_in("delay") + self._steps_in("response")

    @property
    def chance_accuracy(self) -> float:
        """Expected accuracy of the answer 1."""
        return 1.0 - max(0.0, 1.0 - self.tolerance) ** 2

    def trial(self, seed: Seed | None = None) -> Trial:
        """Numbers and marks drawn from the seed, and the sums."""
        rng = generator(seed)
        rows, half = np.arange(self.n_trials), self.items // 2
        numbers = rng.random((self.n_trials, self.items))
        marks = np.zeros(numbers.shape)
        marks[rows, rng.integers(0, half, self.n_trials)] = 1.0
        marks[rows, rng.integers(half, self.items, self.n_trials)] = 1.0
        inputs = np.zeros((self.n_trials, self.steps, 2))
        stream = np.repeat(np.stack([numbers, marks], axis=-1), self._steps_in("item"), axis=1)
        inputs[:, : stream.shape[1]] = stream
        sums = (numbers * marks).sum(axis=1)
        return Trial(inputs, *_response(sums, self.steps, self._steps_in("response"), only=True))


@dataclass(frozen=True)
class EvidenceIntegration(Task):
    """Report, after a delay, on which side of 0 noisy evidence was on the whole.

    A fixed-duration form of the random-dot task with delayed response (Shadlen and Newsome, J.
    Neurophysiol. 86:1916, 2001; as a network: Wong and Wang, J. Neurosci. 26:1314, 2006). In each
    step of the ``stimulus`` the one input is ``side strength + spread sqrt(tau / dt) z``: side +1
    or -1 and strength one of ``strengths``, equally likely, for the trial; z standard normal for
    the step. The average over a time ``tau`` so has standard deviation ``spread``, whatever dt.
    Then the input is 0 in the ``delay`` and the ``response``. The target in the response is the
    sign of the *sum* of the evidence shown (+1 for a sum of exactly 0), which a perfect integrator
    always knows, while the side itself no observer can; before it, 0. Every answer counts, and is
    read after each update. An output up to -0.33 counts as -1, from 0.33 as +1, and as 0 between.

    Chance is the output 0 throughout: loss ``response_steps / steps``, accuracy one minus that.

    Parameters
    ----------
    stimulus, delay, response : float
        Periods in ms.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    strengths : array of float
        Not negative.
    spread : float
        Of the evidence; not negative, and positive if a strength is 0.
    n_trials : int
        Trials in a batch.
    initial_scale, noise : float
        As in :class:`~ghostpoint.tasks.base.Task`; this noise is in the network, not in the
        evidence.

    Raises
    ------
    ValueError
        For numbers out of these ranges, with the name and the value.
    """

    stimulus: float = 200.0
    delay: float = 100.0
    response: float = 50.0
    dt: float = 5.0
    tau: float = 10.0
    strengths: tuple[float, ...] = (0.05, 0.1, 0.2)
    spread: float = 0.5
    n_trials: int = 64
    initial_scale: float = 0.0
    noise: float = 0.0

    read_out = "after"
    random = True
    levels = (-1.0, 0.0, 1.0)
    thresholds = (-0.33, 0.33)
    inclusive = (False, True)
    n_inputs = 1
    n_outputs = 1
    _periods = ("stimulus", "delay", "response")

    def __post_init__(self) -> None:
        self._check_times()
        strengths = shape("strengths", finite_array("strengths", self.strengths), ("any",))
        if not strengths.size or (strengths < 0).any():
            raise InputError(f"strengths must be one or more numbers of at least 0, got {self.strengths!r}")
        object.__setattr__(self, "strengths", tuple(strengths.tolist()))
        object.__setattr__(self, "spread", number("spread", self.spread, at_least=0))
        object.__setattr__(self, "n_trials", integer("n_trials", self.n_trials, at_least=1))
        if not self.spread and 0 in self.strengths:
            raise InputError(f"spread must be above 0 where a strength is 0, got {self.spread:g}")

    @property
    def steps(self) -> int:
        """Steps in a trial."""
        return sum(self._steps_in(period) for period in self._periods)

    @property
    def chance_loss(self) -> float:
        """Loss of the output 0 at every step: the share of the response in the trial."""
        return self._steps_in("response") / self.steps

    @property
    def chance_accuracy(self) -> float:
        """Accuracy of the output 0 at every step: the share of the steps before the response."""
        return (self.steps - self._steps_in("response")) / self.steps

    def trial(self, seed: Seed | None = None) -> Trial:
        """Sides, strengths and noise of the evidence drawn from the seed, and the signs of its
        sums.
        """
        rng = generator(seed)
        shown = self._steps_in("stimulus")
        side = np.where(rng.random(self.n_trials) < 0.5, 1.0, -1.0)
        drift = side * np.array(self.strengths)[rng.integers(0, len(self.strengths), self.n_trials)]
        inputs = np.zeros((self.n_trials, self.steps, 1))
        scale = self.spread * np.sqrt(self.tau / self.dt)
        inputs[:, :shown, 0] = drift[:, None] + scale * rng.standard_normal((self.n_trials, shown))
        answers = np.where(inputs.sum(axis=(1, 2)) >= 0, 1.0, -1.0)
        return Trial(inputs, *_response(answers, self.steps, self._steps_in("response"), only=False))


def _response(
    answers: NDArray[np.float64], steps: int, response: int, *, only: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Targets that are 0 and then the answers, and a mask of everything or ``only`` the
    response.
    """
    targets = np.zeros((len(answers), steps, 1))
    targets[:, -response:, 0] = answers[:, None]
    mask = np.full(targets.shape, not only)
    mask[:, -response:] = True
    return targets, mask
